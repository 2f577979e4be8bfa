"""Screens that are there at once: put together ahead, kept or standing by, and given up when they are left."""

import gc
import weakref
from typing import Any

import pytest
from support.consoles import TestConsole, picture, until, words_on
from textual.color import Color
from textual.widget import Widget

from console import keeping
from console.screens.deploy import DeployScreen
from console.screens.fleet import FleetScreen
from console.screens.journal import JournalScreen
from console.screens.logs import LogsScreen
from console.screens.rollout import RolloutScreen
from console.view import Selection
from widgets.evidence.checklist import ChecklistView


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


@pytest.fixture
def no_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Screens are put together one right after the other."""
    monkeypatch.setattr(keeping, "QUIET", 0.0)
    monkeypatch.setattr(keeping, "LONGER_QUIET", 0.0)


def standing_by(app: TestConsole, kind: type[Any] = DeployScreen) -> Any:
    """The screen that is ready to be opened, or none."""
    found = app._standing_by.get(kind.__name__)
    return found if found is not None and found.entered else None


async def test_screens_are_put_together_ahead_while_no_key_is_pressed():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        names = ("ServiceScreen", "JournalScreen", "HelpScreen", "PromptScreen", "JumpScreen", "CallsScreen", "ResultsScreen")
        await until(pilot, lambda: all(app.is_screen_installed(name) and app.get_screen(name).is_running for name in names))
        assert isinstance(app.screen, FleetScreen)
        for key, words in (("J", "JOURNAL"), ("question_mark", "keys of"), ("colon", ":"), ("at", "CALLS")):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in words_on(app))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))


async def test_a_screen_that_stands_by_is_used_once_and_another_takes_its_place(no_quiet):
    app = TestConsole(picture())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.put_together_ahead()

        await until(pilot, lambda: standing_by(app))
        used = []
        for theme, size in (("dark", (80, 24)), ("light", (200, 50))):
            await until(pilot, lambda: standing_by(app))
            used.append(standing_by(app))
            app.theme = theme
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await pilot.press("d")
            assert app.screen is used[-1]
            await until(pilot, lambda: "CHECKLIST" in words_on(app))
            assert app.screen.request().service == "payment-service", "what was selected, not what the one before was about"
            assert app.screen.has_class("-narrow" if size == (80, 24) else "-wide")
            seen, fresh = app.screen.query_one("#checks-pane"), DeployScreen()
            seen = seen.background_colors, seen.region
            await pilot.press("escape", "escape")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))
            app.push_screen(fresh)
            await until(pilot, lambda fresh=fresh: fresh.entered)
            await pilot.pause()
            put_together_now = fresh.query_one("#checks-pane")
            assert (put_together_now.background_colors, put_together_now.region) == seen
            await pilot.press("escape", "escape")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert used[0] is not used[1]
        assert not used[0].is_running


async def test_a_screen_that_was_kept_wears_the_theme_that_is_on():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        app.theme = "dark"
        await pilot.pause()
        for theme in ("light", "light", "dark"):
            app.theme = theme
            await pilot.pause()
            await pilot.press("J")
            await until(pilot, lambda: "TIME (UTC)" in words_on(app))
            assert app.screen.background_colors[1] == Color.parse(app.current_theme.background)
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))


async def test_a_screen_is_styled_when_it_is_put_together_and_once_for_each_theme(monkeypatch):
    styled: list[Widget] = []
    own = JournalScreen.update_node_styles

    def update_node_styles(screen: JournalScreen, animate: bool = True) -> None:
        styled.append(screen)
        own(screen, animate)

    monkeypatch.setattr(JournalScreen, "update_node_styles", update_node_styles)
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        journal = app._journal()
        await app._put_together(journal)
        found = []
        for theme in ("dark", "dark", "light", "light"):
            app.theme = theme
            await pilot.pause()
            styled.clear()
            await pilot.press("J")
            await until(pilot, lambda: app.screen is journal and "TIME (UTC)" in words_on(app))
            found.append(len(styled))
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert found == [0, 0, 1, 0]


async def opened_and_left(app: TestConsole, pilot: Any) -> list[weakref.ref[Any]]:
    """What the parts of a deploy screen drew that was opened and left."""
    await pilot.press("d")
    await until(pilot, lambda: isinstance(app.screen, DeployScreen))
    await pilot.pause()
    drawn = [weakref.ref(part._styles_cache) for part in app.screen.walk_children(Widget, with_self=True)]
    await pilot.press("escape", "escape")
    await until(pilot, lambda: isinstance(app.screen, FleetScreen))
    return drawn


async def test_what_a_left_screen_drew_is_given_up_once_another_stands_by(no_quiet):
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        drawn: list[list[weakref.ref[Any]]] = []
        for _ in range(4):
            await until(pilot, lambda: standing_by(app))
            drawn.append(await opened_and_left(app, pilot))
        await until(pilot, lambda: not [each for left in drawn[:-1] for each in left if each() is not None])


async def test_what_left_screens_drew_is_given_up_though_keys_leave_no_quiet():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        drawn: list[list[weakref.ref[Any]]] = []
        for _ in range(4):
            drawn.append(await opened_and_left(app, pilot))
        gc.collect()
        assert not [each for left in drawn[:-1] for each in left if each() is not None]


async def test_screens_that_stand_by_have_their_places_and_were_drawn(no_quiet, monkeypatch):
    drawn: list[Widget] = []
    own = ChecklistView.render_line

    def render_line(view: ChecklistView, y: int) -> Any:
        drawn.append(view.screen)
        return own(view, y)

    monkeypatch.setattr(ChecklistView, "render_line", render_line)
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        kinds = (DeployScreen, LogsScreen, RolloutScreen)
        await until(pilot, lambda: all(standing_by(app, kind) for kind in kinds))
        await until(pilot, lambda: standing_by(app) in drawn)
        assert standing_by(app).query_one("#checks-pane").region.area > 0
        assert standing_by(app, LogsScreen).query_one("#log").region.area > 0
        assert standing_by(app, RolloutScreen).query_one("#steps-pane").region.area == 0, "what it shows decides over its places"


async def test_a_screen_that_can_not_be_put_together_ahead_is_told_of_and_the_others_stand_by(no_quiet, monkeypatch, caplog):
    made: list[DeployScreen] = []

    def nowhere(screen: DeployScreen) -> None:
        made.append(screen)
        screen.query_one("#nowhere")

    monkeypatch.setattr(DeployScreen, "focus_first", nowhere)
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        await until(pilot, lambda: standing_by(app, LogsScreen))
        assert any("The deploy screen failed unexpectedly (NoMatches" in shown.text for shown in app.results.results)
        assert "#nowhere" in caplog.text
        (failed,) = made
        assert not failed.is_running
        taken = standing_by(app, LogsScreen)
        await pilot.press("l")
        await until(pilot, lambda: app.screen is taken)
        await until(pilot, lambda: standing_by(app, LogsScreen))
        assert made == [failed], "what failed once is not tried again and again"
        await pilot.press("q")
        monkeypatch.undo()
        app.open_deploy(Selection("production", "payment-service"))
        await until(pilot, lambda: "CHECKLIST" in words_on(app) and app.screen.entered)


async def test_a_screen_that_can_not_be_drawn_ahead_is_told_of_and_the_others_stand_by(no_quiet, monkeypatch, caplog):
    def fails(view: ChecklistView, y: int) -> Any:
        raise LookupError("no such line")

    monkeypatch.setattr(ChecklistView, "render_line", fails)
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        await until(pilot, lambda: standing_by(app, LogsScreen))
        assert standing_by(app) is None
        assert [
            shown.text for shown in app.results.results if "DeployScreen ahead failed unexpectedly (LookupError" in shown.text
        ]
        assert [screen for screen in app._registry if isinstance(screen, DeployScreen)] == []


async def test_screens_are_put_together_by_one_only(no_quiet):
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.put_together_ahead()
        await pilot.pause()
        app.put_together_ahead()
        await until(pilot, lambda: standing_by(app))
        assert len([worker for worker in app.workers if worker.group == "ahead" and worker.is_running]) == 1
