"""``R`` → the API server's acceptance of the first restoring patch, on a real control plane, beside ``kubectl rollout undo``.

In a namespace of its own, made and deleted here. Each turn is a whole ``R``: the rollout's undo folded, the intent durable in
the journal, the patch accepted, its outcome in the journal. The driver that would carry on is ended at once: what is measured is
over by then. ``kubectl`` is timed as the process that an operator would start.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from figures import Figure, figure

from console.context import Context
from services.cluster.inventory import Inventory
from services.cluster.writer import Writer
from services.model.objects import ObjectRef, pointer, value_at
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Rollout, UndoRecord
from services.model.steps import Plan
from services.rollout.immediate import rollback_now

CLUSTER = Path(__file__).resolve().parents[2] / "../shared/cluster/cluster"
TURNS = 40
UNDONE = 12
SERVICE = "bench-service"
IMAGE = pointer("spec", "template", "spec", "containers", 0, "image")
OLD, NEW = f"registry.example/{SERVICE}:v1.0.0", f"registry.example/{SERVICE}:v2.0.0"


def measure() -> dict[str, Figure] | str:
    """The figures, or why there are none."""
    if not CLUSTER.exists():
        return "no real control plane: ../shared/cluster is not here"
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return "kubectl is not installed"
    kubeconfig = subprocess.run([CLUSTER, "up"], check=True, capture_output=True, text=True).stdout.strip()
    namespace = f"t-bench-{secrets.token_hex(3)}"
    base = [kubectl, "--kubeconfig", kubeconfig, "--context", "dev"]
    subprocess.run([*base, "create", "namespace", namespace], check=True, capture_output=True)
    try:
        manifest = json.dumps(_deployment(namespace))
        subprocess.run([*base, "apply", "-f", "-"], input=manifest, text=True, check=True, capture_output=True)
        with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
            return asyncio.run(_measure(Path(made), kubeconfig, namespace, base))
    finally:
        subprocess.run([*base, "delete", "namespace", namespace, "--wait=false"], check=True, capture_output=True)


async def _measure(directory: Path, kubeconfig: str, namespace: str, base: list[str]) -> dict[str, Figure]:
    config = directory / "config.yaml"
    config.write_text(
        f"version: 1\nkubeconfig: {kubeconfig}\nenvironments:\n  dev: {{tier: dev, context: dev, namespaces: [{namespace}]}}\n"
    )
    arguments = argparse.Namespace(config=str(config), home=str(directory / "home"), read_only=False, output="text")
    whole, patches, undone, reads = [], [], [], []
    ref = ObjectRef("Deployment", namespace, SERVICE)
    async with Context.open(arguments) as context, _inventory(context, namespace) as inventory:
        writer = Writer(inventory.connection)
        for turn in range(TURNS):
            await _release(writer, inventory, ref, epoch=turn * 2 + 1)
            milliseconds = await _roll_back(context, inventory, ref, namespace, turn)
            assert milliseconds is not None
            whole.append(milliseconds)
            await _seen(inventory, ref, OLD)
            began = time.perf_counter()
            await writer.patch(ref, [{"op": "add", "path": "/metadata/annotations/bench", "value": str(turn)}])
            patches.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            await inventory.connection.get(ref)
            reads.append((time.perf_counter() - began) * 1000)
        for turn in range(UNDONE):
            await _release(writer, inventory, ref, epoch=1000 + turn)
            await _rolled_out(inventory, ref)
            began = time.perf_counter()
            words = ["rollout", "undo", f"deployment/{SERVICE}", "-n", namespace]
            await asyncio.to_thread(subprocess.run, [*base, *words], check=True, capture_output=True)
            undone.append((time.perf_counter() - began) * 1000)
            await _seen(inventory, ref, OLD)
    what = "R → first patch accepted and journalled, connection warm"
    return {
        "rollback": figure(whole, "ms", against=("kubectl_rollout_undo", undone), target=25, ratio_target=1 / 3, what=what),
        "kubectl_rollout_undo": figure(undone, "ms", what="the process, start to end"),
        "bare_patch": figure(patches, "ms", what="one JSON patch on the same connection, no journal"),
        "bare_get": figure(reads, "ms", what="one read on the same connection"),
    }


@contextlib.asynccontextmanager
async def _inventory(context: Context, namespace: str) -> AsyncIterator[Inventory]:
    inventory = Inventory(await context.clusters.connect("dev"), (namespace,), context.clock)
    running = asyncio.create_task(inventory.run())
    try:
        assert await inventory.wait_synced(20), inventory.problem
        yield inventory
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _release(writer: Writer, inventory: Inventory, ref: ObjectRef, epoch: int) -> None:
    """The new image, as a rollout of ``epoch`` leaves it, seen by the inventory."""
    await writer.patch(
        ref,
        [
            {"op": "add", "path": "/metadata/annotations/quarterdeck~1epoch", "value": str(epoch)},
            {"op": "replace", "path": IMAGE, "value": NEW},
        ],
    )
    await _seen(inventory, ref, NEW)
    await asyncio.sleep(0.1)


async def _seen(inventory: Inventory, ref: ObjectRef, image: str) -> None:
    await _until(inventory, lambda raw: value_at(raw, IMAGE) == image, f"the inventory to see {image}")


async def _rolled_out(inventory: Inventory, ref: ObjectRef) -> None:
    def observed(raw: dict[str, Any]) -> bool:
        return raw.get("status", {}).get("observedGeneration") == raw["metadata"]["generation"]

    await _until(inventory, observed, "the controller to observe the release")
    await asyncio.sleep(0.3)


async def _until(inventory: Inventory, holds: Any, what: str) -> None:
    end = time.monotonic() + 15
    while True:
        version = inventory.version
        raw = inventory.raw(ObjectRef("Deployment", inventory.namespaces[0], SERVICE))
        if raw is not None and holds(raw):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"waited for {what}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(inventory.changed(version), 1.0)


async def _roll_back(context: Context, inventory: Inventory, ref: ObjectRef, namespace: str, turn: int) -> float | None:
    plan = Plan(
        steps=(), objects=(ref,), stable=ref, canary=None, route=None, previous_version="v1.0.0",
        new_images={SERVICE: NEW}, digest="bench", rollback_seconds=2.0,
    )  # fmt: skip
    target = Target(environment="dev", tier=Tier.DEV, context="dev", namespace=namespace)
    release = Release(service=SERVICE, version="v2.0.0", target=target, strategy=Strategy.ROLLING, ticket="")
    rollout = Rollout(
        id=f"bench-{turn}", release=release, plan=plan, operator="bench", created=datetime.now(UTC), epoch=turn * 2 + 1,
        undo=(UndoRecord(object=ref, path=IMAGE, old=OLD, new=NEW, step=0),),
    )  # fmt: skip
    done = await rollback_now(context, inventory, msgspec.structs.replace(rollout), reason="bench")
    if done.process is not None:
        done.process.kill()
        await asyncio.to_thread(done.process.wait)
    if done.problem is not None:
        raise done.problem
    return done.seconds * 1000 if done.seconds is not None else None


def _deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": SERVICE, "track": "stable"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SERVICE, "namespace": namespace, "labels": labels, "annotations": {"bench": "0"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": SERVICE, "image": OLD, "ports": [{"containerPort": 8080}]}]},
            },
        },
    }
