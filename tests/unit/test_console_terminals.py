"""What the console does on terminals that are small, poor, resized without end, or clicked at."""

import random

import pytest
from support.consoles import TestConsole, until, words_on
from support.scenes import SCENES

from console import terminal
from console.screens.base import LEAST
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from widgets import glyphs
from widgets.ascii_only import in_ascii
from widgets.grid import Grid
from widgets.keybar import KeyBar

SCREENS = ("fleet", "service", "logs", "deploy", "rollout", "journal", "entry", "story", "calls", "results")


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


@pytest.mark.parametrize("name", SCREENS)
async def test_a_terminal_that_is_too_small_is_told_and_told_no_more_when_it_is_not(name):
    app = SCENES[name].console()
    async with app.run_test(size=(79, 23)) as pilot:
        await SCENES[name].enter(app, pilot)
        assert "80x24 is needed, this is 79x23" in words_on(app)
        await pilot.resize_terminal(*LEAST)
        await pilot.pause()
        assert "is needed" not in words_on(app)


async def test_rollback_works_on_a_terminal_in_which_hardly_anything_can_be_seen():
    app = TestConsole()
    async with app.run_test(size=(20, 6)) as pilot:
        await pilot.press("enter", "R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


@pytest.mark.parametrize("name", ["fleet", "rollout", "deploy", "service", "logs", "help"])
async def test_a_storm_of_resizes_ends_in_the_same_screen(name):
    chance = random.Random(4821)
    app = SCENES[name].console()
    async with app.run_test(size=(120, 40)) as pilot:
        await SCENES[name].enter(app, pilot)
        before = words_on(app)
        for _ in range(25):
            await pilot.resize_terminal(chance.randint(1, 300), chance.randint(1, 80))
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.05)
        await until(pilot, lambda: words_on(app) == before)


async def test_clicks_select_open_and_press_keys():
    app = TestConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.click("#services", offset=(6, 3))
        assert app.screen.query_one("#services", Grid).selected == "payment-service"
        await pilot.click("#services", offset=(6, 3), times=2)
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        await until(pilot, lambda: "l logs" in words_on(app))
        bar = app.screen.query_one("#keys", KeyBar)
        line = words_on(app).splitlines()[bar.region.y]
        await pilot.click("#keys", offset=(line.index("l logs") + 2, 0))
        await until(pilot, lambda: app.screen.where == "logs")


async def test_a_click_on_a_key_that_does_not_work_now_does_nothing():
    app = TestConsole()
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        line = words_on(app).splitlines()[app.screen.query_one("#keys", KeyBar).region.y]
        await pilot.click("#keys", offset=(line.index("(C continue") + 2, 0))
        await pilot.pause()
        assert app.session.asked == []


@pytest.mark.parametrize("name", SCENES)
async def test_where_the_locale_has_ascii_only_nothing_else_is_written(name):
    glyphs.use("ascii")
    try:
        app = SCENES[name].console()
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await SCENES[name].enter(app, pilot)
            shown = words_on(app)
    finally:
        glyphs.use("unicode")
    assert sorted({letter for letter in shown if not letter.isascii()}) == []


def test_what_has_no_likeness_keeps_its_cells():
    assert in_ascii("a─│╭ é 字 ✔ ×") == "a-|+ ? ?? v x"


@pytest.mark.parametrize(
    ("environment", "encoding", "signs"),
    [
        ({"TERM": "xterm-256color"}, "UTF-8", "unicode"),
        ({"TERM": "screen-256color"}, "utf8", "unicode"),
        ({"TERM": "xterm-256color"}, "ANSI_X3.4-1968", "ascii"),
        ({"TERM": "linux"}, "UTF-8", "ascii"),
        ({"TERM": "dumb"}, "UTF-8", "ascii"),
    ],
)
def test_the_signs_that_a_terminal_can_show(environment, encoding, signs):
    assert terminal.signs_for(environment, encoding) == signs
