"""Whether what looks like the new version's fault hits the old one as well, at the same moment."""

from collections.abc import Sequence

from services.analysis.judge.sequence import ratio_limits
from services.analysis.limits import Limits, too_slow
from services.analysis.windows import ArmName, Served, Windows
from services.model.rollout import TriggerName, TriggerReading

SHARED_INCIDENT = "both versions are failing: this looks like an incident, not the new version"


def is_shared_incident(
    readings: Sequence[TriggerReading], limits: Limits, windows: Windows, exposed_at: float, now: float
) -> bool:
    """Whether error rate and latency are all that fired, and the old version fails and is slow as well: the policy
    ``on_shared_incident`` decides then."""
    fired = {reading.name: reading for reading in readings if reading.fired}
    if not fired or not fired.keys() <= {TriggerName.ERROR_RATE, TriggerName.LATENCY_P99}:
        return False
    canary = trailing(limits, windows, ArmName.CANARY, exposed_at, now)
    if TriggerName.ERROR_RATE in fired and not control_fails(limits, windows, canary, exposed_at, now):
        return False
    slow = fired.get(TriggerName.LATENCY_P99)
    return slow is None or slow.limit is None or control_slow(limits, windows, slow.limit, exposed_at, now)


def control_fails(limits: Limits, windows: Windows, canary: Served | None, exposed_at: float, now: float) -> bool:
    """Whether the old version is over the same limit or, failing as well, can't be told from the new one: 1 is among the ratios
    that their counts allow (95 %)."""
    control = trailing(limits, windows, ArmName.STABLE, exposed_at, now)
    if control is None or control.requests < limits.min_requests or control.errors is None:
        return False
    if control.errors > limits.error_rate * control.requests:
        return True
    if canary is None or canary.errors is None or control.errors < limits.min_errors:
        return False
    low, high = ratio_limits(canary.errors / limits.noise, control.errors / limits.noise, canary.requests, control.requests)
    return low <= 1.0 <= high


def control_slow(limits: Limits, windows: Windows, limit: float, exposed_at: float, now: float) -> bool:
    control = trailing(limits, windows, ArmName.STABLE, exposed_at, now)
    durations = control.durations if control is not None else None
    slow = durations.above(limit) if durations is not None else None
    return durations is not None and slow is not None and too_slow(limits, durations.total, slow)


def trailing(
    limits: Limits, windows: Windows, arm: str, exposed_at: float | None, now: float, *, warm_up: float = 0.0
) -> Served | None:
    """The last ``limits.window`` seconds up to the latest round, from exposure on; ``None`` where there was no round lately."""
    if exposed_at is None or now - windows.now > limits.window:
        return None
    until = windows.now
    return windows.count(arm, max(until - limits.window, exposed_at), until, warm_up=warm_up, exposed_at=exposed_at)
