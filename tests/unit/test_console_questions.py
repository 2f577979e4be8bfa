"""What is asked before a key undoes somebody's work, cuts a proof short, or acts on what was long ago."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from support.consoles import FLEET, TestConsole, card, picture, questioned, rollout, until, words_on
from support.judgements import judgement, proven_in

from console.actions import BY_ID
from console.screens.questions import OldPictureScreen, PromoteScreen, TakeOverScreen
from console.screens.rollout import RolloutScreen
from console.view import Picture, RolloutCard
from services.model.fleet import FleetView
from services.model.release import Tier
from services.model.rollout import Driver, Freshness, Phase, Rollout

WIDE = (120, 40)
SINCE = datetime(2026, 1, 1, 0, 5, 6, tzinfo=UTC)
SAM = Driver(operator="sam", host="desk", home="cafe42beef", token="t", since=SINCE)
UNREAD = Freshness(data_at=700.0, missing=("canary",), since=710.0, why="no answer")
HERE = rollout().step


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


def theirs(**changes: object) -> RolloutCard:
    return card(rollout(driver=SAM), own=False, driver="sam@desk", lease_age=2.0, **changes)


def aged(shown: Picture, age: float | None, reachable: bool = True) -> Picture:
    """The same, with an environment production that was heard of ``age`` seconds ago."""
    views = tuple(
        msgspec.structs.replace(view, age_seconds=age, reachable=reachable) if view.name == "production" else view
        for view in FLEET.environments
    )
    return replace(shown, fleet=FleetView(environments=views))


# ---- T


async def test_what_a_colleague_drives_is_taken_over_only_after_a_question_that_says_who_and_since_when() -> None:
    app = TestConsole(picture(rollouts=(theirs(),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("T", "T")
        await until(pilot, lambda: questioned(app, TakeOverScreen) and "T works when" in words_on(app))
        text = words_on(app)
        assert "take payment-service in production over from sam@desk" in text
        assert "home cafe42, since 00:05:06Z, lease renewed 2s ago" in text
        await pilot.press("enter", "T")
        await pilot.pause()
        assert isinstance(app.screen, TakeOverScreen)
        assert app.session.asked == []
        await app.own_clock.advance(0.5)
        await until(pilot, lambda: "T takes it over now" in words_on(app))
        await pilot.press("T")
        await until(pilot, lambda: app.session.asked == [("take_over", "r-1")])


async def test_the_question_is_void_once_the_rollout_is_over_or_somebody_else_has_it() -> None:
    app = TestConsole(picture(rollouts=(theirs(),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, TakeOverScreen))
        await app.own_clock.advance(1.0)
        app.new_picture(picture(rollouts=(card(rollout(driver=SAM, phase=Phase.SUCCEEDED), own=False),)))
        await until(pilot, lambda: "The rollout is over (succeeded). Nothing was done." in words_on(app))
        await pilot.press("T")
        app.new_picture(picture(rollouts=(replace(theirs(), driver="alex@laptop"),)))
        await until(pilot, lambda: "Alex@laptop drives it by now" in words_on(app))
        await pilot.press("T", "escape")
        await until(pilot, lambda: not isinstance(app.screen, TakeOverScreen))
        assert app.session.asked == []


@pytest.mark.parametrize(
    "shown",
    [theirs(watched=False), replace(theirs(), rollout=rollout(phase=Phase.NEEDS_ATTENTION))],
    ids=["nobody watches", "needs a person"],
)
async def test_what_nobody_is_at_work_on_is_resumed_with_one_key(shown: RolloutCard) -> None:
    app = TestConsole(picture(rollouts=(shown,)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("T")
        await until(pilot, lambda: app.session.asked == [("take_over", "r-1")])


@pytest.mark.parametrize("key", ["R", "alt+R"])
@pytest.mark.parametrize(("asks", "shown", "question"), [("T", theirs(), TakeOverScreen), ("P", card(rollout()), PromoteScreen)])
async def test_a_rollback_does_not_wait_for_the_question_that_lies_over_it(
    key: str, asks: str, shown: RolloutCard, question: type
) -> None:
    app = TestConsole(picture(rollouts=(shown,)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press(asks)
        await until(pilot, lambda: isinstance(app.screen, question))
        await pilot.press(key)
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_a_driver_that_has_looked_at_nothing_yet_leaves_what_was_read_last_with_its_age() -> None:
    app = TestConsole(picture(rollouts=(theirs(),)))
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "looked at" in words_on(app))
        before = [line for line in words_on(app).splitlines() if "limit " in line or "looked at" in line]
        assert before
        app.new_picture(picture(rollouts=(card(rollout(triggers=())),)))
        await pilot.pause()
        assert "no trigger watches yet" not in words_on(app)
        assert [line for line in words_on(app).splitlines() if "limit " in line or "looked at" in line] == before


# ---- P


async def test_in_production_an_analysis_without_a_verdict_is_ended_only_after_a_question() -> None:
    app = TestConsole(picture())
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("P", "P")
        await until(pilot, lambda: questioned(app, PromoteScreen) and "P works when" in words_on(app))
        assert "Nothing proves yet that it is healthy: the judge is undecided." in words_on(app)
        assert app.session.asked == []
        await app.own_clock.advance(0.5)
        await pilot.press("P")
        await until(pilot, lambda: app.session.asked == [("promote", "r-1")])


async def test_of_a_paused_rollout_it_says_that_it_stays_so_and_that_P_ends_the_pause() -> None:
    paused = rollout(phase=Phase.PAUSED, pause_reason="operator: paused by root")
    app = TestConsole(picture(rollouts=(card(paused),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PromoteScreen) and "It is paused, and stays so" in words_on(app))
        assert "P ends the pause as well" in " ".join(words_on(app).replace("│", " ").split())
        assert "goes on by itself" not in words_on(app)


async def test_the_question_is_void_once_another_step_has_begun() -> None:
    shown = rollout()
    app = TestConsole(picture(rollouts=(card(shown),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PromoteScreen))
        await app.own_clock.advance(1.0)
        app.new_picture(picture(rollouts=(card(msgspec.structs.replace(shown, step=shown.step + 1)),)))
        await until(pilot, lambda: "It is at another step by now" in words_on(app))
        await pilot.press("P")
        assert app.session.asked == []


def in_tier(tier: Tier) -> Rollout:
    shown = rollout()
    target = msgspec.structs.replace(shown.release.target, tier=tier)
    return msgspec.structs.replace(shown, release=msgspec.structs.replace(shown.release, target=target))


@pytest.mark.parametrize(
    "shown",
    [
        rollout(judgement=proven_in(HERE - 1)),
        rollout(judgement=proven_in(HERE), freshness=UNREAD),
        rollout(judgement=msgspec.structs.replace(judgement(), verdict="healthy", memory={"of": "another version"})),
    ],
    ids=["proven at another share", "metrics that can't be read", "a memory that can't be read"],
)
async def test_what_was_proven_elsewhere_or_before_is_no_proof(shown: Rollout) -> None:
    app = TestConsole(picture(rollouts=(card(shown),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PromoteScreen) and "not at this share or not of now" in words_on(app))
        assert app.session.asked == []


@pytest.mark.parametrize("shown", [rollout(judgement=proven_in(HERE)), in_tier(Tier.STAGING)], ids=["healthy", "staging"])
async def test_what_is_proven_or_no_production_is_promoted_with_one_key(shown: Rollout) -> None:
    app = TestConsole(picture(rollouts=(card(shown),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.press("P")
        await until(pilot, lambda: app.session.asked == [("promote", "r-1")])


# ---- R on an old picture


DONE = card(rollout(phase=Phase.SUCCEEDED), window_left=3360.0)


@pytest.mark.parametrize(("age", "reachable"), [(14.0, True), (50.0, False)])
async def test_on_an_old_picture_a_finished_rollout_is_rolled_back_only_after_a_question_that_tells_its_age(
    age: float, reachable: bool
) -> None:
    app = TestConsole(aged(picture(rollouts=(DONE,)), age, reachable))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "R ROLL BACK" in words_on(app))
        await pilot.press("R", "R")
        await until(pilot, lambda: questioned(app, OldPictureScreen) and "R works when" in words_on(app))
        assert f"The picture of production is {age:.0f}s old: something else may run there by now." in words_on(app)
        assert app.session.asked == []
        await app.own_clock.advance(0.5)
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_what_comes_with_a_fresh_picture_voids_the_question() -> None:
    app = TestConsole(aged(picture(rollouts=(DONE,)), 40.0))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "R ROLL BACK" in words_on(app))
        await pilot.press("alt+R")
        await until(pilot, lambda: isinstance(app.screen, OldPictureScreen))
        await app.own_clock.advance(1.0)
        later = rollout("r-2", version="v2.16.0", created=datetime(2026, 1, 1, 0, 9, tzinfo=UTC))
        app.new_picture(picture(rollouts=(card(later), DONE)))
        await until(pilot, lambda: "began to bring it to v2.16.0 since. Nothing was done." in words_on(app))
        app.new_picture(picture(rollouts=(card(rollout(phase=Phase.ROLLED_BACK)),)))
        await until(pilot, lambda: "Its last rollback brought it to v2.14.1; another revision:" in words_on(app))
        await pilot.press("alt+R")
        assert app.session.asked == []


@pytest.mark.parametrize(
    "shown", [picture(rollouts=(DONE,)), aged(picture(), 50.0, False)], ids=["fresh", "live, on an old picture"]
)
async def test_one_key_rolls_back_what_is_fresh_and_whatever_is_live(shown: Picture) -> None:
    app = TestConsole(shown)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "R ROLL BACK" in words_on(app))
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


def test_help_says_what_is_asked_first() -> None:
    assert "older than 10 s" in BY_ID["rollback"].help
    assert "asks first" in BY_ID["take_over"].help
    assert "asks first" in BY_ID["promote"].help
