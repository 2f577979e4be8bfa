"""A recorded canary judged again, with the settings of today: what the judge would have said and when, and what a rival would."""

from collections.abc import Sequence

import msgspec

from services.analysis.judge import ERRORS, Calibration, Parameters, State, Verdict, begin, calibrate, leading, observe
from services.analysis.judge.argo import Argo, measured
from services.analysis.limits import Limits, exceeds
from services.analysis.recording import Counts, Recording
from services.model.rollout import Baseline, TriggerName

_TRAILING_S = 60.0


class Trigger(msgspec.Struct, frozen=True):
    """The hard error trigger, had it been on: after which interval it fired, on what, and whether the control was over the limit
    as well."""

    interval: int
    errors: float
    requests: float
    shared: bool


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``at_s`` is the end of the deciding interval, ``None`` where nothing was decided."""

    verdict: Verdict
    at_s: float | None
    metric: str | None
    """The one with the largest weighted evidence of a regression, or the trigger that decided; ``None`` without data."""
    intervals: int
    """How many the recording has."""
    parameters: Parameters
    """As used: with the dispersion of the time before the deploy."""
    state: State
    """The judge at the end: of the recording, or of the interval in which it would have aborted."""
    path: tuple[float, ...]
    """ln E after each interval up to there."""
    calibration: Calibration | None
    trigger: Trigger | None
    """The trigger, where it was what decided."""
    argo: Argo


def replay(recording: Recording, parameters: Parameters, *, hard_triggers: bool = False) -> Replay:
    """Judge every interval in order; ``pre_rows`` calibrate the dispersion first.

    A regression stands from the first crossing on. ``healthy`` is told where it holds at the end, from the interval since which
    it has held without a break: what was proven early does not excuse a fault that came late.
    """
    calibration = calibrate(parameters, (recording.pre_rows,)) if recording.pre_rows else None
    if calibration is not None:
        parameters = calibration.parameters
    trigger = first_trigger(recording) if hard_triggers else None
    state, path, fired = begin(parameters), [], False
    for counts in recording.rows:
        state = observe(parameters, state, counts)
        path.append(state.log_e)
        fired = trigger is not None and state.intervals == trigger.interval
        if fired or state.verdict is Verdict.REGRESSED:
            break
    verdict = Verdict.REGRESSED if fired else state.verdict
    decided = {Verdict.REGRESSED: state.intervals, Verdict.HEALTHY: state.since}.get(verdict)
    leader = None if verdict is Verdict.NO_DATA else leading(parameters, state)[0].name
    return Replay(
        verdict=verdict,
        at_s=None if decided is None else round(decided * recording.interval_s, 6),
        metric=TriggerName.ERROR_RATE.value if fired else leader,
        intervals=len(recording.rows),
        parameters=parameters,
        state=state,
        path=tuple(path),
        calibration=calibration,
        trigger=trigger if fired else None,
        argo=_argo(recording),
    )


def _argo(recording: Recording) -> Argo:
    run = Argo()
    for counts in recording.rows:
        run = measured(run, counts[ERRORS.name], recording.interval_s)
    return run


def first_trigger(recording: Recording) -> Trigger | None:
    """The guarded error trigger over min(60 s, age), within its first five minutes."""
    limits = Limits()
    baseline = _baseline(recording.pre_rows or (), recording.interval_s)
    width = max(1, round(_TRAILING_S / recording.interval_s))
    within = min(len(recording.rows), round(limits.error_seconds / recording.interval_s))
    for number in range(1, within + 1):
        window = [counts[ERRORS.name] for counts in recording.rows[max(0, number - width) : number]]
        requests, errors = sum(one.n for one in window), sum(one.s for one in window)
        if exceeds(limits, requests=requests, errors=errors, baseline=baseline):
            shared = sum(one.f for one in window) > limits.error_rate * sum(one.m for one in window)
            return Trigger(number, errors, requests, shared)
    return None


def _baseline(rows: Sequence[Counts], interval_s: float) -> Baseline:
    told = [counts[ERRORS.name] for counts in rows]
    requests = sum(one.n + one.m for one in told)
    rate = sum(one.s + one.f for one in told) / requests if requests else None
    return Baseline(seconds=len(told) * interval_s, requests=requests, error_rate=rate, p99=None)
