"""How the console looks: narrow and wide, dark, light, without colour, in ASCII; when it is well and when it is not."""

from collections.abc import Iterator

import pytest
from support.consoles import TestConsole, card, entry, environment, picture, rollout, service
from support.gallery import READINGS

from console.view import Selection
from services.model.fleet import FleetView
from services.model.rollout import Phase, Reason
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


def bad_night() -> TestConsole:
    """A rollout that nobody watches, one that was rolled back, an environment that does not answer."""
    views = (
        environment("dev", (service("accounts", "dev"),), reachable=False, age_seconds=125.0, problem="connection refused"),
        environment("production", (service("payment-service", canary_version="v2.15.0", canary_ready=1, canary_weight=25),)),
    )
    fired = Reason(kind="trigger", name="error-rate", value=0.081, limit=0.05, detail="81 of 1000 requests failed")
    back = rollout("r-0", service="checkout", phase=Phase.ROLLED_BACK, reason=fired, rollback_started=900.0, finished=902.0)
    return TestConsole(picture(fleet=FleetView(environments=views), rollouts=(card(back), card(rollout(), watched=False))))


@SIZES
def test_fleet(snap_compare, size):
    assert snap_compare(TestConsole(), terminal_size=size)


def test_fleet_on_a_bad_night(snap_compare):
    assert snap_compare(bad_night(), terminal_size=WIDE)


@SIZES
def test_rollout(snap_compare, size):
    assert snap_compare(TestConsole(), terminal_size=size, press=["enter"])


def test_rollout_rolling_back(snap_compare):
    reason = Reason(kind="trigger", name="error-rate", value=0.081, limit=0.05, detail="81 of 1000 requests failed")
    going = rollout(
        phase=Phase.ROLLING_BACK, reason=reason, triggers=READINGS, rollback_started=1000.0, next="restores v2.14.1", next_at=None
    )
    assert snap_compare(TestConsole(picture(rollouts=(card(going),))), terminal_size=WIDE, press=["enter"])


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


def test_help(snap_compare):
    assert snap_compare(TestConsole(), terminal_size=WIDE, press=["enter", "question_mark"])


def test_light(snap_compare, monkeypatch):
    monkeypatch.setenv("QUARTERDECK_THEME", "light")
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["enter"])


def test_without_colour(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(bad_night(), terminal_size=NARROW)


def test_in_ascii(snap_compare, ascii_signs):
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["enter"])
