"""The running version before anything changed: what the new one is measured against."""

from services.analysis.windows import ArmName, Windows
from services.model.rollout import Baseline

MIN_REQUESTS = 100
"""Fewer requests than this have no 99th percentile to speak of: it would be their slowest."""


def measure(windows: Windows, seconds: float, arm: str = ArmName.STABLE) -> Baseline:
    """What ``arm`` served in the last ``seconds`` (pace). Unknown stays unknown: ``None`` without requests, without status
    codes, without durations, or with too few requests for a P99."""
    counted = windows.count(arm, windows.now - seconds, windows.now)
    durations = counted.durations
    return Baseline(
        seconds=seconds,
        requests=counted.requests,
        error_rate=counted.errors / counted.requests if counted.requests and counted.errors is not None else None,
        p99=durations.quantile(0.99) if durations is not None and durations.total >= MIN_REQUESTS else None,
    )
