"""How long things should take, from what the workload says about itself. Estimates are shown, never acted on."""

import math
from collections.abc import Mapping
from typing import Any

from services.model.objects import Json, value_at

SCHEDULE_AND_START = 5.0
"""Seconds from the wish for a pod to its started container, image on the node."""

ROUTE_PROPAGATION = 2.0
"""Seconds for a patched route to reach the proxies."""


def pod_seconds(workload: Mapping[str, Any]) -> float:
    """From the wish for a pod to its readiness: start, the slowest readiness probe, ``minReadySeconds``."""
    probes = [
        (probe.get("initialDelaySeconds") or 0) + (probe.get("periodSeconds") or 10) * (probe.get("successThreshold") or 1)
        for container in value_at(workload, "/spec/template/spec/containers") or ()
        if (probe := container.get("readinessProbe"))
    ]
    return SCHEDULE_AND_START + max(probes, default=0) + (value_at(workload, "/spec/minReadySeconds") or 0)


def rolling_seconds(workload: Mapping[str, Any], replicas: int) -> float:
    """For a rolling update of ``replicas`` pods: as many rounds as surge and unavailability allow, each as long as one pod.

    Kubernetes rounds a surge percentage up and an unavailability percentage down; both are 25 % where not given.
    """
    update = value_at(workload, "/spec/strategy/rollingUpdate") or {}
    at_once = _count(update.get("maxSurge", "25%"), replicas, math.ceil)
    at_once += _count(update.get("maxUnavailable", "25%"), replicas, math.floor)
    return math.ceil(replicas / max(1, at_once)) * pod_seconds(workload)


def _count(value: Json, replicas: int, rounding: Any) -> int:
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return int(rounding(int(value[:-1]) * replicas / 100))
    return value if isinstance(value, int) else 0
