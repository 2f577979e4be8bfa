"""Many rollouts that are judged at once, without the processes that would drive them: leases, checkpoints, and the judge itself.

``crowd_writer.py CONFIG COUNT`` takes words on its standard input, and answers each with a line: ``begin`` (they are there, and
are judged and written once a second from now on), ``end`` (they are gone), ``rate`` (checkpoints a second since they began).
"""

import asyncio
import contextlib
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from services.analysis.trial import Look
from services.clock import SystemClock
from services.cluster.connection import Clusters, Connection
from services.cluster.writer import Writer
from services.coordination import Coordination, Hold
from services.coordination.checkpoint import checkpoint_ref
from services.model.objects import ObjectRef
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Arm, Baseline, Driver, Rollout, Sample, SlowEdge, StepOutcome, StepState
from services.model.steps import Analyse, Plan
from services.redaction import Redactor
from services.rollout import judging, state
from services.settings import Settings, load

NAMESPACE = "production"
EVERY = 1.0
"""Wall seconds between two checkpoints of one rollout: drivers write no sooner."""
RENEWED = 3.0
INTERVAL = 10.0
SHARES = (5, 10, 25, 50)
MIX = {"errors": (0.0005, 0.0005), "latency-p99": (0.01, 0.01), "latency-p90": (0.1, 0.1)}
"""Share of bad requests of the new version and of the old one."""


def begun(number: int) -> Rollout:
    """A canary in the middle of its course."""
    service = f"crowd-{number:02}"
    target = Target(environment="production", tier=Tier.PRODUCTION, context="production", namespace=NAMESPACE)
    steps = tuple(Analyse(name=f"{share} %", seconds=86_400.0, expected_seconds=86_400.0, min_requests=500) for share in SHARES)
    plan = Plan(
        steps=steps,
        objects=(ObjectRef("Deployment", NAMESPACE, service),),
        stable=ObjectRef("Deployment", NAMESPACE, service),
        canary=ObjectRef("Deployment", NAMESPACE, f"{service}-canary"),
        route=ObjectRef("VirtualService", NAMESPACE, service),
        previous_version="v1.0.0",
        new_images=(),
        digest=f"{number:064}",
        rollback_seconds=2.0,
    )
    edges = {"latency-p99": SlowEdge(0.05, 1000.0, 100_000.0), "latency-p90": SlowEdge(0.03, 10_000.0, 100_000.0)}
    return Rollout(
        id=f"{service}-20260101t000000-aaaa",
        release=Release(service=service, version="v1.1.0", target=target, strategy=Strategy.CANARY, ticket="CHG-4821"),
        plan=plan,
        operator="jane",
        created=datetime.now(UTC),
        step=1,
        steps=tuple(
            StepState(expected_seconds=step.expected_seconds, outcome=StepOutcome.RUNNING if index == 1 else StepOutcome.PENDING)
            for index, step in enumerate(steps)
        ),
        baseline=Baseline(seconds=60.0, requests=100_000.0, error_rate=0.0005, p99=0.05, edges=edges),
        exposed_at=0.0,
        weight=10,
        actual_weight=10,
    )


class Crowd:
    def __init__(self, connection: Connection, settings: Settings, clock: SystemClock, count: int) -> None:
        self._connection = connection
        self._coordination = Coordination(connection, clock)
        self._settings = settings
        self._clock = clock
        self._count = count
        self._draws = random.Random(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._holds: dict[str, Hold] = {}
        self._written = 0
        self._began = 0.0

    async def begin(self) -> None:
        ready = [asyncio.Event() for _ in range(self._count)]
        self._tasks = [asyncio.create_task(self._drive(number, there)) for number, there in enumerate(ready)]
        waiting = asyncio.gather(*(there.wait() for there in ready))
        ended, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
        self._written, self._began = 0, time.monotonic()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        writer = Writer(self._connection)
        for number in range(self._count if self._tasks else 0):
            rollout = begun(number)
            await writer.delete(checkpoint_ref(NAMESPACE, rollout.id))
            await writer.delete(self._holds.pop(rollout.id).ref)
        self._tasks = []

    def rate(self) -> float:
        return self._written / (time.monotonic() - self._began)

    async def _drive(self, number: int, there: asyncio.Event) -> None:
        """One rollout: a look of the judge and a checkpoint each second, its lease renewed as a driver does."""
        rollout = begun(number)
        driver = Driver(operator="jane", host="elsewhere", home="another", token=f"token-{number}", since=rollout.created)
        hold = await self._coordination.acquire(rollout.release.target, rollout.release.service, rollout.id, driver)
        self._holds[rollout.id] = hold
        rollout = state.driven_by(rollout, driver, hold.epoch)
        renewed = self._clock.monotonic()
        await asyncio.sleep(number / self._count * EVERY)  # they are not in step
        while True:
            rollout = self._judged(rollout)
            await self._coordination.save(state.stamped(rollout, pace=self._clock.pace(), written=self._clock.now()))
            self._written += 1
            there.set()
            if self._clock.monotonic() - renewed > RENEWED:
                await self._coordination.renew(hold)
                renewed = self._clock.monotonic()
            await asyncio.sleep(EVERY)

    def _judged(self, rollout: Rollout) -> Rollout:
        trial = judging.trial_of(rollout, self._settings)
        n, m = 2000.0, 18_000.0
        counts = {name: (n, m, float(self._about(n * bad)), float(self._about(m * well))) for name, (bad, well) in MIX.items()}
        look = Look(counts=counts, seconds=INTERVAL, step=rollout.step)
        rollout = state.judged(rollout, judging.judged(rollout, trial, look))
        _, _, failed, also = counts["errors"]
        sample = Sample(at=self._clock.pace(), canary=_arm(2, n, failed), stable=_arm(6, m, also))
        readings = (judging.reading(rollout.judgement),)
        return state.observed(rollout, sample=sample, triggers=readings, actual_weight=rollout.weight)

    def _about(self, mean: float) -> int:
        return max(0, round(self._draws.gauss(mean, mean**0.5)))


def _arm(pods: int, requests: float, errors: float) -> Arm:
    return Arm(pods=pods, ready=pods, requests=requests, errors=errors, p50=0.015, p99=0.048, cpu=0.4, memory=0.45, restarts=0)


async def main(config: Path, count: int) -> None:
    settings = load(config, redactor=Redactor())
    clock = settings.clock()
    clusters = Clusters(settings.kubeconfig, clock)
    loop = asyncio.get_running_loop()
    try:
        crowd = Crowd(await clusters.connect("production"), settings, clock, count)
        while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            answer = "done"
            if word == "begin":
                await crowd.begin()
            elif word == "end":
                await crowd.end()
            else:
                answer = f"{crowd.rate():.1f}"
            print(answer, flush=True)
    finally:
        await clusters.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
