"""Where metrics come from: the pods' own pages, Prometheus, Datadog. One file a source, one Protocol (``base``)."""

from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, MetricSource, Reading
from services.analysis.tally import Tally

__all__ = ["ERRORS_NAME", "LATENCY_NAME", "MetricSource", "Reading", "Tally"]
