"""A rollout under the real engine, watch loop and judge, whose pods are simulated ones and whose clock is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.actuator import Actuator
from services.analysis import HealthHistory, PodTarget, Reading, Unreadable
from services.analysis.parse import parse
from services.analysis.probes import ProbeResult
from services.audit import Journal
from services.coordination import Coordination
from services.model.release import Strategy
from services.model.rollout import Phase, Rollout, StepState
from services.model.steps import Analyse, AnyStep, MeasureBaseline, Pause
from services.redaction import Redactor
from services.rollout import engine, state
from services.rollout import watch as watching
from services.rollout.run import Run
from services.rollout.watch import Watch
from services.sandbox.behaviour import Behaviour
from services.sandbox.fleet import Workload
from services.sandbox.podmetrics import PodMetrics
from services.settings import Settings
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import memory_connection
from support.rollouts import deployment, driver, rollout, virtual_service

MEASURE = MeasureBaseline(name="measure", seconds=60, expected_seconds=60)
ASK = Pause(name="ask", seconds=None)


def analysis(seconds: float = 120.0, **more: Any) -> Analyse:
    return Analyse(name="analyse", **{"seconds": seconds, "expected_seconds": seconds, "min_requests": 100, **more})


class Service:
    """Pods of both versions and how many requests they get: ``rate`` a second in all, ``share`` of them to the new version once
    it is exposed. ``canary`` and ``stable`` behave as given, and may be replaced at any time."""

    def __init__(self, clock: ManualClock, seed: int, *, rate: float, errors: float, share: float) -> None:
        self.clock, self.random, self.rate, self.share = clock, Random(seed), rate, share
        self.canary, self.stable = Behaviour(), Behaviour()
        self.exposed = False
        self.unreadable = False
        self.silent: frozenset[str] = frozenset()
        """Pods that do not answer though others do."""
        self.old_serves = True
        self.scraped_at = 0.0
        workload = Workload("payment-service", {"*": "v1"}, "v0", 4, rate, 0.045, errors, "256Mi")
        self.pods = {name: self._pod(workload) for name in ("new-1", "old-1", "old-2", "old-3")}
        self._served_to = 0.0
        self.answers: Callable[[], bool | None] = lambda: True

    def _pod(self, workload: Workload) -> PodMetrics:
        return PodMetrics(workload, Behaviour(), 0.0, 1.0, 256 * 2**20, self.rate / 4, 1_700_000_000.0)

    def serve(self) -> None:
        now = self.clock.pace()
        share = (self.share if self.old_serves else 1.0) if self.exposed else 0.0
        old = [name for name in self.pods if name.startswith("old")]
        for name, pod in self.pods.items():
            pod.behaviour = self.canary if name == "new-1" else self.stable
            rate = self.rate * (share if name == "new-1" else (1 - share) / len(old))
            if now > self._served_to:
                pod.serve(self.random, rate, now - self._served_to)
        self._served_to = now

    # What the watch loop asks -----------------------------------------------------------------------------------------

    async def scrape(self, pods: Sequence[PodTarget]) -> dict[str, Reading]:
        self.serve()
        now = self.scraped_at = self.clock.pace()
        if self.unreadable:
            return {pod.name: Unreadable(now, "no answer") for pod in pods}
        return {
            pod.name: Unreadable(now, "no answer") if pod.name in self.silent else parse(self.pods[pod.name].page(now), now)
            for pod in pods
        }

    async def close(self) -> None: ...

    async def probe(self, pods: Sequence[PodTarget], *, started: object = ()) -> tuple[HealthHistory, ...]:
        result = self.answers()
        self.histories = tuple(
            history.after(ProbeResult(result, "answered 200" if result else "answered 503"), ready=True)
            for history in (self.histories or (HealthHistory(pod="new-1"),))
        )
        return self.histories

    histories: tuple[HealthHistory, ...] = ()

    def arms(self, inventory: object, rollout: Rollout) -> Any:
        new = ("new-1",)
        old = tuple(name for name in self.pods if name.startswith("old")) if self.old_serves else ()
        made = [SimpleNamespace(metadata=SimpleNamespace(name=name), ready=True, restarts=0) for name in (*new, *old)]
        return SimpleNamespace(
            canary=tuple(made[:1]),
            stable=tuple(made[1:]),
            names={**dict.fromkeys(old, "stable"), "new-1": "canary"},
            targets=lambda service: [PodTarget(name=name, namespace="production") for name in (*new, *old)],
        )


class Judged:
    """A rollout on its way through ``steps`` (a baseline first, a question last). ``advance`` lets it run."""

    def __init__(self, run: Run, service: Service, clock: ManualClock) -> None:
        self.run, self.service, self.clock = run, service, clock
        self.exposed_at: float | None = None
        self._noting = 0
        self._note = run.note
        run.note = self._noted  # type: ignore[method-assign]
        self._task = asyncio.create_task(engine.drive(run, self._watch))

    async def _watch(self) -> None:
        watch = Watch(self.run)
        await watch._source.close()
        await watch._probe.close()
        watch._source, watch._probe = self.service, self.service  # type: ignore[assignment]
        watch._split = SimpleNamespace(look=_unchanged)  # type: ignore[assignment]
        await watch.watch()

    async def _noted(self, *args: Any, **how: Any) -> Any:
        self._noting += 1
        try:
            return await self._note(*args, **how)
        finally:
            self._noting -= 1

    @property
    def rollout(self) -> Rollout:
        return self.run.rollout

    @property
    def seconds(self) -> float:
        """Since the new version's first requests."""
        return self.clock.pace() - (self.exposed_at if self.exposed_at is not None else self.clock.pace())

    @property
    def over(self) -> bool:
        """Whether it was aborted, or waits: at the question behind its analyses, or for a person before."""
        return self._task.done() or self.rollout.phase is Phase.PAUSED

    @property
    def passed(self) -> bool:
        return self.rollout.pause_reason.startswith("approval")

    async def advance(self, seconds: float, each: Callable[[], None] | None = None) -> "Judged":
        """Until it is over, at most ``seconds`` of pace."""
        until = self.clock.pace() + seconds
        while not self.over and self.clock.pace() < until:
            if self.exposed_at is None and not isinstance(state.current(self.rollout), MeasureBaseline):
                self.service.serve()
                self.service.exposed, self.exposed_at = True, self.clock.pace()
                self.run.change(state.exposed(self.rollout, weight=round(100 * self.service.share), pace=self.clock.pace()))
            if each is not None:
                each()
            await self.clock.advance(1.0)
            await asyncio.sleep(0.0005)
            # The journal is written by a thread: time stands still meanwhile, however long it takes on a busy machine.
            late = 2000
            while not self.over and late and (self._noting or self._overdue):
                await asyncio.sleep(0.005)
                late -= 1
        if self.over:
            await self.clock.settled()  # what it has to say about its end is written by a thread
        return self

    @property
    def _overdue(self) -> bool:
        return self.clock.pace() - self.service.scraped_at > self.run.settings.metrics.interval + 1

    async def handed_over(self, place: Path, settings: Settings) -> "Judged":
        """The same rollout as whoever takes it over finds it: from its checkpoint alone, watched by a new loop."""
        await self.stop()
        self.run.note = self._note  # type: ignore[method-assign]
        stored = msgspec.json.decode(msgspec.json.encode(self.rollout), type=Rollout)
        self.run.change(stored)
        again = Judged(self.run, self.service, self.clock)
        again.exposed_at = self.exposed_at
        return again

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def _unchanged() -> str:
    return ""


class _Seen:
    deployments: dict[Any, Any] = {}

    def age(self) -> float:
        return 0.0

    def can_read(self, kind: str, namespace: str) -> bool:
        return True

    def raw(self, ref: object) -> None:
        return None

    async def changed(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def judged(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    *steps: AnyStep,
    seed: int = 1,
    rate: float = 20_000.0,
    errors: float = 0.0005,
    share: float = 0.1,
    settings: Settings | None = None,
) -> AsyncIterator[Judged]:
    clock = ManualClock()
    service = Service(clock, seed, rate=rate, errors=errors, share=share)
    connection, cluster = memory_connection()
    base = rollout()
    plan = msgspec.structs.replace(base.plan, steps=(MEASURE, *(steps or (analysis(),)), ASK))
    begun = msgspec.structs.replace(
        base,
        plan=plan,
        release=msgspec.structs.replace(base.release, strategy=Strategy.CANARY),
        steps=tuple(StepState(expected_seconds=step.expected_seconds) for step in plan.steps),
    )
    cluster.put(plan.stable, deployment(plan.stable))
    if plan.route is not None:
        cluster.put(plan.route, virtual_service(plan.route))

    async def kept(run: Run) -> Rollout:
        return run.rollout

    monkeypatch.setattr(engine, "roll_back", kept)
    monkeypatch.setattr(watching, "arms", service.arms)
    monkeypatch.setattr(watching, "workload_facts", lambda *args, **how: None)
    monkeypatch.setattr(watching, "settled_pods", lambda *args: frozenset())
    monkeypatch.setattr(watching, "unserved", lambda *args: False)
    monkeypatch.setattr(watching, "actual_weight", lambda run: None)
    journal = Journal.open(place, redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    try:
        coordination = Coordination(connection, clock)
        hold = await coordination.acquire(begun.release.target, "payment-service", begun.id, driver("t"))
        run = Run(
            state.driven_by(begun, driver("t"), hold.epoch),
            connection=connection,
            inventory=_Seen(),  # type: ignore[arg-type]
            actuator=Actuator(connection, journal, clock, read_only=False, operator="jane"),
            coordination=coordination,
            hold=hold,
            journal=journal,
            settings=settings if settings is not None else configured(),
            clock=clock,
        )
        found = Judged(run, service, clock)
        yield found
        await found.stop()
    finally:
        journal.close()
