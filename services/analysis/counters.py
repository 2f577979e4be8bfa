"""From counters that stand somewhere to what happened between two looks."""

from collections.abc import Mapping

import msgspec

from services.analysis.histogram import Histogram
from services.analysis.parse import PodReading
from services.analysis.tally import Tally


class Increase(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod did between two readings. ``cpu`` is the share of its limit (0–1). ``None``: not known."""

    requests: float | None
    errors: float | None
    durations: Histogram | None
    cpu: float | None
    reset: bool
    """The process started anew in between: counters began at zero, what it did before it died is lost."""
    tallies: Mapping[str, Tally] = {}
    """Ratios and endpoints, by name; what is not known is missing."""


def increase(before: PodReading, after: PodReading) -> Increase:
    """The difference of two readings of one pod; however far apart they are, what lies between belongs to ``after``.

    A restart shows as a new start time or, where that is not told, as a counter that fell; then every counter counts from zero
    (as Prometheus does), also one that has overtaken its old value by now. A counter that fell in a process that did not start
    anew (a label was forgotten, a worker ended) is not known: counting all it stands at would make a flood of it.
    """
    reset = _restarted(before, after)
    seconds = after.at - before.at
    cpu = None
    if not reset and seconds > 0 and after.cpu_limit and after.cpu_seconds is not None and before.cpu_seconds is not None:
        used = after.cpu_seconds - before.cpu_seconds
        cpu = used / seconds / after.cpu_limit if used >= 0 else None
    durations = after.durations
    if durations is not None and not reset:
        durations = durations.since(before.durations) if before.durations is not None else None
    # A counter with labels is not on the page before its first event: in the same process it began at zero since.
    born = before.requests is None and before.started is not None and before.started == after.started
    return Increase(
        requests=_between(before.requests, after.requests, reset or born),
        errors=_between(before.errors, after.errors, reset or born),
        durations=durations,
        cpu=cpu,
        reset=reset,
        tallies=_tallies(before, after, reset) if after.tallies else {},
    )


def _tallies(before: PodReading, after: PodReading, reset: bool) -> dict[str, Tally]:
    same = before.started is not None and before.started == after.started
    steps: dict[str, Tally | None] = {}
    for name, tally in after.tallies.items():
        then = before.tallies.get(name)
        # As with requests: what the same process did not show before its first event began at zero.
        steps[name] = tally if reset or (then is None and same) else tally.since(then) if then is not None else None
    return {name: step for name, step in steps.items() if step is not None}


def _restarted(before: PodReading, after: PodReading) -> bool:
    if before.started is not None and after.started is not None:
        return abs(after.started - before.started) > 1.0
    pairs = (
        (before.requests, after.requests),
        (before.errors, after.errors),
        (before.cpu_seconds, after.cpu_seconds),
        (before.durations.total if before.durations else None, after.durations.total if after.durations else None),
    )
    return any(then is not None and now is not None and now < then for then, now in pairs)


def _between(then: float | None, now: float | None, from_zero: bool) -> float | None:
    if now is None or from_zero:
        return now
    return now - then if then is not None and now >= then else None
