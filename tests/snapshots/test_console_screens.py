"""How the console looks: narrow and wide, dark, light, without colour, in ASCII; when it is well and when it is not."""

from collections.abc import Iterator

import pytest
from support.consoles import TestConsole, card, entry, environment, picture, rollout, service
from support.gallery import READINGS

from console.view import Replaced, Selection
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


def told() -> TestConsole:
    """A rollout that was rolled back and that no cluster has any more: only its entries are left."""
    gates = [{"name": "ticket", "outcome": "pass", "evidence": "CHG-4821 is Approved"}]
    why = {"kind": "trigger", "name": "error-rate", "value": 0.081, "limit": 0.05, "detail": "81 of 1000 requests failed"}
    arm = {"pods": 1, "ready": 1, "requests": 1000.0, "errors": 81.0, "p99": 0.048}
    fired = {"step": 1, "sample": {"canary": arm}, "triggers": [{**why, "fired": True}]}
    step = {"step": 0, "step_name": "25 %", "object": {"kind": "VirtualService", "name": "payment-service"}}
    written = {"prog": {"host": "laptop"}}
    facts = {"previous_version": "v2.14.1", "release": {"strategy": "canary"}, "confirmation": "production"}
    changes = [{"path": "/spec/http/0/route/1/weight", "old": 0, "new": 25}]
    steps = {
        "reason": why,
        "steps": [{"name": "25 %", "outcome": "done", "seconds": 0.3}, {"name": "analyse 120 s", "seconds": 31.0}],
    }
    entries = (
        entry(1, "deployment.started", outcome="started", change_ticket="CHG-4821", data=facts),
        entry(2, "deployment.approval_checked", outcome="pass", data={"gates": gates}),
        entry(3, "deployment.executed", phase="outcome", ref="id-0", data={"step_name": "claim", "epoch": 1}, **written),
        entry(4, "deployment.executed", phase="intent", outcome="", data={**step, "changes": changes}),
        entry(5, "deployment.executed", phase="outcome", ref="id-4", data={**step, "milliseconds": 6.0}),
        entry(20, "rollout.paused", outcome="operator", user="sam", data={"reason": "operator: paused by sam"}),
        entry(28, "rollout.resumed", outcome="done", user="sam"),
        entry(36, "deployment.health_check", outcome="regressed", data=fired),
        entry(37, "deployment.rollback", outcome="started", data={"reason": why}),
        entry(
            38, "deployment.executed", phase="intent", outcome="", command="kubectl patch virtualservice", data={"step_name": "x"}
        ),
        entry(39, "deployment.rollback", outcome="restored", duration_seconds=2.4, data={"budget": 300.0}),
        entry(40, "deployment.completed", outcome="rolled_back", duration_seconds=39.0, data=steps),
    )
    return TestConsole(picture(entries=entries, rollouts=()))


@SIZES
def test_story(snap_compare, size):
    async def opened(pilot):
        await pilot.press("J", "t")
        await pilot.pause(0.3)

    assert snap_compare(told(), terminal_size=size, run_before=opened)


@SIZES
def test_entry(snap_compare, size):
    async def opened(pilot):
        await pilot.press("J", "k", "k", "k", "k", "enter")
        await pilot.pause(0.3)

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
    assert snap_compare(bad_night(), terminal_size=NARROW)


def test_in_ascii(snap_compare, ascii_signs):
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["enter"])
