"""ReplicaSet → Pods: as many as wanted, the least useful go first."""

import copy
from typing import Any

from services.sandbox.controllers.rules import HASH, owner, ready
from services.sandbox.recorder import Recorder
from services.sandbox.registry import Registry
from services.sandbox.resources import PODS, REPLICASETS, Object, controller_of, labels, meta


class ReplicaSets:
    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._store = registry.store
        self._recorder = recorder

    def reconcile(self, namespace: str, name: str) -> None:
        found = self._store.get(REPLICASETS, namespace, name)
        if found is None:
            return
        uid, wanted = meta(found)["uid"], found["spec"]["replicas"]
        pods = [
            pod
            for pod in self._store.each(PODS, namespace)
            if (controller_of(pod) or {}).get("uid") == uid
            and "deletionTimestamp" not in meta(pod)
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]
        for _ in range(len(pods), wanted):
            pods.append(self._create(found))
        if len(pods) > wanted:
            pods.sort(key=_usefulness)
            for pod in pods[: len(pods) - wanted]:
                self._registry.delete(PODS, namespace, meta(pod)["name"])
                self._recorder.normal(found, "SuccessfulDelete", f"Deleted pod: {meta(pod)['name']}")
            pods = pods[len(pods) - wanted :]
        count = sum(ready(pod) for pod in pods)
        status: dict[str, Any] = {"replicas": len(pods), "observedGeneration": meta(found).get("generation", 1)}
        if pods:
            status["fullyLabeledReplicas"] = len(pods)
        if count:
            status |= {"readyReplicas": count, "availableReplicas": count}
        self._registry.set_status(REPLICASETS, found, status)

    def _create(self, found: Object) -> Object:
        template = copy.deepcopy(found["spec"]["template"])
        metadata = {
            "generateName": f"{meta(found)['name']}-",
            "labels": template["metadata"].get("labels") or {},
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [owner(REPLICASETS.kind, "apps/v1", found)],
        }
        pod = self._registry.create(PODS, meta(found)["namespace"], {"metadata": metadata, "spec": template["spec"]})
        self._recorder.normal(found, "SuccessfulCreate", f"Created pod: {meta(pod)['name']}")
        return pod


def _usefulness(pod: Object) -> tuple[bool, bool, int, str, str]:
    """Sorts what may go first to the front: without a place, not ready, restarted often, young."""
    restarts = sum(status.get("restartCount", 0) for status in pod["status"].get("containerStatuses") or ())
    age = "".join(chr(0x10FFFF - ord(letter)) for letter in meta(pod)["creationTimestamp"])
    return bool(pod["spec"].get("nodeName")), ready(pod), -restarts, age, labels(pod).get(HASH, "") + meta(pod)["name"]
