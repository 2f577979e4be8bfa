"""A replayed canary in words, at 80 columns."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.analysis.judge import (
    LATENCY,
    Evidence,
    Metric,
    Verdict,
    difference_limits,
    health_gauge,
    regression_gauge,
    suspicion,
    visible,
)
from services.model.rollout import of_hundred

if TYPE_CHECKING:
    from services.analysis.recording import Recording
    from services.analysis.replay import Replay

_WIDTH = 80
_LEVELS = "▁▂▃▄▅▆▇█"


def lines(found: "Replay", recording: "Recording", name: str) -> Iterator[str]:
    """Verdict first, then why, then what each metric shows, then what else would have been said of the same counts."""
    for paragraph in _paragraphs(found, recording, name):
        yield from textwrap.wrap(paragraph, _WIDTH, subsequent_indent="  ", drop_whitespace=True) or [""]


def _paragraphs(found: "Replay", recording: "Recording", name: str) -> Iterator[str]:
    seconds = found.intervals * recording.interval_s
    yield f"{name}: {found.intervals} intervals of {recording.interval_s:g} s, {seconds:g} s in all"
    yield f"{_verdict(found)}"
    yield ""
    for metric, evidence in zip(found.parameters.metrics, found.state.metrics, strict=True):
        yield from _metric(found, recording, metric, evidence)
        yield ""
    yield from _evidence(found)
    yield from _beside(found, recording)


def _verdict(found: "Replay") -> str:
    at = f"{found.at_s:g} s" if found.at_s is not None else ""
    if found.trigger is not None:
        told = f"{found.trigger.errors:,.15g} of {found.trigger.requests:,.15g} requests failed in the last 60 s"
        shared = "; both versions are failing: this looks like an incident, not the new version" if found.trigger.shared else ""
        return f"REGRESSED at {at}: hard trigger {found.metric}: {told}{shared}"
    match found.verdict:
        case Verdict.REGRESSED:
            return f"REGRESSED at {at}: {found.metric}, with {found.state.p_value:.2g} as the always-valid p-value"
        case Verdict.HEALTHY:
            return f"HEALTHY since {at}, to the end of the recording"
        case Verdict.NO_DATA:
            return "NO DATA: no requests reach the canary, or none the control; nothing can be compared"
    return "UNDECIDED: neither a regression nor health is proven"


def _metric(found: "Replay", recording: "Recording", metric: Metric, evidence: Evidence) -> Iterator[str]:
    canary, control = evidence.canary_rate, evidence.control_rate
    slow = f" (slower than {recording.slow_threshold})" if metric.name == LATENCY.name and recording.slow_threshold else ""
    yield f"{metric.name}{slow}"
    if canary is None or control is None:
        yield "  no data"
        return
    yield f"  canary   {_share(canary):>9}   {evidence.s:,.15g} of {evidence.n:,.15g}"
    yield f"  control  {_share(control):>9}   {evidence.f:,.15g} of {evidence.m:,.15g}"
    low, high = evidence.ratio_limits
    ratio = f"{canary / control:.3g} × the control" if control > 0 else "the control has none"
    yield f"  {ratio}; {_span(low, high)} × at 95 %, at any time; tolerated {metric.r:g} ×"
    tolerated = f"{metric.d * 100:g} points"
    if (limits := difference_limits((low, high), evidence.f, evidence.m)) is not None:
        yield f"  {(canary - control) * 100:+.3g} points; {_points(*limits)}; tolerated {tolerated}"
    else:
        expected = evidence.n * max(metric.r * control, control + metric.d)
        yield f"  at most {expected:.3g} on the canary expected within the tolerance ({tolerated})"
    measured = f", {metric.history:.2f} × before the deploy" if metric.history is not None else ""
    yield f"  noise {evidence.D:.2f} × Poisson{measured}"
    began = f"; began after {evidence.onset * recording.interval_s:g} s, if it did" if evidence.log_e > 0 else ""
    yield f"  ln E {evidence.log_e:.2f} of a regression, {evidence.log_ok:.2f} of health{began}"


def _evidence(found: "Replay") -> Iterator[str]:
    parameters, state = found.parameters, found.state
    gauge = regression_gauge(parameters, state)
    yield f"evidence of a regression  {of_hundred(gauge):>3} / 100  {suspicion(gauge)}"
    yield f"evidence of health        {of_hundred(health_gauge(parameters, state)):>3} / 100"
    yield f"ln E {state.log_e:.2f}, abort at {parameters.abort_at:.2f}"
    yield _spark(found.path, parameters.abort_at, _WIDTH)
    if state.highest > 0:
        strength = f"{math.exp(state.highest):,.0f}" if state.highest < 14 else f"{math.exp(min(state.highest, 700.0)):.1e}"
        yield (
            "If the canary were no worse than the control, evidence this strong would appear in at most "
            f"1 of {strength} deploys."
        )  # fmt: skip
    if found.verdict is Verdict.UNDECIDED:
        yield from _blind(found)


def _blind(found: "Replay") -> Iterator[str]:
    """What so much traffic can't show in so much time."""
    evidence = found.state.metrics[0]
    seconds, control = found.state.elapsed_s, evidence.control_rate
    if control is None:
        return
    metric = found.parameters.metrics[0]
    seen = visible(
        evidence.n / seconds, evidence.n / (evidence.n + evidence.m), control, seconds, evidence.D,
        metric=metric, parameters=found.parameters,
    )  # fmt: skip
    told = f"only from {_share(seen)} on" if seen is not None else "not even if every request fails"
    yield (
        f"{evidence.n / seconds:.3g} requests a second for {seconds:g} s show, nine times in ten, {metric.name} {told} "
        f"(control {_share(control)})."
    )


def _beside(found: "Replay", recording: "Recording") -> Iterator[str]:
    yield ""
    aborts = f"aborts at {found.argo.aborted_at:g} s" if found.argo.aborted_at is not None else "never aborts"
    why = ", after five minutes without data" if found.argo.unanswered else ""
    yield f"Argo's default rule (success below 95 % in any minute) {aborts}{why}."
    if found.calibration is not None and recording.pre_rows is not None:
        would = (
            "would have been aborted, so the noise was widened" if found.calibration.aborted else "would not have been aborted"
        )
        yield f"Before the deploy: replayed on {len(recording.pre_rows)} intervals of the control against itself, it {would}."
    elif any(metric.history is not None for metric in found.parameters.metrics):
        yield "The noise that was measured before the deploy is taken as it was then."
    else:
        yield "No history from before the deploy: the noise is assumed at first."


def _share(value: float) -> str:
    return f"{value * 100:.3g} %"


def _span(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"at least {low:.3g}"


def _points(low: float, high: float) -> str:
    return f"{low * 100:+.3g} to {high * 100:+.3g} points" if math.isfinite(high) else f"at least {low * 100:+.3g} points"


def _spark(path: Sequence[float], top: float, width: int) -> str:
    """ln E over time, from 0 to the threshold, the highest of each column."""
    columns = min(width, len(path))
    bins = [path[len(path) * at // columns : len(path) * (at + 1) // columns] for at in range(columns)]
    return "".join(_LEVELS[round(min(1.0, max(0.0, max(one) / top)) * (len(_LEVELS) - 1))] for one in bins)
