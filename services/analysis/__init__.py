"""Metrics of single pods, probes and smoke tests, windows over them, and the triggers that call for a rollback."""

from services.analysis.baseline import measure
from services.analysis.incident import is_shared_incident
from services.analysis.limits import Limits, exceeds
from services.analysis.parse import MetricNames, NotMetrics, PodReading, Reading, Unreadable, parse
from services.analysis.probes import HealthHistory, HealthProbe
from services.analysis.scrape import DirectScrape, PodSource
from services.analysis.smoke import SmokeResult, SmokeRunner
from services.analysis.targets import PodTarget, target_of
from services.analysis.triggers import Unserved, WorkloadFacts, alert, evaluate, reasons
from services.analysis.windows import ArmName, Windows

__all__ = [
    "ArmName",
    "DirectScrape",
    "HealthHistory",
    "HealthProbe",
    "Limits",
    "MetricNames",
    "NotMetrics",
    "PodReading",
    "PodSource",
    "PodTarget",
    "Reading",
    "SmokeResult",
    "SmokeRunner",
    "Unreadable",
    "Unserved",
    "Windows",
    "WorkloadFacts",
    "alert",
    "evaluate",
    "exceeds",
    "is_shared_incident",
    "measure",
    "parse",
    "reasons",
    "target_of",
]
