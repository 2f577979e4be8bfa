"""The alerts of a rollout's service, asked for beside its metrics: a source that is slow or away delays no other trigger."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import msgspec

from services.analysis import alert
from services.integrations.alerts import AlertSource, AlertsUnavailable, open_alerts
from services.model.alerts import Alert, AlertsLook, AlertSubject
from services.model.release import Release
from services.model.rollout import TriggerReading
from services.model.steps import Plan
from services.rollout import state
from services.rollout.foresight import Foresight
from services.rollout.run import Run
from services.rollout.station import Station

PATIENCE = 1.0
"""Wall seconds that a round of the watch loop waits for an answer; one that comes later counts at the next."""
FRESH_ROUNDS = 3
"""Rounds for which an answer stands while the next one is awaited."""

BEFORE_PATIENCE = 3.0
"""Wall seconds that a deploy waits, beside its gates, to say whether alerts will be watched."""

log = logging.getLogger(__name__)


class AlertWatch:
    """Asks once a round, and never twice at the same time."""

    def __init__(self, run: Run, source: AlertSource | None) -> None:
        self._run = run
        self._source = source
        self._asking: asyncio.Task[None] | None = None
        self._firing: tuple[Alert, ...] = ()
        self._told_at: float | None = None
        """Pace second of the latest answer."""
        self._problem = ""

    @classmethod
    def configured(cls, run: Run) -> "AlertWatch":
        return cls(run, open_alerts(run.settings, redactor=run.redactor, clock=run.clock))

    def ask(self) -> None:
        """Have the source asked, unless it still is."""
        if self._source is not None and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(self._source))

    async def readings(self) -> tuple[TriggerReading, ...]:
        """The trigger's reading by what is known now; none where no source is configured. Remembers what fired before anything
        was changed."""
        if self._source is None or self._asking is None:
            return ()
        await asyncio.wait({self._asking}, timeout=PATIENCE)
        run, look = self._run, self._look()
        changed = bool(run.rollout.undo) or run.rollout.exposed_at is not None
        if look.known and not changed:
            run.change(state.alerts_known(run.rollout, look.firing))
        before = run.rollout.alerts_before
        return (alert(look, before=before, begun=run.rollout.created, changed=changed),)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._source is not None:
            await self._source.close()

    def _look(self) -> AlertsLook:
        assert self._source is not None
        problem = self._problem
        age = self._run.clock.pace() - self._told_at if self._told_at is not None else None
        wait = max(FRESH_ROUNDS * self._run.settings.metrics.interval, 2 * PATIENCE * self._run.clock.speed)
        if not problem and (age is None or age > wait):
            problem = f"{self._source.host} has not answered yet"
        return AlertsLook(firing=self._firing, at=self._told_at, problem=problem)

    async def _ask(self, source: AlertSource) -> None:
        try:
            self._firing = await source.firing(subject(self._run.rollout.release, self._run.rollout.plan))
            self._told_at, self._problem = self._run.clock.pace(), ""
        except AlertsUnavailable as error:
            self._problem = told(error)
        except Exception as error:
            # A defect of ours in this one takes no other trigger with it, and is never taken for "no alert".
            log.exception("the alerts of %s can't be read", self._run.rollout.id)
            self._problem = f"internal error: {error!r}"


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of alerts before a deploy: those that fire already, and why they won't be ``watched``, if so."""

    watched: bool
    firing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def quiet(self) -> bool:
        return self.watched and not self.firing

    def words(self) -> str:
        if not self.watched:
            return f"Alerts are not watched: {self.problem}."
        if not self.firing:
            return "Alerts are watched: none fires for the service."
        names = ", ".join(dict.fromkeys(self.firing))
        return f"Alerts are watched. Firing since before, and so no reason to roll back: {names}."


async def foreseen(station: Station, release: Release, plan: Plan) -> Foreseen | None:
    """``None`` where no source is configured."""
    source = open_alerts(station.settings, redactor=station.redactor, clock=station.clock)
    if source is None:
        return None
    try:
        async with asyncio.timeout(BEFORE_PATIENCE):
            found = await source.firing(subject(release, plan))
        return Foreseen(watched=True, firing=tuple(each.name for each in found))
    except AlertsUnavailable as error:
        return Foreseen(watched=False, problem=told(error))
    except TimeoutError:
        return Foreseen(watched=False, problem=f"{source.host} gave no answer within {BEFORE_PATIENCE:g} s")
    finally:
        await source.close()


async def beside(looks: AsyncGenerator[Foresight], station: Station, release: Release, plan: Plan) -> AsyncGenerator[Foresight]:
    """``looks`` with what a person has to know of alerts, asked anew for each; they wait a moment for it. Closes ``looks``."""
    words, known = "", Foresight()

    async def asking() -> str:
        found = await foreseen(station, release, plan)
        return "" if found is None or found.quiet else found.words()

    asked = asyncio.create_task(asking())
    try:
        async with contextlib.aclosing(looks):
            async for known in looks:
                await asyncio.wait({asked}, timeout=PATIENCE)
                if asked.done():
                    words, asked = asked.result(), asyncio.create_task(asking())
                yield msgspec.structs.replace(known, alerts=words)
        if (last := await asked) != words:
            yield msgspec.structs.replace(known, alerts=last)
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


def subject(release: Release, plan: Plan) -> AlertSubject:
    """Whose alerts count for a rollout."""
    workloads = (plan.stable, plan.canary) if plan.canary is not None else (plan.stable,)
    return AlertSubject(
        service=release.service,
        namespace=release.target.namespace,
        environment=release.target.environment,
        workloads=tuple(workload.name for workload in workloads),
    )


def told(error: AlertsUnavailable) -> str:
    """Why, as part of a sentence."""
    return (error.detail or error.title).rstrip(".")
