"""A rollback that was asked for and that no cluster has taken: what goes on meanwhile is never announced as if nothing were."""

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.consoles import FLEET, PACE, TestConsole, card, entry, picture, rollout, until, words_on

from console.attention import Kind, concerns
from console.draft import Answer, answer_to
from console.ended import Ended
from console.rollbacks import HEARD_WITHIN, Rollbacks
from console.session import Session
from console.view import Picture, RollbackAsked
from services.model.errors import ExitCode, Forbidden, Rejected, Unavailable
from services.model.fleet import FleetView
from services.model.rollout import Phase, Rollout
from services.rollout import home, immediate
from services.rollout.ends import Kept
from services.rollout.immediate import Immediate
from services.rollout.intents import Answer as Told
from services.rollout.intents import Ask, IntentServer

ASKED = RollbackAsked(datetime(2026, 1, 1, 0, 9, 30, tzinfo=UTC))
RUNNING = rollout(next="promote stable to v2.15.0 if healthy", next_at=PACE + 90)


def away(seconds: float, **changes: Any) -> Picture:
    """Production can't be reached, and was seen last so long ago."""
    places = [
        msgspec.structs.replace(view, reachable=False, age_seconds=seconds, problem="no answer")
        if view.name == "production"
        else view
        for view in FLEET.environments
    ]
    return picture(fleet=FleetView(environments=tuple(places)), **changes)


async def shown(drawn: Picture) -> str:
    app = TestConsole(drawn)
    async with app.run_test(size=(160, 50)) as pilot:
        app.open_rollout(RUNNING.id)
        await until(pilot, lambda: "STEPS" in words_on(app) and "NEXT" in words_on(app))
        return words_on(app)


async def test_headline_and_next_say_that_it_was_asked_for_and_announce_no_step() -> None:
    words = await shown(away(48, rollouts=(card(RUNNING, asked=ASKED),)))
    assert words.count("ollback asked for 00:09:30Z, not accepted by the cluster yet") == 2
    assert "promote stable to v2.15.0 if healthy" not in words
    assert "running" not in words.splitlines()[1]


async def test_a_picture_that_grows_old_counts_nothing_on() -> None:
    one = await shown(away(20, rollouts=(card(RUNNING),), pace=PACE + 20))
    other = await shown(away(60, rollouts=(card(RUNNING),), pace=PACE + 60))
    assert "20s ago: 01:30" in one
    assert "60s ago: 01:30" in other or "1m ago: 01:30" in other
    told = [[line for line in each.splitlines() if "since 00:04:00Z" in line] for each in (one, other)]
    assert told[0] == told[1]
    live = await shown(picture(rollouts=(card(RUNNING),), pace=PACE + 60))
    assert "NEXT  00:30" in live


def test_it_is_unsafe_until_the_cluster_has_it() -> None:
    found = concerns(away(48, rollouts=(card(RUNNING, asked=ASKED),)))
    assert (found[0].kind, found[0].words) == (Kind.ROLLING_BACK, "payment-service in production: rollback not accepted yet")


class Pressing:
    """R over a session whose first patch comes to ``done``, or fails with it."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, done: Any) -> None:
        async def rollback_now(*_: object, **__: object) -> Immediate:
            if isinstance(done, Exception):
                raise done
            assert isinstance(done, Immediate)
            return done

        monkeypatch.setattr(immediate, "rollback_now", rollback_now)
        self.clock = ManualClock()
        context: Any = SimpleNamespace(clock=self.clock, home=place)
        watching: Any = SimpleNamespace(inventory_of=lambda _: None)
        self.rollbacks = Rollbacks(context, watching, Picture, lambda _: None)

    async def press(self) -> Answer:
        return await self.rollbacks.of_rollout(card(RUNNING))

    def unconfirmed(self, known: Rollout) -> bool:
        return self.rollbacks.unconfirmed(known) is not None


async def test_it_counts_as_asked_for_until_the_checkpoint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Pressing(tmp_path, monkeypatch, Immediate(RUNNING, joined=True, problem=Unavailable("no answer")))
    assert not on.unconfirmed(RUNNING)
    answer = await on.press()
    assert (answer.failed, on.unconfirmed(RUNNING)) == (True, True)
    assert not on.unconfirmed(msgspec.structs.replace(RUNNING, phase=Phase.ROLLING_BACK))
    assert not on.unconfirmed(RUNNING), "an old picture after it does not bring it back"


async def test_what_was_accepted_is_said_to_roll_back_until_the_checkpoint_or_the_cluster_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Pressing(tmp_path, monkeypatch, Immediate(RUNNING, object=RUNNING.plan.stable, seconds=0.01))
    assert not (await on.press()).failed
    asked = on.rollbacks.unconfirmed(RUNNING)
    assert asked is not None
    assert asked.accepted
    drawn = picture(rollouts=(card(RUNNING, asked=asked),))
    assert [(found.kind, found.words) for found in concerns(drawn)][:1] == [
        (Kind.ROLLING_BACK, "payment-service in production rolls back")
    ]
    words = await shown(drawn)
    assert words.count(f"ollback accepted {asked.at:%H:%M:%S}Z; its driver verifies it") == 2
    assert "promote stable to v2.15.0 if healthy" not in words
    assert "running" not in words.splitlines()[1]
    assert not on.unconfirmed(msgspec.structs.replace(RUNNING, phase=Phase.ROLLING_BACK))


async def test_an_accepted_rollback_that_no_driver_tells_of_is_not_forgotten_but_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Pressing(tmp_path, monkeypatch, Immediate(RUNNING, object=RUNNING.plan.stable, seconds=0.25))
    began = on.clock.now()
    await on.press()
    await on.clock.advance(HEARD_WITHIN - 1)
    asked = on.rollbacks.unconfirmed(RUNNING)
    assert asked == RollbackAsked(began + timedelta(seconds=0.25), accepted=True)
    await on.clock.advance(2)
    silent = on.rollbacks.unconfirmed(RUNNING)
    assert silent is not None
    drawn = picture(rollouts=(card(RUNNING, asked=silent),))
    assert concerns(drawn)[0].words == "payment-service in production: rollback not heard of"
    words = await shown(drawn)
    assert "no driver has told of it since: R asks for it again" in words
    assert "promote stable to v2.15.0 if healthy" not in words
    again = on.clock.now()
    await on.press()
    assert on.rollbacks.unconfirmed(RUNNING) == RollbackAsked(again + timedelta(seconds=0.25), accepted=True)
    assert not on.unconfirmed(msgspec.structs.replace(RUNNING, phase=Phase.ROLLED_BACK))


async def test_an_orphan_whose_rollback_was_accepted_is_not_to_be_resumed() -> None:
    accepted = RollbackAsked(ASKED.at, accepted=True)
    words = await shown(picture(rollouts=(card(RUNNING, asked=accepted, watched=False),)))
    assert "its driver verifies it" in words
    assert "NOBODY WATCHES" not in words
    assert "resume" not in words.split("CALLS")[0]
    silent = accepted._replace(silent=True)
    assert "NOBODY WATCHES" in await shown(picture(rollouts=(card(RUNNING, asked=silent, watched=False),)))


def test_the_end_of_the_driver_that_a_rollback_replaced_is_not_the_end_of_the_rollback(tmp_path: Path) -> None:
    ended = Ended(SimpleNamespace(clock=ManualClock()), lambda: None)  # type: ignore[arg-type]
    lost = Kept(rollout=RUNNING, at=ASKED.at, ended=home.Ended(code=ExitCode.HELD_BY_ANOTHER))
    ended._kept = (lost,)
    assert ended.moment_of(RUNNING.id) is None
    ended._kept = (msgspec.structs.replace(lost, ended=home.Ended(code=ExitCode.FAILED, rollback=True)),)
    assert ended.moment_of(RUNNING.id) == ASKED.at


async def test_what_was_rejected_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rejected = Pressing(tmp_path, monkeypatch, Rejected("rollout", "r-1", "is over", "another"))
    with pytest.raises(Rejected):
        await rejected.press()
    assert not rejected.unconfirmed(RUNNING)


@pytest.mark.parametrize(
    ("done", "failed", "words"),
    [
        (Immediate(RUNNING, joined=True, problem=Unavailable("no answer")), True, "Your driver has been told to roll back"),
        (Immediate(RUNNING, joined=True), False, "joined"),
        (Immediate(RUNNING, problem=Unavailable("no answer")), True, "goes on trying, and it is said here if it gives up"),
        (Immediate(RUNNING, problem=Forbidden("production refused it")), True, "refused still, it gives up"),
        (Immediate(RUNNING, object=RUNNING.plan.stable, seconds=0.01), False, "accepted in 10 ms"),
    ],
)
async def test_what_was_not_accepted_is_an_error_and_says_what_happens_now(done: Immediate, failed: bool, words: str) -> None:
    answer = answer_to(done)
    assert (answer.failed, words in answer.text) == (failed, True), answer.text
    app = TestConsole()

    async def answered(_: object) -> Answer:
        return answer

    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        app.session.of_rollout = answered  # type: ignore[method-assign, assignment]
        await pilot.press("R")
        await until(pilot, lambda: any(words in result.text for result in app.results.results))
        told = next(result for result in app.results.results if words in result.text)
        assert told.severity == ("error" if failed else "warning")


async def test_what_a_driver_does_not_do_is_an_error(tmp_path: Path) -> None:
    async def refuses(_: Ask) -> Told:
        return Told(ok=False, detail="the rollout is just ending")

    session = Session(Namespace(), lambda _: None)
    session._context = SimpleNamespace(home=tmp_path, user="jane")  # type: ignore[assignment]
    driver = IntentServer(tmp_path, RUNNING.id, refuses)
    await driver.open()
    app = TestConsole()
    try:
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            app.session.intend = session.intend  # type: ignore[method-assign]
            await pilot.press("p")
            await until(pilot, lambda: app.results.results)
            assert [(each.text, each.severity) for each in app.results.results] == [
                ("not done: the rollout is just ending", "error")
            ]
    finally:
        await driver.close()


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_what_a_person_can_do_about_a_rollback_that_was_given_up_is_on_the_screen(size: tuple[int, int]) -> None:
    failed = rollout(phase=Phase.NEEDS_ATTENTION, left=("kubectl rollout undo deployment/payment-service",))
    problems = [f"deployment/{name}: production answered 403 Forbidden. {'A long explanation. ' * 9}" for name in ("a", "b", "c")]
    noted = entry(6, "deployment.rollback", outcome="not_restored", data={"problems": problems})
    drawn = picture(
        rollouts=(card(failed, gave_up="it needs a person", unstored=True),),
        entries=(noted,),
    )
    app = TestConsole(drawn)
    async with app.run_test(size=size) as pilot:
        app.open_rollout(failed.id)
        await until(pilot, lambda: "given up" in words_on(app))
        words = words_on(app)
        assert "The rollback from this home was given up: deployment/a: production" in words
        assert "by hand: kubectl rollout undo deployment/payment-service" in words
        assert "No cluster has taken its checkpoint" in words
        assert "R tries to roll it back again" in words
    assert concerns(drawn)[0].words == "payment-service in production: its rollback was given up"
