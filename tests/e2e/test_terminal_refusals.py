"""What the console refuses: a confirmation for another plan, and everything that changes a cluster while it only observes."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes import eventually
from support.terminal import Screen, console, needs_tmux
from support.world import NO_SINKS, World, world

from services.rollout.intents import Ask, Intent, send

pytestmark = pytest.mark.long

SERVICE, OLD, NEW = "payment-service", "v2.14.1", "v2.15.0"
LONG = {"steps": [{"weight": 25, "seconds": 3000}], "baseline_seconds": 10}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("refusals"), speed=30, canary=LONG, journal=NO_SINKS) as running:
        yield running


@pytest.fixture
def opened(sandbox: World, tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    with contextlib.ExitStack() as stack:

        def opening(home: Path, *words: str) -> Screen:
            command, place = sandbox.command(home, *words), tmp_path / f"terminal-{len(list(tmp_path.iterdir()))}"
            screen: Screen = stack.enter_context(console(place, command, sandbox.environment()))
            screen.wait(r"dev +. (1 failed|10 ok)", r"staging +. \d+ ", r"canary +. \d+ ", r"production +. \d+ ", SERVICE)
            return screen

        yield opening


@pytest.fixture(scope="module")
def paused(sandbox: World) -> tuple[Path, str]:
    """A canary in staging at 25 %, paused by its operator: nothing moves unless somebody moves it."""
    home = sandbox.new_home("driving")
    sandbox.start(home, "deploy", SERVICE, NEW, "-e", "staging", "--strategy", "canary", "--ticket", "CHG-4821")

    def at_25() -> list[dict[str, Any]]:
        found = sandbox.rollouts("staging", SERVICE)
        return found if found and found[-1]["weight"] == 25 and found[-1]["next"] else []

    rollout = str(eventually("25 %", at_25, 40.0)[-1]["id"])
    assert asyncio.run(send(home, rollout, Ask(intent=Intent.PAUSE, operator="tests"))).ok
    eventually("the pause", lambda: (sandbox.rollout("staging", rollout) or {})["phase"] == "paused", 30.0)
    return home, rollout


def untouchable(sandbox: World) -> dict[str, Any]:
    """Everything that only a change from Quarterdeck could move here."""
    kinds = ("Deployment", "ReplicaSet", "Service", "VirtualService", "DestinationRule")
    found: dict[str, Any] = {
        f"{namespace}/{kind}/{item['metadata']['name']}": (item["metadata"], item["spec"])
        for namespace in ("staging", "canary", "production")
        for kind in kinds
        for item in sandbox.items(kind, namespace)
    }
    for namespace in ("staging", "canary", "production"):
        for lease in sandbox.items("Lease", namespace):
            found[f"{namespace}/lease/{lease['metadata']['name']}"] = lease["spec"].get("holderIdentity")
        for rollout in sandbox.rollouts(namespace, SERVICE):
            found[rollout["id"]] = [rollout[name] for name in ("phase", "step", "epoch", "driver", "undo", "pause_reason")]
    return found


@needs_tmux
def test_every_changing_key_is_refused_to_an_observer(
    sandbox: World, paused: tuple[Path, str], opened: Callable[..., Screen]
) -> None:
    before = untouchable(sandbox)
    for home in (paused[0], sandbox.new_home("observer")):
        screen = opened(home, "--read-only")
        screen.wait("(?i)read.only", "1 live")
        screen.wait("▸ROLLOUTS")  # a live rollout is what the fleet opens on
        for place in ("fleet", "rollout"):
            for key in ("R", "p", "C", "P", "A", "T", "d", "M-R"):
                screen.press(key)
                screen.wait("(?i)observer|read.only")
                assert "▸ROLLOUTS" in screen.text() or place != "fleet", f"{key} moved the focus:\n{screen.text()}"
                assert "CHECKLIST" not in screen.text(), f"{key} opened the form on the {place} screen"
            if place == "fleet":
                screen.press("Enter")
                screen.wait(rf"{OLD} → {NEW} · staging · canary")
        screen.press("Escape")
        screen.wait("ROLLOUTS")
    assert untouchable(sandbox) == before


def test_every_changing_command_is_refused_to_an_observer(sandbox: World, paused: tuple[Path, str]) -> None:
    home, rollout = paused
    before = untouchable(sandbox)
    production = ("-e", "production", "--ticket", "CHG-4821", "--confirm", "production")
    for words in (
        ("deploy", SERVICE, NEW, *production),
        ("deploy", SERVICE, NEW, "-e", "staging", "--ticket", "CHG-4821"),
        ("rollback", SERVICE, "-e", "staging"),
        ("rollback", SERVICE, "-e", "production", "--to", "1"),
        ("drive", rollout),
        ("drive", rollout, "--take-over"),
        ("drive", rollout, "--take-over", "--rollback"),
    ):
        said = sandbox.run(home, "--read-only", "-o", "json", *words)
        assert said.code == 2, (words, said)
        assert "ead-only" in said.err, (words, said)
    assert untouchable(sandbox) == before


@needs_tmux
def test_a_confirmation_is_void_once_the_service_is_another(sandbox: World, opened: Callable[..., Screen]) -> None:
    home = sandbox.new_home("void")
    screen = opened(home)
    screen.press("d")
    screen.wait("CHECKLIST", "environment")
    for text in ("production", SERVICE, NEW, "canary", "CHG-4821"):
        screen.type(text)
        screen.press("Enter")
    screen.wait("type production and press enter", "waiting for the name")
    image = f"registry.sandbox.internal/{SERVICE}:v2.14.9"
    change = {"spec": {"template": {"spec": {"containers": [somebody_elses(sandbox, image)]}}}}
    sandbox.patch("Deployment", "production", SERVICE, change)
    screen.type("production")
    screen.press("Enter")
    screen.wait("(?i)not started|void|changed", "CHECKLIST")
    assert sandbox.rollouts("production", SERVICE) == []
    facts = sandbox.facts("production", SERVICE)
    assert facts[SERVICE]["images"] == [image]
    assert f"{SERVICE}-canary" not in facts or facts[f"{SERVICE}-canary"]["replicas"] == 0
    assert facts["weights"] == {"stable": 100, "canary": 0}


def somebody_elses(sandbox: World, image: str) -> dict[str, Any]:
    container = sandbox.object("Deployment", "production", SERVICE)["spec"]["template"]["spec"]["containers"][0]
    return {**container, "image": image}


@needs_tmux
def test_r_pressed_again_and_again_rolls_back_once(
    sandbox: World, paused: tuple[Path, str], opened: Callable[..., Screen]
) -> None:
    """The revision before a restored one is the release that was taken back: another press must not bring it back."""
    home = sandbox.new_home("impatient")
    screen = opened(home)
    screen.wait("▸ROLLOUTS")
    to_pane(screen, "SERVICES")
    namespace, service = environment_shown(screen), "accounts"
    screen.press("/")
    screen.type(service)
    screen.press("Enter")
    screen.wait(rf"SERVICES +{namespace} +/{service} +1 of 10", "R ROLL BACK  enter")
    before = sandbox.facts(namespace, service)[service]["images"]
    screen.press(*["R"] * 4)
    screen.wait("R rolls back now")
    screen.press(*["R"] * 12)
    eventually("a rollback", lambda: sandbox.facts(namespace, service)[service]["images"] != before, 60.0)
    restored = sandbox.facts(namespace, service)[service]["images"]
    for _ in range(10):
        screen.press("R")
        screen.press("R")
        assert sandbox.facts(namespace, service)[service]["images"] == restored
    eventually("the rollback ends", lambda: sandbox.rollouts(namespace, service), 60.0)
    eventually("it is verified", lambda: sandbox.rollouts(namespace, service)[-1]["phase"] == "rolled_back", 60.0)
    screen.press(*["R"] * 4)
    eventually("no driver is left", lambda: not sandbox.drivers(sandbox.rollouts(namespace, service)[-1]["id"]), 60.0)
    assert sandbox.facts(namespace, service)[service]["images"] == restored
    assert len(sandbox.rollouts(namespace, service)) == 1


def to_pane(screen: Screen, name: str) -> None:
    """Tab until a pane has the focus."""
    for _ in range(6):
        marked = focus(screen)
        if marked == name:
            return
        screen.press("Tab")
        eventually("the focus moves", lambda marked=marked: focus(screen) not in ("", marked), 30.0)
    raise AssertionError(f"no pane {name}:\n{screen.text()}")


def focus(screen: Screen) -> str:
    """The title of the pane that has the focus."""
    found = re.search(r"▸([A-Z]{4,})", screen.text())
    return found.group(1) if found else ""


def environment_shown(screen: Screen) -> str:
    """The environment whose services the fleet shows."""
    line = next(line for line in screen.text().splitlines() if "▸SERVICES" in line)
    return line.partition("▸SERVICES")[2].split()[0]
