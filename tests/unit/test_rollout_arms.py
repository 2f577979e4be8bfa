"""Whose pods are whose, as the inventory shows them, and what is not known where it may not look."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from support.fake_api import FakeApi, SteadyClock, connected, eventually, manifest, status
from support.rollouts import rollout

from services.cluster.inventory import Inventory
from services.rollout.arms import unserved

ROLLOUT = rollout(namespace="shop")


@contextlib.asynccontextmanager
async def watched(directory: Path, *, forbidden: str = "") -> AsyncIterator[tuple[FakeApi, Inventory]]:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return status(403, "no")

    clock = SteadyClock()
    async with connected(directory, clock=clock) as (api, connection):
        if forbidden:
            api.always(refuse, path=forbidden)
        assert ROLLOUT.plan.canary is not None
        api.put("deployments", manifest("Deployment", ROLLOUT.plan.canary.name))
        inventory = Inventory(connection, ["shop"], clock, kinds=("Deployment", "ReplicaSet", "Pod"))
        task = asyncio.create_task(inventory.run())
        try:
            assert await inventory.wait_synced(30)
            yield api, inventory
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("kind", ["deployments", "replicasets", "pods"])
async def test_pods_that_may_not_be_seen_are_not_pods_that_are_missing(tmp_path: Path, kind: str) -> None:
    async with watched(tmp_path, forbidden=f"/{kind}") as (_, inventory):
        assert not unserved(inventory, ROLLOUT, 50)


async def test_a_share_of_requests_without_a_ready_pod_is_unserved(tmp_path: Path) -> None:
    async with watched(tmp_path) as (api, inventory):
        canary = ROLLOUT.plan.canary
        assert canary is not None
        assert unserved(inventory, ROLLOUT, 50)
        assert not unserved(inventory, ROLLOUT, 0)
        await eventually(lambda: all(api.watchers.get(plural) for plural in ("replicasets", "pods")))
        owned = {"ownerReferences": [{"kind": "Deployment", "name": "x", "uid": f"uid-{canary.name}", "controller": True}]}
        api.put("replicasets", manifest("ReplicaSet", "rs", metadata=owned))
        owned = {"ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "uid": "uid-rs", "controller": True}]}
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.put("pods", manifest("Pod", "p", metadata=owned, status=ready))
        await eventually(lambda: not unserved(inventory, ROLLOUT, 50))
