"""A part of the console that ended on an error of its own: the console begins anew, and is never left for it."""

from support.clock import ManualClock
from support.consoles import TestConsole, until, words_on

from console.mending import MENDING, MENDINGS, Mending, begin_anew
from console.screens.fleet import FleetScreen
from console.screens.journal import JournalScreen
from console.screens.logs import LogsScreen


async def test_the_console_begins_anew_at_the_fleet() -> None:
    app = TestConsole()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("J", "question_mark")
        await until(pilot, lambda: len(app.screen_stack) == 3)
        before = app.screen_stack[0]
        assert app.mend(RuntimeError("the list is gone"))
        await until(pilot, lambda: len(app.screen_stack) == 1 and app.screen is not before)
        await until(pilot, lambda: "A part of the screen failed" in words_on(app) and "payment-service" in words_on(app))
        assert isinstance(app.screen, FleetScreen)
        await pilot.press("J")
        await until(pilot, lambda: "ENTRY" in words_on(app) or "JOURNAL" in words_on(app))


async def test_nothing_of_what_was_there_before_goes_on() -> None:
    app = TestConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen) and app.screen.entered)
        kept = app.screen
        await pilot.press("q")
        standing = app._standing_by["LogsScreen"] = LogsScreen()
        await app._put_together(standing)
        assert kept.is_running
        assert standing.is_running
        before = app.screen
        await begin_anew(app)
        await until(pilot, lambda: app.screen is not before)
        assert [screen for screen in (before, kept, standing) if screen.is_running] == []
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen) and app.screen is not kept)


async def test_what_does_not_help_is_not_done_for_ever() -> None:
    clock = ManualClock()
    mending = Mending(clock)
    assert [mending.try_again() for _ in range(MENDINGS + 1)] == [True] * MENDINGS + [False]
    await clock.advance(MENDING + 1)
    assert mending.try_again()
