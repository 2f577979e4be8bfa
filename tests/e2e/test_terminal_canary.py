"""The main job through a real terminal, 100 × 30, from the keyboard alone; and what it survives."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes import alive, busy_seconds, eventually, killed
from support.terminal import Screen, console, needs_tmux
from support.world import World, world

from services.rollout.intents import Ask, Intent, send

pytestmark = [needs_tmux, pytest.mark.long, pytest.mark.alone]

SERVICE, OLD, NEW, TICKET = "payment-service", "v2.14.1", "v2.15.0", "CHG-4821"
CANARY = {"steps": [{"weight": 10, "seconds": 60}, {"weight": 25, "seconds": 1600}], "baseline_seconds": 30, "soak_seconds": 30}
LEASE = 15.0
"""Wall seconds after which a driver that does not renew its lease counts as gone, seen from another home."""
AT_25 = r"have +25%"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("terminal"), speed=40, canary=CANARY) as running:
        yield running


@pytest.fixture
def opened(sandbox: World, tmp_path: Path) -> Iterator[Callable[[Path], Screen]]:
    """Opens consoles in terminals of their own, and closes them after the test."""
    with contextlib.ExitStack() as stack:

        def opening(home: Path) -> Screen:
            number = len(list(tmp_path.iterdir()))
            place = tmp_path / f"terminal-{number}"
            screen: Screen = stack.enter_context(console(place, sandbox.command(home), sandbox.environment()))
            screen.wait(r"dev +. (1 failed|10 ok)", r"staging +. \d+ ", r"canary +. \d+ ", r"production +. \d+ ", SERVICE)
            return screen

        yield opening


def deploy(screen: Screen, environment: str) -> None:
    """From the fleet to the running rollout, by keys."""
    screen.press("d")
    screen.wait("CHECKLIST", "environment")
    for text in (environment, SERVICE, NEW, "canary", TICKET):
        screen.type(text)
        screen.press("Enter")
    screen.wait(rf"type {environment} and press enter", "waiting for the name", r"ticket +(pass|waived)")
    screen.type(environment)
    screen.wait("matches: enter confirms this plan")
    screen.press("Enter")
    screen.wait(rf"{SERVICE} {OLD} → {NEW} · {environment} · canary", "running")


def state(sandbox: World, namespace: str) -> dict[str, Any]:
    """What a rollback has to bring back exactly."""
    deployment = sandbox.object("Deployment", namespace, SERVICE)["spec"]
    return {"deployment": deployment, "route": sandbox.object("VirtualService", namespace, SERVICE)["spec"]}


def newest(sandbox: World, namespace: str) -> dict[str, Any]:
    return sandbox.rollouts(namespace, SERVICE)[-1]


def ask(home: Path, rollout: str, intent: Intent) -> None:
    answer = asyncio.run(send(home, rollout, Ask(intent=intent, operator="tests")))
    assert answer.ok, answer.detail


def accepted(sandbox: World, home: Path, rollout: str) -> Counter[tuple[int, str]]:
    """How often the API server took each change of the plan."""
    entries = sandbox.entries(home, rollout=rollout, event="deployment.executed", phase="outcome", outcome="ok")
    return Counter((entry["data"]["step"], entry["command"]) for entry in entries if entry["command"].startswith("kubectl"))


def check_restored(sandbox: World, namespace: str, before: dict[str, Any]) -> None:
    assert state(sandbox, namespace) == before
    facts = sandbox.facts(namespace, SERVICE)
    assert facts[SERVICE]["images"] == [f"registry.sandbox.internal/{SERVICE}:{OLD}"]
    assert facts[f"{SERVICE}-canary"]["replicas"] == 0
    assert facts["weights"] == {"stable": 100, "canary": 0}


def check_deployed(sandbox: World, namespace: str) -> None:
    facts = sandbox.facts(namespace, SERVICE)
    assert facts[SERVICE]["images"] == [f"registry.sandbox.internal/{SERVICE}:{NEW}"]
    assert facts[SERVICE]["ready"] == facts[SERVICE]["replicas"]
    assert facts[f"{SERVICE}-canary"]["replicas"] == 0
    assert facts["weights"] == {"stable": 100, "canary": 0}
    pods = [pod for pod in sandbox.items("Pod", namespace) if pod["metadata"]["labels"].get("app") == SERVICE]
    assert {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in pods} == {NEW}


def test_a_canary_to_production_and_back_from_the_keyboard_alone(sandbox: World, opened: Callable[[Path], Screen]) -> None:
    before = state(sandbox, "production")
    home = sandbox.new_home("keyboard")
    screen = opened(home)
    deploy(screen, "production")
    screen.wait(AT_25, seconds=40)
    screen.wait(r"· succeeded|✔ succeeded", seconds=60)
    check_deployed(sandbox, "production")
    screen.press("R")
    screen.wait("rolled back", rf"{OLD} is restored", seconds=30)
    check_restored(sandbox, "production", before)
    screen.press("Escape")
    screen.wait(rf"{SERVICE} +{OLD} +6/6 +● ok", "rolled back")
    screen.press("C-q")
    screen.gone()
    events = {entry["event"] for entry in sandbox.entries(home, rollout=newest(sandbox, "production")["id"])}
    assert {f"deployment.{name}" for name in ("started", "approval_checked", "executed", "health_check", "rollback")} <= events
    assert sandbox.verified(home).ok


def test_a_killed_console_leaves_its_rollout_alone_and_the_next_one_shows_it(
    sandbox: World, opened: Callable[[Path], Screen]
) -> None:
    before = state(sandbox, "staging")
    home = sandbox.new_home("killed-console")
    first = opened(home)
    deploy(first, "staging")
    first.wait(AT_25, seconds=40)
    killed(first.pid)
    left = newest(sandbox, "staging")
    driver = sandbox.driver(left["id"], home)
    eventually("the checkpoint goes on", lambda: newest(sandbox, "staging")["now"] > left["now"] + 40, 15.0)
    assert newest(sandbox, "staging")["phase"] == "running"

    second = opened(home)
    second.wait("1 live", r"running|analys")
    second.wait("▸ROLLOUTS")
    second.press("g")
    second.wait(rf"▸ {SERVICE} +staging")
    second.press("Enter")
    shown = second.wait(rf"{OLD} → {NEW} · staging · canary", AT_25, r"NEXT +\d\d:\d\d")
    eventually("its countdown goes on", lambda: countdown(second.text()) != countdown(shown), 5.0)

    # R in the middle of it: everything is as it was, and the driver that was running ends by itself
    second.press("R")
    second.wait("rolled back", rf"{OLD} is restored", seconds=30)
    check_restored(sandbox, "staging", before)
    eventually("the old driver ends", lambda: not alive(driver), 15.0)
    eventually("no driver is left", lambda: not sandbox.drivers(left["id"]), 15.0)
    assert newest(sandbox, "staging")["phase"] == "rolled_back"
    assert sandbox.verified(home).ok


def countdown(shown: str) -> str:
    return next((line for line in shown.splitlines() if "NEXT" in line), "")


def test_a_killed_driver_is_told_on_every_console_and_resumed_by_one_key(
    sandbox: World, opened: Callable[[Path], Screen]
) -> None:
    mine, other = sandbox.new_home("killed-driver"), sandbox.new_home("colleague")
    here, there = opened(mine), opened(other)
    deploy(here, "canary")
    here.wait(AT_25, seconds=40)
    there.wait("1 live", seconds=10)
    rollout = newest(sandbox, "canary")["id"]
    began = time.monotonic()
    killed(sandbox.driver(rollout, mine))
    here.wait(r"(?i)nobody watches", seconds=5)
    at_home = time.monotonic() - began
    there.wait(r"(?i)nobody watches", seconds=LEASE + 8)
    elsewhere = time.monotonic() - began
    assert at_home < 5
    assert elsewhere < LEASE + 8
    step = newest(sandbox, "canary")["step"]
    here.steady(r"(?i)nobody watches", seconds=1)
    assert newest(sandbox, "canary")["step"] == step

    here.press("T")
    eventually("the rollout is watched again", lambda: "nobody watches" not in here.text().lower(), 20.0)
    eventually("on the other console too", lambda: "nobody watches" not in there.text().lower(), 10.0)
    here.wait(AT_25, "running")
    assert "was taken over" not in here.text(), "by nobody but the operator"
    here.press("P")
    here.wait("succeeded", seconds=40)
    there.wait("succeeded", seconds=10)
    check_deployed(sandbox, "canary")
    assert max(accepted(sandbox, mine, rollout).values()) == 1
    route = sandbox.object("VirtualService", "canary", SERVICE)["metadata"]["generation"]
    assert route == 1 + len(CANARY["steps"]) + 1  # type: ignore[arg-type]
    assert sandbox.verified(mine).ok


def test_a_closed_terminal_ends_the_console_and_nothing_else(sandbox: World, opened: Callable[[Path], Screen]) -> None:
    home = sandbox.new_home("closed")
    screen = opened(home)
    deploy(screen, "dev")
    screen.wait(AT_25, seconds=40)
    left = newest(sandbox, "dev")
    driver = sandbox.driver(left["id"], home)
    screen.hang_up()
    screen.gone()
    began, used = time.monotonic(), busy_seconds(driver)
    eventually("the checkpoint goes on", lambda: newest(sandbox, "dev")["now"] > left["now"] + 60, 15.0)
    spent = time.monotonic() - began
    assert alive(driver)
    assert busy_seconds(driver) - used < max(0.6, 0.6 * spent), "a driver without a terminal must not spin"
    ask(home, left["id"], Intent.PROMOTE)
    eventually("the rollout ends", lambda: newest(sandbox, "dev")["phase"] == "succeeded", 40.0)
    check_deployed(sandbox, "dev")
    eventually("no driver is left", lambda: not sandbox.drivers(left["id"]), 10.0)


def test_a_terminated_console_leaves_too(sandbox: World, opened: Callable[[Path], Screen]) -> None:
    screen = opened(sandbox.new_home("terminated"))
    os.kill(screen.pid, signal.SIGTERM)
    screen.gone()
