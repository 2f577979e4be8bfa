"""Waiting for a workload: whose deadline it was, and which version is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import deployment, driver, rollout

from services.actuator import Actuator
from services.audit import Journal
from services.cluster.objects import Deployment
from services.coordination import Coordination
from services.model.errors import Forbidden
from services.model.objects import Json, ObjectRef
from services.model.rollout import StepState
from services.model.steps import WaitReady
from services.redaction import Redactor
from services.rollout import state
from services.rollout.arms import workload_facts
from services.rollout.run import Breach, PersonNeeded, Run
from services.rollout.service import read_state
from services.rollout.steps_workload import runs_new_images, wait_ready

BASE = rollout()
STABLE = BASE.plan.stable
OLD, NEW = "registry.example/payment-service:v2.14.1", "registry.example/payment-service:v2.15.0"
WAIT = WaitReady(name="ready", workload=STABLE, timeout=120)


class Seen:
    def __init__(self, cluster: MemoryTransport) -> None:
        self._cluster = cluster

    def age(self) -> float:
        return 0.0

    def can_read(self, kind: str, namespace: str) -> bool:
        return True

    def raw(self, ref: ObjectRef) -> dict[str, Json]:
        return self._cluster.at(ref)

    def replicasets_of(self, uid: str) -> tuple[()]:
        return ()

    async def changed(self) -> None:
        await asyncio.Event().wait()

    @property
    def deployments(self) -> dict[tuple[str, str], Deployment]:
        return {(STABLE.namespace, STABLE.name): msgspec.convert(self._cluster.at(STABLE), Deployment, strict=False)}


def running(image: str, *, deadline: int | None = None, exceeded: bool = False) -> dict[str, Json]:
    body = deployment(STABLE, image=image, replicas=4)
    able = 1 if exceeded else 4
    body["status"] = {"replicas": 4, "updatedReplicas": 4, "readyReplicas": able, "availableReplicas": able}
    if exceeded:
        body["status"]["conditions"] = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    if deadline is not None:
        body["spec"]["progressDeadlineSeconds"] = deadline
    return body


@asynccontextmanager
async def waiting(place: Path, body: dict[str, Json]) -> AsyncIterator[Run]:
    connection, cluster = memory_connection()
    clock = ManualClock()
    cluster.put(STABLE, body)
    plan = msgspec.structs.replace(BASE.plan, steps=(WAIT,), new_images={"app": NEW}, canary=None, route=None)
    begun = msgspec.structs.replace(BASE, plan=plan, steps=(StepState(),))
    journal = Journal.open(place, redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    try:
        coordination = Coordination(connection, clock)
        hold = await coordination.acquire(begun.release.target, "payment-service", begun.id, driver("t"))
        run = Run(
            state.driven_by(begun, driver("t"), hold.epoch),
            connection=connection,
            inventory=Seen(cluster),  # type: ignore[arg-type]
            actuator=Actuator(connection, journal, clock, read_only=False),
            coordination=coordination,
            hold=hold,
            journal=journal,
            settings=configured(),
            clock=clock,
        )
        run.change(state.step_started(run.rollout, clock.now()))
        yield run
    finally:
        journal.close()


@pytest.mark.parametrize(("written", "limit"), [(45, 45.0), (None, 600.0)])
async def test_the_deployments_own_deadline_is_told_as_its_own(tmp_path: Path, written: int | None, limit: float) -> None:
    async with waiting(tmp_path, running(NEW, deadline=written, exceeded=True)) as run:
        with pytest.raises(Breach) as breach:
            await wait_ready(run, WAIT)
        reason = breach.value.reason
        assert (reason.name, reason.limit) == ("progress-deadline", limit)
        assert float(reason.value) >= limit, "what it took can't be less than the limit that it exceeded"
        facts: Any = workload_facts(run.inventory, run.rollout, waited=90.0, deadline=120.0)
        assert (facts.deadline, facts.waited) == (limit, max(90.0, limit))


async def test_ready_pods_of_another_version_are_not_what_was_waited_for(tmp_path: Path) -> None:
    async with waiting(tmp_path, running(OLD)) as run:
        with pytest.raises(PersonNeeded, match="no longer runs"):
            await wait_ready(run, WAIT)
        with pytest.raises(PersonNeeded, match="does not run"):
            await runs_new_images(run)
    async with waiting(tmp_path / "new", running(NEW)) as run:
        await wait_ready(run, WAIT)
        await runs_new_images(run)


async def test_an_autoscaler_is_seen_and_one_that_can_not_be_listed_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, cluster = memory_connection()
    cluster.put(STABLE, running(OLD))
    target = BASE.release.target
    assert (await read_state(connection, target, STABLE.name)).autoscaled is False
    cluster.put(
        ObjectRef("HorizontalPodAutoscaler", target.namespace, "any"),
        {"metadata": {}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": STABLE.name}, "maxReplicas": 9}},
    )
    assert (await read_state(connection, target, STABLE.name)).autoscaled is True

    async def forbidden(*_: object, **__: object) -> None:
        raise Forbidden("403")

    monkeypatch.setattr(connection, "list", forbidden)
    assert (await read_state(connection, target, STABLE.name)).autoscaled is None
