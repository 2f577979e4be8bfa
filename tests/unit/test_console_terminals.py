"""What the console does on terminals that are small, poor, resized without end, or clicked at."""

import random

import pytest
from support.consoles import TestConsole, card, picture, rollout, until, words_on
from support.judgements import proven_in
from support.scenes import SCENES
from textual import events

from console import terminal
from console.screens.arming import LASTING
from console.screens.base import LEAST
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from services.model.rollout import Phase
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


def place_of(app, words):
    """Where in the key bar a key stands, by what it says."""
    bar = app.screen.query_one("#keys", KeyBar)
    lines = words_on(app).splitlines()[bar.region.y : bar.region.bottom]
    row, line = next((row, line) for row, line in enumerate(lines) if words in line)
    return line.index(words) - bar.region.x, row


async def click_on(app, pilot, words):
    await pilot.click("#keys", offset=place_of(app, words))
    await pilot.pause()


OURS = card(rollout())
PROVEN = card(rollout(judgement=proven_in(rollout().step)))
THEIRS = card(rollout(), own=False, driver="sam@desk", watched=False)
OVER = card(rollout(phase=Phase.SUCCEEDED), window_left=3360.0)


@pytest.mark.parametrize(
    ("shown", "key", "asked"),
    [
        (OURS, "R ROLL BACK", "roll_back"),
        (OVER, "R ROLL BACK", "roll_back"),
        (OURS, "p pause", "pause"),
        (PROVEN, "P promote", "promote"),
        (OURS, "A abort", "abort"),
        (THEIRS, "T take over", "take_over"),
    ],
    ids=["live", "over", "pause", "promote", "abort", "take over"],
)
async def test_a_click_on_a_key_that_changes_anything_arms_it_and_another_one_does_it(shown, key, asked):
    app = TestConsole(picture(rollouts=(shown,)))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and key in words_on(app))
        await click_on(app, pilot, key)
        assert app.session.asked == []
        armed = f"{key[0]} click again: "
        assert armed in words_on(app)
        await app.own_clock.advance(0.3)
        await click_on(app, pilot, armed)  # as a double click does
        assert app.session.asked == []
        await app.own_clock.advance(0.3)
        await click_on(app, pilot, armed)  # and once more: it has not rested
        assert app.session.asked == []
        await app.own_clock.advance(0.5)
        await click_on(app, pilot, armed)
        await until(pilot, lambda: app.session.asked == [(asked, "r-1")])
        assert "click again" not in words_on(app)


async def test_an_armed_key_is_forgotten_with_time_and_with_what_it_was_about():
    one, two = card(rollout("one", service="accounts")), card(rollout("two", service="checkout"))
    app = TestConsole(picture(rollouts=(one, two)))
    async with app.run_test(size=(200, 50)) as pilot:
        await until(pilot, lambda: "R ROLL BACK" in words_on(app))
        await click_on(app, pilot, "R ROLL BACK")
        assert "R click again: ROLL BACK" in words_on(app)
        await app.own_clock.advance(LASTING)
        app.new_picture(app.picture)
        await pilot.pause()
        assert "click again" not in words_on(app)
        await click_on(app, pilot, "R ROLL BACK")
        assert app.session.asked == []
        await pilot.press("j")
        await app.own_clock.advance(1.0)
        assert "click again" not in words_on(app)
        await click_on(app, pilot, "R ROLL BACK")
        assert app.session.asked == []


@pytest.mark.parametrize("opened", ["ctrl+p", "question_mark"])
async def test_what_is_clicked_at_in_the_list_of_actions_is_armed_and_enter_does_it_at_once(opened):
    app = TestConsole(picture(rollouts=(OURS,)))
    async with app.run_test(size=(200, 50)) as pilot:
        await until(pilot, lambda: "R ROLL BACK" in words_on(app))
        for by_mouse in (True, False):
            await pilot.press(opened)
            if opened == "ctrl+p":
                await pilot.press(*"pause")
            listed = "pause  (p)" if opened == "ctrl+p" else "Pause the rollout"
            await until(pilot, lambda listed=listed: listed in words_on(app))
            lines = words_on(app).splitlines()
            row = next(row for row, line in enumerate(lines) if (listed if opened == "ctrl+p" else " p  ") in line)
            column = 60
            if by_mouse:
                for kind in (events.MouseDown, events.MouseUp) * (2 if opened == "question_mark" else 1):
                    app.post_message(kind(None, column, row, 0, 0, 1, False, False, False, column, row))
                    await pilot.pause()
                await until(pilot, lambda: "p click again: pause" in words_on(app))
                assert app.session.asked == []
            elif opened == "ctrl+p":
                await pilot.press("down", "enter")
                await until(pilot, lambda: app.session.asked == [("pause", "r-1")])


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
