"""Hundreds of random keys and resizes: the console neither falls over nor changes anything that was not confirmed."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.consoles import TestConsole, card, picture, rollout, words_on
from support.terminal import Screen, console, needs_tmux
from support.world import NAMESPACES, World, world
from textual import events

from console.bursts import REST
from console.screens.base import ConsoleScreen
from console.screens.confirming import ConfirmingScreen
from console.screens.questions import TakeOverScreen
from services.model.rollout import Phase

pytestmark = pytest.mark.long

SEED = 4821
PRESSES = 250
RESTLESS = "recommendations"
KEYS = (
    *"dRpPCATvjkgGJ/:?q nz0159-._aeiortu",
    *("Enter", "Enter", "Escape", "Escape", "Tab", "Tab", "BTab", "Up", "Down", "Down", "Left", "Right", "Home", "End"),
    *("PPage", "NPage", "BSpace", "DC", "F1", "C-p", "C-t", "C-r", "C-c", "C-u", "C-a", "C-z", "M-R", "M-x", "F5"),
)
SIZES = ((100, 30), (80, 24), (40, 10), (20, 5), (160, 50), (200, 60), (61, 17))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("keys"), speed=20) as running:
        # without an earlier revision there is nothing that two presses of R could go back to
        for namespace in NAMESPACES:
            for found in running.items("ReplicaSet", namespace):
                if not found["spec"].get("replicas"):
                    running.delete("ReplicaSet", namespace, found["metadata"]["name"])
        yield running


def objects(sandbox: World) -> dict[str, str]:
    return {name: version for name, version in sandbox.versions().items() if RESTLESS not in name}


def at_home(screen: Screen) -> None:
    """Back to the fleet, however deep we are. First the console is to have read all that was pressed: one that was held up reads
    it at once, as a paste, and what follows a paste without a pause is not answered either."""
    screen.resize(100, 30)
    screen.rested()
    for _ in range(8):
        screen.press("Escape")
    screen.wait(r"production +. ", "ROLLOUTS", "LAST HOUR")
    screen.rested()
    screen.press("Home")  # the last escape must not make one chord with the key that follows


@needs_tmux
def test_random_keys_neither_break_the_console_nor_change_a_cluster(sandbox: World, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    home = sandbox.new_home("monkey")
    before = objects(sandbox)
    pressed = 0
    runs = 0
    while pressed < PRESSES:
        runs += 1
        assert runs < 20, "it was left again and again"
        with console(tmp_path / f"terminal-{runs}", sandbox.command(home), sandbox.environment()) as screen:
            screen.wait(r"dev +. (1 failed|10 ok)", r"production +. ", "payment-service")
            while pressed < PRESSES and screen.alive:
                for _ in range(10):
                    pressed += 1
                    if chance.random() < 0.04:
                        screen.resize(*chance.choice(SIZES))
                    else:
                        screen.press(chance.choice(KEYS))
                # as a hand does: keys that come on and on as fast as this are a paste, which is not answered
                screen.steady(seconds=1.2 * REST)
            if screen.alive:
                at_home(screen)
                screen.press("C-q")
                screen.gone()
            # the palette offers to quit, so a random choice may have done it; anything else is a crash
            assert screen.ending() == "exit 0", f"{screen.ending()} after {pressed} presses:\n{screen.text()}"
    assert objects(sandbox) == before
    log = (home / "log" / "quarterdeck.log").read_text(errors="replace")
    assert "Traceback" not in log, log[-4000:]
    assert sandbox.verified(home).ok


# ---- where keys can act


LIVE = card(rollout("r-live"), own=False, driver="sam@desk")
DONE = card(rollout("r-done", service="checkout", phase=Phase.SUCCEEDED), window_left=3000.0)
CHANGES = ("start", "roll_back", "roll_back_service", "take_over", "pause", "resume", "promote", "abort")
BY_HAND = (*"RTPAptCjkhGJvl/:?q ", "enter", "escape", "tab", "up", "down", "alt+R", "ctrl+p", "f1", "ctrl+l", "backspace")
INPUTS = 120


def confirmed(verb: str, screen: Any, key: str, text: str) -> bool:
    """Whether ``key`` (empty for a click) on what was on the screen is the confirmation that ``verb`` needs."""
    if not key:
        return "click again: " in text
    if key == "enter":
        return not isinstance(screen, ConsoleScreen | ConfirmingScreen)  # chosen from a list of actions, or typed
    if verb == "roll_back":
        return key in ("R", "alt+R")
    if verb == "roll_back_service":
        return key in ("R", "alt+R") and "R rolls back now" in text
    return verb == "take_over" and key == "T" and isinstance(screen, TakeOverScreen) and "T takes it over now" in text


@pytest.mark.parametrize("seed", [2, 3])
async def test_what_can_be_changed_is_changed_by_its_confirmation_only(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live canary of somebody else's and a rollout that can still be taken back; keys, and clicks wherever they fall."""
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")
    chance = random.Random(seed)
    app = TestConsole(picture(rollouts=(LIVE, DONE)))
    clicked = 0
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for _ in range(INPUTS):
            screen, text, before = app.screen, words_on(app), len(app.session.asked)
            key = chance.choice(BY_HAND) if chance.random() < 0.65 else ""
            if key:
                await pilot.press(key)
            else:
                clicked += 1
                column, row = chance.randrange(120), chance.choice((38, 39, 38, 39, chance.randrange(40)))
                for kind in (events.MouseDown, events.MouseUp):
                    app.post_message(kind(None, column, row, 0, 0, 1, False, False, False, column, row))
                await pilot.pause()
            await pilot.pause()
            if not app.is_running:
                break  # the list of actions offers to quit
            for asked in app.session.asked[before:]:
                if asked[0] in CHANGES:
                    assert confirmed(asked[0], screen, key, text), f"{asked} by {key or 'a click'} on\n{text}"
            await app.own_clock.advance(chance.choice((0.0, 0.1, 0.6)))
            app.new_picture(app.picture)
        assert clicked > INPUTS // 5
        assert any(asked[0] in CHANGES for asked in app.session.asked), "nothing came through: then this proves nothing"
        assert app._exception is None
