"""A whole canary: the metrics' evidence combined, and the verdict after every scrape."""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from services.analysis.judge.evidence import log_sum
from services.analysis.judge.metric import Evidence, observed
from services.analysis.judge.parameters import Interval, Metric, Parameters, Proof


class Verdict(StrEnum):
    HEALTHY = "healthy"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"
    NO_DATA = "no_data"


class State(msgspec.Struct, frozen=True):
    """Everything that the intervals so far have left behind; its size does not grow with them."""

    metrics: tuple[Evidence, ...]
    """In the order of ``Parameters.metrics``."""
    intervals: int = 0
    elapsed_s: float = 0.0
    log_e: float = 0.0
    """ln E_total, evidence of a regression in any metric."""
    highest: float = 0.0
    """The largest ln E_total so far."""
    without_traffic_s: float = 0.0
    """For how long, up to now, an arm has had no requests."""
    verdict: Verdict = Verdict.NO_DATA
    since: int = 0
    """The interval since whose end this verdict has stood."""
    since_s: float = 0.0

    @property
    def p_value(self) -> float:
        """Always valid: it may be read at any time, and only ever falls."""
        return min(1.0, math.exp(-self.highest))


def begin(parameters: Parameters) -> State:
    """Nothing seen yet."""
    return State(tuple(Evidence() for _ in parameters.metrics))


def observe(parameters: Parameters, past: State, counts: Mapping[str, Interval], *, seconds: float | None = None) -> State:
    """The state after one more interval. O(number of metrics).

    ``counts`` has an interval for each metric by name; one that is not there had no data, which is no evidence either way.
    ``seconds``: how long the interval was, where that is not the scrape interval (a bridged gap). Raises ``ValueError`` for
    counts that can't be, and for a metric that the parameters don't have.
    """
    length = parameters.interval_s if seconds is None else seconds
    if strange := counts.keys() - {metric.name for metric in parameters.metrics}:
        raise ValueError(f"no such metric: {', '.join(sorted(strange))}")
    number = past.intervals + 1
    metrics = []
    for metric, evidence in zip(parameters.metrics, past.metrics, strict=True):
        interval = counts.get(metric.name)
        if interval is not None:
            _check(metric.name, interval)
            # Half a millisecond: sums of intervals such as 0.1 s do not add up to the last bit.
            if past.elapsed_s >= metric.skip - 0.0005:
                evidence = observed(evidence, metric, parameters, interval, number=number)
        metrics.append(evidence)
    log_e = combine((metric.weight, one.log_e) for metric, one in zip(parameters.metrics, metrics, strict=True))
    served = any(interval.compared for interval in counts.values())
    state = State(
        metrics=tuple(metrics),
        intervals=number,
        elapsed_s=past.elapsed_s + length,
        log_e=log_e,
        highest=max(past.highest, log_e),
        without_traffic_s=0.0 if served else past.without_traffic_s + length,
        verdict=past.verdict,
        since=past.since,
        since_s=past.since_s,
    )
    verdict = _verdict(parameters, state)
    if verdict is past.verdict:
        return state
    return msgspec.structs.replace(state, verdict=verdict, since=number, since_s=state.elapsed_s)


def combine(parts: Iterable[tuple[float, float]]) -> float:
    """ln E_total of (weight, ln E) pairs: the weighted mean Σ weight E + (1 − Σ weight).

    Valid however the metrics hang together, and never worse than Bonferroni's correction with the same weights; weight that no
    metric has stays at e = 1.
    """
    told = list(parts)
    rest = 1.0 - sum(weight for weight, _ in told)
    logs = [math.log(weight) + log_e for weight, log_e in told]
    return log_sum([*logs, math.log(rest)] if rest > 1e-12 else logs)


def leading(parameters: Parameters, state: State) -> tuple[Metric, Evidence]:
    """The metric with the largest weight · E, of those that have data if any has: the one to name."""
    pairs = zip(parameters.metrics, state.metrics, strict=True)
    return max(pairs, key=lambda pair: (pair[1].has_data, math.log(pair[0].weight) + pair[1].log_e))


def to_prove(parameters: Parameters, state: State) -> tuple[Evidence, ...]:
    """The evidence of every metric that health has to be proven for; none before any metric has data."""
    pairs = [(metric.proof, one) for metric, one in zip(parameters.metrics, state.metrics, strict=True)]
    if not any(one.has_data for _, one in pairs):
        return ()
    return tuple(one for proof, one in pairs if proof is Proof.ALWAYS or (proof is Proof.WITH_DATA and one.has_data))


def proven(parameters: Parameters, state: State) -> bool:
    """Whether each of them has enough evidence of health. One that has to be proven and has no data has none."""
    told = to_prove(parameters, state)
    return bool(told) and all(one.log_ok >= parameters.healthy_at for one in told)


def regression_gauge(parameters: Parameters, state: State) -> float:
    """0 to 100: how much of the evidence for an abort there is. 100 stays, as the verdict does."""
    if state.verdict is Verdict.REGRESSED:
        return 100.0
    return min(100.0, max(0.0, 100.0 * state.log_e / parameters.abort_at))


def health_gauge(parameters: Parameters, state: State) -> float:
    """0 to 100: how much of the evidence for health the metric that has least of it has, of those that need it; 0: no data."""
    least = min((one.log_ok for one in to_prove(parameters, state)), default=0.0)
    return min(100.0, max(0.0, 100.0 * least / parameters.healthy_at))


def suspicion(gauge: float) -> str:
    """A word for :func:`regression_gauge`."""
    if gauge >= 100.0:
        return "abort"
    return "suspicious" if gauge >= 60.0 else "watch" if gauge >= 25.0 else "quiet"


def _verdict(parameters: Parameters, state: State) -> Verdict:
    """Regressed is for good. Without traffic nothing is known, whatever was seen before."""
    if state.highest >= parameters.abort_at:
        return Verdict.REGRESSED
    if not any(one.has_data for one in state.metrics):
        served_yet = state.intervals and state.without_traffic_s < state.elapsed_s
        return Verdict.UNDECIDED if served_yet else Verdict.NO_DATA
    if state.without_traffic_s >= parameters.no_traffic_s - 0.0005:
        return Verdict.NO_DATA
    if proven(parameters, state) and state.elapsed_s >= parameters.earliest_s - 0.0005:
        return Verdict.HEALTHY
    return Verdict.UNDECIDED


def _check(name: str, interval: Interval) -> None:
    n, m, s, f = interval.n, interval.m, interval.s, interval.f
    if not (0.0 <= s <= n < math.inf and 0.0 <= f <= m < math.inf):
        raise ValueError(f"{name}: these counts can't be: {s:g} of {n:g} and {f:g} of {m:g}")
