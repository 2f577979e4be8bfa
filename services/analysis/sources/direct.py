"""The pods' own pages as a source of metrics. They are read anyway, for CPU and memory: this counts what was read."""

from collections.abc import Mapping

from services.analysis.parse import PodReading, Unreadable
from services.analysis.parse import Reading as PodAnswer
from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, Asked, Reading
from services.analysis.sources.ledger import Ledger, Standing
from services.analysis.tally import Tally
from services.analysis.windows import ArmName
from services.settings import Metrics


class Direct:
    """Fed with each round of readings, by whoever made it; ``read`` counts the latest."""

    def __init__(self, metrics: Metrics) -> None:
        self.asked = asked_of_pages(metrics)
        self._ledger = Ledger()
        self._round: dict[ArmName, dict[str, Standing]] | None = None
        self._there: frozenset[ArmName] = frozenset()
        self._problem = ""
        self._newest: float | None = None
        self._first: float | None = None

    def feed(self, at: float, arm_of: Mapping[str, str], readings: Mapping[str, PodAnswer]) -> None:
        """Take one round in, made at pace second ``at``; ``arm_of`` as for :meth:`services.analysis.windows.Windows.feed`."""
        arms: dict[ArmName, dict[str, Standing]] = {arm: {} for arm in ArmName}
        silent = []
        for pod, arm in arm_of.items():
            reading = readings.get(pod)
            if isinstance(reading, PodReading):
                arms[ArmName(arm)][pod] = Standing(at=reading.at, tallies=tallies(reading), started=reading.started)
            elif isinstance(reading, Unreadable):
                silent.append(f"{pod}: {reading.why}")
        self._round = arms
        self._there = frozenset(ArmName(arm) for arm in arm_of.values())
        self._problem = silent[0] if silent else ""
        if self._there and all(arms[arm] for arm in self._there):
            self._newest = min(max(standing.at for standing in arms[arm].values()) for arm in self._there)

    async def read(self, at: float) -> Reading:
        if self._first is None:
            self._first = at
        found, self._round = self._round, None
        counted = (
            self._ledger.missed(at, "the pods were not read") if found is None else self._ledger.take(at, at, found, self._there)
        )
        age = at - (self._newest if self._newest is not None else self._first)
        problem = "; ".join(dict.fromkeys(filter(None, (counted.problem, self._problem))))
        return Reading(at=at, since=counted.since, arms=counted.arms, age=max(0.0, age), problem=problem)

    async def close(self) -> None:
        """Nothing is held."""


def asked_of_pages(metrics: Metrics) -> tuple[Asked, ...]:
    """Where and by which series each tally is read: a page has no query."""
    page = f"GET {metrics.scrape_url or f':{metrics.port}{metrics.path}'} of each pod"
    requests = metrics.names.requests
    found: dict[str, tuple[str, ...]] = {
        ERRORS_NAME: (f"{page}: {requests}, by status",),
        LATENCY_NAME: (f"{page}: {metrics.names.latency}_bucket",),
    }
    for endpoint in metrics.endpoints:
        found[endpoint.name] = (f'{page}: {requests}{{{endpoint.label}="{endpoint.value}"}}, by status',)
    for ratio in metrics.ratios:
        found[ratio.name] = (f"{page}: {ratio.total}", f"{page}: {ratio.bad}")
    return tuple(Asked(of=(name,), queries=texts) for name, texts in found.items())


def tallies(reading: PodReading) -> dict[str, Tally]:
    """What a page says, by metric: counters as they stand."""
    found = dict(reading.tallies)
    if reading.requests is not None:
        # A series for each status: a restart shows in any, and so it does where only the sum is known.
        bad = min(reading.errors, reading.requests) if reading.errors is not None else None
        found[ERRORS_NAME] = Tally(total=reading.requests, bad=bad)
    if reading.durations is not None:
        found[LATENCY_NAME] = Tally.of(reading.durations)
    return found
