"""An answer that takes its time does not move anybody who went on meanwhile; and what leaving says of rollouts."""

import asyncio

import pytest
from support.consoles import TestConsole, card, picture, rollout, until, words_on
from textual.command import CommandList
from textual.widgets import Input

from console.draft import Answer
from console.palette import Palette
from console.screens.deploy import DeployScreen
from console.screens.journal import JournalScreen
from console.screens.leaving import leaving_title
from console.screens.rollout import RolloutScreen
from console.view import RolloutCard

WIDE = (120, 40)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


def slow_to_answer() -> tuple[TestConsole, asyncio.Event]:
    """A console on a cluster that answers a rollback when the event is set."""
    app, answers = TestConsole(), asyncio.Event()

    async def of_rollout(asked: RolloutCard) -> Answer:
        app.session.asked.append(("roll_back", asked.key))
        await answers.wait()
        return Answer("its requests are back", asked.key)

    app.session.of_rollout = of_rollout  # type: ignore[method-assign]
    return app, answers


async def test_who_waits_for_a_rollback_where_it_was_asked_for_is_shown_its_rollout() -> None:
    app, answers = slow_to_answer()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked)
        answers.set()
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))


async def test_who_went_elsewhere_meanwhile_is_left_there_and_told() -> None:
    app, answers = slow_to_answer()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("R", "J")
        await until(pilot, lambda: app.session.asked and isinstance(app.screen, JournalScreen))
        answers.set()
        await until(pilot, lambda: "its requests are back" in words_on(app))
        assert isinstance(app.screen, JournalScreen)


async def test_who_types_meanwhile_goes_on_typing() -> None:
    app, answers = slow_to_answer()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("R", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen) and isinstance(app.screen.focused, Input))
        await pilot.press("alt+R")
        await until(pilot, lambda: app.session.asked)
        answers.set()
        await until(pilot, lambda: "its requests are back" in words_on(app))
        await pilot.press(*"APT")
        assert isinstance(app.screen, DeployScreen)
        assert {what for what, *_ in app.session.asked} == {"roll_back"}, "what was typed was no command"
        await until(pilot, lambda: app.screen.focused.value.endswith("APT"))


@pytest.mark.parametrize(
    ("watched", "title"),
    [
        ((True,), "1 rollout goes on"),
        ((True, True), "2 rollouts go on"),
        ((False,), "1 rollout stands still"),
        ((False, False), "2 rollouts stand still"),
        ((False, True), "1 rollout stands still, 1 goes on"),
        ((False, False, True, True), "2 rollouts stand still, 2 go on"),
    ],
)
def test_leaving_says_which_rollouts_go_on_and_which_nobody_watches(watched: tuple[bool, ...], title: str) -> None:
    assert leaving_title([card(rollout(f"r-{index}"), watched=each) for index, each in enumerate(watched)]) == title


async def test_the_question_before_leaving_an_orphan_has_that_title() -> None:
    app = TestConsole(picture(rollouts=(card(rollout(), watched=False),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("ctrl+q")
        await until(pilot, lambda: "1 rollout stands still" in words_on(app))
        assert "goes on" not in words_on(app)


async def test_what_the_palette_says_too_late_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        palette = app.screen
        await pilot.press(*"zzzz")
        leave, called = palette._message_loop_exit, asyncio.Event()

        def no_matches() -> None:
            called.set()
            palette.query_one(CommandList)

        async def leaves() -> None:
            # as the timer of its "no matches" does, where the machine is busy: what it calls is called once the list has gone
            palette.call_next(no_matches)
            await leave()

        monkeypatch.setattr(palette, "_message_loop_exit", leaves)
        app.pop_screen()
        await until(pilot, called.is_set)
        # …and a search that was still under way
        await palette._gather_commands("roll").wait()
        await until(pilot, lambda: "SERVICES" in words_on(app))
