"""Rollbacks against a cluster in memory in which somebody or something stands in the way."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import deployment, driver, rollout, virtual_service

from services.actuator import Actuator, Mutation, Write
from services.audit import Journal
from services.cluster.objects import Deployment
from services.coordination import Coordination
from services.model.errors import HeldByAnother, Invalid, NeedsAttention, Throttled, Unavailable
from services.model.objects import Json, ObjectRef
from services.model.rollout import Guard, Phase, Reason, Rollout, StepState, UndoRecord
from services.model.steps import Scale, SetTraffic
from services.redaction import Redactor
from services.rollout import rollback as rollbacks
from services.rollout import state
from services.rollout.engine import DOERS, drive
from services.rollout.holding import Patience, patiently, renew, taken
from services.rollout.rollback import roll_back
from services.rollout.run import Breach, PersonNeeded, Run
from services.rollout.steps_workload import scale
from services.rollout.watch import Watch

BASE = rollout()
STABLE, CANARY, ROUTE = BASE.plan.stable, BASE.plan.canary, BASE.plan.route
assert CANARY is not None
assert ROUTE is not None
OLD, NEW = "registry.example/payment-service:v2.14.1", "registry.example/payment-service:v2.15.0"
STEPS = (
    Scale(name="canary", workload=CANARY, replicas=2),
    SetTraffic(name="25 %", router="istio", route=ROUTE, weight=25),
    Scale(name="canary to 0", workload=CANARY, replicas=0),
)
IMAGE = "/spec/template/spec/containers/1/image"
REASON = Reason(kind="trigger", name="error-rate")


def undone(ref: ObjectRef, path: str, old: Json, new: Json, step: int) -> UndoRecord:
    guards: tuple[Guard, ...] = ()
    if ref == ROUTE:
        subset = "canary" if "/1/" in path.rpartition("route")[2] else "stable"
        way = path.rpartition("/")[0] + "/destination"
        guards = (Guard(way, {"host": ref.name, "subset": subset}),)
    return UndoRecord(object=ref, path=path, old=old, new=new, step=step, guards=guards)


SPLIT = (
    undone(CANARY, "/spec/replicas", 0, 2, 0),
    undone(ROUTE, "/spec/http/0/route/0/weight", 100, 75, 1),
    undone(ROUTE, "/spec/http/0/route/1/weight", 0, 25, 1),
)
PROMOTED = (*SPLIT, UndoRecord(object=STABLE, path=IMAGE, old=OLD, new=NEW, step=2))


class Seen:
    """An inventory that sees what the cluster in memory holds."""

    def __init__(self, cluster: MemoryTransport) -> None:
        self._cluster = cluster
        self.readable = True

    def age(self) -> float:
        return 0.0

    def can_read(self, kind: str, namespace: str) -> bool:
        return self.readable or kind != "Pod"

    def raw(self, ref: ObjectRef) -> dict[str, Json] | None:
        return self._cluster.at(ref) if self._cluster.has(ref) else None

    def replicasets_of(self, uid: str) -> tuple[()]:
        return ()

    async def changed(self) -> None:
        await asyncio.Event().wait()

    @property
    def deployments(self) -> dict[tuple[str, str], Deployment]:
        return {
            (ref.namespace, ref.name): msgspec.convert(self._cluster.at(ref), Deployment, strict=False)
            for ref in (STABLE, CANARY)
            if ref is not None and self._cluster.has(ref)
        }


def running(ref: ObjectRef, *, image: str, replicas: int, available: int | None = None) -> dict[str, Json]:
    able = replicas if available is None else available
    counts = {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": able, "availableReplicas": able}
    return {**deployment(ref, image=image, replicas=replicas), "status": counts}


class Bench:
    def __init__(self, run: Run, cluster: MemoryTransport, clock: ManualClock, seen: Seen, coordination: Coordination) -> None:
        self.run, self.cluster, self.clock, self.seen, self.coordination = run, cluster, clock, seen, coordination

    async def ended(self, work: Any, seconds: float = 2000.0) -> Any:
        """What ``work`` comes to within so many seconds of a clock that runs by itself."""
        task = asyncio.ensure_future(work)
        began = self.clock.monotonic()
        while not task.done() and self.clock.monotonic() - began < seconds:
            await self.clock.advance(0.5)
            await asyncio.sleep(0.002)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise AssertionError(f"not done after {seconds:.0f} s")
        return task.result()

    def weights(self) -> list[int]:
        assert ROUTE is not None
        return [each.get("weight", 0) for rule in self.cluster.at(ROUTE)["spec"]["http"] for each in rule["route"]]

    def replicas(self) -> int:
        assert CANARY is not None
        found: int = self.cluster.at(CANARY)["spec"]["replicas"]
        return found

    def image(self) -> str:
        found: str = self.cluster.at(STABLE)["spec"]["template"]["spec"]["containers"][1]["image"]
        return found

    def written(self) -> list[str]:
        """The objects that were patched, in order."""
        return [path.rpartition("/")[2] for method, path, _ in self.cluster.writes if method == "PATCH" and "/apis/" in path]


@asynccontextmanager
async def bench(
    place: Path, undo: tuple[UndoRecord, ...] = SPLIT, *, phase: Phase = Phase.ROLLING_BACK, **fields: Any
) -> AsyncIterator[Bench]:
    connection, cluster = memory_connection()
    clock = ManualClock()
    plan = msgspec.structs.replace(BASE.plan, steps=STEPS, new_images={"app": NEW}, objects=(STABLE, CANARY, ROUTE))
    begun = msgspec.structs.replace(
        BASE,
        plan=plan,
        steps=tuple(StepState() for _ in STEPS),
        undo=undo,
        phase=phase,
        step=2,
        reason=REASON,
        breach_at=clock.pace(),
        **fields,
    )
    assert CANARY is not None
    assert ROUTE is not None
    cluster.put(STABLE, running(STABLE, image=NEW if undo == PROMOTED else OLD, replicas=4))
    cluster.put(CANARY, running(CANARY, image=NEW, replicas=2))
    cluster.put(ROUTE, virtual_service(ROUTE, canary=25))
    journal = Journal.open(place, redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    try:
        coordination = Coordination(connection, clock)
        hold = await coordination.acquire(begun.release.target, "payment-service", begun.id, driver("t"))
        seen = Seen(cluster)
        run = Run(
            state.driven_by(begun, driver("t"), hold.epoch),
            connection=connection,
            inventory=seen,  # type: ignore[arg-type]
            actuator=Actuator(connection, journal, clock, read_only=False, operator="jane"),
            coordination=coordination,
            hold=hold,
            journal=journal,
            settings=configured(),
            clock=clock,
        )
        await coordination.save(run.rollout)
        yield Bench(run, cluster, clock, seen, coordination)
    finally:
        journal.close()


async def test_a_split_is_taken_back_traffic_first(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        final = await on.ended(roll_back(on.run), 30.0)
        assert (final.phase, final.left) == (Phase.ROLLED_BACK, ())
        assert (on.weights(), on.replicas()) == ([100, 0], 0)
        assert on.written() == [ROUTE.name, CANARY.name]


# A route that somebody rearranged ---------------------------------------------------------------------------------------


def longer_hosts(document: dict[str, Json]) -> None:
    for each in document["spec"]["http"][0]["route"]:
        each["destination"]["host"] = f"{ROUTE.name}.production.svc.cluster.local"


def third_destination(document: dict[str, Json]) -> None:
    document["spec"]["http"][0]["route"][0]["weight"] = 65
    longer_hosts(document)
    document["spec"]["http"][0]["route"].append({"destination": {"host": "elsewhere"}, "weight": 10})


async def test_a_rearranged_route_loses_its_canary_before_the_canary_loses_its_pods(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.cluster.edit(ROUTE, longer_hosts)
        final = await on.ended(roll_back(on.run), 30.0)
        assert on.weights() == [100, 0]
        assert on.replicas() == 0
        assert on.written() == [ROUTE.name, CANARY.name]
        assert final.phase is Phase.NEEDS_ATTENTION, "the route is not exactly what it was, so a person looks"


async def test_pods_that_still_get_requests_are_not_taken_away(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.cluster.edit(ROUTE, third_destination)
        final = await on.ended(roll_back(on.run), 30.0)
        assert final.phase is Phase.NEEDS_ATTENTION
        assert on.replicas() == 2, "25 % of the requests would have failed"
        assert any(command.startswith("kubectl scale") for command in final.left)


def a_pinned_rule(document: dict[str, Json]) -> None:
    destination = {"host": ROUTE.name, "subset": "canary"}
    document["spec"]["http"].append({"match": [{"headers": {"x-beta": {"exact": "1"}}}], "route": [{"destination": destination}]})


@pytest.mark.parametrize("before", [True, False])
async def test_users_who_were_pinned_before_the_rollout_hold_up_no_rollback(tmp_path: Path, before: bool) -> None:
    async with bench(tmp_path) as on:
        on.cluster.edit(ROUTE, a_pinned_rule)
        on.run.change(msgspec.structs.replace(on.run.rollout, plan=msgspec.structs.replace(on.run.rollout.plan, pinned=before)))
        final = await on.ended(roll_back(on.run), 30.0)
        assert on.weights()[:2] == [100, 0]
        if before:
            assert (final.phase, final.left, on.replicas()) == (Phase.ROLLED_BACK, (), 0)
        else:
            assert (final.phase, on.replicas()) == (Phase.NEEDS_ATTENTION, 2), "somebody sent them there meanwhile"


async def test_a_share_counts_also_where_users_were_pinned(tmp_path: Path) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        on.cluster.edit(ROUTE, a_pinned_rule)
        on.run.change(msgspec.structs.replace(on.run.rollout, plan=msgspec.structs.replace(on.run.rollout.plan, pinned=True)))
        with pytest.raises(PersonNeeded, match="still sends requests"):
            await scale(on.run, STEPS[2])
        assert on.replicas() == 2


async def test_the_last_step_never_scales_away_pods_that_got_requests_meanwhile(tmp_path: Path) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        with pytest.raises(PersonNeeded, match="still sends requests"):
            await scale(on.run, STEPS[2])
        assert on.replicas() == 2


async def test_a_canary_that_somebody_deleted_is_as_gone_as_it_was_to_be(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.cluster.objects = {path: body for path, body in on.cluster.objects.items() if not path.endswith("-canary")}
        final = await on.ended(roll_back(on.run), 30.0)
        assert (final.phase, final.left) == (Phase.ROLLED_BACK, ())
        assert on.weights() == [100, 0]


# What may not hold it up ------------------------------------------------------------------------------------------------


async def test_one_pod_that_nobody_can_start_keeps_nobody_on_the_bad_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ready:
        ready = True

    monkeypatch.setattr(rollbacks, "current_pods", lambda inventory, ref: (Ready(),) * 3)
    async with bench(tmp_path, PROMOTED) as on:
        on.cluster.edit(STABLE, lambda body: body["status"].update(availableReplicas=3, readyReplicas=3))
        final = await on.ended(roll_back(on.run), 600.0)
        assert on.image() == OLD
        assert (on.weights(), on.replicas()) == ([100, 0], 0)
        assert on.written() == [STABLE.name, ROUTE.name, CANARY.name], "capacity before traffic"
        assert final.phase is Phase.NEEDS_ATTENTION
        assert any("rollout status" in command for command in final.left)


async def test_too_few_pods_of_the_old_version_get_no_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollbacks, "current_pods", lambda inventory, ref: ())
    async with bench(tmp_path, PROMOTED) as on:
        on.cluster.edit(STABLE, lambda body: body["status"].update(availableReplicas=1, readyReplicas=1))
        final = await on.ended(roll_back(on.run), 600.0)
        assert on.weights() == [75, 25]
        assert on.replicas() == 2
        assert final.phase is Phase.NEEDS_ATTENTION


async def test_a_route_that_can_not_be_read_holds_up_no_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path, PROMOTED) as on:
        get, broken = on.run.connection.get, [True]

        async def reading(ref: ObjectRef, **how: Any) -> dict[str, Json]:
            if ref == ROUTE and broken[0]:
                raise Unavailable("a conversion webhook does not answer (500)")
            return await get(ref, **how)

        monkeypatch.setattr(on.run.connection, "get", reading)
        task = asyncio.ensure_future(on.ended(roll_back(on.run), 900.0))
        for _ in range(50_000):
            if on.image() == OLD or on.clock.monotonic() > 60.0:
                break
            await asyncio.sleep(0.001)
        assert on.image() == OLD, "the pods wait for no route"
        broken[0] = False
        assert (await task).phase is Phase.ROLLED_BACK
        assert on.weights() == [100, 0]


async def test_a_busy_server_that_asks_for_an_hour_does_not_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as on:
        apply, refused = on.run.actuator.apply, [True]

        async def throttled(*args: Any, **how: Any) -> Any:
            if refused and refused.pop():
                raise Throttled("429", retry_after=3600.0)
            return await apply(*args, **how)

        monkeypatch.setattr(on.run.actuator, "apply", throttled)
        assert (await on.ended(roll_back(on.run), 30.0)).phase is Phase.ROLLED_BACK


async def test_a_change_that_arrives_after_the_first_look_is_taken_back_too(tmp_path: Path) -> None:
    """What the driver before had sent lands while the canary is being scaled down."""
    async with bench(tmp_path) as on:

        def late() -> None:
            on.cluster.edit(ROUTE, lambda body: body["spec"]["http"][0]["route"][1].update(weight=50))

        on.cluster.before_write += [lambda: None, late]
        final = await on.ended(roll_back(on.run), 30.0)
        assert on.weights() == [100, 0]
        assert final.phase is Phase.ROLLED_BACK


async def test_replicas_that_an_autoscaler_sets_are_left_to_it(tmp_path: Path) -> None:
    scaled = (*SPLIT, undone(STABLE, "/spec/replicas", 2, 4, 0))
    autoscaler = ObjectRef("HorizontalPodAutoscaler", "production", "payment-service")
    for owned, expected in ((False, 2), (True, 4)):
        async with bench(tmp_path / str(owned), scaled) as on:
            if owned:
                target = {"kind": "Deployment", "name": STABLE.name}
                on.cluster.put(autoscaler, {"metadata": {}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}})
            final = await on.ended(roll_back(on.run), 600.0)
            assert final.phase is Phase.ROLLED_BACK
            assert on.cluster.at(STABLE)["spec"]["replicas"] == expected


# A change under way as the rollback begins --------------------------------------------------------------------------------


def more(weight: int) -> Mutation:
    assert ROUTE is not None
    writes = (Write("/spec/http/0/route/0/weight", 100 - weight), Write("/spec/http/0/route/1/weight", weight))
    return Mutation(object=ROUTE, writes=writes, step=1, step_name=f"{weight} %")


async def test_a_change_that_has_not_left_does_not_leave_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        save, begun, slow = on.coordination.save, asyncio.Event(), asyncio.Event()

        async def slowly(rollout: Rollout) -> None:
            begun.set()
            await slow.wait()
            await save(rollout)

        monkeypatch.setattr(on.coordination, "save", slowly)
        step = asyncio.create_task(on.run.apply(more(50)))
        await begun.wait()
        step.cancel()
        settling = asyncio.create_task(on.run.settle())
        await asyncio.sleep(0.01)
        slow.set()
        await settling
        assert on.weights() == [75, 25], "more users were given a version that was being taken back"
        assert on.run.rollout.undo == SPLIT


async def test_a_record_that_does_not_fit_keeps_no_later_checkpoint_from_being_written(tmp_path: Path) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        huge = Mutation(object=STABLE, writes=(Write("/metadata/labels/app", "x" * 70_000),), step=1, step_name="huge")
        with pytest.raises(NeedsAttention, match="too large"):
            await on.run.apply(huge)
        assert on.run.rollout.undo == SPLIT
        await on.run.pause("attention: too large")
        await on.run.save()
        stored = await on.coordination.load("production", on.run.rollout.id)
        assert stored is not None
        assert stored.phase is Phase.PAUSED


async def test_an_abort_that_was_promised_while_the_last_step_ended_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:

        async def ends(run: Run) -> None:
            run.breach.set_result(Breach(Reason(kind="operator", name="abort")))

        async def watching() -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("services.rollout.engine._steps", ends)
        final = await on.ended(drive(on.run, watching), 60.0)
        assert final.phase is Phase.ROLLED_BACK
        assert final.reason is not None
        assert final.reason.name == "abort"


# Defects of ours ---------------------------------------------------------------------------------------------------------


async def test_a_defect_in_the_rollback_is_told_to_a_person_with_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as on:

        def overlap(*_: object, **__: object) -> None:
            raise ValueError("writes overlap")

        monkeypatch.setattr(rollbacks, "plan_restore", overlap)
        final = await on.ended(roll_back(on.run), 30.0)
        assert final.phase is Phase.NEEDS_ATTENTION
        assert {ROUTE.name in command for command in final.left} >= {True}
        assert all(command.startswith("kubectl get") for command in final.left)


async def test_a_defect_in_a_step_pauses_and_the_watch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        bad = asyncio.Event()

        async def watching() -> None:
            await bad.wait()
            raise Breach(REASON)

        async def defect(run: Run, step: Any) -> None:
            raise KeyError("subset")

        monkeypatch.setitem(DOERS, Scale, defect)  # type: ignore[misc]
        driving = asyncio.create_task(drive(on.run, watching))
        for _ in range(50_000):
            if on.run.rollout.phase is Phase.PAUSED:
                break
            await asyncio.sleep(0.001)
        assert "failed unexpectedly" in on.run.rollout.pause_reason
        bad.set()
        assert (await on.ended(driving, 60.0)).phase is Phase.ROLLED_BACK


async def test_a_defect_in_the_watch_is_no_data_and_the_next_round_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path, phase=Phase.RUNNING) as on:
        watch, rounds = Watch(on.run), []

        async def round_of() -> None:
            rounds.append(on.clock.monotonic())
            on.run.measured_at = on.clock.pace()
            if len(rounds) == 3:
                raise Breach(REASON)
            raise ZeroDivisionError

        monkeypatch.setattr(watch, "_round", round_of)
        watching = asyncio.create_task(watch.watch())
        await on.clock.advance(1.0)
        assert "ZeroDivisionError" in on.run.unreadable
        assert not on.run.sees_metrics
        await on.clock.advance(60.0)
        with pytest.raises(Breach):
            await watching
        assert len(rounds) == 3


# Holding ------------------------------------------------------------------------------------------------------------------


class Station:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.settings = configured()


async def test_a_checkpoint_that_can_not_be_taken_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as on:

        async def fails(rollout: Rollout) -> Rollout:
            raise Unavailable("failed calling webhook (500)")

        monkeypatch.setattr(on.coordination, "take", fails)
        started = msgspec.structs.replace(on.run.rollout, undo=(), phase=Phase.RUNNING)
        station: Any = Station(on.clock)
        found = await on.ended(
            taken(station, on.coordination, started, Patience.of(begun=True, rollback=True), anyway=True), 20.0
        )
        assert found.undo == SPLIT, "without the undo records nothing would have been restored"
        with pytest.raises(Unavailable):
            await on.ended(taken(station, on.coordination, started, Patience.of(begun=True, rollback=False), anyway=False), 90.0)


@pytest.mark.parametrize(("rollback", "gives_up_after"), [(True, 300.0), (False, 60.0)])
async def test_a_rollback_waits_for_its_cluster_as_long_as_it_may_take(rollback: bool, gives_up_after: float) -> None:
    clock, calls = ManualClock(), []

    async def away() -> None:
        calls.append(clock.monotonic())
        raise Unavailable("away")

    station: Any = Station(clock)
    task = asyncio.create_task(patiently(station, Patience.of(begun=True, rollback=rollback), away))
    while not task.done():
        await clock.advance(1.0)
    with pytest.raises(Unavailable):
        task.result()
    assert calls[-1] == pytest.approx(gives_up_after, abs=1.5)


async def test_a_renewal_that_is_refused_for_its_form_ends_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as on:
        renewed = []

        async def refused(hold: Any) -> None:
            renewed.append(on.clock.monotonic())
            raise Invalid("a webhook refuses the lease (422)")

        monkeypatch.setattr(on.coordination, "renew", refused)
        station: Any = Station(on.clock)
        task = asyncio.create_task(renew(on.coordination, on.run.hold, station))
        await on.clock.advance(10.0)
        assert len(renewed) >= 3
        assert not task.done()
        task.cancel()


async def test_pods_that_may_not_be_read_any_more_are_unknown(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        assert on.run.sees_cluster
        on.seen.readable = False
        assert not on.run.sees_cluster


async def test_a_defect_ends_neither_the_saving_nor_the_renewing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as on:
        saved, renewed = [], []

        async def save(rollout: Rollout) -> None:
            saved.append(rollout.pause_reason)
            if len(saved) == 1:
                raise TypeError("not encodable")

        async def renewal(hold: Any) -> None:
            renewed.append(hold)
            raise KeyError("spec")

        monkeypatch.setattr(on.coordination, "save", save)
        monkeypatch.setattr(on.coordination, "renew", renewal)
        station: Any = Station(on.clock)
        tasks = [asyncio.create_task(on.run.keep_saved()), asyncio.create_task(renew(on.coordination, on.run.hold, station))]
        on.run.change(msgspec.structs.replace(on.run.rollout, pause_reason="one"))
        await on.clock.advance(10.0)
        assert saved == ["one", "one"], "what could not be written is tried again"
        assert len(renewed) >= 3
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_checkpoint_of_somebody_else_is_no_unheard_error_where_no_step_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a rollback, whose own requests are refused as well."""
    async with bench(tmp_path) as on:

        async def taken_over(rollout: Rollout) -> None:
            raise HeldByAnother(f"{rollout.id} was taken over")

        monkeypatch.setattr(on.coordination, "save", taken_over)
        on.run.change(msgspec.structs.replace(on.run.rollout, pause_reason="one"))
        await asyncio.wait_for(on.run.keep_saved(), 5.0)
        with pytest.raises(HeldByAnother):
            await asyncio.shield(on.run.breach)
        on.run.breach = asyncio.get_running_loop().create_future()
        on.run.change(msgspec.structs.replace(on.run.rollout, pause_reason="two"))
        await asyncio.wait_for(on.run.keep_saved(), 5.0)
        on.run.breach = asyncio.get_running_loop().create_future()
        gc.collect()
        assert "never retrieved" not in caplog.text
