"""The source that the settings name."""

from collections.abc import Callable

import httpx

from services.analysis.sources.base import MetricSource
from services.analysis.sources.datadog import DatadogSource
from services.analysis.sources.direct import Direct
from services.analysis.sources.promsource import PrometheusSource
from services.analysis.sources.subject import Subject
from services.clock import Clock
from services.settings import Metrics
from services.settings.secrets import SecretRegister


def open_source(
    metrics: Metrics,
    subject: Callable[[], Subject],
    *,
    clock: Clock,
    register: SecretRegister,
    transport: httpx.AsyncBaseTransport | None = None,
) -> MetricSource:
    """What ``metrics.source`` names. The pods' own pages have to be fed to it (:class:`Direct`)."""
    if metrics.source == "prometheus":
        return PrometheusSource(metrics, subject, clock=clock, register=register, transport=transport)
    if metrics.source == "datadog":
        return DatadogSource(metrics, subject, clock=clock, register=register, transport=transport)
    return Direct(metrics)
