"""The watch loop: looks at both versions once every interval, says breach or hold, and changes nothing itself."""

import logging

import msgspec

from services.analysis import (
    ArmName,
    DirectScrape,
    HealthProbe,
    Limits,
    Unreadable,
    Windows,
    WorkloadFacts,
    evaluate,
    is_shared_incident,
    measure,
    reasons,
)
from services.model.objects import Json
from services.model.rollout import Phase, StepOutcome, TriggerReading
from services.model.steps import Analyse, WaitReady
from services.rollout import state
from services.rollout.arms import Arms, arms, workload_facts
from services.rollout.run import Breach, Run
from services.rollout.steps_traffic import actual_weight

log = logging.getLogger(__name__)


class Watch:
    """Metrics, probes and triggers of one rollout. :meth:`watch` runs until a trigger fires or it is cancelled."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._limits = Limits.of(run.settings)
        self._windows = Windows()
        self._source = DirectScrape.configured(run.settings.metrics, run.connection, run.clock)
        self._probe = HealthProbe.configured(run.settings.probes, run.connection)
        self._probed_at: float | None = None
        self._served = 0.0
        self._held = False
        run.baseline = lambda seconds: measure(self._windows, seconds)

    async def watch(self) -> None:
        """One round every ``metrics.interval`` pace seconds. Raises :class:`Breach` when a trigger fires."""
        interval = self._run.settings.metrics.interval
        try:
            while True:
                began = self._run.clock.pace()
                await self._round()
                await self._run.clock.pace_sleep(max(0.1 * interval, interval - (self._run.clock.pace() - began)))
        finally:
            await self._source.close()
            await self._probe.close()

    async def _round(self) -> None:
        run = self._run
        found = arms(run.inventory, run.rollout) if run.sees_cluster else Arms((), ())
        if run.sees_cluster:
            await self._read(found)
        now = run.clock.pace()
        readings = evaluate(
            self._limits,
            self._windows,
            baseline=run.rollout.baseline,
            exposed_at=run.rollout.exposed_at,
            now=now,
            health=self._probe.histories if run.sees_cluster else (),
            workload=self._facts() if run.sees_cluster else None,
        )
        sample = self._windows.sample() if run.sees_cluster else None
        run.change(state.observed(run.rollout, sample=sample, triggers=readings, actual_weight=actual_weight(run)))
        self._count()
        await self._journal(readings, seen=bool(found.canary))
        self._judge(readings, now)

    async def _read(self, found: Arms) -> None:
        run = self._run
        service = run.rollout.release.service
        targets = found.targets(service)
        readings = await self._source.scrape(targets)
        pods = (*found.canary, *found.stable)
        self._windows.feed(
            run.clock.pace(),
            found.names,
            readings,
            ready=[pod.metadata.name for pod in pods if pod.ready],
            restarts={pod.metadata.name: pod.restarts for pod in pods},
        )
        problems = [reading.why for reading in readings.values() if isinstance(reading, Unreadable)]
        run.unreadable = problems[0] if problems else ""
        run.measured_at = self._windows.read_at(ArmName.CANARY)
        if self._probed_at is None or run.clock.pace() - self._probed_at >= run.settings.probes.interval * 0.9:
            self._probed_at = run.clock.pace()
            new = {pod.metadata.name for pod in found.canary}
            await self._probe.probe([target for target in targets if target.name in new])

    def _facts(self) -> WorkloadFacts | None:
        step = state.current(self._run.rollout)
        waiting = isinstance(step, WaitReady)
        return workload_facts(
            self._run.inventory,
            self._run.rollout,
            waited=state.current_state(self._run.rollout).seconds if waiting else None,
            deadline=step.timeout if isinstance(step, WaitReady) else self._run.settings.canary.ready_timeout,
        )

    def _count(self) -> None:
        """What the new version served belongs to the analysis under way, if one is."""
        run = self._run
        served = self._windows.served(ArmName.CANARY)
        more, self._served = served - self._served, served
        step = state.current(run.rollout)
        if isinstance(step, Analyse) and run.rollout.phase is Phase.RUNNING:
            own = state.current_state(run.rollout)
            if own.outcome is StepOutcome.RUNNING:
                run.progress(own.seconds, own.requests + more)

    async def _journal(self, readings: tuple[TriggerReading, ...], *, seen: bool) -> None:
        fired = any(reading.fired for reading in readings)
        last = self._run.rollout.samples[-1] if self._run.rollout.samples else None
        verdict = "regressed" if fired else "no_data" if not seen else "holds"
        data: dict[str, Json] = {
            "step": self._run.rollout.step,
            "weight": self._run.rollout.weight,
            "sample": msgspec.to_builtins(last) if last is not None and self._run.sees_cluster else None,
            "triggers": [
                {"name": reading.name.value, "value": reading.value, "limit": reading.limit, "fired": reading.fired}
                for reading in readings
            ],
        }
        await self._run.note("deployment.health_check", outcome=verdict, data=data)

    def _judge(self, readings: tuple[TriggerReading, ...], now: float) -> None:
        run = self._run
        fired = reasons(readings)
        if not fired:
            self._held = False
            return
        exposed = run.rollout.exposed_at
        shared = exposed is not None and is_shared_incident(readings, self._limits, self._windows, exposed, now)
        if shared and run.settings.triggers.on_shared_incident == "pause":
            if not self._held and run.rollout.phase is Phase.RUNNING:
                self._held = True
                run.change(state.paused(run.rollout, f"shared incident: {fired[0].detail}"))
            return
        log.warning("breach: %s", fired[0])
        raise Breach(fired[0], fired[1:])
