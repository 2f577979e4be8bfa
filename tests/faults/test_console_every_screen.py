"""Random keys and resizes on every screen of a real console: it neither falls over nor changes anything that was not confirmed.

``QUARTERDECK_PRESSES`` says how many on each screen (100 without; a third of it on those that are little more than others):
``QUARTERDECK_PRESSES=1000 pytest tests/faults/…``. ``QUARTERDECK_SEED`` chooses other keys.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.consoles import words_on
from support.headless import headless, soon
from support.world import NAMESPACES, World, world
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.screens.entry import EntryScreen
from console.screens.fleet import FleetScreen
from console.screens.story import StoryScreen
from console.tailing import LogsOf
from console.view import Selection

pytestmark = pytest.mark.long

SEED = int(os.environ.get("QUARTERDECK_SEED", "4821"))
PRESSES = int(os.environ.get("QUARTERDECK_PRESSES", "100"))
RESTLESS = "recommendations"
SERVICE = "payment-service"
NAMES = {
    "?": "question_mark",
    "/": "slash",
    ":": "colon",
    " ": "space",
    "!": "exclamation_mark",
    "@": "at",
    "-": "minus",
    ".": "full_stop",
}
KEYS = (
    *"dRpPCATvjkgGhJtylafxEios/:?!@ nz0159-.",
    *("enter", "enter", "escape", "escape", "tab", "tab", "shift+tab", "up", "down", "down", "left", "right", "home", "end"),
    *("pageup", "pagedown", "backspace", "delete", "f1", "ctrl+p", "ctrl+t", "ctrl+r", "ctrl+c", "ctrl+u", "ctrl+a", "ctrl+z"),
    *("ctrl+l", "ctrl+j", "alt+R", "alt+x", "f5"),
)
SIZES = ((100, 30), (80, 24), (40, 10), (20, 5), (160, 50), (200, 60), (61, 17))
Opening = Callable[[ConsoleApp, Pilot[Any]], Awaitable[None]]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("screens"), speed=60) as running:
        # a rollout that was rolled back: it has a screen, and nothing that one key could still take back
        home = running.new_home("before")
        back = running.deploy(home, SERVICE, "v2.15.0", "-e", "dev", "--strategy", "canary")
        assert back.document["outcome"] == "succeeded", back.err
        assert running.run(home, "-o", "json", "rollback", SERVICE, "-e", "dev").code == 0
        # without an earlier revision there is nothing that two presses of R could go back to
        for namespace in NAMESPACES:
            for found in running.items("ReplicaSet", namespace):
                if not found["spec"].get("replicas"):
                    running.delete("ReplicaSet", namespace, found["metadata"]["name"])
        yield running


def objects(sandbox: World) -> dict[str, str]:
    return {name: version for name, version in sandbox.versions().items() if RESTLESS not in name}


def by_key(*keys: str) -> Opening:
    async def opened(app: ConsoleApp, pilot: Pilot[Any]) -> None:
        await pilot.press(*keys)

    return opened


async def _service(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    app.open_service("production", SERVICE)


async def _rollout(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    await soon(app, lambda: app.picture.rollouts)
    app.open_rollout(app.picture.rollouts[0].key)


async def _deploy(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    app.open_deploy(Selection("production", SERVICE))


async def _logs(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    app.open_logs(LogsOf("production", SERVICE))


async def _story(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    await soon(app, lambda: app.picture.rollouts)
    app.push_screen(StoryScreen(app.picture.rollouts[0].key))


async def _entry(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    await soon(app, lambda: app.picture.entries)
    app.push_screen(EntryScreen(app.picture.entries[-1]))


SCREENS: dict[str, Opening] = {
    "fleet": by_key(),
    "service": _service,
    "rollout": _rollout,
    "deploy": _deploy,
    "journal": by_key("J"),
    "health": by_key("J", "h"),
    "help": by_key("question_mark"),
    "palette": by_key("ctrl+p"),
    "prompt": by_key("colon"),
    "calls": by_key("at"),
    "results": by_key("ctrl+l"),
    "logs": _logs,
    "story": _story,
    "entry": _entry,
    "jump": by_key("f"),
}
FEWER = frozenset({"logs", "story", "entry", "jump"})


@asynccontextmanager
async def opened(sandbox: World, home: Path) -> AsyncIterator[tuple[ConsoleApp, Pilot[Any]]]:
    async with headless(sandbox, home, size=(100, 30)) as (app, pilot):
        yield app, pilot


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.timeout(900)
async def test_random_keys_neither_break_a_screen_nor_change_a_cluster(sandbox: World, name: str) -> None:
    chance = random.Random(f"{SEED} {name}")
    # an entry, and what a story is told from, are in the journal of the home from which something was done
    home = sandbox.place / "home-before" if name in ("story", "entry") else sandbox.new_home(f"keys-{name}")
    before = objects(sandbox)
    async with opened(sandbox, home) as (app, pilot):
        left: list[object] = []
        # the palette offers to leave, and so may chance: noted, and not done
        app.exit = lambda *words, **more: left.append((words, more))  # type: ignore[method-assign]
        for round in range(PRESSES // (30 if name in FEWER else 10)):
            if round % 5 == 0:
                await _home(app)
                await pilot.resize_terminal(100, 30)
                await SCREENS[name](app, pilot)
            keys = [chance.choice(KEYS) for _ in range(10)]
            for key in keys:
                app.simulate_key(NAMES.get(key, key))
                await asyncio.sleep(0.005)
            if chance.random() < 0.4:
                await pilot.resize_terminal(*chance.choice(SIZES))
            await pilot.pause(0.01)
            assert app._exception is None, (keys, app._exception)
            assert app.is_running, keys
        await _home(app)
        await pilot.resize_terminal(100, 30)
        await soon(app, lambda: _at_home(app) and "ENVIRONMENTS" in words_on(app))
    assert objects(sandbox) == before
    assert all(more.get("return_code", 0) == 0 for _, more in left), left
    log = (home / "log" / "quarterdeck.log").read_text(errors="replace")
    assert "Traceback" not in log, log[-4000:]
    assert sandbox.verified(home).ok


async def _home(app: ConsoleApp) -> None:
    await soon(app, lambda: _at_home(app))


def _at_home(app: ConsoleApp) -> bool:
    """Leaves every other screen; a question that was asked there may come a moment later, once the cluster has answered."""
    while len(app.screen_stack) > 1:
        app.pop_screen()
    return isinstance(app.screen, FleetScreen) and app.screen.entered
