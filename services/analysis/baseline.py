"""The running version before anything changed: what the new one is measured against, and how much its pods differ by chance."""

import math
from collections.abc import Mapping, Sequence

from services.analysis.counters import Increase
from services.analysis.histogram import Histogram
from services.analysis.judge import ERRORS, LATENCY_P90, LATENCY_P99, Interval
from services.analysis.tally import bounded
from services.analysis.windows import ArmName, Windows
from services.model.rollout import Baseline, Events, SlowEdge

MIN_REQUESTS = 100
"""Fewer requests than this have no 99th percentile to speak of: it would be their slowest."""
MOST_SPLITS = 10

Row = Mapping[str, Interval]


def measure(windows: Windows, seconds: float, arm: str = ArmName.STABLE) -> Baseline:
    """What ``arm`` served in the last ``seconds`` (pace). Unknown stays unknown: ``None`` without requests, without status
    codes, without durations, or with too few requests for a P99."""
    counted = windows.count(arm, windows.now - seconds, windows.now)
    durations = counted.durations
    enough = durations is not None and durations.total >= MIN_REQUESTS
    return Baseline(
        seconds=seconds,
        requests=counted.requests,
        error_rate=counted.errors / counted.requests if counted.requests and counted.errors is not None else None,
        p99=durations.quantile(0.99) if durations is not None and enough else None,
        edges=slow_edges(durations) if durations is not None and enough else {},
        ratios={
            name: Events(tally.total, bad)
            for name, tally in windows.told(arm, windows.now - seconds).tallies.items()
            if tally.bad is not None and tally.total > 0 and (bad := bounded(tally.bad, tally.total)) is not None
        },
    )


def slow_edges(durations: Histogram) -> dict[str, SlowEdge]:
    """The bounds nearest the 99th and the 90th percentile: counts beyond a bound are exact, between bounds they would be a guess.
    Where one bound is nearest to both, it stands for the 99th alone; none where all durations lie beyond the last bound."""
    edges: dict[str, SlowEdge] = {}
    for metric, quantile in ((LATENCY_P99.name, 0.99), (LATENCY_P90.name, 0.9)):
        value = durations.quantile(quantile)
        finite = [bound for bound in durations.bounds if math.isfinite(bound)]
        if value is None or not finite:
            continue
        bound = min(finite, key=lambda bound: abs(bound - value))
        slow = durations.above(bound)
        if slow is None or slow >= durations.total or any(edge.seconds == bound for edge in edges.values()):
            continue
        edges[metric] = SlowEdge(bound, slow, durations.total)
    return edges


def splits(windows: Windows, seconds: float, share: float, edges: Mapping[str, SlowEdge]) -> tuple[tuple[Row, ...], ...]:
    """The last ``seconds`` (pace) as rows of the running version's pods against each other: about ``share`` of them a
    pseudo-canary, the rest the control, in up to ten ways. None with fewer than two pods."""
    rounds = windows.singles(windows.now - seconds)
    pods = sorted({pod for steps in rounds for pod in steps})
    if len(pods) < 2:
        return ()
    size = min(len(pods) // 2, max(1, round(share * len(pods))))
    starts = range(0, len(pods), max(1, math.ceil(len(pods) / MOST_SPLITS)))
    chosen = [frozenset(pods[(start + place) % len(pods)] for place in range(size)) for start in starts]
    return tuple(tuple(_row(steps, canary, edges) for steps in rounds) for canary in chosen)


def _row(steps: Mapping[str, Increase], canary: frozenset[str], edges: Mapping[str, SlowEdge]) -> Row:
    one = [step for pod, step in steps.items() if pod in canary]
    rest = [step for pod, step in steps.items() if pod not in canary]
    (n, s), (m, f) = _errors(one), _errors(rest)
    row = {ERRORS.name: Interval(n, m, s, f)}
    for metric, edge in edges.items():
        (n, s), (m, f) = _slow(one, edge.seconds), _slow(rest, edge.seconds)
        row[metric] = Interval(n, m, s, f)
    for name in sorted({name for step in steps.values() for name in step.tallies}):
        (n, s), (m, f) = _bad(one, name), _bad(rest, name)
        row[name] = Interval(n, m, s, f)
    return row


def _errors(steps: Sequence[Increase]) -> tuple[float, float]:
    known = [(step.requests, step.errors) for step in steps if step.requests is not None and step.errors is not None]
    requests = sum(requests for requests, _ in known)
    return requests, min(requests, sum(errors for _, errors in known))


def _bad(steps: Sequence[Increase], name: str) -> tuple[float, float]:
    known = [(tally.total, tally.bad) for step in steps if (tally := step.tallies.get(name)) and tally.bad is not None]
    total = sum(total for total, _ in known)
    bad = bounded(sum(bad for _, bad in known), total)
    return (total, bad) if bad is not None else (0.0, 0.0)


def _slow(steps: Sequence[Increase], edge: float) -> tuple[float, float]:
    known = [step.durations for step in steps if step.durations is not None and edge in step.durations.bounds]
    return sum(each.total for each in known), sum(each.above(edge) or 0.0 for each in known)
