"""HTTPRoutes and Ingresses as a real API server takes them: what it fills in, and what it refuses."""

import re
from collections.abc import Callable
from typing import Any

from services.sandbox.resources import Object

Refuse = Callable[[str, str], None]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")
_MOST_RULES, _MOST_BACKENDS, _MOST_WEIGHT, _MOST_PORT = 16, 16, 1_000_000, 65_535
_BACKEND_KEYS = {"filters", "group", "kind", "name", "namespace", "port", "weight"}
_RULE_KEYS = {"backendRefs", "filters", "matches", "name", "retry", "sessionPersistence", "timeouts"}


def http_route(new: Object) -> Object:
    """An HTTPRoute with the defaults of its schema: a path, and of each backend the kind, the group and the weight."""
    spec = new.get("spec") or {}
    rules = spec.get("rules")
    if not isinstance(rules, list):
        rules = [{}]
    filled = [_rule(rule) if isinstance(rule, dict) else rule for rule in rules]
    parents = [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent} if isinstance(parent, dict) else parent
        for parent in spec.get("parentRefs") or ()
    ]
    return {**new, "spec": {**spec, **({"parentRefs": parents} if parents else {}), "rules": filled}}


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    found = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], **rule}
    if isinstance(found["matches"], list):
        found["matches"] = [
            {**match, "path": {"type": "PathPrefix", "value": "/", **(match.get("path") or {})}}
            if isinstance(match, dict)
            else match
            for match in found["matches"]
        ]
    if isinstance(refs := found.get("backendRefs"), list):
        found["backendRefs"] = [
            {"group": "", "kind": "Service", "weight": 1, **ref} if isinstance(ref, dict) else ref for ref in refs
        ]
    return found


def check_http_route(new: Object, refuse: Refuse) -> None:
    """What the published schema and its rules refuse, where clients here could get it wrong."""
    spec = new["spec"]
    rules = spec["rules"]
    if not 1 <= len(rules) <= _MOST_RULES:
        refuse("spec.rules", f"Invalid value: {len(rules)}: spec.rules in body should have 1 to {_MOST_RULES} items")
    for index, rule in enumerate(rules):
        where = f"spec.rules[{index}]"
        if not isinstance(rule, dict) or not rule.keys() <= _RULE_KEYS:
            refuse(where, "Invalid value: unknown field")
        refs = rule.get("backendRefs") or []
        if not isinstance(refs, list) or len(refs) > _MOST_BACKENDS:
            refuse(f"{where}.backendRefs", f"Invalid value: must have at most {_MOST_BACKENDS} items")
        for position, ref in enumerate(refs):
            _check_backend(f"{where}.backendRefs[{position}]", ref, refuse)
    names = [rule["name"] for rule in rules if rule.get("name")]
    if len(names) != len(set(names)):
        refuse("spec.rules", "Invalid value: Rule name must be unique within the route")


def _check_backend(where: str, ref: Any, refuse: Refuse) -> None:
    if not isinstance(ref, dict) or not ref.keys() <= _BACKEND_KEYS:
        refuse(where, "Invalid value: unknown field")
    if not isinstance(ref.get("name"), str) or not ref["name"]:
        refuse(f"{where}.name", "Required value")
    if not _number(ref["weight"], 0, _MOST_WEIGHT):
        refuse(f"{where}.weight", f"Invalid value: {ref['weight']!r}: should be an integer from 0 to {_MOST_WEIGHT}")
    if "port" in ref and not _number(ref["port"], 1, _MOST_PORT):
        refuse(f"{where}.port", f"Invalid value: {ref['port']!r}: should be an integer from 1 to {_MOST_PORT}")
    if "port" not in ref and (ref["group"], ref["kind"]) == ("", "Service"):
        refuse(where, "Invalid value: Must have port for Service reference")


def check_ingress(new: Object, refuse: Refuse) -> None:
    """What ``networking.k8s.io/v1`` refuses."""
    spec = new.get("spec") or {}
    rules = spec.get("rules") or []
    if not rules and not spec.get("defaultBackend"):
        refuse("spec", "Invalid value: either `defaultBackend` or `rules` must be specified")
    for index, rule in enumerate(rules):
        paths = (rule.get("http") or {}).get("paths") or []
        if "http" in rule and not paths:
            refuse(f"spec.rules[{index}].http.paths", "Required value")
        for position, path in enumerate(paths):
            where = f"spec.rules[{index}].http.paths[{position}]"
            kind = path.get("pathType")
            if kind not in _PATH_TYPES:
                refuse(
                    f"{where}.pathType",
                    "Required value: pathType must be specified" if kind is None else f"Unsupported value: {kind!r}",
                )
            if kind != "ImplementationSpecific" and not str(path.get("path") or "").startswith("/"):
                refuse(f"{where}.path", f"Invalid value: {path.get('path')!r}: must be an absolute path")
            _check_ingress_backend(f"{where}.backend", path.get("backend") or {}, refuse)
    if backend := spec.get("defaultBackend"):
        _check_ingress_backend("spec.defaultBackend", backend, refuse)


def _check_ingress_backend(where: str, backend: dict[str, Any], refuse: Refuse) -> None:
    service = backend.get("service")
    if not service and not backend.get("resource"):
        refuse(where, "Required value: either `service` or `resource` is required")
    if service:
        if not _NAME.fullmatch(str(service.get("name") or "")):
            refuse(f"{where}.service.name", "Invalid value: a DNS-1035 label is required")
        port = service.get("port") or {}
        if bool(port.get("name")) == bool(port.get("number")):
            refuse(f"{where}.service.port", "Required value: port name or number is required, and not both")


def _number(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
