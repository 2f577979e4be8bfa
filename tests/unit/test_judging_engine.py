"""The judge under the real engine: what it finds and how soon, what it leaves alone, and what is done where it can't tell."""

import math
from pathlib import Path
from random import Random

import msgspec
import pytest
from support.configuration import WHOLE, configured
from support.judged import analysis, judged

from console import cli
from services.audit import Event, reading
from services.coordination.checkpoint import LIMIT
from services.model.rollout import Phase, Rollout, TriggerName
from services.model.steps import OnUndecided
from services.sandbox.behaviour import Behaviour

WELL = Behaviour()


def trigger(rollout: Rollout) -> str | None:
    return rollout.reason.name if rollout.phase is Phase.ROLLING_BACK and rollout.reason is not None else None


@pytest.mark.parametrize("seed", range(8))
async def test_a_good_version_passes_though_both_versions_wobble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Errors and response times of both go up and down together, as a database does it to them."""
    async with judged(tmp_path, monkeypatch, analysis(120), analysis(120), seed=seed) as on:
        weather = Random(seed)

        def wobble() -> None:
            if on.clock.pace() % 5 == 0:
                on.service.serve()
                each = Behaviour(errors=0.002 * weather.random(), latency=1.0 + 0.2 * weather.random())
                on.service.canary = on.service.stable = each

        await on.advance(1000, wobble)
        assert on.passed, on.rollout.reason or on.rollout.pause_reason
        assert [own.verdict for own in on.rollout.steps[1:3]] == ["healthy", "healthy"]


@pytest.mark.parametrize(
    ("behaviour", "metric", "soonest", "latest"),
    [
        (Behaviour(errors=0.0045), "errors", 30, 45),
        (Behaviour(latency=1.3), "latency", 60, 85),
    ],
)
async def test_a_regression_that_no_hard_limit_sees_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, metric: str, soonest: float, latest: float
) -> None:
    async with judged(tmp_path, monkeypatch) as on:
        on.service.canary = behaviour
        await on.advance(400)
        assert trigger(on.rollout) == "judge"
        reason = on.rollout.reason
        assert reason is not None
        assert (reason.value, reason.limit) == (100.0, 100.0)
        assert reason.detail.startswith(metric)
        assert "of stable" in reason.detail
        assert "tolerated" in reason.detail
        assert soonest <= on.seconds <= latest


async def test_a_fault_that_comes_late_is_found_as_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(360)
        began = on.seconds
        on.service.serve()
        on.service.canary = Behaviour(errors=0.0045)
        await on.advance(400)
        assert trigger(on.rollout) == "judge"
        assert on.seconds - began <= 60


async def test_the_plainest_reason_is_named_and_the_judge_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails in the first five minutes, in which the error rate alone would have rolled back."""
    async with judged(tmp_path, monkeypatch, analysis(900)) as on:
        await on.advance(420)
        on.service.serve()
        on.service.canary = Behaviour(errors=0.2)
        await on.advance(400)
        assert trigger(on.rollout) == "error-rate"
        assert [reason.name for reason in on.rollout.also] == ["judge"]


async def test_what_a_driver_saw_its_successor_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        on.service.canary = Behaviour(errors=0.0045)
        await on.advance(85)
        before = on.rollout.judgement
        assert before is not None
        assert 0 < before.log_e < before.abort_at
        (course,) = [metric.path for metric in before.metrics if metric.name == before.leading]
        again = await on.handed_over(tmp_path, on.run.settings)
        await again.advance(40)
        assert trigger(again.rollout) == "judge"
        after = again.rollout.judgement
        assert after is not None
        assert after.intervals > before.intervals
        assert after.path[: len(before.path)] == before.path
        (own,) = [metric for metric in after.metrics if metric.name == before.leading]
        assert own.path[: len(course)] == course, "each metric's evidence has a course of its own"
        assert own.alone_at == pytest.approx(after.abort_at - math.log(0.5), abs=0.001), "half of the budget is that of errors"
        await again.stop()


async def test_little_traffic_is_undecided_and_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, rate=30.0) as on:
        await on.advance(1000)
        assert on.rollout.pause_reason.startswith("undecided: neither health nor a regression is proven")
        assert 230 <= on.seconds <= 260
        assert on.rollout.steps[1].verdict == "undecided"
        assert not on.passed


@pytest.mark.parametrize(("policy", "ends"), [(OnUndecided.ADVANCE, "approval"), (OnUndecided.ROLLBACK, "judge")])
async def test_what_is_done_with_the_undecided_is_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: OnUndecided, ends: str
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(on_undecided=policy), rate=30.0, errors=0.0) as on:
        await on.advance(1000)
        assert (trigger(on.rollout) or on.rollout.pause_reason.partition(":")[0]) == ends
        if policy is OnUndecided.ADVANCE:
            assert "went on undecided" in on.rollout.steps[1].note
        else:
            assert "undecided after 240 s" in str(on.rollout.reason)
            assert on.rollout.reason is not None
            # as of every reason of the judge: evidence of a regression
            assert on.rollout.judgement is not None
            assert (on.rollout.reason.value, on.rollout.reason.limit) == (on.rollout.judgement.regression, 100.0)


@pytest.mark.parametrize("policy", list(OnUndecided))
async def test_no_requests_are_no_data_whatever_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: OnUndecided
) -> None:
    """The traffic stops in the middle of an analysis that was well on its way."""
    async with judged(tmp_path, monkeypatch, analysis(200, on_undecided=policy)) as on:
        await on.advance(150)
        on.service.serve()
        on.service.rate = 0.0
        await on.advance(1000)
        assert on.rollout.phase is Phase.PAUSED
        assert on.rollout.pause_reason.startswith("undecided: ")
        assert on.rollout.steps[1].verdict == "no_data"
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.verdict == "no_data"


async def test_metrics_that_stay_away_pause_and_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(120, on_undecided=OnUndecided.ROLLBACK)) as on:
        await on.advance(90)
        on.service.unreadable = True
        await on.advance(1000)
        assert on.rollout.phase is Phase.PAUSED
        assert "metrics can't be read" in on.rollout.pause_reason


async def test_a_judge_that_can_not_read_its_memory_passes_nothing_and_hides_no_trigger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a checkpoint of another version might leave it."""
    for behaviour, found in ((WELL, None), (Behaviour(errors=0.2), "error-rate")):
        async with judged(tmp_path / str(found), monkeypatch, analysis(120)) as on:
            await on.advance(120)
            assert on.rollout.judgement is not None
            broken = msgspec.structs.replace(on.rollout.judgement, memory={"parameters": "unknown"})
            on.run.change(msgspec.structs.replace(on.rollout, judgement=broken))
            on.service.serve()
            on.service.canary = behaviour
            await on.advance(1000)
            assert trigger(on.rollout) == found
            assert not on.passed


async def test_a_journal_that_takes_nothing_holds_a_breach_up_no_longer_than_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(90)
        waits: list[tuple[str, float]] = []
        append = on.run.journal.append_within

        async def patience(event: Event, seconds: float = 0.25) -> object:
            waits.append((event.outcome, seconds))
            return await append(event, seconds)

        monkeypatch.setattr(on.run.journal, "append_within", patience)
        on.service.serve()
        on.service.canary = Behaviour(errors=0.2)
        await on.advance(60)
        assert trigger(on.rollout) == "error-rate"
        assert max(seconds for outcome, seconds in waits if outcome == "regressed") <= 0.25


async def test_a_gap_in_the_metrics_is_bridged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(300)) as on:
        await on.advance(110)
        on.service.unreadable = True
        await on.advance(25)
        on.service.unreadable = False
        await on.advance(60)
        judgement = on.rollout.judgement
        assert judgement is not None
        served = next(metric for metric in judgement.metrics if metric.name == "errors").n
        assert served == pytest.approx(2000 * judgement.seconds, rel=0.02)
        assert judgement.seconds == pytest.approx(on.seconds, abs=15)


async def test_early_promotion_only_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed in (False, True):
        async with judged(tmp_path / str(allowed), monkeypatch, analysis(600, promote_early=allowed)) as on:
            await on.advance(1200)
            assert on.passed
            assert (on.seconds < 130) is allowed
            assert (on.rollout.steps[1].note == "proven healthy before its time") is allowed


async def test_an_extension_ends_as_soon_as_it_has_what_it_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(120), rate=400.0, seed=1) as on:
        await on.advance(1000)
        assert on.passed
        assert 120 < on.seconds < 235
        own = on.rollout.steps[1]
        assert own.note.startswith("proven healthy after ")
        assert own.verdict == "healthy"


async def test_an_extension_for_want_of_requests_ends_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health is proven long before."""
    async with judged(tmp_path, monkeypatch, analysis(120, min_requests=70_000), rate=4000.0) as on:
        await on.advance(1000)
        assert on.passed
        assert 170 <= on.seconds <= 195


async def test_an_incident_of_both_versions_pauses_where_that_is_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for policy in ("pause", "rollback"):
        settings = configured(WHOLE + f"triggers: {{on_shared_incident: {policy}}}\n")
        async with judged(tmp_path / policy, monkeypatch, analysis(300), settings=settings) as on:
            await on.advance(100)
            on.service.serve()
            on.service.canary = on.service.stable = Behaviour(errors=0.6)
            await on.advance(200)
            if policy == "pause":
                assert on.rollout.pause_reason.startswith("shared incident: ")
                assert "both versions are failing" in on.rollout.pause_reason
            else:
                assert trigger(on.rollout) == "error-rate"
                assert "both versions are failing" in str(on.rollout.reason)


async def test_a_health_endpoint_that_fails_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never three times in a row."""
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        asked = iter(range(1000))
        on.service.answers = lambda: next(asked) % 3 == 0
        await on.advance(600)
        assert trigger(on.rollout) == "health"
        assert "fails now and then" in str(on.rollout.reason)


async def test_after_the_old_version_is_gone_the_past_is_the_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for behaviour, found in ((WELL, None), (Behaviour(errors=0.01), "judge")):
        async with judged(tmp_path / str(found), monkeypatch, analysis(300)) as on:
            on.service.old_serves, on.service.canary = True, WELL
            await on.advance(62)
            on.service.serve()
            on.service.old_serves, on.service.canary = False, behaviour
            await on.advance(1000)
            assert on.rollout.judgement is not None
            assert on.rollout.judgement.past
            assert trigger(on.rollout) == found
            assert on.passed is (found is None)


async def test_the_journal_holds_every_look_and_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    async with judged(home / "journal", monkeypatch, analysis(300)) as on:
        await on.advance(110)
        on.service.serve()
        on.service.canary = Behaviour(errors=0.0045)
        await on.advance(400)
        assert trigger(on.rollout) == "judge"
        last = on.rollout.judgement
        assert last is not None
    entries = reading.entries(home / "journal", event="deployment.health_check", rollout="r1")
    looks = [entry["data"]["judge"] for entry in entries if "judge" in entry["data"]]
    assert len(looks) == last.intervals
    assert looks[-1]["verdict"] == "regressed"
    assert looks[-1]["log_e"] == pytest.approx(last.log_e)

    def again(*words: str) -> dict[str, object]:
        assert cli.main(["analyse", "--from", "journal", "r1", "--home", str(home), "-o", "json", *words]) == 0
        found: dict[str, object] = msgspec.json.decode(capsys.readouterr().out)
        return found

    answer = again()
    assert list(answer) == ["verdict", "at_s", "metric", "log_evidence", "intervals"]
    assert (answer["verdict"], answer["metric"], answer["intervals"]) == ("regressed", "errors", len(looks))
    assert answer["log_evidence"] == pytest.approx(last.log_e, rel=1e-9)
    assert answer["at_s"] == pytest.approx(last.seconds, abs=0.01)
    assert again("--errors-d", "0.05")["verdict"] != "regressed"
    assert cli.main(["analyse", "--from", "journal", "r1", "--home", str(home)]) == 0
    assert "REGRESSED" in capsys.readouterr().out
    assert cli.main(["analyse", "--from", "journal", "r2", "--home", str(home)]) == 2
    assert "has no look of the judge" in capsys.readouterr().err


async def test_what_the_checkpoint_holds_of_the_judge_is_small_and_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(900)) as on:
        await on.advance(800)
        body = msgspec.json.encode(on.rollout)
        assert msgspec.json.decode(body, type=Rollout).judgement == on.rollout.judgement
        assert len(msgspec.json.encode(on.rollout.judgement)) < 12_000
        assert len(body) < LIMIT
        reading = next(each for each in on.rollout.triggers if each.name is TriggerName.JUDGE)
        assert (reading.limit, reading.unit) == (100.0, "of 100")
        assert "against" in reading.detail
        replay = on.rollout.baseline.replay if on.rollout.baseline is not None else None
        assert replay is not None
        assert (replay.splits, replay.aborted) == (3, 0)
