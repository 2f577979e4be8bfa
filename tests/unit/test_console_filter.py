"""What can be typed into a filter, how long it may take, and that a filter that is none leaves the old one in force."""

import gc
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import FLEET, TestConsole, picture, until, words_on
from textual.app import App, ComposeResult
from textual.widgets import Input

from console.screens.fleet import FleetScreen
from console.screens.help import HelpScreen
from console.screens.journal import JournalScreen
from console.screens.service import ServiceScreen
from widgets.grid import Column, Grid, Row
from widgets.grid.bounded import TooSlow, within
from widgets.grid.model import arrange
from widgets.grid.terms import LONGEST, BadFilter, parse
from widgets.grid.view import PATIENCE
from widgets.ink import Tone

WIDE = (120, 40)
NAMES = st.text(alphabet="abAB-1é ", min_size=1, max_size=12)
CATASTROPHES = {
    r"/(a+)+$/": "a" * 60 + "!",
    r"/(a|a)*$/": "a" * 60 + "!",
    r"/(.*)*x/": "a" * 4000,
    r"/.*.*.*.*.*.*x/": "a" * 4000,
    r"/((((a*)*)*)*)*b/": "a" * 80,
    r"/(\w+\s?)*$/": "word " * 60 + "!",
    r"/(a*)*\1b/": "a" * 60,
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


def row(*cells: str) -> Row:
    return Row(cells[0], cells)


def kept(text: str, rows: list[Row]) -> list[str]:
    wanted = parse(text)
    return [each.key for each in arrange(rows, wanted) if wanted.finds(each.text)]


ROWS = [row("payment-service", "v2.14.1", "ok"), row("checkout", "v1.9.0", "not ready"), row("pay-rc", "v2.15.0-rc.1", "failed!")]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ["payment-service", "checkout", "pay-rc"]),
        ("   ", ["payment-service", "checkout", "pay-rc"]),
        ("PAY v2", ["payment-service", "pay-rc"]),
        ("!pay", ["checkout"]),
        ("pay !rc", ["payment-service"]),
        ('"not ready"', ["checkout"]),
        ('!"not ready" !ok', ["pay-rc"]),
        ('"failed!"', ["pay-rc"]),
        ("/^pay/", ["payment-service", "pay-rc"]),
        ("/^PAY.*E$", ["payment-service"]),
        (r"/^v2\.\d+\.\d$/", ["payment-service"]),
        (r"!/rc\.\d/ !checkout", ["payment-service"]),
        ("/t r/ ready", ["checkout"]),
        ("!", ["payment-service", "checkout", "pay-rc"]),
        ("/", ["payment-service", "checkout", "pay-rc"]),
        ("!/", ["payment-service", "checkout", "pay-rc"]),
        ('"', ["payment-service", "checkout", "pay-rc"]),
        ("ok/", []),
    ],
)
def test_what_can_be_typed(typed, found):
    assert kept(typed, ROWS) == found


@pytest.mark.parametrize(
    "typed", ["/(", "/[a", "pay /*x/", r"/(?P<n>a)(?P<n>b)/", "/a{99999999999999999999}/", "x" * (LONGEST + 1)]
)
def test_what_is_no_filter_is_said_to_be_none(typed):
    with pytest.raises(BadFilter) as error:
        parse(typed)
    assert str(error.value)


@given(st.lists(st.text(alphabet="abé1-", min_size=1, max_size=4), max_size=4), st.lists(NAMES, max_size=8, unique=True))
def test_every_word_must_occur_in_any_case(words, names):
    rows = [row(name) for name in names]
    plain = [word for word in words if not word.startswith(("!", "/", '"'))]
    wanted = [name for name in names if all(word.casefold() in name.casefold() for word in plain)]
    assert kept(" ".join(plain).upper(), rows) == wanted


@given(st.text(alphabet='ab /!"\\', max_size=12), st.lists(NAMES, max_size=6, unique=True))
def test_a_term_and_its_negation_share_the_rows(term, names):
    rows = [row(name) for name in names]
    text = '"' + term.replace('"', "").strip() + '"'
    if len(text) > 2:
        assert sorted(kept(text, rows) + kept(f"!{text}", rows)) == sorted(names)


@given(st.text(max_size=60))
def test_no_text_breaks_it(text):
    try:
        wanted = parse(text)
    except BadFilter:
        return
    assert wanted.text == text
    with within(5.0):
        assert set(kept(text, ROWS)) <= {each.key for each in ROWS}


@given(st.from_regex(r"\A[ab.^$|]{1,6}\Z"), st.lists(NAMES, max_size=6, unique=True))
def test_a_pattern_is_python_s_own_in_any_case(pattern, names):
    expected = [name for name in names if re.search(pattern, name, re.IGNORECASE)]
    # a row's cells are lines of their own: a name of several cells is not needed here
    assert kept(f"/{pattern}/", [Row(name, ()) for name in names]) == expected


# ---- time


@pytest.mark.parametrize("typed", CATASTROPHES)
def test_a_pattern_that_would_take_for_ever_is_cut_short(typed):
    wanted, text = parse(typed), CATASTROPHES[typed]
    began = time.process_time()
    with pytest.raises(TooSlow), within(PATIENCE):
        wanted.finds(text)
    assert time.process_time() - began < 10 * PATIENCE


def test_time_that_is_up_outside_of_the_block_harms_nobody():
    with within(0.02):  # more than a tick of the processor's clock, which may fall into the block itself
        pass
    busy = time.process_time() + 0.06
    while time.process_time() < busy:
        pass


def test_nothing_of_the_time_goes_into_collecting_garbage():
    collected: list[str] = []

    def told(phase: str, _info: dict[str, int]) -> None:
        collected.append(phase)

    gc.callbacks.append(told)
    try:
        with within(5.0):
            kept_alive = [[number] for number in range(100_000)]
            during = len(collected)
        assert (during, len(kept_alive)) == (0, 100_000)
        with pytest.raises(TooSlow), within(PATIENCE):
            parse(r"/(a+)+$/").finds("a" * 60 + "!")
        assert gc.isenabled()
    finally:
        gc.callbacks.remove(told)


class Listing(App[None]):
    def compose(self) -> ComposeResult:
        yield Grid([Column("name", "NAME", 20, flex=1), Column("state", "STATE", 10)])


async def test_a_pattern_that_takes_too_long_is_refused_and_the_old_filter_stays():
    app = Listing()
    async with app.run_test():
        grid = app.query_one(Grid)
        grid.apply([row("a" * 60 + "!", "ok"), row("beta", "ok")])
        assert grid.set_filter("beta") == ""
        problem = grid.set_filter("/(a+)+$/")
        assert "longer than" in problem
        assert (grid.filter, grid.shown) == ("beta", ("beta",))


async def test_a_pattern_that_meets_its_match_later_gives_way_to_all_rows():
    app = Listing()
    async with app.run_test():
        grid = app.query_one(Grid)
        grid.apply([row("aaa", "ok"), row("beta", "ok")])
        assert grid.set_filter("/(a+)+$/") == ""
        grid.apply([row("aaa", "ok"), row("a" * 60 + "!", "ok")])
        assert len(grid.shown) == 2
        assert "takes too long" in grid.dropped
        assert grid.filter == ""


async def test_five_thousand_rows_are_filtered():
    app = Listing()
    async with app.run_test():
        grid = app.query_one(Grid)
        rows = [row(f"service-{index}-{index % 7}", "ok" if index % 3 else "failed") for index in range(5000)]
        grid.apply(rows)
        for typed, count in [("service 1 !failed", None), (r"/^service-\d*3-\d/", 500), (r"!/-[0-5]$/ ok", None)]:
            assert grid.set_filter(typed) == ""
            assert count is None or len(grid.shown) == count


# ---- faults


async def test_faults_only_shows_what_is_bad_and_what_nobody_knows():
    app = Listing()
    async with app.run_test():
        grid = app.query_one(Grid)
        grid.apply(
            [
                Row("well", ("well", ("ok", Tone.GOOD))),
                Row("bad", ("bad", ("failed", Tone.BAD))),
                Row("so-so", ("so-so", ("degraded", Tone.WARN))),
                Row("grey", ("grey", ("ok", Tone.MUTED)), unsure=True),
            ]
        )
        grid.set_faults(True)
        assert grid.shown == ("bad", "so-so", "grey")
        grid.set_filter("bad")
        assert grid.shown == ("bad",)
        grid.set_faults(False)
        grid.set_filter("")
        assert len(grid.shown) == 4


# ---- on the screen


async def anew(pilot, *keys):
    """Open the field of the filter, take out what is in it, and press ``keys``."""
    await pilot.press("slash")
    on = pilot.app.screen
    await until(pilot, lambda: isinstance(on.focused, Input) and on.focused.cursor_position == len(on.focused.value) > 0)
    await pilot.press("ctrl+u", *keys)


async def test_an_invalid_pattern_is_said_beside_the_field_and_the_old_filter_stays_in_force():
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("tab", "slash", *"pay")
        grid = app.screen.query_one("#services", Grid)
        await until(pilot, lambda: grid.shown == ("payment-service",))
        for _ in "pay":
            await pilot.press("backspace")
        await pilot.press(*"/(")
        await until(pilot, lambda: "no regular expression" in words_on(app))
        assert grid.filter == "", "the slash alone is no filter, and nothing was kept before"
        assert len(grid.shown) == 4
        await pilot.press("backspace", *"^acc")
        await until(pilot, lambda: grid.shown == ("accounts",))
        assert "no regular expression" not in words_on(app)
        await pilot.press("enter")
        assert "/^acc  1 of 4" in words_on(app)


async def test_a_filter_is_kept_while_one_is_elsewhere_and_esc_clears_it():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("slash", *"acc", "enter")
        await until(pilot, lambda: "/acc  1 of 4" in words_on(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert "/acc  1 of 4" in words_on(app)
        await pilot.press("escape")
        await until(pilot, lambda: "/acc" not in words_on(app))


async def test_what_is_no_filter_leaves_the_kept_one_in_force_and_enter_does_not_close_the_field():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(80, 24)) as pilot:
        grid = app.screen.query_one("#services", Grid)
        await pilot.press("slash", *"check", "enter")
        await until(pilot, lambda: grid.shown == ("checkout",))
        await anew(pilot, *"/(uncl")
        await until(pilot, lambda: "no regular expression" in words_on(app))
        assert (grid.shown, grid.filter) == (("checkout",), "check")
        assert "/check  1 of 4" in words_on(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "no regular expression" in words_on(app), "what is wrong stays on the screen, with what was typed"
        assert app.screen.query_one("#filter", Input).value == "/(uncl"
        await pilot.press("backspace", "backspace", "backspace", "backspace", "backspace", *"acc", "enter")
        await until(pilot, lambda: grid.shown == ("accounts",))
        assert app.screen.focused is grid


async def test_a_slash_alone_is_no_filter():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        grid = app.screen.query_one("#services", Grid)
        await pilot.press("slash", *"acc", "enter")
        await until(pilot, lambda: grid.shown == ("accounts",))
        await anew(pilot, "slash")
        await until(pilot, lambda: len(grid.shown) == 4)
        await pilot.press("enter")
        assert "of 4" not in words_on(app)


async def test_esc_in_the_field_leaves_what_was_kept_and_on_the_list_clears_it_and_the_key_bar_says_which():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(80, 24)) as pilot:
        grid = app.screen.query_one("#services", Grid)
        await pilot.press("slash", *"check", "enter")
        await until(pilot, lambda: grid.shown == ("checkout",))
        assert "esc clear the filter" in words_on(app)
        await anew(pilot, *"acc")
        await until(pilot, lambda: grid.shown == ("accounts",))
        assert "esc leave it as it was" in words_on(app)
        await pilot.press("escape")
        await until(pilot, lambda: grid.shown == ("checkout",))
        assert app.screen.focused is grid
        await pilot.press("slash")
        assert app.screen.query_one("#filter", Input).value == "check"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: len(grid.shown) == 4)
        assert "esc clear" not in words_on(app)


async def test_the_same_holds_in_the_journal():
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen) and app.screen.query_one("#entries", Grid).shown)
        grid = app.screen.query_one("#entries", Grid)
        await pilot.press("slash", *"outcome:holds", "enter")
        await until(pilot, lambda: grid.shown == ("5",))
        await anew(pilot, *"/(", "enter")
        await until(pilot, lambda: "no regular expression" in words_on(app))
        assert grid.shown == ("5",)
        assert app.screen.filter_text() == "outcome:holds"
        await pilot.press("escape")
        await until(pilot, lambda: "no regular expression" not in words_on(app))
        assert grid.shown == ("5",)
        await pilot.press("escape")
        await until(pilot, lambda: len(grid.shown) == 5)


async def test_a_search_in_help_follows_the_same_rule():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.focused is not None)
        grid = app.screen.query_one(Grid)
        await pilot.press("slash", *"jump", "enter")
        await until(pilot, lambda: grid.shown == ("action jump",))
        await anew(pilot, *"/(", "enter")
        await until(pilot, lambda: "no regular expression" in words_on(app))
        assert grid.shown == ("action jump",)
        await pilot.press("escape")
        await until(pilot, lambda: "no regular expression" not in words_on(app))
        assert grid.shown == ("action jump",)
        await pilot.press("escape")
        await until(pilot, lambda: len(grid.shown) > 10)


async def test_ctrl_z_leaves_only_what_is_wrong():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("ctrl+z")
        grid = app.screen.query_one("#services", Grid)
        await until(pilot, lambda: grid.shown == ("checkout",))
        assert "faults only  1 of 4" in words_on(app)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(grid.shown) == len(FLEET.environments[2].services))


async def test_the_field_takes_no_more_than_a_filter_may_have():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("slash")
        assert app.screen.query_one("#filter", Input).max_length == LONGEST
