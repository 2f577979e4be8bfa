"""Where metrics come from: the pods' own pages, Prometheus, Datadog. One file a source, one Protocol (``base``)."""

from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, Asked, MetricSource, Reading
from services.analysis.sources.direct import Direct, asked_of_pages
from services.analysis.sources.opening import open_source
from services.analysis.sources.subject import Subject, Version
from services.analysis.tally import Tally

__all__ = [
    "ERRORS_NAME",
    "LATENCY_NAME",
    "Asked",
    "Direct",
    "MetricSource",
    "Reading",
    "Subject",
    "Tally",
    "Version",
    "asked_of_pages",
    "open_source",
]
