"""Requests, errors and latency of a rollout's versions from a metrics server, where the settings name one."""

import logging

import msgspec

from services.analysis import ArmName, Windows
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, Asked, MetricSource, Reading, Subject, Version, open_source
from services.analysis.sources.history import history
from services.model.rollout import Rollout
from services.rollout.arms import Arms
from services.rollout.run import Run
from services.settings.schema import ServiceOptions

log = logging.getLogger(__name__)


class Elsewhere:
    """Asks the server once a round, for the pods that there are then."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._found = Arms((), ())
        self._source: MetricSource = open_source(
            run.settings.metrics,
            lambda: subject(run.rollout, self._found, run.settings.services.get(run.rollout.release.service)),
            clock=run.clock,
            register=run.redactor,
        )

    @classmethod
    def configured(cls, run: Run) -> "Elsewhere | None":
        """``None`` where the pods' own pages are the source."""
        return cls(run) if run.settings.metrics.source != "pods" else None

    async def put_into(self, windows: Windows, found: Arms) -> Reading:
        """Have the windows count what happened up to their latest round; returns what was told."""
        self._found = found
        reading = await self._source.read(windows.now)
        windows.add(reading.since, reading.at, reading.arms, errors=ERRORS_NAME, latency=LATENCY_NAME)
        excess = reading.excess(ERRORS_NAME)
        problem = "; ".join(filter(None, (f"{ERRORS_NAME}: {excess}" if excess else "", reading.problem)))
        return msgspec.structs.replace(reading, problem=problem)

    @property
    def asked(self) -> tuple[Asked, ...]:
        return self._source.asked

    async def remembered(self) -> Windows:
        """What the server knows of the time before now; empty, with the reason in the log, where that is nothing."""
        run = self._run
        whom = subject(run.rollout, self._found, run.settings.services.get(run.rollout.release.service))
        past = await history(run.settings.metrics, whom, clock=run.clock, register=run.redactor)
        if past.problem:
            log.warning("%s: the time before is not known from %s: %s", run.rollout.id, run.settings.metrics.source, past.problem)
        return past.windows

    async def close(self) -> None:
        await self._source.close()


def subject(rollout: Rollout, found: Arms, options: ServiceOptions | None = None) -> Subject:
    """Whom to ask for: both versions, by what tells them apart in the cluster."""
    plan, release = rollout.plan, rollout.release
    router = options.router if options is not None else ""
    canary = plan.canary if plan.canary is not None else plan.stable
    return Subject(
        namespace=plan.stable.namespace,
        service=release.service,
        route=router.partition("/")[2] if router.startswith("nginx/") else "",
        versions={
            ArmName.CANARY: Version(
                workload=canary.name, version=release.version, pods=tuple(pod.metadata.name for pod in found.canary)
            ),
            ArmName.STABLE: Version(
                workload=plan.stable.name,
                version=plan.previous_version or "",
                pods=tuple(pod.metadata.name for pod in found.stable),
            ),
        },
    )
