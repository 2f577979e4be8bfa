"""A driver killed at every step, at the moment of every change and at random moments: no step ever takes effect twice."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.processes import eventually, killed
from support.world import NO_SINKS, SHORT, History, World, world

from services.rollout.intents import Ask, Intent, send

pytestmark = pytest.mark.long

REGISTRY = "registry.sandbox.internal"
SEED = 20_260_101


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # Half of it happens in dev, where there are too few requests in so short a time to prove anything by.
    lenient = {"on_undecided": "advance_with_note"}
    with world(tmp_path_factory.mktemp("killed"), speed=60, canary=SHORT, judge=lenient, journal=NO_SINKS) as running:
        yield running


@dataclass
class Trial:
    """One rollout whose driver is killed again and again."""

    sandbox: World
    home: Path
    namespace: str
    service: str
    rollout: str
    history: History
    kills: list[str] = field(default_factory=list)
    """The name of the step under way at each kill."""

    @classmethod
    def start(cls, sandbox: World, name: str, namespace: str, service: str, version: str) -> "Trial":
        home = sandbox.new_home(name)
        history = sandbox.watch(namespace)
        words = ("-e", namespace, "--strategy", "canary", "--ticket", "CHG-4821")
        sandbox.start(home, "-o", "json", "deploy", service, version, *words)
        found = eventually("the rollout's checkpoint", lambda: sandbox.rollouts(namespace, service), 30.0, 0.01)
        return cls(sandbox, home, namespace, service, found[-1]["id"], history)

    @property
    def now(self) -> dict[str, Any]:
        found = self.sandbox.rollout(self.namespace, self.rollout)
        assert found is not None
        return found

    @property
    def over(self) -> bool:
        return self.now["phase"] in ("succeeded", "rolled_back", "refused", "needs_attention")

    @property
    def asks(self) -> bool:
        """Whether it waits for a person, because a smoke test may have run already: that is never repeated unasked."""
        now = self.now
        return now["phase"] == "paused" and "smoke tests may have run already" in now["pause_reason"]

    def kill(self) -> None:
        for pid in self.sandbox.drivers(self.rollout):
            killed(pid)
        now = self.now
        steps = now["plan"]["steps"]
        self.kills.append(steps[now["step"]]["name"] if now["step"] < len(steps) else now["phase"])

    def resume(self, *words: str) -> None:
        """What one key does on the console: a new driver of this home takes the rollout over."""
        epoch = self.now["epoch"]
        running = self.sandbox.start(self.home, "drive", self.rollout, "--take-over", *words)
        eventually("the new driver", lambda: self.now["epoch"] > epoch or running.process.poll() is not None, 30.0, 0.01)

    def wait(self, what: str, ready: Callable[[dict[str, Any]], bool]) -> None:
        eventually(what, lambda: ready(self.now) or self.over or self.asks, 40.0, 0.002)

    def intents(self) -> int:
        """How many changes of the plan have been announced in the journal."""
        found = self.sandbox.entries(self.home, rollout=self.rollout, event="deployment.executed", phase="intent")
        return sum(entry["command"].startswith("kubectl") for entry in found)

    def check_succeeded(self, version: str) -> None:
        """Succeeded, as if nobody had ever been killed: the right end, each change once, a journal that verifies."""
        eventually("the rollout ends or asks", lambda: self.over or self.asks, 60.0)
        if self.asks:
            told = Ask(intent=Intent.RESUME, operator="tests")
            assert asyncio.run(send(self.home, self.rollout, told)).ok
            eventually("the rollout ends", lambda: self.over, 30.0)
        found = self.now
        assert found["phase"] == "succeeded", (found["phase"], found["reason"], found["pause_reason"], self.kills)
        assert {step["outcome"] for step in found["steps"]} == {"done"}
        facts = self.sandbox.facts(self.namespace, self.service)
        assert facts[self.service]["images"] == [f"{REGISTRY}/{self.service}:{version}"]
        assert facts[self.service]["ready"] == facts[self.service]["replicas"]
        assert facts[f"{self.service}-canary"]["replicas"] == 0
        assert facts["weights"] == {"stable": 100, "canary": 0}
        changes = Counter(
            (change["object"]["kind"], change["object"]["name"])
            for step in found["plan"]["steps"]
            for change in one_a_object(step["changes"])
        )

        def seen() -> dict[tuple[str, str], int]:
            return {(kind, name): self.history.changes(kind, name) for kind, name in changes}

        with contextlib.suppress(AssertionError):  # the watch tells of the last one a little after it took effect
            eventually("every change is told", lambda: seen() == changes)
        assert seen() == changes, (self.kills, self.history.values)
        accepted = Counter(
            (entry["data"]["step"], entry["command"])
            for entry in self.sandbox.entries(
                self.home, rollout=self.rollout, event="deployment.executed", phase="outcome", outcome="ok"
            )
            if entry["command"].startswith("kubectl")
        )
        assert not accepted or max(accepted.values()) == 1, accepted
        ends = self.sandbox.entries(self.home, rollout=self.rollout, event="deployment.completed")
        assert [entry["outcome"] for entry in ends] == ["succeeded"]
        checked = self.sandbox.verified(self.home)
        assert checked.ok, checked.problems


def one_a_object(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One of a step's changes for each object: they are sent together."""
    return list({(change["object"]["kind"], change["object"]["name"]): change for change in changes}.values())


def test_killed_as_each_step_begins(sandbox: World) -> None:
    trial = Trial.start(sandbox, "steps", "dev", "payment-service", "v2.15.0")
    steps = len(trial.now["plan"]["steps"])
    for number in range(steps):
        trial.wait(f"step {number}", lambda now, number=number: now["step"] >= number and began(now))
        if trial.over or trial.asks:
            break
        if trial.now["step"] > number:
            continue  # it was over before it could be seen; the kills at each change below meet it
        trial.kill()
        trial.resume()
    trial.check_succeeded("v2.15.0")
    assert len(trial.kills) >= 5, trial.kills


def began(rollout: dict[str, Any]) -> bool:
    """Whether the step under way has begun, and a driver that did so says it."""
    step = rollout["step"]
    return step < len(rollout["steps"]) and rollout["steps"][step]["outcome"] == "running"


def test_killed_at_the_moment_of_each_change(sandbox: World) -> None:
    trial = Trial.start(sandbox, "changes", "dev", "checkout", "v1.10.0")
    seen = 0
    while True:
        # the intent is durable before the request leaves: what is killed here may or may not have sent it
        eventually("the next intent", lambda seen=seen: trial.intents() > seen or trial.over or trial.asks, 40.0, 0.001)
        if trial.over or trial.asks:
            break
        trial.kill()
        seen = trial.intents()
        trial.resume()
    trial.check_succeeded("v1.10.0")
    assert len(trial.kills) >= 4, trial.kills


def test_killed_at_random_moments(sandbox: World) -> None:
    chance = random.Random(SEED)
    trial = Trial.start(sandbox, "random", "canary", "payment-service", "v2.15.0")
    for _ in range(6):
        # not a wait for anything: the moment itself is what is tried
        time.sleep(chance.uniform(0.0, 1.2))
        if trial.over:
            break
        trial.kill()
        trial.resume()
    trial.check_succeeded("v2.15.0")


def test_killed_while_it_rolls_back(sandbox: World) -> None:
    stable = sandbox.object("Deployment", "staging", "payment-service")["spec"]
    route = sandbox.object("VirtualService", "staging", "payment-service")["spec"]
    home = sandbox.new_home("back")
    words = ("-e", "staging", "--strategy", "canary", "--ticket", "CHG-4821")
    command = sandbox.start(home, "-o", "json", "deploy", "payment-service", "v2.15.0", *words)
    rollout = eventually("the checkpoint", lambda: sandbox.rollouts("staging", "payment-service"), 30.0, 0.01)[-1]["id"]

    def now() -> dict[str, Any]:
        return sandbox.rollout("staging", rollout) or {}

    eventually("25 %", lambda: now()["weight"] == 25, 30.0)
    back = sandbox.start(home, "-o", "json", "rollback", "payment-service", "-e", "staging", "--reason", "tests")
    eventually("the rollback begins", lambda: now()["phase"] in ("rolling_back", "rolled_back"), 30.0, 0.001)
    for pid in sandbox.drivers(rollout):
        killed(pid)
    back.process.send_signal(signal.SIGTERM)
    back.ended(20)
    command.ended(20)
    again = sandbox.run(home, "-o", "json", "rollback", "payment-service", "-e", "staging", "--reason", "once more")
    assert again.code in (0, 2), again.err  # 2: it was done already
    assert now()["phase"] == "rolled_back"
    assert sandbox.object("Deployment", "staging", "payment-service")["spec"] == stable
    assert sandbox.object("VirtualService", "staging", "payment-service")["spec"] == route
    assert sandbox.facts("staging", "payment-service")["payment-service-canary"]["replicas"] == 0
    assert sandbox.verified(home).ok
