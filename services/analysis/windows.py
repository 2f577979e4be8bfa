"""What each version served lately, from readings of single pods.

Readings arrive in rounds. Between two readings of a pod lies its increase, kept per version as an interval of pace time; windows
take the share of each interval that lies inside them, so a round that came late or a pod that could not be read for a while
loses nothing and adds nothing twice. Pods may come and go: what they served stays counted where it was served.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

from services.analysis.counters import Increase, increase
from services.analysis.histogram import Histogram
from services.analysis.parse import PodReading, Reading
from services.analysis.tally import Tally, bounded
from services.model.rollout import Arm, Sample

TRAILING = 60.0
"""Pace seconds of the window that limits are checked on and charts show."""

KEPT_SHARES = 6
KEPT_SECONDS = 75.0
"""A pod's shares of its limits are kept for so long, and at least so many of them: as much as a trigger may ask for."""
KEPT_PODS = 20
"""Of so many pods of the old version the single increases are kept: what one pod does beside the others shows the noise."""


class ArmName(StrEnum):
    """``canary`` is the new version, ``stable`` the old one, whatever workload their pods belong to."""

    CANARY = "canary"
    STABLE = "stable"


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one version over one window; ``durations`` is ``None`` without any, ``errors`` where none could be told."""

    requests: float
    errors: float | None
    durations: Histogram | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did between two moments, as the judge counts it: only requests of which it is known how they ended, and
    only durations of pods that were warm. ``None``: nothing of the kind is known."""

    requests: float
    failed: float | None
    durations: Histogram | None
    tallies: Mapping[str, Tally] = {}
    """Ratios and endpoints, by name."""


class PodHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The latest shares of limits of one pod, oldest first, as (pace second, share 0–1). ``first_seen`` and ``read_at`` are the
    rounds in which it was read first and last."""

    pod: str
    arm: ArmName
    first_seen: float
    read_at: float
    cpu: tuple[tuple[float, float], ...] = ()
    memory: tuple[tuple[float, float], ...] = ()
    cpu_limited: bool = False
    memory_limited: bool = False


class _Interval(msgspec.Struct, frozen=True, kw_only=True):
    arm: ArmName
    since: float
    until: float
    born: float
    """When its pods were first seen: warm-up counts from there."""
    requests: float
    errors: float | None
    durations: Histogram | None
    told: float
    """Requests of pods whose failures are known too."""
    tallies: Mapping[str, Tally] = {}

    def inside(self, since: float, until: float) -> float:
        """The share of the interval that lies in the window."""
        length = self.until - self.since
        if length <= 0:
            return 1.0 if since < self.until <= until else 0.0
        return max(0.0, min(self.until, until) - max(self.since, since)) / length


class Windows:
    """Fed a round at a time; answers for any trailing window of the last ``keep`` pace seconds. Without ``counts_pages`` pages
    tell of CPU and memory alone, and what was served comes through :meth:`add`."""

    def __init__(self, *, keep: float = 900.0, counts_pages: bool = True) -> None:
        self._keep = keep
        self._counts_pages = counts_pages
        self._intervals: deque[_Interval] = deque()
        self._last: dict[str, tuple[float, PodReading]] = {}
        self._pods: dict[str, PodHistory] = {}
        self._arm_of: dict[str, ArmName] = {}
        self._ready: frozenset[str] = frozenset()
        self._restarts: dict[str, int] = {}
        self._served = dict.fromkeys(ArmName, 0.0)
        self._read_at: dict[ArmName, float | None] = dict.fromkeys(ArmName)
        self._singles: deque[tuple[float, dict[str, Increase]]] = deque()
        self.now = 0.0
        """Pace second of the latest round."""

    def feed(
        self,
        at: float,
        arm_of: Mapping[str, str],
        readings: Mapping[str, Reading],
        *,
        ready: Collection[str] = (),
        restarts: Mapping[str, int] | None = None,
    ) -> None:
        """Take one round in, made at pace second ``at``. ``arm_of`` lists every pod there is now with its version (``canary`` or
        ``stable``); pods that could not be read keep their last counters until they can."""
        self.now = at
        self._arm_of = {pod: ArmName(arm) for pod, arm in arm_of.items()}
        self._ready = frozenset(ready)
        self._restarts = dict(restarts or {})
        self._pods = {pod: history for pod, history in self._pods.items() if pod in self._arm_of}
        self._last = {pod: last for pod, last in self._last.items() if pod in self._arm_of}
        round_: dict[tuple[ArmName, float, float], list[Increase]] = {}
        singles: dict[str, Increase] = {}
        single = set(sorted(pod for pod, arm in self._arm_of.items() if arm is ArmName.STABLE)[:KEPT_PODS])
        for pod, arm in self._arm_of.items():
            reading = readings.get(pod)
            if not isinstance(reading, PodReading):
                continue
            if self._counts_pages:
                self._read_at[arm] = at
            history = self._pods.get(pod)
            if history is None or history.arm is not arm:
                history = PodHistory(pod=pod, arm=arm, first_seen=at, read_at=at)
            step = None
            if pod in self._last:
                since, before = self._last[pod]
                step = increase(before, reading)
            if step is not None and self._counts_pages:
                round_.setdefault((arm, since, history.first_seen), []).append(step)
                if pod in single:
                    singles[pod] = step
            self._pods[pod] = _with_shares(history, reading, step, at)
            self._last[pod] = (at, reading)
        for (arm, since, born), steps in round_.items():
            self._add(arm, since, at, born, steps)
        if singles:
            self._singles.append((at, singles))
        while self._singles and self._singles[0][0] < at - self._keep:
            self._singles.popleft()
        while self._intervals and self._intervals[0].until < at - self._keep:
            self._intervals.popleft()

    def add(self, since: float, until: float, arms: Mapping[ArmName, Mapping[str, Tally]], *, errors: str, latency: str) -> None:
        """What another source counted between two pace seconds, and which of its tallies are requests and which are durations.
        Follows the round's :meth:`feed`, made at ``until``."""
        for arm, tallies in arms.items():
            served = tallies.get(errors)
            timed = tallies.get(latency)
            if served is None and timed is None:
                continue
            self._read_at[arm] = until
            requests = served.total if served is not None else 0.0
            failed = bounded(served.bad, served.total) if served is not None and served.bad is not None else None
            self._served[arm] += requests
            self._intervals.append(
                _Interval(
                    arm=arm,
                    since=since,
                    until=until,
                    # A server does not tell when each pod began; warm-up counts from the first requests.
                    born=-math.inf,
                    requests=requests,
                    errors=failed,
                    durations=timed.durations if timed is not None else None,
                    told=requests if failed is not None else 0.0,
                    tallies={name: tally for name, tally in tallies.items() if name not in (errors, latency)},
                )
            )

    def covered(self, arm: str, since: float, until: float) -> float:
        """Of pace seconds ``since`` to ``until``, how many lie between two readings of any pod of the version."""
        total, reached = 0.0, since
        for start, end in sorted((each.since, each.until) for each in self._intervals if each.arm == arm):
            start, end = max(start, reached), min(end, until)
            if end > start:
                total += end - start
                reached = end
        return total

    def served(self, arm: str) -> float:
        """Requests of a version since the first round, all in all; the difference of two calls is what a step saw."""
        return self._served[ArmName(arm)]

    def read_at(self, arm: str) -> float | None:
        """Pace second of the last round in which any pod of the version could be read."""
        return self._read_at[ArmName(arm)]

    @property
    def unread(self) -> tuple[ArmName, ...]:
        """Versions that have pods, of which the latest round read none."""
        return tuple(arm for arm in ArmName if arm in self.there and self._read_at[arm] != self.now)

    @property
    def there(self) -> frozenset[ArmName]:
        """Versions that have pods."""
        return frozenset(self._arm_of.values())

    def pods(self, arm: str) -> tuple[PodHistory, ...]:
        """Pods of a version that are there now and have been read at least once."""
        return tuple(history for history in self._pods.values() if history.arm == arm)

    def count(self, arm: str, since: float, until: float, *, warm_up: float = 0.0, exposed_at: float | None = None) -> Served:
        """What a version served in pace seconds ``since`` to ``until``. With ``warm_up``, durations are counted only from then
        on after a pod was first seen or, where later, the version was exposed."""
        requests = 0.0
        errors: float | None = None
        durations: list[Histogram] = []
        for interval in self._intervals:
            if interval.arm != arm or not (share := interval.inside(since, until)):
                continue
            requests += interval.requests * share
            if interval.errors is not None:
                errors = (errors or 0.0) + interval.errors * share
            if interval.durations is not None:
                warm = max(interval.born, exposed_at if exposed_at is not None else interval.born) + warm_up
                warm_share = interval.inside(max(since, warm), until) if warm_up else share
                if warm_share:
                    durations.append(interval.durations.scaled(warm_share))
        return Served(requests=requests, errors=errors, durations=Histogram.merged(durations) if durations else None)

    def told(self, arm: str, after: float, *, warm_up: float = 0.0, exposed_at: float | None = None) -> Told:
        """Everything of a version that became known in the rounds after pace second ``after``, a bridged gap whole. Durations are
        those of pods that were first seen, and got their first requests, ``warm_up`` seconds before they were counted."""
        requests = 0.0
        failed: float | None = None
        durations: list[Histogram] = []
        tallies: dict[str, list[Tally]] = {}
        for interval in self._intervals:
            if interval.arm != arm or interval.until <= after:
                continue
            if interval.errors is not None:
                requests += interval.told
                failed = (failed or 0.0) + interval.errors
            cold = max(interval.born, exposed_at if exposed_at is not None else interval.born) + warm_up
            if interval.durations is not None and interval.since >= cold - 0.5:
                durations.append(interval.durations)
            for name, tally in interval.tallies.items():
                tallies.setdefault(name, []).append(tally)
        merged = Histogram.merged(durations) if durations else None
        return Told(
            requests=requests,
            failed=min(failed, requests) if failed is not None else None,
            durations=merged,
            tallies=_summed(tallies),
        )

    def singles(self, since: float) -> tuple[Mapping[str, Increase], ...]:
        """What single pods of the old version did in each round after pace second ``since``, oldest first."""
        return tuple(steps for at, steps in self._singles if at > since)

    def arm(self, which: str, trailing_seconds: float = TRAILING, *, hold: float = 0.0) -> Arm:
        """A version over the trailing window, for screens and checkpoints. The window ends with the newest data as long as that
        would lie in one that ended now, and for ``hold`` seconds at least: what is not known yet is no minute with fewer
        requests."""
        until = self._read_at[ArmName(which)]
        if until is None or self.now - until >= max(trailing_seconds, hold):
            until = self.now
        counted = self.count(which, until - trailing_seconds, until)
        names = [pod for pod, arm in self._arm_of.items() if arm == which]
        lately = [history for history in self.pods(which) if history.read_at >= self.now - trailing_seconds]
        return Arm(
            pods=len(names),
            ready=sum(pod in self._ready for pod in names),
            requests=round(counted.requests, 3),
            errors=round(counted.errors, 3) if counted.errors is not None else None if counted.requests else 0.0,
            p50=counted.durations.quantile(0.5) if counted.durations else None,
            p99=counted.durations.quantile(0.99) if counted.durations else None,
            cpu=_latest_most(history.cpu for history in lately),
            memory=_latest_most(history.memory for history in lately),
            restarts=sum(self._restarts.get(pod, 0) for pod in names),
        )

    def sample(self, trailing_seconds: float = TRAILING, *, hold: float = 0.0) -> Sample:
        """Both versions side by side, as of the latest round."""
        canary, stable = (self.arm(arm, trailing_seconds, hold=hold) for arm in (ArmName.CANARY, ArmName.STABLE))
        return Sample(at=self.now, canary=canary, stable=stable)

    def _add(self, arm: ArmName, since: float, until: float, born: float, steps: list[Increase]) -> None:
        requests = sum(step.requests or 0.0 for step in steps)
        known = [step.errors for step in steps if step.errors is not None]
        durations = [step.durations for step in steps if step.durations is not None]
        tallies: dict[str, list[Tally]] = {}
        for step in steps:
            for name, tally in step.tallies.items():
                tallies.setdefault(name, []).append(tally)
        self._served[arm] += requests
        self._intervals.append(
            _Interval(
                arm=arm,
                since=since,
                until=until,
                born=born,
                requests=requests,
                errors=sum(known) if known else None,
                durations=Histogram.merged(durations) if durations else None,
                told=sum(step.requests or 0.0 for step in steps if step.errors is not None),
                tallies=_summed(tallies),
            )
        )


def _summed(parts: Mapping[str, list[Tally]]) -> dict[str, Tally]:
    sums = {name: Tally.summed(found) for name, found in parts.items()}
    return {name: tally for name, tally in sums.items() if tally is not None}


def _latest(shares: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Those of the last :data:`KEPT_SECONDS`, and at least the last :data:`KEPT_SHARES`, at (pace second, share)."""
    since = shares[-1][0] - KEPT_SECONDS
    old = sum(at < since for at, _ in shares[:-KEPT_SHARES])
    return shares[old:]


def _with_shares(history: PodHistory, reading: PodReading, step: Increase | None, at: float) -> PodHistory:
    cpu, memory = history.cpu, history.memory
    if step is not None and step.cpu is not None:
        cpu = _latest((*cpu, (reading.at, step.cpu)))
    if reading.memory is not None and reading.memory_limit:
        memory = _latest((*memory, (reading.at, reading.memory / reading.memory_limit)))
    return PodHistory(
        pod=history.pod,
        arm=history.arm,
        first_seen=history.first_seen,
        read_at=at,
        cpu=cpu,
        memory=memory,
        cpu_limited=bool(reading.cpu_limit),
        memory_limited=bool(reading.memory_limit),
    )


def _latest_most(histories: Iterable[tuple[tuple[float, float], ...]]) -> float | None:
    return max((history[-1][1] for history in histories if history), default=None)
