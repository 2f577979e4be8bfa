"""What the settings have judged besides errors and latency, as metrics of the judge."""

import msgspec

from services.analysis.judge import CUSTOM, ERRORS, Metric
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
