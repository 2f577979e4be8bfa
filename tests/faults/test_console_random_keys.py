"""Hundreds of random keys and resizes: the console neither falls over nor changes anything that was not confirmed."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.terminal import Screen, console, needs_tmux
from support.world import NAMESPACES, World, world

from console.bursts import REST

pytestmark = needs_tmux

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
    """Back to the fleet, however deep we are."""
    screen.resize(100, 30)
    for _ in range(8):
        screen.press("Escape")
    screen.wait(r"production +. ", "ROLLOUTS", "LAST HOUR")
    screen.press("Home")  # the last escape must not make one chord with the key that follows


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
