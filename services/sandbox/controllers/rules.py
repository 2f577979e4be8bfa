"""What several controllers need to know of their objects."""

import math
from typing import Any

from services.sandbox.resources import Object, labels, meta

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


def bare_template(found: Object) -> Object:
    """The pod template without the hash that the controller adds."""
    template = found["spec"]["template"]
    kept = {key: value for key, value in (template["metadata"].get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**template["metadata"], "labels": kept}}


def revision(found: Object) -> int:
    return int((meta(found).get("annotations") or {}).get(REVISION, 0))


def available(found: Object) -> int:
    return int((found.get("status") or {}).get("availableReplicas", 0))


def limits(deployment: Object) -> tuple[int, int]:
    """Pods allowed above, and missing below, ``replicas``: shares are rounded up and down; never both 0."""
    wanted = deployment["spec"]["replicas"]
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}

    def amount(value: Any, rounded: Any) -> int:
        return int(rounded(wanted * int(value[:-1]) / 100)) if isinstance(value, str) and value.endswith("%") else int(value)

    surge = amount(rolling.get("maxSurge", "25%"), math.ceil)
    unavailable = amount(rolling.get("maxUnavailable", "25%"), math.floor)
    return surge, unavailable if surge or unavailable else 1


def complete(deployment: Object) -> bool:
    """Every wanted pod runs the newest template and is available, and no other is left."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    return all(count == wanted for count in counts) and status.get("observedGeneration") == meta(deployment)["generation"]


def owner(kind: str, api_version: str, found: Object) -> dict[str, Any]:
    """The reference by which a controller's objects name it."""
    reference = {"apiVersion": api_version, "kind": kind, "name": meta(found)["name"], "uid": meta(found)["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def ready(pod: Object) -> bool:
    """Whether the pod's condition Ready is true and it is not being deleted."""
    conditions = pod["status"].get("conditions") or ()
    return "deletionTimestamp" not in meta(pod) and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def selected(service: Object, pod: Object) -> bool:
    """Whether the Service's selector selects the pod; one without a selector selects none."""
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels(pod).get(key) == value for key, value in selector.items())
