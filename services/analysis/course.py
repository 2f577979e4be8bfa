"""What a service's requests were like lately, from look to look: sums over its pods, or over those that were looked at."""

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from services.analysis.counters import increase
from services.analysis.histogram import Histogram
from services.analysis.parse import PodReading, Reading, Unreadable
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME
from services.analysis.sources.base import Reading as Told
from services.analysis.tally import Tally
from services.analysis.windows import TRAILING
from services.model.fleet import ServiceFigures

KEPT = 8
"""Looks that a trend shows."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Pods that are alike (one version of one workload): of ``pods`` there are, those named are ``read``."""

    pods: int
    read: tuple[str, ...]


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two looks. ``at``: pace second of the later one."""

    at: float
    requests: float
    errors: float | None
    durations: Histogram | None


class Course:
    """The looks at one service, newest last."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=KEPT)
        self._before: dict[str, PodReading] = {}
        self._told_at: float | None = None
        self._problem = ""

    @property
    def known(self) -> bool:
        """Whether there are figures. Counts begin with the first look, which has none itself."""
        return bool(self._looks)

    def pods(self, groups: Sequence[Group], readings: Mapping[str, Reading], *, pace: float, monotonic: float) -> None:
        """Take in one round of pages. What few pods of a group did stands for all of it: a group counts by its pods, whatever
        part of them was read."""
        steps: list[Tally] = []
        timed: list[Histogram] = []
        silent: list[str] = []
        requests = 0.0
        told = False
        for group in groups:
            found = []
            for name in group.read:
                reading = readings.get(name)
                if isinstance(reading, Unreadable):
                    silent.append(f"{name}: {reading.why}")
                elif isinstance(reading, PodReading) and name in self._before:
                    found.append(increase(self._before[name], reading))
            told = told or bool(found)
            for step in found:
                share = group.pods / len(found)
                requests += (step.requests or 0.0) * share
                if step.requests is not None and step.errors is not None:
                    steps.append(Tally(total=step.requests * share, bad=min(step.errors, step.requests) * share))
                if step.durations is not None:
                    timed.append(step.durations.scaled(share))
        read = {name for group in groups for name in group.read}
        newest = {name: reading for name, reading in readings.items() if isinstance(reading, PodReading)}
        self._before = {name: reading for name, reading in {**self._before, **newest}.items() if name in read}
        self._problem = silent[0] if silent else "" if read else "no pods"
        if told:
            self._add(pace, monotonic, requests, Tally.summed(steps), Histogram.merged(timed) if timed else None)

    def told(self, reading: Told, *, monotonic: float) -> None:
        """Take in what a metrics server told of both versions."""
        self._problem = reading.problem
        errors = Tally.summed([arm[ERRORS_NAME] for arm in reading.arms.values() if ERRORS_NAME in arm])
        timed = [arm[LATENCY_NAME].durations for arm in reading.arms.values() if LATENCY_NAME in arm]
        durations = [each for each in timed if each is not None]
        if errors is not None or durations:
            total = errors.total if errors is not None else 0.0
            self._add(reading.at, monotonic, total, errors, Histogram.merged(durations) if durations else None)

    def missed(self, why: str) -> None:
        """A look that came to nothing."""
        self._problem = why

    def figures(self, pace: float, monotonic: float) -> ServiceFigures:
        """Of the last minute up to pace second ``pace``, or of the newest look where that reaches further back."""
        lately = [look for look in self._looks if look.at > pace - TRAILING] or list(self._looks)[-1:]
        errors = Tally.summed([Tally(total=look.requests, bad=look.errors) for look in lately if look.errors is not None])
        timed = [look.durations for look in lately if look.durations is not None]
        share = errors.bad / errors.total if errors is not None and errors.total and errors.bad is not None else None
        durations = Histogram.merged(timed) if timed else None
        problem = self._problem
        if not problem and lately and share is None:
            problem = "no requests" if not any(look.requests for look in lately) else "the failed ones can't be told"
        return ServiceFigures(
            age=monotonic - self._told_at if self._told_at is not None else 0.0,
            errors=share,
            p99=durations.quantile(0.99) if durations is not None else None,
            trend=tuple(look.durations.quantile(0.99) if look.durations is not None else None for look in self._looks),
            problem=problem or ("" if self._looks else "asking"),
        )

    def _add(self, pace: float, monotonic: float, requests: float, errors: Tally | None, durations: Histogram | None) -> None:
        self._told_at = monotonic
        bad = errors.bad if errors is not None else None
        total = errors.total if errors is not None else requests
        self._looks.append(_Look(at=pace, requests=total, errors=bad, durations=durations))
