"""Metrics that can't be read: that it is said everywhere, since when and why, and that nothing is made of it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.judged import Judged, analysis, judged

from console import cli
from console.screens.evidence import judged_of
from console.screens.vitals import draw_figures, figures_of
from services.analysis import Windows
from services.analysis.sources import Asked, Reading
from services.audit import reading as journal
from services.model.rollout import Phase, Rollout, TriggerName
from services.rollout import watch as watching
from services.sandbox.behaviour import Behaviour
from widgets import ink
from widgets.evidence.judgement import draw_judgement
from widgets.format import age, seconds
from widgets.ink import Lines, Tone

OLD = frozenset({"old-1", "old-2", "old-3"})


def lines(found: Lines) -> list[str]:
    return [" ".join(ink.plain(line).split()) for line in found]


def seen(on: Judged) -> Rollout:
    """As any other console has it: from the checkpoint."""
    return msgspec.json.decode(msgspec.json.encode(on.rollout), type=Rollout)


def figures(on: Judged, width: int = 110) -> list[str]:
    return lines(draw_figures(figures_of(seen(on), on.clock.pace(), True, triggers=True), width))


def tones(on: Judged) -> set[str]:
    """Of the gauges."""
    drawn = draw_figures(figures_of(seen(on), on.clock.pace(), True), 110)
    gauges = [line for line in drawn if ink.plain(line).strip().startswith(("EVIDENCE", "of health"))]
    assert len(gauges) == 2
    return {tone for line in gauges for text, tone in line if text}


def ago(on: Judged, moment: float) -> str:
    return f"{age(on.clock.pace() - moment)} ago"


def requests(on: Judged) -> str:
    return next(line for line in figures(on) if line.startswith("REQUESTS"))


def reasons(on: Judged) -> str:
    found = judged_of(seen(on))
    assert found is not None
    return " ".join(lines(draw_judgement(found, 110)))


async def test_an_outage_of_the_metrics_is_told_with_its_age_and_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(122)
        assert requests(on).endswith(f"measured {ago(on, on.service.scraped_at)}")
        assert any("100 / 100 proven" in line for line in figures(on))
        read, on.service.unreadable = on.service.scraped_at, True
        await on.advance(30)
        told = figures(on)
        # The minute before, as it was: half a minute of it is no halved traffic.
        assert on.clock.pace() - read > 25
        assert requests(on).endswith(f"measured {ago(on, read)}")
        assert figures_of(on.rollout, on.clock.pace(), True).samples[-1].canary.requests == pytest.approx(120_000, rel=0.05)
        assert f"METRICS ? can't be read since {ago(on, read)}: new-1: no answer, and 3 more" in told
        assert not any("proven" in line for line in told)
        assert "metrics can't be read (new-1: no answer, and 3 more)" in reasons(on)
        await on.advance(400)
        told = figures(on)
        assert requests(on) == f"REQUESTS canary ? stable ? measured {ago(on, read)}"
        assert ago(on, read) == "7m ago"
        assert any("can't be read since 7m ago" in line for line in told)
        assert not any("proven" in line for line in told)
        assert any(line.startswith("of health") and line.endswith("/ 100") for line in told)
        assert any(f"not read for {seconds(on.clock.pace() - read)}" in line for line in told)
        assert "no requests" not in " ".join(told) + reasons(on)
        assert "NO DATA: metrics can't be read (new-1: no answer, and 3 more)" in reasons(on)
        judge = next(reading for reading in on.rollout.triggers if reading.name is TriggerName.JUDGE)
        assert (judge.value, judge.detail) == (None, "metrics can't be read (new-1: no answer, and 3 more)")
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.at == read  # the latest look that saw anything
        entries = journal.entries(tmp_path, event="deployment.health_check", rollout="r1")
        last = list(entries)[-1]
        assert last["outcome"] == "no_data"
        assert last["data"]["metrics"]["missing"] == ["canary", "stable"]
        assert last["data"]["metrics"]["since"] == read
        assert last["data"]["metrics"]["age"] > 400.0
        assert last["data"]["metrics"]["why"] == "new-1: no answer, and 3 more"
        on.service.unreadable = False
        await on.advance(20)
        told = figures(on)
        assert not any(line.startswith("METRICS") for line in told)
        assert any("100 / 100 proven" in line for line in told)
        assert requests(on).endswith(f"measured {ago(on, on.service.scraped_at)}")


async def test_the_age_is_told_where_it_is_narrow_and_the_bar_of_health_is_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(122)
        good = tones(on)
        on.service.unreadable = True
        await on.advance(100)
        assert "METRICS ? can't be read since 1m ago: new-1: no answer, and 3 more" in figures(on, 80)
        assert Tone.GOOD in good
        assert Tone.GOOD not in tones(on)


async def test_no_requests_are_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(122)
        on.service.rate = 0.0
        await on.advance(200)
        assert requests(on) == f"REQUESTS canary 0 stable 0 measured {ago(on, on.service.scraped_at)}"
        assert not any(line.startswith("METRICS") for line in figures(on))
        assert not any("proven" in line for line in figures(on))
        assert "NO DATA: no requests to compare reached both versions" in reasons(on)


async def test_one_pod_of_several_that_does_not_answer_is_told_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        on.service.silent = frozenset({"old-2"})
        await on.advance(122)
        assert "METRICS ? in part: old-2: no answer" in figures(on)
        assert requests(on).endswith(f"measured {ago(on, on.service.scraped_at)}")
        assert any("100 / 100 proven" in line for line in figures(on))


async def test_a_new_version_that_is_not_up_yet_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        on.service.silent = frozenset({"new-1"})
        await on.advance(42)
        assert on.rollout.freshness is not None
        assert on.rollout.freshness.missing == ()
        on.service.silent = OLD
        await on.advance(10)
        assert on.rollout.freshness.words == "the metrics of stable can't be read (old-1: no answer, and 2 more)"


async def test_the_successor_of_a_driver_knows_since_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(122)
        on.service.unreadable = True
        await on.advance(60)
        again = await on.handed_over(tmp_path, on.run.settings)
        await again.advance(60)
        assert any("can't be read since 2m ago" in line for line in figures(again))
        await again.stop()


class Server:
    """A metrics server that tells ``reading`` at each look."""

    def __init__(self) -> None:
        self.problem, self.age = "", 5.0

    asked: tuple[Asked, ...] = ()

    async def put_into(self, windows: Windows, found: object) -> Reading:
        return Reading(at=windows.now, since=0.0, age=self.age, problem=self.problem)

    async def close(self) -> None: ...


async def test_what_is_not_due_is_no_outage_and_what_is_wrong_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(watching.Elsewhere, "configured", lambda run: server)
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:

        def said() -> Any:
            assert on.rollout.freshness is not None
            return on.rollout.freshness.words

        await on.advance(22)
        assert said() == ""
        server.problem = "prometheus:9090 does not answer"
        await on.advance(10)
        assert said() == "the metrics of stable can't be read (prometheus:9090 does not answer)"


def test_a_checkpoint_of_before_says_nothing_of_it() -> None:
    from support.consoles import rollout

    document = msgspec.json.decode(msgspec.json.encode(rollout()))
    del document["freshness"]
    old = msgspec.convert(document, Rollout, strict=False)
    assert old.freshness is None
    assert old.phase is Phase.RUNNING
    told = lines(draw_figures(figures_of(old, 1002.0, True), 110))
    assert next(line for line in told if line.startswith("REQUESTS")).endswith("measured 2s ago")
    assert not any(line.startswith("METRICS") for line in told)


@pytest.mark.parametrize("incident", [None, Behaviour(errors=0.003)])
async def test_an_old_version_that_can_not_be_read_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, incident: Behaviour | None
) -> None:
    """Neither is a new version good because it is no worse than the minute before the deploy, nor bad because both fail."""
    async with judged(tmp_path, monkeypatch, analysis(300)) as on:
        await on.advance(22)
        on.service.silent = OLD
        on.service.serve()
        if incident is not None:
            on.service.canary = on.service.stable = incident
        await on.advance(200)
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.verdict == "no_data"
        assert "serves no more" not in reasons(on)
        assert "NO DATA: the metrics of stable can't be read (old-1: no answer, and 2 more)" in reasons(on)
        assert "canary ?" not in requests(on)
        assert "stable ?" in requests(on)
        await on.advance(1000)
        assert on.rollout.phase is Phase.PAUSED
        assert "no data: the metrics of stable can't be read (old-1: no answer, and 2 more)" in on.rollout.pause_reason
        assert not on.passed


@pytest.mark.parametrize("errors", [0.0, 0.01])
async def test_what_both_did_in_an_outage_of_one_is_compared_once_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: float
) -> None:
    """The same time of both, and all of it: an incident in the gap is both's, a fault in it is found."""
    async with judged(tmp_path, monkeypatch, analysis(300)) as on:
        await on.advance(82)
        on.service.silent = OLD
        on.service.serve()
        on.service.stable = Behaviour(errors=0.003)
        on.service.canary = Behaviour(errors=0.003 + errors)
        await on.advance(120)
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.verdict == "no_data"
        on.service.silent = frozenset()
        on.service.serve()
        on.service.stable = Behaviour()
        on.service.canary = Behaviour(errors=errors)
        await on.advance(1000)
        found = {metric.name: metric for metric in on.rollout.judgement.metrics}["errors"]
        assert found.m == pytest.approx(9 * found.n, rel=0.02)
        assert on.passed is (errors == 0.0)
        assert (on.rollout.reason.name if on.rollout.reason is not None else None) == ("judge" if errors else None)


async def test_an_old_version_that_was_read_and_serves_nobody_is_compared_by_its_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(300)) as on:
        await on.advance(62)
        on.service.serve()
        on.service.share = 1.0
        await on.advance(60)
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.past
        assert "The old version serves no more" in reasons(on)


async def test_the_rule_beside_the_judge_does_not_stand_still_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than four measurements running that have no answer end an analysis of Argo's; and so they do from the journal."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    async with judged(home / "journal", monkeypatch, analysis(900)) as on:
        await on.advance(122)
        on.service.unreadable = True
        await on.advance(240)
        assert "would not have aborted so far" in reasons(on)
        await on.advance(180)
        assert on.rollout.judgement is not None
        at = on.rollout.judgement.argo_at
        assert at is not None
        # Five minutes are over at the latest in the sixth after the newest data.
        assert 300 <= at <= 420
        assert f"would have aborted {seconds(at)} after the first requests, after five minutes without data." in reasons(on)
    assert cli.main(["analyse", "--from", "journal", "r1", "--home", str(home)]) == 0
    assert f"aborts at {at:g} s, after five minutes without data." in " ".join(capsys.readouterr().out.split())


async def test_the_rule_beside_the_judge_counts_a_bridged_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(900)) as on:
        for _ in range(3):
            on.service.unreadable = False
            await on.advance(90)
            on.service.unreadable = True
            await on.advance(130)
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.argo_at is None
