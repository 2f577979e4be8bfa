"""Before the deploy: dispersion from an A/A split of the running version, proven by replaying the judge on it."""

from collections.abc import Mapping, Sequence

import msgspec

from services.analysis.judge.canary import State, Verdict, begin, leading, observe
from services.analysis.judge.dispersion import history_dispersion, usable
from services.analysis.judge.parameters import Interval, Parameters

Split = Sequence[Mapping[str, Interval]]
"""One division of the stable pods into a pseudo-canary and the rest: counts of each interval, by metric."""
_STEP = 1.5
_ROUNDS = 60
"""1.5 to this power is more noise than any counts have: evidence is gone long before."""


class Calibration(msgspec.Struct, frozen=True):
    """``parameters`` have each metric's dispersion as its ``history``; a metric with fewer than three usable rows keeps none.
    Of ``splits`` replayed with the dispersion as measured, ``aborted`` would have been: 0 is what a trustworthy judge says of a
    version that runs well. ``widened`` counts how often a dispersion was then raised by half until none was aborted."""

    parameters: Parameters
    splits: int
    aborted: int
    widened: int


def calibrate(parameters: Parameters, splits: Sequence[Split]) -> Calibration:
    """Measure the dispersion of every metric (the mean over several splits) and replay the whole judge on the same rows."""
    names = [metric.name for metric in parameters.metrics]
    histories = {name: _history(splits, name) for name in names}
    told = _with(parameters, histories)
    ends = [_replayed(told, split) for split in splits]
    aborted = sum(state.verdict is Verdict.REGRESSED for state in ends)
    widened = 0
    while (failing := [state for state in ends if state.verdict is Verdict.REGRESSED]) and widened < _ROUNDS:
        name = leading(parameters, failing[0])[0].name
        histories[name] = (histories[name] or 1.0) * _STEP
        widened += 1
        told = _with(parameters, histories)
        ends = [_replayed(told, split) for split in splits]
    return Calibration(told, len(splits), aborted, widened)


def _history(splits: Sequence[Split], name: str) -> float | None:
    rows = [[row[name] for row in split if name in row] for split in splits]
    found = [history_dispersion(one) for one in rows if len(usable(one)) >= 3]
    return sum(found) / len(found) if found else None


def _with(parameters: Parameters, histories: Mapping[str, float | None]) -> Parameters:
    metrics = tuple(msgspec.structs.replace(metric, history=histories[metric.name]) for metric in parameters.metrics)
    return msgspec.structs.replace(parameters, metrics=metrics)


def _replayed(parameters: Parameters, split: Split) -> State:
    """Running pods are warm: nothing is skipped."""
    warm = tuple(msgspec.structs.replace(metric, skip=0.0) for metric in parameters.metrics)
    parameters = msgspec.structs.replace(parameters, metrics=warm)
    state = begin(parameters)
    for row in split:
        state = observe(parameters, state, row)
        if state.verdict is Verdict.REGRESSED:
            break
    return state
