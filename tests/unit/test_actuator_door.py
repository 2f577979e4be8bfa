"""The one door on a cluster in memory, with a real journal: order, fencing, conflicts, lost answers, force, observer mode."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import deployment, driver, record, rollout, target, virtual_service

from services.actuator import Actuator, Misplaced, Mutation, Superseded, Write
from services.actuator.patch import epoch_of
from services.actuator.undo import fold, plan_restore
from services.audit import Journal, JournalUnavailable
from services.cluster.connection import Connection
from services.coordination import Coordination, Hold
from services.model.errors import Conflict, HeldByAnother, NotFound, ObserverMode, Unavailable
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import Rollout, UndoRecord
from services.redaction import Redactor

STABLE = ObjectRef("Deployment", "production", "payment-service")
CANARY = ObjectRef("Deployment", "production", "payment-service-canary")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")
TO_STABLE = "/spec/http/0/route/0/weight"
TO_CANARY = "/spec/http/0/route/1/weight"


class Stage:
    """One cluster, one journal, and a driver that holds the service and has claimed its objects."""

    def __init__(self, connection: Connection, cluster: MemoryTransport, journal: Journal, clock: ManualClock) -> None:
        self.connection = connection
        self.cluster = cluster
        self.journal = journal
        self.clock = clock
        self.coordination = Coordination(connection, clock)
        self.actuator = Actuator(connection, journal, clock, read_only=False)
        self.rollout: Rollout = rollout()
        cluster.put(STABLE, deployment(STABLE))
        cluster.put(ROUTE, virtual_service(ROUTE))

    async def hold(self, token: str = "t1", *, claim: bool = True, take_over: bool = False) -> Hold:
        who = driver(token, "jane" if token == "t1" else "omar")
        hold = await self.coordination.acquire(target(), "payment-service", f"r-{token}", who, take_over=take_over)
        if claim:
            await self.actuator.claim((STABLE, ROUTE), hold, self.rollout)
        return hold

    async def written(self) -> list[dict[str, Any]]:
        """Once everything is: an outcome that the disk holds up is not waited for by the door."""
        await self.clock.settled()
        return self.entries()

    def entries(self) -> list[dict[str, Any]]:
        return [entry for entry in self.journal.entries(event="deployment.executed") if entry["data"].get("step_name") != "claim"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    connection, cluster = memory_connection()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    yield Stage(connection, cluster, journal, clock)
    journal.close()


def weights(canary: int) -> Mutation:
    writes = (Write(TO_STABLE, 100 - canary), Write(TO_CANARY, canary))
    return Mutation(object=ROUTE, writes=writes, command=f"weight {canary}", step=3, step_name="traffic")


def scale(replicas: int) -> Mutation:
    return Mutation(object=STABLE, writes=(Write("/spec/replicas", replicas),), command=f"scale {replicas}", step=1)


async def while_time_passes(clock: ManualClock, awaitable: Any, seconds: float = 60.0) -> Any:
    task = asyncio.ensure_future(awaitable)
    for _ in range(int(seconds * 10)):
        if task.done():
            break
        await asyncio.sleep(0.001)
        await clock.advance(0.1)
    return await task


async def test_a_change_is_journalled_before_it_is_sent_and_answers_with_its_undo(stage: Stage) -> None:
    hold = await stage.hold()
    seen_at_write: list[int] = []
    stage.cluster.before_write.append(lambda: seen_at_write.append(len(stage.entries())))
    applied = await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout)
    assert applied.changed
    assert [(record.path, record.old, record.new, record.step) for record in applied.undo] == [
        (TO_STABLE, 100, 90, 3),
        (TO_CANARY, 0, 10, 3),
    ]
    assert value_at(applied.object, TO_CANARY) == 10
    assert seen_at_write == [1]
    intent, outcome = await stage.written()
    assert (intent["phase"], intent["command"], outcome["phase"], outcome["outcome"]) == ("intent", "weight 10", "outcome", "ok")
    assert outcome["ref"] == intent["id"]
    assert [change["old"] for change in intent["data"]["changes"]] == [100, 0]


async def test_values_as_wanted_already_send_nothing(stage: Stage) -> None:
    hold = await stage.hold()
    await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout)
    before = len(stage.cluster.writes)
    applied = await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout)
    assert (applied.changed, applied.undo, len(stage.cluster.writes)) == (False, (), before)


async def test_a_copy_that_says_nothing_is_to_do_is_not_believed(stage: Stage) -> None:
    hold = await stage.hold()
    await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout)
    stale = stage.cluster.at(ROUTE)
    await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)
    applied = await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout, base=stale)
    assert applied.changed
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 10


async def test_with_a_copy_one_request_is_enough(stage: Stage) -> None:
    hold = await stage.hold()
    base = stage.cluster.at(ROUTE)
    before = len(stage.cluster.log)
    await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout, base=base)
    assert stage.cluster.log[before:] == [stage.cluster.log[-1]]


async def test_an_old_copy_is_refused_by_the_cluster_and_decided_anew(stage: Stage) -> None:
    hold = await stage.hold()
    base = stage.cluster.at(STABLE)
    stage.cluster.edit(STABLE, lambda live: live["spec"].update(replicas=6))
    applied = await stage.actuator.apply(scale(4), hold=hold, rollout=stage.rollout, base=base)
    assert [(record.old, record.new) for record in applied.undo] == [(6, 4)]
    assert [entry["outcome"] for entry in await stage.written() if entry["phase"] == "outcome"] == ["refused", "ok"]


async def test_somebody_who_scales_between_read_and_patch_is_seen(stage: Stage) -> None:
    hold = await stage.hold()
    stage.cluster.before_write.append(lambda: stage.cluster.edit(STABLE, lambda live: live["spec"].update(replicas=8)))
    applied = await stage.actuator.apply(scale(4), hold=hold, rollout=stage.rollout)
    assert applied.undo[0].old == 8


async def test_an_object_that_never_holds_still_is_given_up_and_said_to_be(stage: Stage) -> None:
    hold = await stage.hold()
    for number in range(20):
        replicas = 10 + number
        stage.cluster.before_write.append(
            lambda replicas=replicas: stage.cluster.edit(STABLE, lambda live: live["spec"].update(replicas=replicas))
        )
    with pytest.raises(Conflict, match="kept changing"):
        await stage.actuator.apply(scale(4), hold=hold, rollout=stage.rollout)


async def test_a_driver_that_was_superseded_changes_nothing(stage: Stage) -> None:
    old = await stage.hold("t1")
    base = stage.cluster.at(ROUTE)
    await stage.hold("t2", take_over=True)
    after = stage.cluster.at(ROUTE)
    for copy in (None, base):
        with pytest.raises(Superseded) as refused:
            await stage.actuator.apply(weights(25), hold=old, rollout=stage.rollout, base=copy)
        assert refused.value.epoch == old.epoch + 1
    assert stage.cluster.at(ROUTE) == after


async def test_an_unclaimed_driver_still_refuses_to_go_below_a_newer_epoch(stage: Stage) -> None:
    first = await stage.hold("t1")
    stage.cluster.edit(ROUTE, lambda live: live["metadata"]["annotations"].update({"quarterdeck/epoch": "77"}))
    with pytest.raises(Superseded):
        await stage.actuator.claim((ROUTE,), first, stage.rollout)
    again = await stage.coordination.acquire(
        target(),
        "payment-service",
        "r9",
        driver("t9"),
        take_over=True,
        at_least_epoch=await stage.actuator.highest_epoch((ROUTE,)),
    )
    assert again.epoch == 78
    assert epoch_of((await stage.actuator.claim((ROUTE,), again, stage.rollout))[ROUTE]) == 78


async def test_the_same_epoch_put_there_by_somebody_else_is_not_ours(stage: Stage) -> None:
    hold = await stage.hold(claim=False)
    stage.cluster.put(ROUTE, virtual_service(ROUTE, epoch=hold.epoch))
    with pytest.raises(Superseded):
        await stage.actuator.claim((ROUTE,), hold, stage.rollout)


async def test_a_lost_hold_sends_nothing(stage: Stage) -> None:
    hold = await stage.hold("t1")
    await stage.hold("t2", claim=False, take_over=True)
    with pytest.raises(HeldByAnother):
        await stage.coordination.renew(hold)
    before = len(stage.cluster.log)
    with pytest.raises(HeldByAnother, match="omar@laptop"):
        await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)
    assert len(stage.cluster.log) == before


async def test_a_claim_creates_what_is_absent_at_zero_replicas(stage: Stage) -> None:
    hold = await stage.hold(claim=False)
    body = deployment(CANARY, replicas=5)
    claimed = await stage.actuator.claim((STABLE, CANARY, ROUTE), hold, stage.rollout, {CANARY: body})
    assert set(claimed) == {STABLE, CANARY, ROUTE}
    assert {epoch_of(stage.cluster.at(ref)) for ref in claimed} == {hold.epoch}
    assert stage.cluster.at(CANARY)["spec"]["replicas"] == 0
    await stage.clock.settled()
    assert [entry["phase"] for entry in stage.journal.entries(event="deployment.executed")] == ["intent", "outcome"]


async def test_a_claim_meets_an_object_created_meanwhile(stage: Stage) -> None:
    hold = await stage.hold(claim=False)
    stage.cluster.before_write.append(lambda: stage.cluster.put(CANARY, deployment(CANARY, replicas=2)))
    claimed = await while_time_passes(
        stage.clock, stage.actuator.claim((CANARY,), hold, stage.rollout, {CANARY: deployment(CANARY)})
    )
    assert claimed[CANARY]["spec"]["replicas"] == 2
    assert epoch_of(claimed[CANARY]) == hold.epoch


async def test_an_absent_object_without_a_body_is_left_absent_by_a_claim_and_refused_by_a_change(stage: Stage) -> None:
    hold = await stage.hold(claim=False)
    assert CANARY not in await stage.actuator.claim((CANARY,), hold, stage.rollout)
    with pytest.raises(NotFound, match="payment-service-canary"):
        await stage.actuator.apply(
            Mutation(object=CANARY, writes=(Write("/spec/replicas", 1),)), hold=hold, rollout=stage.rollout
        )


async def test_a_change_of_an_absent_object_creates_it_first_and_undo_scales_it_to_zero(stage: Stage) -> None:
    hold = await stage.hold()
    mutation = Mutation(object=CANARY, writes=(Write("/spec/replicas", 1),), create=deployment(CANARY, replicas=1))
    applied = await stage.actuator.apply(mutation, hold=hold, rollout=stage.rollout)
    assert stage.cluster.at(CANARY)["spec"]["replicas"] == 1
    restore = plan_restore(fold(applied.undo), {CANARY: applied.object}, context="memory", stable=STABLE, canary=CANARY)
    assert [write.value for write in restore.phases[0].mutations[0].writes] == [0]


@pytest.mark.parametrize("fate", ["lose", "drop"])
async def test_a_lost_answer_is_looked_up_and_never_assumed(stage: Stage, fate: str) -> None:
    hold = await stage.hold()
    stage.cluster.faults.append(lambda _: fate)
    applied = await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)
    assert applied.changed
    assert [(record.old, record.new) for record in applied.undo] == [(100, 75), (0, 25)]
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 25
    assert [entry["outcome"] for entry in await stage.written() if entry["phase"] == "outcome"] == ["unknown", "ok"]


async def test_a_cluster_that_stays_away_after_a_lost_answer_is_said_plainly_and_the_undo_is_not_lost(stage: Stage) -> None:
    hold = await stage.hold()

    def lose_and_go_away(_: object) -> str:
        stage.cluster.unreadable = 10_000
        return "lose"

    stage.cluster.faults.append(lose_and_go_away)
    with pytest.raises(Unavailable, match="not known whether it took effect"):
        await while_time_passes(stage.clock, stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout), 200)
    stage.cluster.unreadable = 0
    before = len(stage.cluster.writes)
    applied = await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)
    assert len(stage.cluster.writes) == before
    assert [(record.old, record.new) for record in applied.undo] == [(100, 75), (0, 25)]


async def test_undo_records_are_noted_before_the_request_leaves(stage: Stage) -> None:
    hold = await stage.hold()
    noted: list[tuple[UndoRecord, ...]] = []

    async def note(records: tuple[UndoRecord, ...]) -> None:
        assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 0
        noted.append(records)

    applied = await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout, noted=note)
    assert noted == [applied.undo]


async def test_a_journal_that_refuses_stops_a_change_and_not_a_rollback(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = await stage.hold()
    await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)

    async def refuse(_: object) -> None:
        raise JournalUnavailable("the journal can't be written", "The disk is full.")

    async def keep(_: object, seconds: float = 0.25) -> None:
        return None

    monkeypatch.setattr(stage.journal, "append", refuse)
    monkeypatch.setattr(stage.journal, "append_within", keep)
    before = len(stage.cluster.writes)
    with pytest.raises(JournalUnavailable):
        await stage.actuator.apply(weights(50), hold=hold, rollout=stage.rollout)
    assert len(stage.cluster.writes) == before
    assert (await stage.actuator.apply(weights(0), hold=hold, rollout=stage.rollout, rollback=True)).changed


async def test_a_rearranged_route_is_not_written(stage: Stage) -> None:
    hold = await stage.hold()
    stage.cluster.edit(ROUTE, lambda live: live["spec"]["http"][0].update(route=[]))
    with pytest.raises(Misplaced):
        await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)


async def test_force_restores_in_one_request_and_shuts_the_driver_out(stage: Stage) -> None:
    hold = await stage.hold()
    base = (await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)).object
    before = len(stage.cluster.log)
    applied = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert len(stage.cluster.log) == before + 1
    assert (applied.changed, applied.epoch, value_at(applied.object, TO_CANARY)) == (True, hold.epoch + 1, 0)
    with pytest.raises(Superseded):
        await stage.actuator.apply(weights(50), hold=hold, rollout=stage.rollout)
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 0


async def test_force_with_a_copy_that_lags_behind_the_weight_still_needs_one_request(stage: Stage) -> None:
    hold = await stage.hold()
    base = (await stage.actuator.apply(weights(10), hold=hold, rollout=stage.rollout)).object
    await stage.actuator.apply(weights(50), hold=hold, rollout=stage.rollout)
    before = len(stage.cluster.log)
    await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert len(stage.cluster.log) == before + 1
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 0


async def test_a_second_force_joins_the_first(stage: Stage) -> None:
    hold = await stage.hold()
    base = (await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)).object
    first = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    second = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert (second.changed, second.epoch) == (False, first.epoch)


async def test_force_wins_against_a_driver_that_has_just_taken_over(stage: Stage) -> None:
    hold = await stage.hold("t1")
    base = (await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)).object
    other = await stage.hold("t2", take_over=True)
    await stage.actuator.apply(weights(50), hold=other, rollout=stage.rollout)
    applied = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert applied.epoch == other.epoch + 1
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 0
    with pytest.raises(Superseded):
        await stage.actuator.apply(weights(50), hold=other, rollout=stage.rollout)


async def test_force_before_any_traffic_still_stops_the_driver(stage: Stage) -> None:
    hold = await stage.hold()
    base = stage.cluster.at(ROUTE)
    applied = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert applied.epoch == hold.epoch + 1
    with pytest.raises(Superseded):
        await stage.actuator.apply(weights(5), hold=hold, rollout=stage.rollout)


@pytest.mark.parametrize("fate", ["lose", "drop"])
async def test_force_whose_answer_is_lost_ends_restored(stage: Stage, fate: str) -> None:
    hold = await stage.hold()
    base = (await stage.actuator.apply(weights(25), hold=hold, rollout=stage.rollout)).object
    stage.cluster.faults.append(lambda _: fate)
    applied = await stage.actuator.force(weights(0), epoch=hold.epoch + 1, rollout=stage.rollout, base=base)
    assert value_at(stage.cluster.at(ROUTE), TO_CANARY) == 0
    assert applied.epoch == epoch_of(stage.cluster.at(ROUTE)) > hold.epoch


async def test_force_on_an_object_that_never_had_an_epoch(stage: Stage) -> None:
    base = stage.cluster.at(ROUTE)
    stage.cluster.edit(ROUTE, lambda live: live["spec"]["http"][0]["route"][1].update(weight=40))
    applied = await stage.actuator.force(weights(0), epoch=1, rollout=stage.rollout, base=base)
    assert (applied.epoch, value_at(applied.object, TO_CANARY)) == (1, 0)


READS = {"Actuator": {"highest_epoch"}, "Coordination": {"load", "rollback_wanted"}}


def doors() -> list[tuple[type, str]]:
    found: list[tuple[type, str]] = []
    for door in (Actuator, Coordination):
        for name, _ in inspect.getmembers(door, callable):
            if not name.startswith("_") and name not in READS[door.__name__]:
                found.append((door, name))
    return found


@pytest.mark.parametrize(("door", "name"), doors(), ids=lambda value: value if isinstance(value, str) else value.__name__)
async def test_observer_mode_refuses_every_change_of_both_doors(stage: Stage, door: type, name: str) -> None:
    hold = await stage.hold()
    values: dict[str, Callable[[], Json]] = {
        "objects": lambda: (STABLE,),
        "hold": lambda: hold,
        "rollout": lambda: stage.rollout,
        "mutation": lambda: weights(5),
        "epoch": lambda: 99,
        "base": lambda: stage.cluster.at(ROUTE),
        "target": target,
        "service": lambda: "payment-service",
        "rollout_id": lambda: "r5",
        "driver": lambda: driver("t5"),
        "record": record,
        "namespace": lambda: "production",
    }
    instance: Any = (
        Actuator(stage.connection, stage.journal, stage.clock, read_only=True)
        if door is Actuator
        else Coordination(stage.connection, stage.clock, read_only=True)
    )
    method = getattr(instance, name)
    needed = {
        parameter: values[parameter]()
        for parameter, kind in inspect.signature(method).parameters.items()
        if kind.default is inspect.Parameter.empty
    }
    await stage.clock.settled()
    before, journalled = len(stage.cluster.log), len(stage.journal.entries())
    with pytest.raises(ObserverMode):
        await method(**needed)
    assert (len(stage.cluster.log), len(stage.journal.entries())) == (before, journalled)


async def test_an_answer_lost_while_creating_is_looked_up(stage: Stage) -> None:
    hold = await stage.hold()
    stage.cluster.faults.append(lambda _: "lose")
    mutation = Mutation(object=CANARY, writes=(Write("/spec/replicas", 1),), create=deployment(CANARY))
    applied = await stage.actuator.apply(mutation, hold=hold, rollout=stage.rollout)
    assert applied.object["spec"]["replicas"] == 1


async def test_a_claim_whose_answer_is_lost_is_still_ours(stage: Stage) -> None:
    hold = await stage.hold(claim=False)
    stage.cluster.faults.append(lambda _: "lose")
    claimed = await while_time_passes(stage.clock, stage.actuator.claim((ROUTE,), hold, stage.rollout))
    assert epoch_of(claimed[ROUTE]) == hold.epoch
