"""How the console looks: narrow and wide, dark, light, without colour, in ASCII; when it is well and when it is not."""

from collections.abc import Iterator

import pytest
from support.consoles import TestConsole, card, entry, picture, rollout, until, words_on
from support.scenes import bad_night, rolling_back
from support.stories import told_entries

from console.view import Replaced, Selection
from widgets import glyphs

NARROW, WIDE = (80, 24), (120, 40)
SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=lambda size: f"{size[0]}")


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS", "CHANGE_TICKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


@pytest.fixture
def ascii_signs() -> Iterator[None]:
    glyphs.use("ascii")
    yield
    glyphs.use("unicode")


@SIZES
def test_fleet(snap_compare, size):
    assert snap_compare(TestConsole(), terminal_size=size)


def test_fleet_on_a_bad_night(snap_compare):
    assert snap_compare(TestConsole(bad_night()), terminal_size=WIDE)


@SIZES
def test_rollout(snap_compare, size):
    assert snap_compare(TestConsole(), terminal_size=size, press=["enter"])


def test_rollout_rolling_back(snap_compare):
    assert snap_compare(TestConsole(picture(rollouts=(rolling_back(),))), terminal_size=WIDE, press=["enter"])


@SIZES
def test_deploy(snap_compare, size):
    app = TestConsole()

    async def fill(pilot):
        app.open_deploy(Selection("production", "payment-service"))
        await pilot.pause()
        for name, value in [
            ("environment", "production"),
            ("version", "v2.15.0"),
            ("strategy", "canary"),
            ("ticket", "CHG-4821"),
        ]:
            app.screen._field(name).set_value(value)
        await pilot.pause()
        app.screen.set_focus(None)  # a focused field blinks
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=fill)


@SIZES
def test_journal(snap_compare, size):
    refused = entry(6, "rollout.refused", outcome="refused", data={"reason": "approval: 1 of 2"})
    app = TestConsole(picture(entries=(*picture().entries, refused)))
    assert snap_compare(app, terminal_size=size, press=["J"])


def told() -> TestConsole:
    """A rollout that was rolled back and that no cluster has any more: only its entries are left."""
    return TestConsole(picture(entries=told_entries(), rollouts=()))


@SIZES
def test_story(snap_compare, size):
    async def opened(pilot):
        await pilot.press("J", "t")
        await until(pilot, lambda: "moments from this home's journal" in words_on(pilot.app))

    assert snap_compare(told(), terminal_size=size, run_before=opened)


@SIZES
def test_entry(snap_compare, size):
    async def opened(pilot):
        await pilot.press("J", "k", "k", "k", "k", "enter")
        await until(pilot, lambda: "EVIDENCE" in words_on(pilot.app))

    assert snap_compare(told(), terminal_size=size, run_before=opened)


def test_a_rollout_that_was_taken_over(snap_compare):
    lost = card(rollout(), own=False, driver="sam@desk", lease_age=1.0, replaced=Replaced("sam@desk", picture().now))
    assert snap_compare(TestConsole(picture(rollouts=(lost,))), terminal_size=WIDE, press=["enter"])


def test_help(snap_compare):
    assert snap_compare(TestConsole(), terminal_size=WIDE, press=["enter", "question_mark"])


def test_light(snap_compare, monkeypatch):
    monkeypatch.setenv("QUARTERDECK_THEME", "light")
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["enter"])


def test_without_colour(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(TestConsole(bad_night()), terminal_size=NARROW)


def test_in_ascii(snap_compare, ascii_signs):
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["enter"])
