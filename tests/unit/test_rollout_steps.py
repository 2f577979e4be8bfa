"""Steps against a cluster in memory: what they refuse, what they wait for, and when they call a version good."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import deployment, driver, rollout, virtual_service

from services.actuator import Actuator
from services.analysis.trial import Look
from services.audit import Journal
from services.cluster.objects import Deployment
from services.coordination import Coordination
from services.model.objects import Change, ObjectRef, value_at
from services.model.rollout import Arm, Baseline, Rollout, Sample, TriggerName, TriggerReading
from services.model.steps import Analyse, AnyStep, EnsureWorkload, MeasureBaseline, PatchImage, Scale, SetTraffic, WaitReady
from services.redaction import Redactor
from services.rollout import judging, state, steps_traffic, steps_workload
from services.rollout.arms import settled_pods
from services.rollout.run import Breach, PersonNeeded, Run
from services.rollout.steps_analysis import analyse, measure_baseline
from services.rollout.steps_traffic import set_traffic
from services.rollout.steps_workload import ensure_workload, patch_image, scale, wait_ready

BASE = rollout()
STABLE, CANARY, ROUTE = BASE.plan.stable, BASE.plan.canary, BASE.plan.route
assert CANARY is not None
assert ROUTE is not None
OLD, NEW = "registry.example/payment-service:v2.14.1", "registry.example/payment-service:v2.15.0"
IMAGE = "/spec/template/spec/containers/1/image"
PROMOTE = PatchImage(
    name="promote", workload=STABLE, promotes=True, changes=(Change(STABLE, IMAGE, OLD, NEW),), command="kubectl set image"
)
ANALYSE = Analyse(name="analyse", seconds=60, expected_seconds=60, min_requests=100)
MEASURE = MeasureBaseline(name="baseline", seconds=60, expected_seconds=60)


class Seen:
    """An inventory that has seen what the cluster in memory holds, and the pods it is told of."""

    def __init__(self, cluster: MemoryTransport) -> None:
        self._cluster = cluster
        self.ready: dict[str, int] = {}

    def age(self) -> float:
        return 0.0

    def can_read(self, kind: str, namespace: str) -> bool:
        return True

    def raw(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self._cluster.at(ref) if self._cluster.has(ref) else None

    async def changed(self) -> None:
        await asyncio.Event().wait()

    @property
    def deployments(self) -> dict[tuple[str, str], Deployment]:
        found: dict[tuple[str, str], Deployment] = {}
        for ref in (STABLE, CANARY):
            if ref is not None and self._cluster.has(ref):
                found[(ref.namespace, ref.name)] = msgspec.convert(self._cluster.at(ref), Deployment, strict=False)
        return found


class Bench:
    """A run that stands at the first of ``steps``."""

    def __init__(self, run: Run, cluster: MemoryTransport, clock: ManualClock, seen: Seen) -> None:
        self.run, self.cluster, self.clock, self.seen = run, cluster, clock, seen

    async def until_done(
        self, task: "asyncio.Task[None]", seconds: float = 2000.0, each: Callable[[], None] | None = None
    ) -> None:
        while not task.done() and seconds > 0:
            if each is not None:
                each()
            await self.clock.advance(1.0)
            await asyncio.sleep(0.001)
            seconds -= 1.0

    def names(self) -> list[tuple[str, str]]:
        listed = self.cluster.at(STABLE)["spec"]["template"]["spec"]["containers"]
        return [(each["name"], each["image"]) for each in listed]


@asynccontextmanager
async def bench(place: Path, *steps: AnyStep, **fields: Any) -> AsyncIterator[Bench]:
    connection, cluster = memory_connection()
    clock = ManualClock()
    plan = msgspec.structs.replace(BASE.plan, steps=steps, new_images={"app": NEW})
    begun = msgspec.structs.replace(
        BASE, plan=plan, steps=tuple(state.StepState(expected_seconds=step.expected_seconds) for step in steps), **fields
    )
    assert ROUTE is not None
    cluster.put(STABLE, deployment(STABLE, image=OLD, replicas=4))
    assert CANARY is not None
    cluster.put(CANARY, deployment(CANARY, image=NEW, replicas=0))
    cluster.put(ROUTE, virtual_service(ROUTE))
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
        run.change(state.step_started(run.rollout, clock.now()))
        yield Bench(run, cluster, clock, seen)
    finally:
        journal.close()


def reading(value: float | None) -> TriggerReading:
    return TriggerReading(name=TriggerName.ERROR_RATE, value=value, limit=0.05, unit="share")


def looked(run: Run, *, requests: float = 1000.0, errors: float = 0.0, known: bool = True) -> None:
    """What the watch loop does at one look."""
    sample = Sample(at=run.clock.pace(), canary=Arm(pods=1, ready=1, requests=requests, errors=errors), stable=Arm())
    value = errors / requests if known and requests else None
    run.measured_at = run.clock.pace()
    run.change(state.observed(run.rollout, sample=sample, triggers=(reading(value),), actual_weight=None))
    one = Look(counts={"errors": (10_000, 90_000, 10, 90)}, seconds=10.0)
    run.change(state.judged(run.rollout, judging.judged(run.rollout, judging.trial_of(run.rollout, run.settings), one)))
    run.progress(0.0, 500.0)


# Promotion ----------------------------------------------------------------------------------------------------------------


async def test_promotion_exposes_before_the_patch_leaves(tmp_path: Path) -> None:
    async with bench(tmp_path, PROMOTE) as on:
        exposed: list[float | None] = []
        on.cluster.before_write.append(lambda: exposed.append(on.run.rollout.exposed_at))
        await patch_image(on.run, PROMOTE)
        assert exposed == [on.run.rollout.exposed_at]
        assert exposed != [None]
        assert on.run.rollout.weight == 0
        assert ("app", NEW) in on.names()


async def test_a_sidecar_inserted_meanwhile_never_gets_the_new_image(tmp_path: Path) -> None:
    async with bench(tmp_path, PROMOTE) as on:

        def insert(document: dict[str, Any]) -> None:
            document["spec"]["template"]["spec"]["containers"].insert(0, {"name": "mesh", "image": "mesh:1"})

        on.cluster.edit(STABLE, insert)
        with pytest.raises(PersonNeeded, match="container 'proxy', not app"):
            await patch_image(on.run, PROMOTE)
        assert on.names() == [("mesh", "mesh:1"), ("proxy", "proxy:1"), ("app", OLD)]


async def test_an_image_that_somebody_else_set_is_not_overwritten(tmp_path: Path) -> None:
    async with bench(tmp_path, PROMOTE) as on:

        def hotfix(document: dict[str, Any]) -> None:
            document["spec"]["template"]["spec"]["containers"][1]["image"] = OLD + "-hotfix"

        on.cluster.edit(STABLE, hotfix)
        with pytest.raises(PersonNeeded, match="somebody changed it meanwhile"):
            await patch_image(on.run, PROMOTE)
        assert ("app", OLD + "-hotfix") in on.names()


async def test_a_leftover_canary_whose_containers_moved_meanwhile_is_not_written_by_position(tmp_path: Path) -> None:
    path = "/spec/template/spec/containers/1/image"
    ensure = EnsureWorkload(
        name="canary",
        changes=(Change(CANARY, path, OLD, NEW),),
        workload=CANARY,
        source=STABLE,
        images={"app": NEW},
        labels={},
        replicas=1,
    )
    async with bench(tmp_path, ensure) as on:
        on.cluster.put(CANARY, deployment(CANARY, image=OLD, replicas=0))
        on.cluster.edit(CANARY, lambda live: live["spec"]["template"]["spec"]["containers"].reverse())
        with pytest.raises(PersonNeeded, match="container 'proxy', not app"):
            await ensure_workload(on.run, ensure)
        on.cluster.put(CANARY, deployment(CANARY, image=OLD + "-hotfix", replicas=0))
        with pytest.raises(PersonNeeded, match="somebody changed it meanwhile"):
            await ensure_workload(on.run, ensure)
        on.cluster.put(CANARY, deployment(CANARY, image=OLD, replicas=0))
        await ensure_workload(on.run, ensure)
        assert value_at(on.cluster.at(CANARY), path) == NEW


# Capacity -----------------------------------------------------------------------------------------------------------------


async def test_a_canary_is_scaled_by_what_stable_is_now(tmp_path: Path) -> None:
    assert CANARY is not None
    assert ROUTE is not None
    step = Scale(name="scale", workload=CANARY, replicas=2, at_least=True)
    async with bench(tmp_path, step, SetTraffic(name="50 %", router="istio", route=ROUTE, weight=50)) as on:
        on.cluster.edit(STABLE, lambda document: document["spec"].update(replicas=30))
        await scale(on.run, step)
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 15


@pytest.mark.parametrize(("stable", "ready", "moves"), [(4, 2, True), (4, 1, False), (40, 2, False)])
async def test_the_share_rises_only_over_ready_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stable: int, ready: int, moves: bool
) -> None:
    assert CANARY is not None
    assert ROUTE is not None
    step = SetTraffic(name="50 %", router="istio", route=ROUTE, weight=50)
    pods = [SimpleNamespace(ready=True)] * ready
    monkeypatch.setattr(steps_traffic, "current_pods", lambda inventory, ref: pods)
    async with bench(tmp_path, step) as on:
        on.cluster.put(CANARY, deployment(CANARY, image=NEW, replicas=2))
        on.cluster.edit(STABLE, lambda document: document["spec"].update(replicas=stable))
        task = asyncio.create_task(set_traffic(on.run, step))
        await on.until_done(task)
        weights = [entry["weight"] for entry in on.cluster.at(ROUTE)["spec"]["http"][0]["route"]]
        if moves:
            await task
            assert weights == [50, 50]
        else:
            with pytest.raises(PersonNeeded, match="can't carry what it is to get"):
                await task
            assert weights == [100, 0]
            assert on.run.rollout.exposed_at is None
        assert on.cluster.at(CANARY)["spec"]["replicas"] == max(2, stable // 2)


async def test_traffic_goes_back_to_stable_only_once_it_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROUTE is not None
    step = SetTraffic(name="back", router="istio", route=ROUTE, weight=0)
    pods: list[SimpleNamespace] = []
    monkeypatch.setattr(steps_traffic, "current_pods", lambda inventory, ref: pods)
    async with bench(tmp_path, step, weight=50) as on:
        on.cluster.put(ROUTE, virtual_service(ROUTE, canary=50))
        on.cluster.put(STABLE, deployment(STABLE, image=NEW, replicas=4))
        task = asyncio.create_task(set_traffic(on.run, step))
        for _ in range(30):
            await on.clock.advance(1.0)
        assert not task.done()
        pods += [SimpleNamespace(ready=True)] * 4
        await on.until_done(task)
        await task
        assert on.run.rollout.actual_weight == 0


async def test_no_pods_are_not_ready_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CANARY is not None
    step = WaitReady(name="ready", workload=CANARY, timeout=60)
    said = SimpleNamespace(ready=True, detail="0 of 0 pods are available", desired=0, failed="")
    monkeypatch.setattr(steps_workload, "deployment_ready", lambda inventory, ref: said)
    monkeypatch.setattr(steps_workload, "_failures", lambda run, step, waited: ())
    async with bench(tmp_path, step) as on:
        task = asyncio.create_task(wait_ready(on.run, step))
        await on.until_done(task)
        with pytest.raises(Breach, match="0 of 0 pods are available, and 1 are needed"):
            await task


# Verdicts -----------------------------------------------------------------------------------------------------------------


async def verdict(on: Bench, **how: Any) -> Rollout:
    task = asyncio.create_task(analyse(on.run, ANALYSE))
    await on.until_done(task, 150.0, lambda: looked(on.run, **how))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return on.run.rollout


async def test_a_version_that_does_well_passes(tmp_path: Path) -> None:
    async with bench(tmp_path, ANALYSE, exposed_at=0.0) as on:
        after = await verdict(on)
        assert after.pause_reason == ""
        assert not state.is_extended(after)


@pytest.mark.parametrize(
    ("how", "why"), [({"errors": 80.0}, "80 of 1000 requests"), ({"known": False}, "error rate is not known")]
)
async def test_a_version_that_fails_late_never_passes(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    """The five minutes of the trigger are over; the analysis asks for longer once, then for a person."""
    async with bench(tmp_path, ANALYSE, exposed_at=-1000.0, raised_at=-1000.0) as on:
        after = await verdict(on, **how)
        assert state.is_extended(after)
        assert after.pause_reason.startswith("undecided: ")
        assert why in after.pause_reason


@pytest.mark.parametrize(
    "found",
    [
        Baseline(seconds=0, requests=0.0, error_rate=None, p99=None),
        Baseline(seconds=60, requests=40.0, error_rate=0.0, p99=None),
    ],
)
async def test_an_empty_baseline_takes_longer_once_and_then_needs_a_person(tmp_path: Path, found: Baseline) -> None:
    async with bench(tmp_path, MEASURE) as on:
        asked: list[float] = []

        async def measured(seconds: float) -> Baseline:
            asked.append(seconds)
            return found

        on.run.baseline = measured
        task = asyncio.create_task(measure_baseline(on.run, MEASURE))
        await on.until_done(task)
        with pytest.raises(PersonNeeded, match="undecided: no baseline"):
            await task
        assert asked == [60, 120]
        assert on.run.rollout.baseline == found


async def test_a_baseline_that_comes_late_is_taken(tmp_path: Path) -> None:
    async with bench(tmp_path, MEASURE) as on:
        full = Baseline(seconds=110, requests=900.0, error_rate=0.0, p99=0.1)
        found = [Baseline(seconds=0, requests=0.0, error_rate=None, p99=None), full]

        async def measured(seconds: float) -> Baseline:
            return found.pop(0)

        on.run.baseline = measured
        task = asyncio.create_task(measure_baseline(on.run, MEASURE))
        await on.until_done(task)
        await task
        assert on.run.rollout.baseline == full


def test_pods_that_were_waited_for_are_known_to_have_been_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CANARY is not None
    steps = (
        Scale(name="scale", workload=CANARY, replicas=1),
        WaitReady(name="ready", workload=CANARY, timeout=60),
        ANALYSE,
        Scale(name="more", workload=CANARY, replicas=2),
    )
    pods = {CANARY.name: ("canary-1",), STABLE.name: ("stable-1",)}
    monkeypatch.setattr(
        "services.rollout.arms.pods_of_deployment",
        lambda inventory, ref: [SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in pods[ref.name]],
    )
    plan = msgspec.structs.replace(BASE.plan, steps=steps)
    settled = [
        settled_pods(None, msgspec.structs.replace(BASE, plan=plan, step=number))  # type: ignore[arg-type]
        for number in range(4)
    ]
    assert settled == [frozenset(), frozenset(), {"canary-1"}, frozenset()]
