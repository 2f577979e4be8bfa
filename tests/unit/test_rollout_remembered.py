"""What a rollout changed, rebuilt from the journal of its home once its checkpoint is gone."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.memory_cluster import memory_connection, refusal_of
from support.rollouts import deployment, driver, rollout, target, virtual_service

from services.actuator import Actuator, Mutation, Write
from services.actuator.undo import fold
from services.audit import Journal
from services.cluster.transport import Request
from services.coordination import Coordination
from services.model.errors import Forbidden
from services.model.objects import ObjectRef
from services.model.rollout import Phase, StepState, UndoRecord
from services.model.steps import Scale, SetTraffic
from services.redaction import Redactor
from services.rollout.remembered import LOST, lost, remembered

BASE = rollout()
STABLE, CANARY, ROUTE = BASE.plan.stable, BASE.plan.canary, BASE.plan.route
assert CANARY is not None
assert ROUTE is not None
IMAGE, ENV = "/spec/template/spec/containers/1/image", "/spec/template/spec/containers/1/env"
OLD_ENV, NEW_ENV = [{"name": "GREETING", "value": "as before"}], [{"name": "GREETING", "value": "hello"}]
STEPS = (
    Scale(name="canary", workload=CANARY, replicas=2),
    SetTraffic(name="25 %", router="istio", route=ROUTE, weight=25),
    Scale(name="promote", workload=STABLE, replicas=3),
)
PLAN = msgspec.structs.replace(BASE.plan, steps=STEPS)
STARTED = msgspec.structs.replace(BASE, driver=None, plan=PLAN, steps=tuple(StepState() for _ in STEPS))


class Place:
    def __init__(self, journal: Journal, clock: ManualClock) -> None:
        self.journal, self.clock = journal, clock
        self.connection, self.cluster = memory_connection()
        self.actuator = Actuator(self.connection, journal, clock, read_only=False)
        body = deployment(STABLE, image="app:v1")
        body["metadata"]["uid"] = "u1"
        body["spec"]["template"]["spec"]["containers"][1]["env"] = OLD_ENV
        self.cluster.put(STABLE, body)
        assert CANARY is not None
        assert ROUTE is not None
        self.cluster.put(CANARY, deployment(CANARY, replicas=0))
        self.cluster.put(ROUTE, virtual_service(ROUTE))
        self.made: list[UndoRecord] = []

    def keep_history(self) -> None:
        """The ReplicaSet of stable's template as it is now."""
        template = copy.deepcopy(self.cluster.at(STABLE)["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = "h1"
        meta = {"ownerReferences": [{"uid": "u1"}], "annotations": {"deployment.kubernetes.io/revision": "4"}}
        self.cluster.put(ObjectRef("ReplicaSet", "production", "rs-1"), {"metadata": meta, "spec": {"template": template}})

    async def act(self, ref: ObjectRef, *writes: tuple[str, Any], step: int, rollback: bool = False) -> None:
        hold = await Coordination(self.connection, self.clock).acquire(
            target(), "payment-service", "r1", driver(), take_over=True
        )
        change = Mutation(object=ref, writes=tuple(Write(*write) for write in writes), command="kubectl …", step=step)
        try:
            self.made += (await self.actuator.apply(change, hold=hold, rollout=STARTED, rollback=rollback)).undo
        finally:
            await self.clock.settled()  # an outcome that the disk holds up is not waited for by the door

    async def rolled_out(self) -> None:
        assert CANARY is not None
        assert ROUTE is not None
        await self.act(CANARY, ("/spec/replicas", 2), step=0)
        weights = ("/spec/http/0/route/0/weight", 75), ("/spec/http/0/route/1/weight", 25)
        await self.act(ROUTE, *weights, step=1)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock = ManualClock()
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    yield Place(journal, clock)
    journal.close()


async def test_what_was_changed_is_known_again_and_waits_for_a_person(place: Place) -> None:
    await place.rolled_out()
    made = tuple(place.made)

    def refuse(request: Request) -> str:
        raise refusal_of(403, request)

    place.cluster.faults = [lambda _: "", refuse]  # the lease is taken, the change refused
    with pytest.raises(Forbidden):
        await place.act(STABLE, (IMAGE, "app:v2"), step=2)
    place.cluster.faults = []
    assert ROUTE is not None
    await place.act(ROUTE, ("/spec/http/0/route/1/weight", 0), step=1, rollback=True)
    assert lost(STARTED)
    assert not lost(msgspec.structs.replace(STARTED, driver=driver())), "its driver knew of no change that had left"
    found = await remembered(place.journal, place.connection, STARTED, pace=7.0)
    assert fold(found.undo) == fold(made), "neither what was refused nor what a rollback wrote"
    assert (found.phase, found.step, found.weight, found.exposed_at) == (Phase.PAUSED, 1, 25, 7.0)
    assert LOST in found.pause_reason
    assert "not known" not in found.pause_reason
    assert not lost(found)


async def test_nothing_announced_is_nothing_changed(place: Place) -> None:
    assert await remembered(place.journal, place.connection, STARTED, pace=7.0) == STARTED


@pytest.mark.parametrize("history", [True, False])
async def test_what_the_journal_masks_comes_from_the_replica_set_or_is_said_to_be_unknown(place: Place, history: bool) -> None:
    if history:
        place.keep_history()
    await place.rolled_out()
    await place.act(STABLE, (IMAGE, "app:v2"), (ENV, NEW_ENV), step=2)
    made = tuple(place.made)
    found = await remembered(place.journal, place.connection, STARTED, pace=0.0)
    if history:
        assert fold(found.undo) == fold(made)
        return
    assert {record.path for record in made} - {record.path for record in found.undo} == {ENV}
    assert f"not known: {STABLE} {ENV}" in found.pause_reason
