"""What the screen is told of the fleet, its age and its orphans, through the real inventory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from support.fake_api import FakeApi, SteadyClock, connected, eventually, manifest
from support.rollouts import driver, rollout

from services.cluster.fleet import fleet_view, pod_views, rollouts, service_names, unreadable_checkpoints
from services.cluster.inventory import Inventory
from services.cluster.picture import KINDS
from services.cluster.watched import RolloutWatch
from services.model.fleet import EnvironmentView, Health, ServiceView
from services.model.rollout import Phase, Rollout


@dataclass(frozen=True)
class Place:
    tier: str = "production"
    context: str = "test"
    namespaces: tuple[str, ...] = ("shop",)


@dataclass
class Scene:
    api: FakeApi
    inventory: Inventory
    clock: SteadyClock

    @property
    def environment(self) -> EnvironmentView:
        return fleet_view({"production": Place()}, {"test": self.inventory}, self.clock).environments[0]

    def service(self, name: str = "cart") -> ServiceView:
        return next(view for view in self.environment.services if view.name == name)

    def watch(self, **options) -> RolloutWatch:
        return rollouts(self.inventory, self.clock, **options)[0]

    def workload(
        self, name: str, version: str = "v1", *, replicas: int = 2, conditions: tuple[object, ...] = (), **status: int
    ) -> None:
        full = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas) | status
        containers = [{"name": "proxy", "image": "p:9"}, {"name": "cart", "image": f"registry/cart:{version}"}]
        template = {"spec": {"containers": containers}}
        spec = {"replicas": replicas, "template": template}
        self.api.put("deployments", manifest("Deployment", name, spec=spec, status={**full, "conditions": list(conditions)}))
        owner = {"ownerReferences": [{"uid": f"uid-{name}", "controller": True}]}
        self.api.put("replicasets", manifest("ReplicaSet", f"{name}-{version}", metadata=owner, spec={"template": template}))

    def pod(self, name: str, of: str, **container: object) -> None:
        meta = {"ownerReferences": [{"uid": f"uid-{of}", "controller": True}], "creationTimestamp": "2026-01-01T00:00:00Z"}
        state = {"name": "cart", "ready": True, **container}
        conditions = [{"type": "Ready", "status": "True" if state["ready"] else "False"}]
        full = {"phase": "Running", "containerStatuses": [state], "conditions": conditions}
        self.api.put("pods", manifest("Pod", name, metadata=meta, status=full, spec={"nodeName": "node-a"}))

    def route(self, weight: int) -> None:
        shares = [
            {"destination": {"host": "cart", "subset": "stable"}, "weight": 100 - weight},
            {"destination": {"host": "cart", "subset": "canary"}, "weight": weight},
        ]
        self.api.put("virtualservices", manifest("VirtualService", "cart", spec={"http": [{"route": shares}]}))

    def checkpoint(self, saved: Rollout) -> None:
        data = {"rollout": msgspec.json.encode(saved).decode()}
        labels = {"labels": {"quarterdeck/kind": "checkpoint"}}
        self.api.put("configmaps", manifest("ConfigMap", f"quarterdeck-rollout-{saved.id}", metadata=labels, data=data))

    def lease(self, *, holder: str = "jane@laptop#t1", of: str = "r1", ago: float = 0.0) -> None:
        renewed = datetime.fromtimestamp(self.clock.unix() - ago, UTC)
        meta = {"annotations": {"quarterdeck/rollout": of}}
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}"}
        self.api.put("leases", manifest("Lease", "quarterdeck-cart", metadata=meta, spec=spec))


@contextlib.asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[Scene]:
    clock = SteadyClock()
    async with connected(directory, clock=clock) as (api, connection):
        inventory = Inventory(connection, ["shop"], clock)
        made = Scene(api, inventory, clock)
        task = asyncio.create_task(inventory.run())
        assert await inventory.wait_synced(30)
        await eventually(lambda: len([queue for queues in api.watchers.values() for queue in queues]) == len(KINDS))
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def saved(phase: Phase = Phase.RUNNING, *, created: datetime | None = None, id: str = "r1") -> Rollout:
    made = rollout(id, namespace="shop", service="cart")
    return msgspec.structs.replace(made, phase=phase, created=created or made.created)


async def test_a_canary_is_part_of_its_service(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.workload("cart", "v1", replicas=3)
        seen.workload("cart-canary", "v2", replicas=1)
        seen.workload("odd-canary", "v7")
        seen.route(25)
        await eventually(lambda: len(seen.environment.services) == 2 and seen.service().canary_weight == 25)
        view = seen.service()
        assert (view.version, view.ready, view.desired, view.health, view.kind) == ("v1", 3, 3, Health.OK, "Deployment")
        assert (view.canary_version, view.canary_ready) == ("v2", 1)
        assert service_names(seen.inventory, "shop") == ("cart", "odd-canary")
        seen.workload("cart-canary", "v2", replicas=0)
        seen.route(0)
        await eventually(lambda: seen.service().canary_version == "" and seen.service().canary_weight == 0)


async def test_health_says_what_is_wrong(tmp_path: Path) -> None:
    complete = {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetAvailable",
        "lastUpdateTime": "2026-01-02T00:00:00Z",
    }
    async with scene(tmp_path) as seen:
        seen.workload("cart", updatedReplicas=1)
        await eventually(lambda: len(seen.environment.services) == 1)
        assert (seen.service().health, seen.service().detail) == (Health.PROGRESSING, "1 of 2 new pods are there")
        seen.workload("cart", availableReplicas=1, readyReplicas=1, conditions=(complete,))
        await eventually(lambda: seen.service().health is Health.DEGRADED)
        assert seen.service().detail == "1 of 2 pods are available"
        assert seen.service().changed == datetime(2026, 1, 2, tzinfo=UTC).timestamp()
        seen.pod("a", "cart-v1", ready=False, restartCount=5, state={"waiting": {"reason": "CrashLoopBackOff"}})
        await eventually(lambda: seen.service().health is Health.FAILED)
        seen.workload("cart")
        await eventually(lambda: seen.service().health is Health.OK)
        seen.workload("cart-canary", "v2", replicas=1, availableReplicas=0, readyReplicas=0)
        seen.pod("b", "cart-canary-v2", ready=False, restartCount=3)
        await eventually(lambda: seen.service().health is Health.FAILED)
        assert seen.service().detail == "canary: 1 pod is in a crash loop, 3 restarts"


async def test_pods_are_shown_with_their_version_and_track(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.workload("cart", "v1")
        seen.workload("cart-canary", "v2", replicas=1)
        seen.pod("cart-a", "cart-v1")
        seen.pod(
            "cart-canary-a", "cart-canary-v2", ready=False, restartCount=2, state={"waiting": {"reason": "CrashLoopBackOff"}}
        )
        seen.pod("stranger", "something-else")
        await eventually(lambda: len(pod_views(seen.inventory, "shop", "cart")) == 2)
        canary, stable = pod_views(seen.inventory, "shop", "cart")
        assert (canary.version, canary.track, canary.ready, canary.reason, canary.restarts) == (
            "v2", "canary", False, "CrashLoopBackOff", 2,
        )  # fmt: skip
        assert (stable.name, stable.version, stable.track, stable.ready, stable.node) == (
            "cart-a",
            "v1",
            "stable",
            True,
            "node-a",
        )


async def test_a_picture_too_old_says_nothing_about_health(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.workload("cart")
        await eventually(lambda: bool(seen.environment.services) and seen.service().health is Health.OK)
        assert seen.environment.reachable
        await seen.api.stop()
        await eventually(lambda: seen.service().health is Health.UNKNOWN)
        view = seen.environment
        assert not view.reachable
        assert (view.age_seconds or 0) > 10
        assert "connection refused" in view.problem
        assert view.services[0].version == "v1"
        assert "last seen" in view.services[0].detail


async def test_environments_that_are_not_connected_are_said_to_be() -> None:
    view = fleet_view({"dev": Place(tier="dev", context="absent")}, {}, SteadyClock()).environments[0]
    assert (view.name, view.tier, view.reachable, view.age_seconds, view.services) == ("dev", "dev", False, None, ())
    assert "absent" in view.problem


async def test_a_live_rollout_is_watched_by_its_driver(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.workload("cart")
        seen.lease()
        seen.checkpoint(saved())
        await eventually(lambda: bool(rollouts(seen.inventory, seen.clock)) and bool(seen.inventory.leases))
        await eventually(lambda: seen.service().rollout == "r1")
        watch = seen.watch()
        assert (watch.orphaned, watch.who, watch.lease_holder) == (False, "jane@laptop", "jane@laptop#t1")
        assert (watch.lease_age or 0) < 15
        assert seen.watch(local_alive=lambda _: True).orphaned is False
        assert seen.watch(local_alive=lambda _: None).orphaned is False
        dead = seen.watch(local_alive=lambda _: False)
        assert (dead.orphaned, dead.reason) == (True, "its driver process ended")


async def test_a_rollout_whose_lease_runs_out_is_an_orphan_until_somebody_takes_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.lease()
        seen.checkpoint(saved())
        await eventually(lambda: bool(rollouts(seen.inventory, seen.clock)) and bool(seen.inventory.leases))
        assert not seen.watch().orphaned
        await eventually(lambda: seen.watch().orphaned)
        assert "its lease was not renewed for 1" in seen.watch().reason
        seen.lease(holder="joe@desk#t2")
        await eventually(lambda: not seen.watch().orphaned)
        assert seen.watch().who == "joe@desk"


async def test_a_driver_whose_clock_is_wrong_is_no_orphan(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.checkpoint(saved())
        for _ in range(8):
            seen.lease(ago=3600)
            await eventually(lambda: bool(seen.inventory.leases) and bool(seen.inventory.checkpoints))
            assert not seen.watch().orphaned
            await seen.clock.sleep(2)


async def test_a_lease_gone_given_up_or_held_for_another_rollout_makes_an_orphan(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        seen.checkpoint(saved())
        await eventually(lambda: bool(rollouts(seen.inventory, seen.clock)) and seen.watch().orphaned)
        assert (seen.watch().reason, seen.watch().who) == ("its lease is gone", f"{driver().operator}@{driver().host}")
        seen.lease(holder="")
        await eventually(lambda: seen.watch().reason == "its driver has given up the lease")
        seen.lease(of="r2")
        await eventually(lambda: seen.watch().reason == "the lease is held for rollout r2")
        seen.checkpoint(saved(Phase.SUCCEEDED))
        await eventually(lambda: not seen.watch().orphaned)


async def test_the_newest_comes_first_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as seen:
        for number in range(3):
            seen.checkpoint(
                saved(Phase.SUCCEEDED, id=f"r{number}", created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))
            )
        labels = {"labels": {"quarterdeck/kind": "checkpoint"}}
        seen.api.put("configmaps", manifest("ConfigMap", "bad", metadata=labels, data={"rollout": '{"v": 99}'}))
        seen.api.put("configmaps", manifest("ConfigMap", "rec", metadata={"labels": {"quarterdeck/kind": "record"}}))
        await eventually(lambda: len(seen.inventory.checkpoints) == 4 and len(seen.inventory.records) == 1)
        assert [watch.rollout.id for watch in rollouts(seen.inventory, seen.clock)] == ["r2", "r1", "r0"]
        assert list(unreadable_checkpoints(seen.inventory)) == [("shop", "bad")]
        assert "can't read checkpoint bad in shop" in seen.environment.problem
