"""What a real API server fills in and refuses when an object is written: the parts that clients here depend on."""

import copy
import re
from typing import Any

from services.sandbox import routekinds
from services.sandbox.errors import invalid
from services.sandbox.resources import Object, Resource, meta
from services.sandbox.selectors import matches

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def check(resource: Resource, new: Object, old: Object | None) -> None:
    """Raise ApiError 422 where a rule is broken that real API servers enforce too."""
    name = meta(new)["name"]

    def refuse(field: str, why: str) -> None:
        raise invalid(resource.kind, resource.group, name, field, why)

    if len(name) > 253 or not _NAME.fullmatch(name):
        refuse(
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters',
        )
    for key, value in (meta(new).get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL.fullmatch(value):
            refuse("metadata.labels", f"Invalid value: {value!r} of {key}: a valid label must be an empty string or alphanumeric")
    if any(not isinstance(value, str) for value in (meta(new).get("annotations") or {}).values()):
        refuse("metadata.annotations", "Invalid value: annotations are text")
    if resource.plural in ("deployments", "replicasets"):
        _check_workload(new, old, refuse)
    if resource.plural == "horizontalpodautoscalers":
        _check_autoscaler(new["spec"], refuse)
    if resource.plural == "httproutes":
        routekinds.check_http_route(new, refuse)
    if resource.plural == "ingresses":
        routekinds.check_ingress(new, refuse)
    if resource.plural in ("configmaps", "secrets"):
        for key in new.get("data") or {}:
            if len(key) > 253 or not _KEY.fullmatch(key):
                refuse(
                    f"data[{key}]",
                    f"Invalid value: \"{key}\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                )
        if any(not isinstance(value, str) for value in (new.get("data") or {}).values()):
            refuse("data", "Invalid value: values are text")
        if sum(len(value) for value in (new.get("data") or {}).values()) > 1 << 20:
            refuse("data", "Too long: must have at most 1048576 bytes")


def _check_workload(new: Object, old: Object | None, refuse: Any) -> None:
    spec = new.get("spec") or {}
    replicas = spec.get("replicas")
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        refuse("spec.replicas", f"Invalid value: {replicas!r}: must be greater than or equal to 0")
    if not spec.get("selector"):
        refuse("spec.selector", "Required value")
    template = spec.get("template") or {}
    if not matches(spec["selector"], (template.get("metadata") or {}).get("labels") or {}):
        refuse("spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`")
    if old is not None and old["spec"].get("selector") != spec["selector"]:
        refuse("spec.selector", "Invalid value: field is immutable")
    containers = (template.get("spec") or {}).get("containers") or []
    if not containers:
        refuse("spec.template.spec.containers", "Required value")
    names = [container.get("name") for container in containers]
    for index, container in enumerate(containers):
        if not container.get("name") or names.count(container["name"]) > 1:
            refuse(f"spec.template.spec.containers[{index}].name", "Required value, and each only once")
        if (
            not isinstance(container.get("image"), str)
            or not container["image"].strip()
            or container["image"] != container["image"].strip()
        ):
            refuse(f"spec.template.spec.containers[{index}].image", "Required value")


def _check_autoscaler(spec: dict[str, Any], refuse: Any) -> None:
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            refuse(f"spec.scaleTargetRef.{field}", "Required value")
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    if not isinstance(least, int) or least < 1:
        refuse("spec.minReplicas", f"Invalid value: {least!r}: must be greater than or equal to 1")
    if not isinstance(most, int) or most < least:
        refuse("spec.maxReplicas", f"Invalid value: {most!r}: must be greater than or equal to `minReplicas`")


def fill(resource: Resource, new: Object) -> Object:
    """The object with the defaults of its kind; what the client gave stays."""
    match resource.plural:
        case "deployments":
            return _workload(new, _DEPLOYMENT)
        case "replicasets":
            return _workload(new, {"replicas": 1})
        case "pods":
            spec = _pod_spec(new.get("spec") or {}) | {"enableServiceLinks": True}
            return {**new, "spec": spec, "status": new.get("status") or {"phase": "Pending", "qosClass": "Burstable"}}
        case "services":
            return _service(new)
        case "horizontalpodautoscalers":
            given = {key: value for key, value in (new.get("spec") or {}).items() if value is not None}
            return {**new, "spec": {"minReplicas": 1, **given}, "status": new.get("status") or {}}
        case "httproutes":
            return routekinds.http_route(new)
        case "secrets":
            return {"type": "Opaque", **new}
        case "namespaces":
            return {"spec": {"finalizers": ["kubernetes"]}, **new, "status": {"phase": "Active"}}
    return new


_DEPLOYMENT: dict[str, Any] = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}


def _workload(new: Object, defaults: dict[str, Any]) -> Object:
    given = {key: value for key, value in (new.get("spec") or {}).items() if value is not None}
    spec = {**defaults, **given}
    if "strategy" in spec or "progressDeadlineSeconds" in defaults:
        strategy = {"type": "RollingUpdate", **(spec.get("strategy") or {})}
        if strategy["type"] == "RollingUpdate":
            strategy["rollingUpdate"] = {"maxSurge": "25%", "maxUnavailable": "25%", **(strategy.get("rollingUpdate") or {})}
        spec["strategy"] = strategy
    if isinstance(template := spec.get("template"), dict):
        metadata = {"creationTimestamp": None, **(template.get("metadata") or {})}
        spec["template"] = {**template, "metadata": metadata, "spec": _pod_spec(template.get("spec") or {})}
    return {**new, "spec": spec, "status": new.get("status") or {}}


def _pod_spec(spec: dict[str, Any]) -> dict[str, Any]:
    filled = {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        **copy.deepcopy(spec),
    }
    for container in filled.get("containers") or ():
        container.setdefault("imagePullPolicy", "Always" if str(container.get("image")).endswith(":latest") else "IfNotPresent")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
    return filled


def _service(new: Object) -> Object:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **(new.get("spec") or {})}
    spec["ports"] = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or ()]
    return {**new, "spec": spec, "status": new.get("status") or {"loadBalancer": {}}}
