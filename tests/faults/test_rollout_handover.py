"""A driver that was stopped while another took its rollout over wakes up, and changes nothing."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes import alive, eventually, stopped
from support.world import Running, World, world

from services.rollout.intents import Answer, Ask, Intent, send

pytestmark = pytest.mark.long

TIMES = 10
SERVICE, VERSION = "payment-service", "v2.15.0"
SPARE = 5
"""Steps more than turns: between two looks of a test that is held up several of them may be over."""
STEPS = [{"weight": 4 * number, "seconds": 40} for number in range(1, TIMES + 1 + SPARE)]
LENIENT = {"on_undecided": "advance_with_note"}
"""In dev too little is served in so short a time to prove anything by."""
PLANNED = (("Deployment", SERVICE), ("Deployment", f"{SERVICE}-canary"), ("VirtualService", SERVICE))
KEPT = ("phase", "step", "driver", "epoch", "undo", "weight")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(
        tmp_path_factory.mktemp("handover"), speed=40, canary={"steps": STEPS, "baseline_seconds": 10}, judge=LENIENT
    ) as running:
        yield running


def ask(home: Path, rollout: str, intent: Intent) -> Answer:
    return asyncio.run(send(home, rollout, Ask(intent=intent, operator="tests")))


def planned(sandbox: World) -> dict[str, dict[str, Any]]:
    """Every object of the plan and the lease, whole: resourceVersions and values."""
    found = {f"{kind} {name}": sandbox.object(kind, "dev", name) for kind, name in PLANNED}
    return {**found, "Lease": sandbox.object("Lease", "dev", f"quarterdeck-{SERVICE}")}


def at_rest(sandbox: World) -> dict[str, dict[str, Any]]:
    """The same once nothing in it moves any more but the lease's renewals."""

    def quiet() -> bool:
        return all(
            item["status"].get("observedGeneration") == item["metadata"]["generation"]
            and item["status"].get("readyReplicas", 0) == item["status"].get("replicas", 0) == item["spec"]["replicas"]
            for name, item in planned(sandbox).items()
            if name.startswith("Deployment")
        )

    eventually("the workloads are at rest", quiet, 60.0)
    return planned(sandbox)


def resting(rollout: dict[str, Any]) -> bool:
    """Whether a paused rollout has no change under way: a step that was begun before the pause is finished first."""
    step = rollout["step"]
    return rollout["steps"][step]["outcome"] != "running" or rollout["plan"]["steps"][step]["name"].startswith("analyse")


@contextlib.contextmanager
def held_journal(home: Path) -> Iterator[None]:
    """Nobody can append to the journal of ``home``: who wants to waits, between its decision and its act."""
    with (home / "journal" / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_driver_that_slept_through_its_replacement_changes_nothing_ten_times_of_ten(sandbox: World) -> None:
    homes = [sandbox.new_home("first"), sandbox.new_home("second")]
    command = sandbox.start(homes[0], "-o", "json", "deploy", SERVICE, VERSION, "-e", "dev", "--strategy", "canary")
    rollout = eventually("the rollout's checkpoint", lambda: sandbox.rollouts("dev", SERVICE))[0]["id"]
    sleeper, taker = sandbox.driver(rollout), None
    takers: list[Running] = []

    def seen() -> dict[str, Any]:
        found = sandbox.rollout("dev", rollout)
        assert found is not None
        return found

    undisturbed = 0
    for turn in range(TIMES):
        mine, other = homes[turn % 2], homes[(turn + 1) % 2]
        weight = STEPS[turn]["weight"]
        eventually(f"{weight} %", lambda weight=weight: seen()["weight"] >= weight, 30.0)
        if turn % 2:
            # caught on its way to the next change: it has begun the step, and waits for its journal to take the intent
            with held_journal(mine):
                step = seen()["step"]
                eventually("the next step", lambda step=step: seen()["step"] > step, 60.0)
                stopped(sleeper)
                taker = take_over(sandbox, other, rollout, seen)
        else:
            stopped(sleeper)
            taker = take_over(sandbox, other, rollout, seen)
        takers.append(taker)
        eventually("the paused driver is between two steps, or only measures", lambda: resting(seen()), 60.0)
        before = at_rest(sandbox)
        state = seen()

        os.kill(sleeper, signal.SIGCONT)
        eventually("the driver that woke up ends by itself", lambda pid=sleeper: not alive(pid), 60.0)
        after = planned(sandbox)
        changed = [name for name in before if name != "Lease" and before[name] != after[name]]
        assert not changed, {name: (before[name], after[name]) for name in changed}
        assert after["Lease"]["spec"]["holderIdentity"] == before["Lease"]["spec"]["holderIdentity"]
        assert [seen()[name] for name in KEPT] == [state[name] for name in KEPT]
        undisturbed += 1

        assert ask(other, rollout, Intent.RESUME).ok
        sleeper = taker.pid
    assert undisturbed == TIMES

    eventually("the rollout ends", lambda: seen()["phase"] == "succeeded", 60.0)
    assert takers[-1].ended().code == 0
    # every one that was replaced said that another holds the rollout; the first was not ours to wait for
    assert [taken.ended().code for taken in takers[:-1]] == [6] * (TIMES - 1)
    command.ended()
    image = f"registry.sandbox.internal/{SERVICE}:{VERSION}"
    facts = sandbox.facts("dev", SERVICE)
    assert facts[SERVICE] == {"images": [image], "replicas": 2, "ready": 2}
    assert facts[f"{SERVICE}-canary"]["replicas"] == 0
    assert facts["weights"] == {"stable": 100, "canary": 0}
    for home in homes:
        checked = sandbox.verified(home)
        assert checked.ok, checked.problems
        # who woke up too late says so itself: no intent is left open, as if nobody knew whether it was carried out
        intents = {entry["id"] for entry in sandbox.entries(home, rollout=rollout, phase="intent")}
        assert intents <= {entry["ref"] for entry in sandbox.entries(home, rollout=rollout, phase="outcome")}
    # no step took effect twice: a route's generation counts its changes, one a weight and one back
    assert once(sandbox, homes, rollout)


def take_over(sandbox: World, home: Path, rollout: str, seen: Any) -> Running:
    """Another home drives the rollout, and pauses it at once, so that whatever changes from here on is the sleeper's doing."""
    epoch = seen()["epoch"]
    taker = sandbox.start(home, "drive", rollout, "--take-over")
    eventually("the take-over", lambda: seen()["epoch"] > epoch, 60.0)

    def paused() -> bool:
        with contextlib.suppress(Exception):
            ask(home, rollout, Intent.PAUSE)
        return bool(seen()["phase"] == "paused")

    eventually("the pause", paused, 60.0)
    return taker


def once(sandbox: World, homes: list[Path], rollout: str) -> bool:
    """Whether each change of the plan was accepted once, over the journals of all homes together."""
    done = [
        (entry["data"]["step"], entry["command"])
        for home in homes
        for entry in sandbox.entries(home, rollout=rollout, event="deployment.executed", phase="outcome", outcome="ok")
        if entry["command"].startswith("kubectl")
    ]
    assert len(done) == len(set(done)), sorted(item for item in done if done.count(item) > 1)
    route = sandbox.object("VirtualService", "dev", SERVICE)["metadata"]["generation"]
    assert route == 1 + len(STEPS) + 1, route
    return True
