"""How the service screen and the log screen look."""

import pytest
from support.consoles import HOSTILE, NOW, TestConsole, picture

from console.tailing import LogsOf
from widgets.logpane import Record

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=lambda size: f"{size[0]}")


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


def records() -> list[Record]:
    first = NOW.timestamp()
    tags = (("v2.14.1 x7k2p", 0), ("v2.15.0 9fzqd", 1), ("v2.14.1 mm4t8", 2))
    found = []
    for number in range(60):
        tag, hue = tags[number % 3]
        text = f"INFO POST /api/v1/payment 200 {7 + number % 31}ms request={number * 7919:08x}"
        if number % 13 == 5:
            text = f"ERROR POST /api/v1/payment 500 31ms request={number * 7919:08x} upstream settlement-gateway: 502 Bad Gateway"
        elif number % 17 == 3:
            text = f"WARN connection pool: 18 of 20 in use request={number * 7919:08x}"
        found.append(Record(text, tag, hue, first + number / 3))
    found[-4] = Record(HOSTILE, *tags[0], first + 19)
    found[-3] = Record("x" * 300, *tags[1], first + 19.2, cut=True)
    found[-1] = Record("payment-service-7d9f-9fzqd ended: the pod is gone", *tags[1], first + 20, told=True)
    return found


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
