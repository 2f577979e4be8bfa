"""What the settings have judged besides errors and latency, as metrics of the judge."""

import msgspec

from services.analysis.judge import CUSTOM, ERRORS, LATENCY_P99, Metric
from services.settings import Metrics


def ratios(metrics: Metrics) -> tuple[Metric, ...]:
    """Business metrics and errors of endpoints: each judged by the tally of its own name."""
    own = [
        msgspec.structs.replace(CUSTOM, name=one.name, r=one.tolerance, d=one.difference, weight=one.weight, skip=one.skip)
        for one in metrics.ratios
    ]
    endpoints = [
        msgspec.structs.replace(ERRORS, name=one.name, r=one.tolerance, d=one.difference, weight=one.weight)
        for one in metrics.endpoints
    ]
    return (*own, *endpoints)


def latencies(metrics: Metrics) -> tuple[Metric, ...]:
    """Latency of endpoints, where it has a weight: each needs an edge, as that of all requests does."""
    return tuple(
        msgspec.structs.replace(
            LATENCY_P99, name=one.latency_name, weight=one.latency_weight, group_weight=None, skip=metrics.warm_up
        )
        for one in metrics.endpoints
        if one.latency_weight > 0
    )
