"""An answer that takes its time does not move anybody who went on meanwhile; and what leaving says of rollouts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.consoles import TestConsole, card, picture, rollout, until, words_on
from support.scenes import SCENES
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from console.draft import Answer, Preview
from console.mending import begin_anew
from console.palette import Palette
from console.screens.deploy import DeployScreen
from console.screens.fleet import FleetScreen
from console.screens.journal import JournalScreen
from console.screens.leaving import leaving_title
from console.screens.restore import RestoreScreen
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from console.view import RolloutCard
from widgets.confirm import TypedConfirmation
from widgets.toast import toast

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


async def test_a_screen_that_is_put_together_while_the_console_is_left_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE):
        app.exit()
        await app._get_screen(JournalScreen())[1]  # as it is ahead of its time; it gets no children any more
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_the_palette_opens_while_the_one_before_is_still_being_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        first, going = app.screen, asyncio.Event()
        leave = first._message_loop_exit

        async def leaves() -> None:
            await going.wait()  # as on a busy machine
            await leave()

        monkeypatch.setattr(first, "_message_loop_exit", leaves)
        app.pop_screen()
        app.action_command_palette()
        await until(pilot, lambda: isinstance(app.screen, Palette))
        assert app.screen is not first
        going.set()
        await until(pilot, lambda: "Search for commands" in words_on(app))


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


def questioned(app: TestConsole) -> bool:
    """Whether the question is on the screen, so that its key begins to rest."""
    return isinstance(app.screen, RestoreScreen) and "works when it has rested" in words_on(app)


def slow_to_look() -> tuple[TestConsole, dict[str, asyncio.Event]]:
    """A console on clusters that say what a rollback of a service would restore once the event of the service is set."""
    app = TestConsole(picture(rollouts=()))
    looked, preview = {name: asyncio.Event() for name in ("accounts", "payment-service")}, app.session.rollbacks.preview

    async def slow(environment: str, service: str, revision: str = "") -> Preview:
        shown = await preview(environment, service, revision)
        await looked[service].wait()
        return shown

    app.session.rollbacks.preview = slow  # type: ignore[method-assign]
    return app, looked


async def _to_another_screen(app: TestConsole, pilot: Pilot[object]) -> None:
    await pilot.press("J")
    await until(pilot, lambda: isinstance(app.screen, JournalScreen))


async def _to_another_row(app: TestConsole, pilot: Pilot[object]) -> None:
    await pilot.press("down")


async def _into_a_filter(app: TestConsole, pilot: Pilot[object]) -> None:
    await pilot.press("slash", "a")
    await until(pilot, lambda: isinstance(app.focused, Input))


@pytest.mark.parametrize("go", [_to_another_screen, _to_another_row, _into_a_filter])
async def test_the_question_of_a_rollback_does_not_come_up_where_one_went_meanwhile(
    go: Callable[[TestConsole, Pilot[object]], Awaitable[None]],
) -> None:
    app, looked = slow_to_look()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("preview", "production", "accounts")])
        await go(app, pilot)
        here = app.screen
        looked["accounts"].set()
        await until(pilot, lambda: "accounts in production: nothing was rolled back" in words_on(app))
        assert app.screen is here
        await pilot.press("escape", "home")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen) and app.screen.selection().service == "accounts")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))


async def test_a_screen_of_services_that_is_shown_for_another_one_gets_no_question_of_the_one_before() -> None:
    app, looked = slow_to_look()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        for service in ("accounts", "payment-service"):
            app.open_service("production", service)
            await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
            if service == "accounts":
                await pilot.press("R")
                await until(pilot, lambda: app.session.asked == [("preview", "production", "accounts")])
                await pilot.press("escape")
                await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        looked["accounts"].set()
        await until(pilot, lambda: "accounts in production: nothing was rolled back" in words_on(app))
        assert isinstance(app.screen, ServiceScreen)


async def test_the_question_comes_up_on_another_screen_about_the_same_service() -> None:
    app, looked = slow_to_look()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("preview", "production", "accounts")])
        app.open_service("production", "accounts")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
        await pilot.press("R")
        looked["accounts"].set()
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        assert app.session.asked == [("preview", "production", "accounts")]


async def test_a_question_that_was_taken_away_without_an_answer_can_be_asked_again() -> None:
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        await begin_anew(app)  # as after an unexpected error
        await until(pilot, lambda: isinstance(app.screen, FleetScreen) and app.screen.selection().service == "accounts")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))


@pytest.mark.parametrize(("chosen", "comes"), [("3", True), ("5", False), ("", False)])
async def test_the_question_about_a_revision_comes_up_where_that_is_still_the_one(
    chosen: str, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, looked = slow_to_look()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        app.open_service("production", "accounts")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
        app.roll_back_to("production", "accounts", "3")
        await until(pilot, lambda: app.session.asked == [("preview", "production", "accounts", "3")])
        monkeypatch.setattr(app.screen, "_revision", lambda: chosen)  # the cursor went there meanwhile
        looked["accounts"].set()
        await until(pilot, lambda: "nothing was rolled back" in words_on(app) or isinstance(app.screen, RestoreScreen))
        assert isinstance(app.screen, RestoreScreen) is comes


async def test_what_is_confirmed_is_carried_out_though_another_look_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    app, looked = slow_to_look()
    done: list[tuple[str, str, Preview]] = []
    shown: dict[str, Preview] = {}
    preview = app.session.rollbacks.preview

    async def of_service(environment: str, service: str, confirmed: Preview) -> Answer:
        done.append((environment, service, confirmed))
        return Answer("rolling back", "")

    async def slow(environment: str, service: str, revision: str = "") -> Preview:
        shown[revision] = await preview(environment, service)
        if revision == "3":
            await looked["payment-service"].wait()
        return shown[revision]

    app.session.rollbacks.preview, app.session.rollbacks.of_service = slow, of_service  # type: ignore[method-assign]
    looked["accounts"].set()
    async with app.run_test(size=WIDE) as pilot:
        app.open_service("production", "accounts")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
        app.roll_back_to("production", "accounts", "3")
        await until(pilot, lambda: "3" in shown)
        monkeypatch.setattr(app.screen, "_revision", lambda: "5")
        app.roll_back_to("production", "accounts", "5")
        await until(pilot, lambda: questioned(app))
        looked["payment-service"].set()
        await pilot.pause()
        await app.own_clock.advance(1)
        await pilot.press("R")
        await until(pilot, lambda: done)
        assert done[0][2] is shown["5"]


async def test_r_on_another_service_is_about_that_one_and_asks_once() -> None:
    app, looked = slow_to_look()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("R", "R")
        await until(pilot, lambda: app.session.asked == [("preview", "production", "accounts")])
        app.open_service("production", "payment-service")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked[1:] == [("preview", "production", "payment-service")])
        looked["accounts"].set()
        await pilot.pause()
        assert isinstance(app.screen, ServiceScreen)
        looked["payment-service"].set()
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        assert "roll back payment-service in production" in words_on(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_no_toast_lies_over_what_is_being_confirmed(size: tuple[int, int]) -> None:
    app = TestConsole(picture(rollouts=()))
    lines = tuple(f"value {number} back to {number - 1}" for number in range(1, 60))
    async with app.run_test(size=size, notifications=True) as pilot:
        app.push_screen(RestoreScreen(app.own_clock, Preview("roll back accounts in production", lines, rollout())))
        await until(pilot, lambda: "value 1 back to 0" in words_on(app))
        before = [line.rstrip() for line in words_on(app).rstrip().splitlines()]
        for word in ("one", "another", "the newest"):
            toast(app.screen, f"{word}: {'long ' * 60}", title=f"{word} of somebody", severity="warning")
        await until(pilot, lambda: "the newest of somebody" in words_on(app))
        assert [line.rstrip() for line in words_on(app).splitlines()][: len(before)] == before
        assert "works when it has rested" in before[-1]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_no_toast_lies_over_the_deploy_that_is_being_confirmed(size: tuple[int, int]) -> None:
    scene = SCENES["deploy"]
    app = scene.console()
    async with app.run_test(size=size, notifications=True) as pilot:
        await scene.enter(app, pilot)
        app.screen.query_one(TypedConfirmation).focus_input()
        await until(pilot, lambda: "enter deploy, once the name is typed" in words_on(app))
        sentence = app.screen.query_one("#sentence")

        def confirmed() -> list[str]:
            return [line.rstrip() for line in words_on(app).splitlines()[sentence.region.y :]]

        await until(pilot, lambda: "goes v2.14.1" in confirmed()[1])  # below the rule that parts it from the form
        before = confirmed()
        toast(app.screen, "long " * 60, title="somebody else's was taken over", severity="warning")
        await until(pilot, lambda: "was taken over" in words_on(app))

        def undisturbed() -> bool:
            assert app.picture.now is not None
            app.new_picture(replace(app.picture, now=app.picture.now + timedelta(seconds=1)))  # as each second
            return confirmed() == before

        await until(pilot, undisturbed)
