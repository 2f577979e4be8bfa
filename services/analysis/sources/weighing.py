"""What the settings have judged besides errors and latency, as metrics of the judge."""

import msgspec

from services.analysis.judge import CUSTOM, ERRORS, Metric, Proof
from services.settings import Metrics
from services.settings.sources import Endpoint, Ratio


def ratios(metrics: Metrics) -> tuple[Metric, ...]:
    """Business metrics and errors of endpoints: each judged by the tally of its own name. They were asked for by name, so that
    nothing is proven without them: a name with a slip in it would else be dropped in silence."""
    own = [msgspec.structs.replace(_as_asked(CUSTOM, one), skip=one.skip) for one in metrics.ratios]
    return (*own, *(_as_asked(ERRORS, one) for one in metrics.endpoints))


def _as_asked(kind: Metric, one: Ratio | Endpoint) -> Metric:
    """What is tolerated counts as healthy: the limits of health are no narrower, else a canary between the two would never be
    either."""
    return msgspec.structs.replace(
        kind,
        name=one.name,
        r=one.tolerance,
        d=one.difference,
        health_r=max(kind.health_r, one.tolerance),
        health_d=max(kind.health_d, one.difference),
        weight=one.weight,
        proof=Proof.ALWAYS,
    )
