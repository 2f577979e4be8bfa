"""Service → Endpoints: the addresses of the ready pods it selects."""

from typing import Any

from services.sandbox.controllers.rules import ready, selected
from services.sandbox.registry import Registry
from services.sandbox.resources import ENDPOINTS, PODS, SERVICES, Object, labels, meta


class Endpoints:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    def reconcile(self, namespace: str, name: str) -> None:
        service = self._store.get(SERVICES, namespace, name)
        if service is None:
            self._store.drop(ENDPOINTS, namespace, name)
            return
        if not service["spec"].get("selector"):
            return
        pods = [pod for pod in self._store.all(PODS, namespace) if selected(service, pod) and pod["status"].get("podIP")]
        good = [_address(pod) for pod in pods if ready(pod)]
        bad = [_address(pod) for pod in pods if not ready(pod) and "deletionTimestamp" not in meta(pod)]
        ports = [
            {"port": port["targetPort"], "protocol": port["protocol"]} | ({"name": port["name"]} if port.get("name") else {})
            for port in service["spec"]["ports"]
        ]
        subset: dict[str, Any] = (
            {"ports": ports} | ({"addresses": good} if good else {}) | ({"notReadyAddresses": bad} if bad else {})
        )
        subsets = [subset] if good or bad else []
        current = self._store.get(ENDPOINTS, namespace, name)
        if current is None or (current.get("subsets") or []) != subsets:
            body = {"metadata": {"name": name, "labels": labels(service)}, "subsets": subsets}
            self._registry.upsert(ENDPOINTS, namespace, body)


def _address(pod: Object) -> dict[str, Any]:
    reference = {"kind": "Pod", "namespace": meta(pod)["namespace"], "name": meta(pod)["name"], "uid": meta(pod)["uid"]}
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName"), "targetRef": reference}
