"""The simulated cluster by hand: rolling updates, deadlines, crashes, clean-up, with simulated time moved by the test."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import ManualClock

from services.sandbox import fleet
from services.sandbox.behaviour import Behaviours, scenarios
from services.sandbox.cluster import EmbeddedCluster
from services.sandbox.controllers.rules import REVISION, complete, limits, ready
from services.sandbox.errors import ApiError
from services.sandbox.manifests import deployment
from services.sandbox.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    PODS,
    REPLICASETS,
    SERVICES,
    controller_of,
    meta,
)

PAYMENT = fleet.BY_NAME["payment-service"]


class Rehearsal:
    """One namespace with the payment service, under a scenario."""

    def __init__(self, scenario: str = "good") -> None:
        self.clock = ManualClock()
        self.cluster = EmbeddedCluster(self.clock, Random(7), Behaviours(scenarios()[scenario]))
        self.registry, self.store = self.cluster.registry, self.cluster.store
        self.registry.ensure_namespace("production")

    def deploy(self, **spec: Any) -> None:
        body = deployment(PAYMENT, "production", fleet.PROGRESS_DEADLINE)
        body["spec"].update(spec)
        self.registry.create(DEPLOYMENTS, "production", body)

    async def run(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.cluster.controllers.settle()
            await self.clock.advance(step)
            self.cluster.schedule.run_due()
        self.cluster.controllers.settle()

    def change(self, **spec: Any) -> None:
        current = self.deployment
        self.registry.update(DEPLOYMENTS, "production", "payment-service", {**current, "spec": {**current["spec"], **spec}})

    def image(self, version: str) -> None:
        template = deployment(PAYMENT, "production", fleet.PROGRESS_DEADLINE)["spec"]["template"]
        template["spec"]["containers"][0]["image"] = fleet.image("payment-service", version)
        self.change(template=template)

    @property
    def deployment(self) -> dict[str, Any]:
        return self.registry.read(DEPLOYMENTS, "production", "payment-service")

    @property
    def pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.store.all(PODS, "production") if "deletionTimestamp" not in meta(pod)]

    def images(self) -> set[str]:
        return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in self.pods}

    def condition(self, kind: str) -> dict[str, Any]:
        return next(found for found in self.deployment["status"]["conditions"] if found["type"] == kind)


async def test_a_deployment_becomes_ready_and_says_so() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy()
    await rehearsal.run(1)
    assert rehearsal.condition("Available")["status"] == "False"
    await rehearsal.run(10)
    status = rehearsal.deployment["status"]
    counts = {
        key: status[key] for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    }
    assert counts == {"replicas": 6, "updatedReplicas": 6, "readyReplicas": 6, "availableReplicas": 6, "observedGeneration": 1}
    assert "unavailableReplicas" not in status
    assert rehearsal.condition("Progressing")["reason"] == "NewReplicaSetAvailable"
    assert meta(rehearsal.deployment)["annotations"][REVISION] == "1"


@settings(max_examples=25, deadline=None)
@given(
    replicas=st.integers(0, 9),
    surge=st.sampled_from([0, 1, 3, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, 2, "25%", "50%"]),
    resize=st.none() | st.integers(0, 9),
)
async def test_a_rolling_update_keeps_its_limits_and_ends_whole(
    replicas: int, surge: int | str, unavailable: int | str, resize: int | None
) -> None:
    rehearsal = Rehearsal()
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    rehearsal.deploy(replicas=replicas, strategy=rolling)
    await rehearsal.run(12)
    rehearsal.image("v2.14.2")
    more, less = limits(rehearsal.deployment)
    for _ in range(200):
        await rehearsal.run(0.5)
        if resize is None:
            assert len(rehearsal.pods) <= replicas + more
            assert sum(map(ready, rehearsal.pods)) >= replicas - less
        elif rehearsal.images() == {"v2.14.1", "v2.14.2"} and rehearsal.deployment["spec"]["replicas"] != resize:
            rehearsal.change(replicas=resize)
        if complete(rehearsal.deployment) and len(rehearsal.pods) == rehearsal.deployment["spec"]["replicas"]:
            break
    assert complete(rehearsal.deployment)
    assert rehearsal.images() <= {"v2.14.2"}
    assert len(rehearsal.pods) == rehearsal.deployment["spec"]["replicas"]


async def test_undo_brings_the_old_replica_set_back_under_a_new_revision() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy()
    await rehearsal.run(12)
    before = {meta(found)["name"] for found in rehearsal.store.all(REPLICASETS, "production")}
    rehearsal.image("v2.14.2")
    await rehearsal.run(40)
    assert rehearsal.images() == {"v2.14.2"}
    rehearsal.image("v2.14.1")
    await rehearsal.run(40)
    assert rehearsal.images() == {"v2.14.1"}
    sets = {meta(found)["name"]: found for found in rehearsal.store.all(REPLICASETS, "production")}
    assert len(sets) == 2
    old = sets[before.pop()]
    assert old["spec"]["replicas"] == 6
    assert meta(old)["annotations"][REVISION] == "3"
    assert meta(rehearsal.deployment)["annotations"][REVISION] == "3"


async def test_history_is_kept_to_its_limit() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy(replicas=1, revisionHistoryLimit=2)
    for patch in range(2, 8):
        await rehearsal.run(15)
        rehearsal.image(f"v2.13.{patch}")
    await rehearsal.run(15)
    assert len(rehearsal.store.all(REPLICASETS, "production")) == 3


async def test_a_version_that_never_gets_ready_exceeds_its_deadline_and_the_old_pods_stay() -> None:
    rehearsal = Rehearsal("stuck")
    rehearsal.deploy()
    await rehearsal.run(12)
    rehearsal.image("v2.15.0")
    await rehearsal.run(fleet.PROGRESS_DEADLINE - 10, step=1)
    assert rehearsal.condition("Progressing")["status"] == "True"
    await rehearsal.run(30, step=1)
    assert rehearsal.condition("Progressing")["status"] == "False"
    assert rehearsal.condition("Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert sum(map(ready, rehearsal.pods)) >= 5
    rehearsal.image("v2.14.1")
    await rehearsal.run(30)
    assert rehearsal.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_a_crashing_version_backs_off_with_a_growing_count() -> None:
    rehearsal = Rehearsal("crash")
    rehearsal.deploy(replicas=1)
    await rehearsal.run(12)
    rehearsal.image("v2.15.0")
    counts = []
    for _ in range(6):
        await rehearsal.run(20)
        new = next(pod for pod in rehearsal.pods if pod["spec"]["containers"][0]["image"].endswith("v2.15.0"))
        counts.append(new["status"]["containerStatuses"][0]["restartCount"])
        assert not ready(new)
    assert counts == sorted(counts)
    assert counts[-1] >= 3
    status = new["status"]["containerStatuses"][0]
    assert status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" or "running" in status["state"]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert any(event["reason"] == "BackOff" and event["type"] == "Warning" for event in rehearsal.store.all(EVENTS, "production"))


async def test_deleting_a_deployment_collects_everything_it_owned() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy()
    await rehearsal.run(12)
    rehearsal.registry.delete(DEPLOYMENTS, "production", "payment-service")
    await rehearsal.run(5)
    assert rehearsal.store.all(REPLICASETS, "production") == []
    assert rehearsal.store.all(PODS, "production") == []


async def test_an_orphaned_replica_set_keeps_its_pods() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy(replicas=2)
    await rehearsal.run(12)
    rehearsal.registry.orphan(rehearsal.deployment)
    rehearsal.registry.delete(DEPLOYMENTS, "production", "payment-service")
    await rehearsal.run(5)
    (kept,) = rehearsal.store.all(REPLICASETS, "production")
    assert controller_of(kept) is None
    assert sum(map(ready, rehearsal.pods)) == 2


async def test_a_deleted_pod_is_replaced_and_leaves_the_endpoints_first() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy(replicas=3)
    service = {"metadata": {"name": "payment-service"}, "spec": {"selector": {"app": "payment-service"}, "ports": [{"port": 80}]}}
    rehearsal.registry.create(SERVICES, "production", service)
    await rehearsal.run(12)
    victim = rehearsal.pods[0]
    rehearsal.registry.delete(PODS, "production", meta(victim)["name"])
    rehearsal.cluster.controllers.settle()
    (subset,) = rehearsal.registry.read(ENDPOINTS, "production", "payment-service")["subsets"]
    assert victim["status"]["podIP"] not in {address["ip"] for address in subset["addresses"]}
    assert rehearsal.store.get(PODS, "production", meta(victim)["name"]) is not None
    await rehearsal.run(12)
    assert sum(map(ready, rehearsal.pods)) == 3
    assert rehearsal.store.get(PODS, "production", meta(victim)["name"]) is None


async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy(replicas=2)
    await rehearsal.run(12)
    rehearsal.change(paused=True)
    rehearsal.image("v2.14.2")
    rehearsal.change(paused=True, replicas=4)
    await rehearsal.run(12)
    assert rehearsal.images() == {"v2.14.1"}
    assert sum(map(ready, rehearsal.pods)) == 4
    assert rehearsal.deployment["status"].get("updatedReplicas", 0) == 0
    rehearsal.change(paused=False)
    await rehearsal.run(30)
    assert rehearsal.images() == {"v2.14.2"}


async def test_recreate_never_mixes_versions() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy(strategy={"type": "Recreate"})
    await rehearsal.run(12)
    rehearsal.image("v2.14.2")
    for _ in range(40):
        await rehearsal.run(0.5)
        assert len({pod["spec"]["containers"][0]["image"] for pod in rehearsal.pods}) <= 1
    assert rehearsal.images() == {"v2.14.2"}


async def test_the_seeded_fleet_is_ready_at_once_but_for_what_is_broken() -> None:
    clock = ManualClock()
    cluster = EmbeddedCluster(clock, Random(1), Behaviours(scenarios()["good"]))
    cluster.seed()
    assert cluster.healthy()
    unready = {(meta(found)["namespace"], meta(found)["name"]) for found in cluster.store.all(DEPLOYMENTS) if not complete(found)}
    assert unready == {("dev", "recommendations")}
    assert len(fleet.WORKLOADS) >= 8
    versions = {
        found["spec"]["template"]["spec"]["containers"][0]["image"]
        for found in cluster.store.all(DEPLOYMENTS)
        if meta(found)["name"] == "payment-service"
    }
    assert versions == {fleet.image("payment-service", "v2.14.1")}
    labels = [
        found
        for found in cluster.store.all(CONFIGMAPS, "staging")
        if (meta(found).get("labels") or {}).get("quarterdeck/kind") == "record"
    ]
    assert len(labels) == len(fleet.OFFERS)


async def test_writes_that_break_a_rule_are_refused() -> None:
    rehearsal = Rehearsal()
    rehearsal.deploy()
    current = rehearsal.deployment
    with pytest.raises(ApiError, match="immutable"):
        rehearsal.change(selector={"matchLabels": {"app": "payment-service"}})
    with pytest.raises(ApiError, match="does not match"):
        rehearsal.change(template={**current["spec"]["template"], "metadata": {"labels": {"app": "other"}}})
    with pytest.raises(ApiError) as stale:
        rehearsal.registry.update(
            DEPLOYMENTS, "production", "payment-service", {**current, "metadata": {**meta(current), "resourceVersion": "1"}}
        )
    assert stale.value.code == 409
    with pytest.raises(ApiError) as terminating:
        rehearsal.registry.create(CONFIGMAPS, "nowhere", {"metadata": {"name": "a"}})
    assert terminating.value.code == 404
