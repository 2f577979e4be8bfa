"""Where metrics come from: the pods' own pages, Prometheus, Datadog. One file a source, one Protocol (``base``)."""

from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, MetricSource, Queries, Reading
from services.analysis.sources.direct import Direct, series
from services.analysis.sources.opening import open_source
from services.analysis.sources.subject import Subject, Version
from services.analysis.tally import Tally

__all__ = [
    "ERRORS_NAME",
    "LATENCY_NAME",
    "Direct",
    "MetricSource",
    "Queries",
    "Reading",
    "Subject",
    "Tally",
    "Version",
    "open_source",
    "series",
]
