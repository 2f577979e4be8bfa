"""How the service screen and the log screen look."""

import pytest
from support.consoles import TestConsole, picture
from support.stories import records

from console.tailing import LogsOf

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}")


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


@SIZES
def test_service(snap_compare, size):
    app = TestConsole()

    async def open_it(pilot):
        app.open_service("production", "payment-service")
        await pilot.pause()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=open_it)


@pytest.mark.parametrize("presses", [1, 2], ids=["events", "routes"])
def test_service_folded(snap_compare, presses):
    app = TestConsole()

    async def open_it(pilot):
        app.open_service("production", "payment-service")
        await pilot.pause()
        await pilot.press(*("v" * presses))
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=open_it)


@SIZES
def test_logs(snap_compare, size):
    app = TestConsole(picture())
    app.session.log = records()

    async def open_it(pilot):
        app.open_logs(LogsOf("production", "payment-service"))
        await pilot.pause()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=open_it)


def test_logs_searched_and_wrapped(snap_compare):
    app = TestConsole(picture())
    app.session.log = records()

    async def open_it(pilot):
        app.open_logs(LogsOf("production", "payment-service"))
        await pilot.pause()
        await pilot.press("u", "w", "slash", *"pool", "enter")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=open_it)
