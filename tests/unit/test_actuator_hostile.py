"""The one door when everything comes late, twice, or from somewhere else: no undo may be lost, none may be another's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import deployment, driver, rollout, target, virtual_service

from services.actuator import Actuator, Mutation, Write
from services.actuator.patch import decide, written
from services.actuator.undo import fold, plan_restore
from services.audit import Journal
from services.coordination import Coordination, Hold
from services.model.errors import Unavailable
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import UndoRecord
from services.redaction import Redactor

STABLE = ObjectRef("Deployment", "production", "payment-service")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")
TO_STABLE = "/spec/http/0/route/0/weight"
TO_CANARY = "/spec/http/0/route/1/weight"


class Stage:
    def __init__(self, actuator: Actuator, cluster: MemoryTransport, clock: ManualClock, hold: Hold) -> None:
        self.actuator, self.cluster, self.clock, self.hold = actuator, cluster, clock, hold

    async def apply(self, canary: int, **more: Any) -> tuple[tuple[Json, Json], ...]:
        """The undo, as (old, new), of giving the canary this weight."""
        applied = await self.actuator.apply(weights(canary), hold=self.hold, rollout=rollout(), **more)
        return tuple((record.old, record.new) for record in applied.undo)

    def moved(self, canary: int) -> None:
        def move(live: dict[str, Json]) -> None:
            live["spec"]["http"][0]["route"][0]["weight"] = 100 - canary
            live["spec"]["http"][0]["route"][1]["weight"] = canary

        self.cluster.edit(ROUTE, move)


def weights(canary: int) -> Mutation:
    return Mutation(object=ROUTE, writes=(Write(TO_STABLE, 100 - canary), Write(TO_CANARY, canary)))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    connection, cluster = memory_connection()
    cluster.put(ROUTE, virtual_service(ROUTE))
    cluster.put(STABLE, deployment(STABLE))
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(), clock=clock)
    actuator = Actuator(connection, journal, clock, read_only=False)
    hold = await Coordination(connection, clock).acquire(target(), "payment-service", "r1", driver())
    await actuator.claim((ROUTE, STABLE), hold, rollout())
    yield Stage(actuator, cluster, clock, hold)
    journal.close()


async def test_a_request_that_arrives_only_after_it_was_looked_up_still_leaves_its_undo(stage: Stage) -> None:
    stage.cluster.faults.append(lambda _: "drop")
    stage.cluster.before_write += [lambda: None, lambda: stage.moved(25)]  # the lost request takes effect before the second
    assert await stage.apply(25) == ((100, 75), (0, 25))
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 25


async def test_an_undo_that_is_still_owed_is_not_lost_to_a_newer_copy_of_the_object(stage: Stage) -> None:
    def lose_and_go_away(_: object) -> str:
        stage.cluster.unreadable = 10_000
        return "lose"

    stage.cluster.faults.append(lose_and_go_away)
    task = asyncio.ensure_future(stage.apply(25))
    while not task.done():
        await asyncio.sleep(0.001)
        await stage.clock.advance(1.0)
    assert isinstance(task.exception(), Unavailable)
    stage.cluster.unreadable = 0
    undo = await stage.apply(50, base=stage.cluster.at(ROUTE))
    assert undo[:2] == ((100, 75), (0, 25)), "the first change took effect, and nobody was told its undo"
    assert undo[2:] == ((75, 50), (25, 50))


async def test_a_last_attempt_that_took_effect_is_not_called_a_conflict(stage: Stage) -> None:
    stage.cluster.faults += [lambda _: "drop"] * 5 + [lambda _: "lose"]
    assert await stage.apply(25) == ((100, 75), (0, 25))


def recorded(document: dict[str, Json], records: list[UndoRecord], *writes: tuple[str, Json]) -> dict[str, Json]:
    mutation = Mutation(object=ROUTE, writes=tuple(Write(path, value) for path, value in writes))
    records += decide(mutation, document, epoch=1).undo
    return written(document, mutation.writes)


def test_a_rule_inserted_between_two_shares_is_one_value_with_one_original() -> None:
    records: list[UndoRecord] = []
    live = recorded(virtual_service(ROUTE), records, (TO_STABLE, 90), (TO_CANARY, 10))
    live["spec"]["http"].insert(0, {"match": [{"uri": {"prefix": "/new"}}], "route": [{"destination": {"host": "elsewhere"}}]})
    live = recorded(live, records, ("/spec/http/1/route/0/weight", 75), ("/spec/http/1/route/1/weight", 25))
    restore = plan_restore(fold(records), {ROUTE: live}, context="memory", stable=STABLE)
    assert restore.kept == ()
    assert {write.path: write.value for write in restore.phases[0].mutations[0].writes} == {
        "/spec/http/1/route/0/weight": 100,
        "/spec/http/1/route/1/weight": 0,
    }


def test_a_sidecar_inserted_between_two_images_is_no_change_by_somebody_else() -> None:
    image = "/spec/template/spec/containers/{}/image"
    records: list[UndoRecord] = []
    live = recorded(deployment(STABLE), records, (image.format(1), "app:2"))
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "image": "sidecar:1"})
    live = recorded(live, records, (image.format(2), "app:3"))
    owned = [
        UndoRecord(object=STABLE, path=each.path, old=each.old, new=each.new, step=each.step, guards=each.guards)
        for each in records
    ]
    restore = plan_restore(fold(owned), {STABLE: live}, context="memory", stable=STABLE)
    assert restore.kept == ()
    (write,) = restore.phases[0].mutations[0].writes
    assert (write.path, write.value) == (image.format(2), "registry.example/app:v2.14.1")


ours = st.tuples(st.just("ours"), st.sampled_from(["app", "proxy"]), st.integers(2, 5))
theirs = st.tuples(st.just("theirs"), st.sampled_from(["a", "b", "c"]), st.integers(0, 4))


@given(st.lists(ours | theirs, max_size=10))
def test_what_others_do_to_the_list_stays_and_what_we_wrote_goes_whatever_the_order(course: list[tuple[str, str, int]]) -> None:
    live, wanted, records = deployment(STABLE), deployment(STABLE), list[UndoRecord]()
    place = "/spec/template/spec/containers"
    for whose, name, number in course:
        listed = value_at(live, place)
        names = [each["name"] for each in listed]
        if whose == "ours":
            write = Write(f"{place}/{names.index(name)}/image", f"{name}:{number}")
            mutation = Mutation(object=STABLE, writes=(write,))
            records += decide(mutation, live, epoch=1).undo
            live = written(live, mutation.writes)
        else:
            for document in (live, wanted):
                if name in names:
                    value_at(document, place).remove({"name": name, "image": f"{name}:1"})
                else:
                    value_at(document, place).insert(number, {"name": name, "image": f"{name}:1"})
    restore = plan_restore(fold(records), {STABLE: live}, context="memory", stable=STABLE)
    assert restore.kept == ()
    for phase in restore.phases:
        for mutation in phase.mutations:
            live = written(live, mutation.writes)
    assert live == wanted
