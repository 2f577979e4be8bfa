"""Five tasks as a person does them who has just opened the console, in a real terminal, in as many keys as the README says.

What is typed (names, a ticket) counts by the letter, enter and every other key once.
"""

import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import commands, eventually, matching
from support.terminal import Screen, console, needs_tmux
from support.world import World, world

pytestmark = [needs_tmux, pytest.mark.long]

README = Path(__file__).parents[2] / "README.md"
SERVICE, OLD, NEW, TICKET = "payment-service", "v2.14.1", "v2.15.0", "CHG-4821"
CANARY = {"steps": [{"weight": 25, "seconds": 3000}], "baseline_seconds": 10, "soak_seconds": 10}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("walks"), speed=40, canary=CANARY) as running:
        yield running


class Walk:
    """Presses and counts."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.keys = 0

    def press(self, *keys: str) -> None:
        self.screen.press(*keys)
        self.keys += len(keys)

    def type(self, text: str) -> None:
        self.screen.type(text)
        self.keys += len(text)

    def fill(self, text: str) -> None:
        self.screen.fill(text)
        self.keys += len(text) + 1

    def keep(self) -> None:
        """Go on from a field that is filled already."""
        before = self.screen.cursor
        self.press("Enter")
        eventually("the focus leaves the field", lambda: self.screen.cursor != before, 30.0)


def promised(task: str) -> int:
    """How many keys the README's table says a task takes."""
    found = re.search(rf"^\| {re.escape(task)}[^|]*\|[^|]*\| (\d+) \|$", README.read_text(), re.MULTILINE)
    assert found, f"the README has no row for {task!r}"
    return int(found[1])


@contextmanager
def opened(sandbox: World, home: Path, place: Path) -> Iterator[Walk]:
    with console(place, sandbox.command(home), sandbox.environment()) as screen:
        screen.wait(r"dev +. 1 failed", r"staging +. \d+ ", r"canary +. \d+ ", r"production +. \d+ ")
        yield Walk(screen)


def canary(sandbox: World, home: Path) -> None:
    """Start a canary in production, and wait until it has its share of the requests."""
    words = (SERVICE, NEW, "-e", "production", "--strategy", "canary", "--ticket", TICKET, "--confirm", "production")
    sandbox.start(home, "deploy", *words)
    eventually("the canary has 25 %", lambda: sandbox.facts("production", SERVICE).get("weights", {}).get("canary") == 25, 60.0)


def restored(sandbox: World) -> bool:
    facts = sandbox.facts("production", SERVICE)
    image = f"registry.sandbox.internal/{SERVICE}:{OLD}"
    return facts["weights"] == {"stable": 100, "canary": 0} and facts[SERVICE]["images"] == [image]


def test_find_the_unhealthy_service(sandbox: World, tmp_path: Path) -> None:
    with opened(sandbox, sandbox.new_home("unhealthy"), tmp_path / "terminal") as walk:
        walk.press("!")
        walk.screen.wait("recommendations", "dev", "failed", "CrashLoopBackOff|crash")
    assert walk.keys == promised("Find the unhealthy service")


def test_deploy_to_staging(sandbox: World, tmp_path: Path) -> None:
    home = sandbox.new_home("staging")
    with opened(sandbox, home, tmp_path / "terminal") as walk:
        walk.press("f")
        walk.type("pay st")
        walk.screen.wait(rf"▸ {SERVICE} +staging")
        walk.press("Enter")
        walk.screen.wait("PODS", rf"{SERVICE} · staging +{OLD}")
        walk.press("d")
        walk.screen.wait("CHECKLIST", rf"service +{SERVICE}")
        walk.fill("staging")
        walk.keep()
        walk.fill(NEW)
        walk.fill("rolling")
        walk.fill(TICKET)
        walk.screen.wait("waiting for the name", r"ticket +(pass|waived)")
        walk.type("staging")
        walk.screen.wait("matches: enter confirms this plan")
        walk.press("Enter")
        walk.screen.wait(rf"{SERVICE} {OLD} → {NEW} · staging", r"succeeded", seconds=60)
    assert sandbox.facts("staging", SERVICE)[SERVICE]["images"] == [f"registry.sandbox.internal/{SERVICE}:{NEW}"]
    assert walk.keys == promised("Deploy to staging")


def test_watch_a_canary_and_abort_it(sandbox: World, tmp_path: Path) -> None:
    home = sandbox.new_home("abort")
    canary(sandbox, home)
    with opened(sandbox, home, tmp_path / "terminal") as walk:
        walk.screen.wait(rf"▸ {SERVICE} +production")
        walk.press("Enter")
        walk.screen.wait(r"have +25%", "P99", "NEXT")
        walk.press("A")
        walk.screen.wait(rf"rolled back|{OLD} is restored", seconds=30)
    assert restored(sandbox)
    assert walk.keys == promised("Watch a canary and abort it")


def test_roll_back_at_once(sandbox: World, tmp_path: Path) -> None:
    home = sandbox.new_home("back")
    canary(sandbox, home)
    with opened(sandbox, home, tmp_path / "terminal") as walk:
        walk.screen.wait(rf"▸ {SERVICE} +production")
        walk.press("R")
        walk.screen.wait("rolled back", seconds=30)
        eventually("the old version has every request", lambda: restored(sandbox), 30.0)
    assert walk.keys == promised("Roll back at once") == 1


def test_find_who_deployed_last(sandbox: World, tmp_path: Path) -> None:
    home = sandbox.new_home("who")
    sandbox.deploy(home, SERVICE, NEW, "-e", "dev", "--strategy", "rolling")
    with opened(sandbox, home, tmp_path / "terminal") as walk:
        walk.press("J")
        last = sandbox.entries(home)[-1]
        walk.screen.wait(rf"▸ .*{re.escape(last['event'])}", rf"user +{re.escape(last['user'])}", rf"version +{NEW}")
    assert walk.keys == promised("Find who deployed last")


@pytest.mark.parametrize("how", [signal.SIGTSTP, signal.SIGSTOP])
def test_a_console_that_was_stopped_comes_back_whole(sandbox: World, tmp_path: Path, how: signal.Signals) -> None:
    # below a shell that looks after its jobs: a terminal's first process is let go on at once by the terminal itself
    with console(tmp_path / "terminal", ["bash", "--norc", "--noprofile", "-i"], sandbox.environment()) as shell:
        home = sandbox.new_home(f"stopped-{how.name}")
        shell.type(shlex.join(sandbox.command(home)))
        shell.press("Enter")
        shell.wait("ENVIRONMENTS", r"production +. ", "d deploy")
        [pid] = [pid for pid in matching("console.cli", home) if "journal ship" not in commands()[pid]]
        os.kill(pid, how)
        shell.wait(r"Stopped +\S*python")
        if how is signal.SIGTSTP:  # the other gives no time to do so
            assert "ENVIRONMENTS" not in shell.text()
        shell.type("clear; echo $((1000 + 234)); fg")
        shell.press("Enter")
        shell.wait("ENVIRONMENTS", "SERVICES", "ROLLOUTS", "LAST HOUR", r"production +. ", "d deploy")
        assert "1234" not in shell.text()
        shell.press("f")
        shell.type("pay st")
        shell.wait(rf"▸ {SERVICE} +staging")
        shell.press("Escape")
        shell.wait("ENVIRONMENTS")
        shell.press("C-q")
        shell.wait(r"[#$] ?\Z")
