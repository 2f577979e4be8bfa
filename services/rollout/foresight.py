"""What the analyses of a plan will be able to see, measured on the running version while a person reads the plan.

Reads only, in the rhythm of the metrics, or more slowly where there are many pods; whoever asks waits for nothing. A plan that is
begun measures its own baseline.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime

import msgspec

from services.analysis import ArmName, DirectScrape, Unreadable, Windows, measure
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, open_source
from services.analysis.sources.history import history
from services.analysis.windows import PodHistory
from services.cluster.connection import Connection
from services.cluster.inventory import Inventory
from services.model.release import Release
from services.model.rollout import Baseline, Replayed, Rollout
from services.model.steps import Plan
from services.rollout import judging
from services.rollout.arms import Arms, arms
from services.rollout.elsewhere import subject
from services.rollout.outlook import Outlook, Saturation, analyses, outlook
from services.rollout.station import Station
from services.settings import Settings

KEPT_SECONDS = 600.0
"""Pace seconds that are measured; older counts say less about now than they cost."""
PAGES = 5.0
"""Pages of pods that are asked for in a pace second, on average: somebody may leave a plan on the screen for hours. Of more pods
than can be read so every :data:`SLOWEST` seconds more pages are asked for: counts that are too far apart measure nothing."""
SLOWEST = KEPT_SECONDS / 4
USAGE_LOOKS, PAGES_OF_USAGE = 2, 20
"""Looks at CPU and memory every :data:`SLOWEST` seconds, and pods looked at, where the requests are counted elsewhere: what is
used now is good to know, and no reason to ask for every page all the time. It takes two to tell how much CPU is used."""
REPLAYS = frozenset({6, 12, 30, 60})
"""After so many looks the judge is replayed on them: each time is ten canaries' work."""


class Foresight(msgspec.Struct, frozen=True, kw_only=True):
    """``outlook`` of every analysis, by ``baseline``. ``measured`` by a rollout that began then; ``None``: now. ``problem`` says
    why nothing is known, or nothing new; ``unreplayed`` why the judge can't be replayed. ``saturation`` of the running pods,
    where they could be read. ``alerts``: what a person has to know of them; empty where they are watched and none fires."""

    outlook: tuple[Outlook, ...] = ()
    baseline: Baseline | None = None
    measured: datetime | None = None
    problem: str = ""
    unreplayed: str = ""
    saturation: Saturation | None = None
    alerts: str = ""


def recalled(plan: Plan, earlier: Rollout | None, settings: Settings) -> Foresight:
    """By what an ``earlier`` rollout of the same service measured in the same place, if there was one."""
    if not compares(plan):
        return Foresight(problem="this plan compares no share of the requests with the running version")
    if earlier is None or earlier.baseline is None:
        return Foresight(problem="no rollout here has measured the service before")
    return _foresight(plan, earlier.baseline, settings, measured=earlier.created)


def compares(plan: Plan) -> bool:
    """Whether any of its analyses stands beside the running version."""
    return next(analyses(plan), None) is not None


async def foreseen(
    station: Station, connection: Connection, inventory: Inventory, release: Release, plan: Plan, earlier: Rollout | None
) -> AsyncGenerator[Foresight]:
    """First what is remembered, then, an interval of the metrics apart and as long as anybody asks, what is measured."""
    settings, clock = station.settings.of(release.service), station.clock
    known = recalled(plan, earlier, settings)
    yield known
    if not compares(plan):
        return
    looking = _Looking(station, connection, inventory, _proposed(release, plan, clock.now()))
    try:
        remembered = await looking.remember()
        if remembered.outlook:
            known = remembered
            yield known
        while True:
            await looking.look()
            now = await asyncio.to_thread(looking.foresight)
            if now.outlook or known.baseline is None:
                yield now
            else:
                yield msgspec.structs.replace(known, problem=now.problem)
            await clock.pace_sleep(max(settings.metrics.interval, min(SLOWEST, looking.pages / PAGES)))
    finally:
        await looking.close()


class _Looking:
    """The running version's counts, look by look."""

    def __init__(self, station: Station, connection: Connection, inventory: Inventory, proposed: Rollout) -> None:
        self._settings, self._clock = station.settings.of(proposed.release.service), station.clock
        self._inventory, self._proposed = inventory, proposed
        metrics = self._settings.metrics
        self._elsewhere = metrics.source != "pods"
        self._windows = Windows(keep=KEPT_SECONDS, counts_pages=not self._elsewhere)
        self._pages = DirectScrape.configured(metrics, connection, self._clock)
        self._found = Arms((), ())
        options = self._settings.services.get(proposed.release.service)
        self._source = open_source(
            metrics, lambda: subject(proposed, self._found, options), clock=self._clock, register=station.redactor
        )
        self._register = station.redactor
        self._unasked = ""
        """Why the metrics server could not tell of the time before."""
        self._problem = ""
        self._looks = 0
        self._usage_looks, self._usage_since = 0, -math.inf
        self.pages = 0
        """How many were asked for at the latest look."""
        self._replay: Replayed | None = None

    async def remember(self) -> Foresight:
        """By the time before now, where the metrics server has it; the judge's replay on it stands from then on."""
        metrics = self._settings.metrics
        if metrics.source == "pods":
            return Foresight()
        self._found = arms(self._inventory, self._proposed)
        whom = subject(self._proposed, self._found, self._settings.services.get(self._proposed.release.service))
        past = await history(metrics, whom, clock=self._clock, register=self._register)
        self._unasked = past.problem
        return await asyncio.to_thread(self._by_history, past.windows)

    def _by_history(self, windows: Windows) -> Foresight:
        baseline = judging.remembered(self._settings, self._proposed, windows)
        if baseline is None:
            return Foresight()
        self._replay = baseline.replay
        return _foresight(self._proposed.plan, baseline, self._settings)

    async def look(self) -> None:
        service = self._proposed.release.service
        found = self._found = arms(self._inventory, self._proposed)
        self._problem = "" if found.stable else f"no pod runs {self._proposed.plan.previous_version}"
        asked = not self._elsewhere or self._asks_for_usage()
        readings = (
            await self._pages.scrape(found.targets(service)[: PAGES_OF_USAGE if self._elsewhere else None]) if asked else {}
        )
        self.pages = len(readings)
        self._windows.feed(self._clock.pace(), found.names, readings)
        if self._elsewhere:
            reading = await self._source.read(self._windows.now)
            self._windows.add(reading.since, reading.at, reading.arms, errors=ERRORS_NAME, latency=LATENCY_NAME)
            self._problem = self._problem or reading.problem
        silent = [reading.why for reading in readings.values() if isinstance(reading, Unreadable)]
        if silent and len(silent) == len(readings) and not self._elsewhere:
            self._problem = f"its metrics can't be read: {silent[0]}"
        self._looks += 1

    def _asks_for_usage(self) -> bool:
        """Where a server is asked, the pages tell of CPU and memory alone: now and then is enough for that."""
        if (now := self._clock.pace()) - self._usage_since >= SLOWEST:
            self._usage_looks, self._usage_since = 0, now
        self._usage_looks += 1
        return self._usage_looks <= USAGE_LOOKS

    def foresight(self) -> Foresight:
        """By everything so far. Some milliseconds, and more where the judge is replayed: not for the event loop."""
        covered = self._windows.covered(ArmName.STABLE, self._windows.now - KEPT_SECONDS, self._windows.now)
        if not covered:
            return Foresight(problem=self._problem)
        baseline = measure(self._windows, KEPT_SECONDS)
        if self._looks - 1 in REPLAYS and not self._elsewhere:
            self._replay = judging.calibrated(self._settings, self._proposed, self._windows, baseline).replay
        baseline = msgspec.structs.replace(baseline, seconds=round(covered, 1), replay=self._replay)
        found = _foresight(self._proposed.plan, baseline, self._settings, problem=self._problem)
        found = msgspec.structs.replace(found, saturation=Saturation.of(self._read_lately(), self._settings))
        return found if self._replay is not None else msgspec.structs.replace(found, unreplayed=self._unreplayed())

    def _read_lately(self) -> Iterable[PodHistory]:
        """Pods that can't be read any more, or are no longer among those that are, say nothing of now."""
        since = self._windows.now - 2 * SLOWEST
        return (pod for pod in self._windows.pods(ArmName.STABLE) if pod.read_at > since)

    def _unreplayed(self) -> str:
        """Why the judge was not replayed on single pods; empty where it is only too early."""
        if self._elsewhere and self._settings.metrics.source != "prometheus":
            return f"{self._settings.metrics.source} is asked for all pods together"
        if self._unasked:
            return self._unasked
        return "one pod has no other to be compared with" if len(self._found.stable) == 1 else ""

    async def close(self) -> None:
        await self._pages.close()
        await self._source.close()


def _foresight(
    plan: Plan, baseline: Baseline, settings: Settings, *, measured: datetime | None = None, problem: str = ""
) -> Foresight:
    found = outlook(plan, baseline, settings)
    if not found and not problem:
        problem = "nobody can tell how many requests fail" if baseline.requests else f"no requests in {baseline.seconds:.0f} s"
    return Foresight(outlook=found, baseline=baseline, measured=measured, problem=problem)


def _proposed(release: Release, plan: Plan, now: datetime) -> Rollout:
    """The plan in the form that tells versions and pods apart; it is not begun and never stored."""
    return Rollout(id="", release=release, plan=plan, operator="", created=now)
