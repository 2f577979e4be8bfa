"""The watch loop: looks at both versions once every interval, says breach or hold, and changes nothing itself."""

import asyncio
import logging

import msgspec

from services.analysis import (
    ArmName,
    DirectScrape,
    HealthProbe,
    Limits,
    Unserved,
    Windows,
    WorkloadFacts,
    evaluate,
    is_shared_incident,
    measure,
    reasons,
)
from services.analysis.sources import asked_of_pages
from services.analysis.trial import Look
from services.analysis.windows import TRAILING
from services.model.errors import HeldByAnother
from services.model.objects import Json
from services.model.rollout import Baseline, Freshness, Phase, StepOutcome, TriggerReading
from services.model.steps import Analyse, MeasureBaseline, WaitReady
from services.rollout import freshness, judging, state
from services.rollout.alerting import AlertWatch
from services.rollout.arms import Arms, arms, settled_pods, unserved, workload_facts
from services.rollout.cadence import Cadence
from services.rollout.elsewhere import Elsewhere
from services.rollout.passing import proven_early
from services.rollout.run import Breach, Run
from services.rollout.split_watch import SplitWatch
from services.rollout.steps_traffic import actual_weight

UNSERVED_SECONDS = 15.0
"""Wall seconds, or…"""
UNSERVED_ROUNDS = 3
"""…rounds of the watch loop, whichever are over first, for which a version may get requests without a ready pod."""

KEPT_SECONDS = 900.0

log = logging.getLogger(__name__)


class Watch:
    """Metrics, probes and triggers of one rollout. :meth:`watch` runs until a trigger fires or it is cancelled."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._limits = Limits.of(run.settings)
        self._elsewhere = Elsewhere.configured(run)
        self._windows = Windows(keep=_kept(run), counts_pages=self._elsewhere is None)
        self._began = run.clock.pace()
        self._judged_to: float | None = None
        """Pace second of the judge's latest look, which may have had nothing to see…"""
        self._counted_to = self._began
        """…and of the round up to which all counts were put before it."""
        self._parameters_told = False
        self._queries_told: tuple[str, ...] = ()
        """What the journal knows the metrics to be read by."""
        self._fired = False
        self._source = DirectScrape.configured(run.settings.metrics, run.connection, run.clock)
        self._probe = HealthProbe.configured(run.settings.probes, run.connection)
        self._probed_at: float | None = None
        self._unserved_since: float | None = None
        self._served = 0.0
        self._held = False
        self._cadence = Cadence(interval=run.settings.metrics.interval, speed=run.clock.speed)
        self._split = SplitWatch(run)
        self._alerts = AlertWatch.configured(run)
        run.baseline = self._baseline

    async def watch(self) -> None:
        """One round every ``metrics.interval`` pace seconds. Raises :class:`Breach` when a trigger fires."""
        interval = self._run.settings.metrics.interval
        # Whoever watched before has stopped some time ago.
        self._run.change(state.watched_anew(self._run.rollout, pace=self._run.clock.pace()))
        try:
            while True:
                began = self._run.clock.pace()
                await self._looked()
                await self._run.clock.pace_sleep(max(0.1 * interval, interval - (self._run.clock.pace() - began)))
        finally:
            await self._source.close()
            await self._probe.close()
            await self._alerts.close()
            if self._elsewhere is not None:
                await self._elsewhere.close()

    async def _baseline(self, seconds: float) -> Baseline:
        """What the old version did in the last ``seconds``, or for longer where a metrics server remembers more; says how long it
        was really seen, and what the judge would have made of it."""
        run = self._run
        until = self._windows.now
        covered = self._windows.covered(ArmName.STABLE, until - seconds, until)
        found = judging.calibrated(run.settings, run.rollout, self._windows, measure(self._windows, seconds))
        found = msgspec.structs.replace(found, seconds=round(covered, 1))
        if self._elsewhere is None:
            return found
        past = await self._elsewhere.remembered()
        before = await asyncio.to_thread(judging.remembered, run.settings, run.rollout, past)
        if before is None or not before.requests or before.seconds <= found.seconds:
            return found
        # A server is asked for what it remembers of errors and latency alone: ratios and endpoints are those of this look.
        before = msgspec.structs.replace(before, ratios={**found.ratios, **before.ratios})
        return before if before.p99 is not None or found.p99 is None else found

    async def _looked(self) -> None:
        """One round. One that fails by a defect of ours has seen nothing, as where metrics can't be read: an analysis ends
        undecided, and the next round looks again. The driver's end would leave the new version's users to nobody."""
        try:
            await self._round()
        except (Breach, HeldByAnother):
            raise
        except Exception as error:
            log.exception("a round of the watch over %s failed", self._run.rollout.id)
            self._blind(f"internal error: {error!r}")
            self._run.measured_at = None

    def _blind(self, why: str) -> None:
        self._known(freshness.unread(self._run.rollout, self._run.clock.pace(), why))

    def _known(self, found: Freshness) -> None:
        """Everybody who looks at the rollout is told how old its metrics are, and why."""
        self._run.unreadable = found.why
        self._run.change(state.metrics_read(self._run.rollout, found))

    async def _round(self) -> None:
        run = self._run
        self._alerts.ask()
        found = arms(run.inventory, run.rollout) if run.sees_cluster else Arms((), ())
        if run.sees_cluster:
            await self._read(found)
        else:
            self._blind("the cluster does not tell which pods there are")
        now = run.clock.pace()
        look = self._judged() if run.sees_cluster else None
        limits = judging.limits_now(self._limits, run.rollout.judgement)
        readings = evaluate(
            limits,
            self._windows,
            baseline=run.rollout.baseline,
            exposed_at=run.rollout.exposed_at,
            raised_at=run.rollout.raised_at,
            now=now,
            health=self._probe.histories if run.sees_cluster else (),
            unserved=self._unserved(now),
            workload=self._facts() if run.sees_cluster else None,
        )
        readings = (*readings, *await self._alerts.readings(), judging.reading(run.rollout.judgement, run.rollout.freshness))
        sample = self._windows.sample(hold=run.metrics_patience) if run.sees_cluster else None
        run.change(state.observed(run.rollout, sample=sample, triggers=readings, actual_weight=actual_weight(run)))
        self._count()
        fresh = run.rollout.freshness
        await self._journal(readings, look, seen=bool(found.canary) and not (fresh is not None and fresh.missing))
        self._decide(readings, limits, now)
        if run.rollout.phase is Phase.RUNNING and (why := proven_early(run.rollout, run.settings)):
            run.change(state.shortened(run.rollout, why))
        if changed := await self._split.look():
            log.warning("%s: %s", run.rollout.id, changed)
            await run.pause(changed)

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
        if self._elsewhere is None:
            self._known(freshness.from_pods(run.rollout, self._windows, found, readings))
        else:
            told = await self._elsewhere.put_into(self._windows, found)
            source, patience = run.settings.metrics.source, self._cadence.silence
            self._known(
                freshness.from_elsewhere(
                    run.rollout, self._windows, found, told, source=source, began=self._began, patience=patience
                )
            )
        run.asked = asked_of_pages(run.settings.metrics) if self._elsewhere is None else self._elsewhere.asked
        if freshness.all_told(run.rollout, self._windows, found):
            self._cadence.told(self._windows.now)
            run.metrics_patience = self._cadence.patience
        before, run.measured_at = run.measured_at, self._windows.read_at(ArmName.CANARY)
        if before is not None and run.measured_at is not None and run.measured_at - before > max(TRAILING, run.metrics_patience):
            run.change(state.watched_anew(run.rollout, pace=run.clock.pace()))
        if self._probed_at is None or run.clock.pace() - self._probed_at >= run.settings.probes.interval * 0.9:
            # At the first look nobody remembers what a driver before this one saw answer.
            started = settled_pods(run.inventory, run.rollout) if self._probed_at is None else frozenset()
            self._probed_at = run.clock.pace()
            new = {pod.metadata.name for pod in found.canary}
            await self._probe.probe([target for target in targets if target.name in new], started=started)

    def _judged(self) -> Look | None:
        """The latest look of the judge. A defect of ours in it takes no hard trigger with it; what it has not judged proves
        nothing, as where metrics can't be read."""
        try:
            return self._put_before_the_judge()
        except Exception as error:
            log.exception("the judge of %s failed", self._run.rollout.id)
            self._blind(f"internal error: {error!r}")
            self._run.measured_at = None
            return None

    def _put_before_the_judge(self) -> Look | None:
        """Give the judge everything that became known since its latest look, of both versions alike; ``None`` where it has to
        wait: before the first requests, and while a version can't be read (what is missing then comes with the next look)."""
        run, now = self._run, self._windows.now
        exposed = run.rollout.exposed_at
        if self._judged_to is None or exposed is None:
            self._judged_to = self._counted_to = now
            return None
        blind = bool(self._windows.unread)
        patience = max(run.settings.judge.no_traffic_seconds, run.metrics_patience)
        # What is not due yet is no look at nothing.
        due = run.rollout.freshness is not None and bool(run.rollout.freshness.missing)
        if now <= self._judged_to or (blind and (not due or now - self._judged_to < patience)):
            return None
        trial = judging.trial_of(run.rollout, run.settings)
        counts = judging.counted(
            self._windows, self._counted_to, warm_up=self._limits.warm_up, exposed_at=exposed, since=self._judged_to
        )
        look = judging.look(run.rollout, counts, trial)
        self._judged_to = now
        self._counted_to = self._counted_to if blind else now
        # What could not be read was not looked at, however long it is waited for.
        before = run.rollout.judgement.at if run.rollout.judgement is not None else None
        run.change(state.judged(run.rollout, judging.judged(run.rollout, trial, look, at=before if blind else now)))
        return look

    def _unserved(self, now: float) -> Unserved | None:
        """How long the canary has had requests and no ready pod, by an inventory that was fresh all the while."""
        run = self._run
        actual = actual_weight(run)
        weight = run.rollout.weight if actual is None else actual
        if not run.sees_cluster or not unserved(run.inventory, run.rollout, weight):
            self._unserved_since = None
            return None
        if self._unserved_since is None:
            self._unserved_since = now
        limit = min(UNSERVED_SECONDS * run.clock.speed, UNSERVED_ROUNDS * run.settings.metrics.interval)
        return Unserved(seconds=now - self._unserved_since, limit=limit, weight=weight)

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

    async def _journal(self, readings: tuple[TriggerReading, ...], look: Look | None, *, seen: bool) -> None:
        fired = any(reading.fired for reading in readings)
        last = self._run.rollout.samples[-1] if self._run.rollout.samples else None
        verdict = "regressed" if fired else "no_data" if not seen else "holds"
        data: dict[str, Json] = {
            "step": self._run.rollout.step,
            "weight": self._run.rollout.weight,
            "sample": msgspec.to_builtins(last) if last is not None and self._run.sees_cluster else None,
            "triggers": [
                {
                    "name": reading.name.value,
                    "value": reading.value,
                    "limit": reading.limit,
                    "unit": reading.unit,
                    "fired": reading.fired,
                }
                for reading in readings
            ],
        }
        asked, queries = self._run.asked, judging.texts(self._run.asked)
        if asked and (queries != self._queries_told or (fired and not self._fired)):
            data["asked"] = msgspec.to_builtins(asked)  # with a verdict, and whenever it changes
        fresh, judgement = self._run.rollout.freshness, self._run.rollout.judgement
        if fresh is not None and fresh.why:
            data["metrics"] = {**msgspec.to_builtins(fresh), "age": _age(fresh, self._run.clock.pace())}
        if look is not None and judgement is not None:
            data["judge"] = {
                **msgspec.to_builtins(look),
                "log_e": judgement.log_e,
                "limit": judgement.abort_at,
                "verdict": judgement.verdict,
            }
            if not self._parameters_told:
                # Once a driver is enough to judge its looks again: a hand-over may have left the beginning in another journal.
                self._parameters_told = True
                trial = judging.trial_of(self._run.rollout, self._run.settings)
                data["judge"]["parameters"] = msgspec.to_builtins(trial.parameters)
                data["judge"]["edges"] = dict(trial.edges)
        # what is to be rolled back waits for its journal no longer than a rollback does
        receipt = await self._run.note("deployment.health_check", outcome=verdict, data=data, seconds=0.25 if fired else 2.0)
        self._fired = fired
        if receipt is not None:
            self._queries_told = queries

    def _decide(self, readings: tuple[TriggerReading, ...], limits: Limits, now: float) -> None:
        run = self._run
        fired = reasons(readings)
        if not fired:
            self._held = False
            return
        exposed = run.rollout.exposed_at
        shared = exposed is not None and is_shared_incident(
            readings, limits, self._windows, exposed, now, baseline=run.rollout.baseline
        )
        if shared and run.settings.triggers.on_shared_incident == "pause":
            if not self._held and run.rollout.phase is Phase.RUNNING:
                self._held = True
                run.change(state.paused(run.rollout, f"shared incident: {fired[0].detail}"))
            return
        log.warning("breach: %s", fired[0])
        raise Breach(fired[0], fired[1:])


def _age(fresh: Freshness, now: float) -> float | None:
    return None if fresh.data_at is None else round(max(0.0, now - fresh.data_at), 3)


def _kept(run: Run) -> float:
    """Pace seconds of counts that are kept: the longest baseline of the plan, extended once, fits in."""
    longest = max((step.seconds for step in run.rollout.plan.steps if isinstance(step, MeasureBaseline)), default=0.0)
    return max(KEPT_SECONDS, 2 * longest + TRAILING)
