"""Whether what looks like the new version's fault hits the old one as well, at the same moment.

A shared incident is something to be shown, not what is left where nothing can be told apart: unsteady counts widen what the
ratio of the two versions may be until it could be anything, and a bad version must not hide behind that.
"""

from collections.abc import Sequence

from services.analysis.judge.sequence import ratio_limits
from services.analysis.limits import Limits, too_slow
from services.analysis.windows import ArmName, Served, Windows
from services.model.rollout import Baseline, TriggerName, TriggerReading

WORSE = 2.0
"""A version that surely fails so many times as often as the other is worse than it."""
UNSTEADIEST = 5.0
"""More noise than this is not allowed for where the two are compared: counts that unsteady would hide any version."""
SHARED_INCIDENT = "both versions are failing: this looks like an incident, not the new version"


def is_shared_incident(
    readings: Sequence[TriggerReading],
    limits: Limits,
    windows: Windows,
    exposed_at: float,
    now: float,
    *,
    baseline: Baseline | None,
) -> bool:
    """Whether error rate and latency are all that fired, and the old version fails and is slow as well: the policy
    ``on_shared_incident`` decides then. ``baseline`` is what the old version did before anything changed."""
    fired = {reading.name: reading for reading in readings if reading.fired}
    if not fired or not fired.keys() <= {TriggerName.ERROR_RATE, TriggerName.LATENCY_P99}:
        return False
    canary = trailing(limits, windows, ArmName.CANARY, exposed_at, now)
    if TriggerName.ERROR_RATE in fired and not control_fails(limits, windows, canary, baseline, exposed_at, now):
        return False
    slow = fired.get(TriggerName.LATENCY_P99)
    return slow is None or slow.limit is None or control_slow(limits, windows, slow.limit, exposed_at, now)


def control_fails(
    limits: Limits, windows: Windows, canary: Served | None, baseline: Baseline | None, exposed_at: float, now: float
) -> bool:
    """Whether the old version is over the same limit or, failing more than it did before the deploy, can't be told from the new
    one: 1 is among the ratios that their counts allow (95 %). Never where the new one is surely :data:`WORSE`, at most
    :data:`UNSTEADIEST` noise allowed for."""
    control = trailing(limits, windows, ArmName.STABLE, exposed_at, now)
    if canary is None or canary.errors is None:
        return False
    if control is None or control.requests < limits.min_requests or control.errors is None:
        return False
    over = control.errors > limits.error_rate * control.requests
    # One that is over the limit has an incident of its own, and the clusters of its failures count for what they are worth. Of
    # one that is not, each failure is taken by itself: nothing else says that it fails at all.
    noise = min(limits.noise, UNSTEADIEST) if over else 1.0
    if surely_worse(canary.errors / noise, control.errors / noise, canary.requests, control.requests):
        return False
    if over:
        return True
    if control.errors < limits.min_errors or baseline is None or baseline.error_rate is None:
        return False
    before = baseline.error_rate * baseline.requests
    more, _ = ratio_limits(control.errors / limits.noise, before / limits.noise, control.requests, baseline.requests)
    low, high = ratio_limits(canary.errors / limits.noise, control.errors / limits.noise, canary.requests, control.requests)
    return more > 1.0 and low <= 1.0 <= high


def control_slow(limits: Limits, windows: Windows, limit: float, exposed_at: float, now: float) -> bool:
    """Whether the old version is over the limit as well, and the new one not surely :data:`WORSE`, at most :data:`UNSTEADIEST`
    noise allowed for: slow requests come in clusters as failures do."""
    canary, control = (
        _slow(trailing(limits, windows, arm, exposed_at, now, warm_up=limits.warm_up if arm is ArmName.CANARY else 0.0), limit)
        for arm in (ArmName.CANARY, ArmName.STABLE)
    )
    if canary is None or control is None or not too_slow(limits, *control):
        return False
    noise = min(limits.slow_noise, UNSTEADIEST)
    return not surely_worse(canary[1] / noise, control[1] / noise, canary[0], control[0])


def surely_worse(bad: float, control_bad: float, requests: float, control_requests: float) -> bool:
    """Whether the ratio of the bad shares is above :data:`WORSE` as far as independent events tell (95 %): whoever knows that
    events come together divides both by their noise. In doubt it is no incident, and the new version is taken back."""
    low, _ = ratio_limits(bad, control_bad, requests, control_requests)
    return low > WORSE


def _slow(served: Served | None, limit: float) -> tuple[float, float] | None:
    """All durations, and those above the limit."""
    durations = served.durations if served is not None else None
    slow = durations.above(limit) if durations is not None else None
    return None if durations is None or slow is None else (durations.total, slow)


def trailing(
    limits: Limits, windows: Windows, arm: str, exposed_at: float | None, now: float, *, warm_up: float = 0.0
) -> Served | None:
    """The last ``limits.window`` seconds up to the latest round, from exposure on; ``None`` where there was no round lately."""
    if exposed_at is None or now - windows.now > limits.window:
        return None
    until = windows.now
    return windows.count(arm, max(until - limits.window, exposed_at), until, warm_up=warm_up, exposed_at=exposed_at)
