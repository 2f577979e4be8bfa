"""Objects as the tables that ``kubectl get`` prints: columns chosen by the server, as real ones do."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from services.sandbox.resources import Object, Resource, meta

Cell = Callable[[Object], Any]


def table(
    resource: Resource, objects: list[Object], list_meta: dict[str, Any], now: datetime, *, header: bool = True
) -> dict[str, Any]:
    """A ``meta.k8s.io/v1`` Table of these objects."""
    columns: list[tuple[str, Cell, int]] = [
        ("Name", _at("metadata", "name"), 0),
        *_COLUMNS.get(resource.plural, ()),
        ("Age", _age(now), 0),
    ]
    columns.sort(key=lambda column: column[2])
    definitions = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": name, "priority": priority}
        for name, _, priority in columns
    ]
    rows = [
        {
            "cells": [cell(found) for _, cell, _ in columns],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta(found)},
        }
        for found in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": definitions if header else None,
        "rows": rows,
    }


def _age(now: datetime) -> Cell:
    def age(found: Object) -> str:
        created = datetime.strptime(meta(found)["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        seconds = max(0, int((now - created).total_seconds()))
        for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
            if seconds >= 2 * size:
                return f"{seconds // size}{unit}"
        return f"{seconds}s"

    return age


def _at(*path: str, default: Any = "<none>") -> Cell:
    def cell(found: Object) -> Any:
        value: Any = found
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def _ready(found: Object) -> str:
    return f"{found['status'].get('readyReplicas', 0)}/{found['spec'].get('replicas', 0)}"


def _pod_ready(found: Object) -> str:
    statuses = found["status"].get("containerStatuses") or []
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{len(found['spec'].get('containers') or ())}"


def pod_reason(found: Object) -> str:
    """What stands under STATUS: why a container waits or died, else the phase."""
    if "deletionTimestamp" in meta(found):
        return "Terminating"
    for status in found["status"].get("containerStatuses") or ():
        state = status.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    return str(found["status"].get("phase", "Unknown"))


def _restarts(found: Object) -> int:
    return sum(status.get("restartCount", 0) for status in found["status"].get("containerStatuses") or ())


def _images(found: Object) -> str:
    return ",".join(container["image"] for container in found["spec"]["template"]["spec"]["containers"])


def _containers(found: Object) -> str:
    return ",".join(container["name"] for container in found["spec"]["template"]["spec"]["containers"])


def _selector(found: Object) -> str:
    selector = found["spec"].get("selector") or {}
    return ",".join(f"{key}={value}" for key, value in selector.get("matchLabels", selector).items()) or "<none>"


def _ports(found: Object) -> str:
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in found["spec"].get("ports") or ()) or "<none>"


def _addresses(found: Object) -> str:
    pairs = [
        f"{address['ip']}:{port['port']}"
        for subset in found.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return ",".join(pairs[:3]) + (f" + {len(pairs) - 3} more..." if len(pairs) > 3 else "") if pairs else "<none>"


def _weights(found: Object) -> str:
    routes = ((found.get("spec") or {}).get("http") or [{}])[0].get("route") or ()
    return ", ".join(f"{route.get('destination', {}).get('subset', '*')}={route.get('weight', 100)}" for route in routes)


def _target(found: Object) -> str:
    return "{kind}/{name}".format(**found["spec"]["scaleTargetRef"])


_TEMPLATE = (("Containers", _containers, 1), ("Images", _images, 1), ("Selector", _selector, 1))

_COLUMNS: dict[str, tuple[tuple[str, Cell, int], ...]] = {
    "deployments": (
        ("Ready", _ready, 0),
        ("Up-to-date", _at("status", "updatedReplicas", default=0), 0),
        ("Available", _at("status", "availableReplicas", default=0), 0),
        *_TEMPLATE,
    ),
    "replicasets": (
        ("Desired", _at("spec", "replicas", default=0), 0),
        ("Current", _at("status", "replicas", default=0), 0),
        ("Ready", _at("status", "readyReplicas", default=0), 0),
        *_TEMPLATE,
    ),
    "pods": (
        ("Ready", _pod_ready, 0),
        ("Status", pod_reason, 0),
        ("Restarts", _restarts, 0),
        ("IP", _at("status", "podIP"), 1),
        ("Node", _at("spec", "nodeName"), 1),
    ),
    "services": (
        ("Type", _at("spec", "type"), 0),
        ("Cluster-IP", _at("spec", "clusterIP"), 0),
        ("Port(s)", _ports, 0),
        ("Selector", _selector, 1),
    ),
    "endpoints": (("Endpoints", _addresses, 0),),
    "namespaces": (("Status", _at("status", "phase"), 0),),
    "configmaps": (("Data", lambda found: len(found.get("data") or {}), 0),),
    "secrets": (("Type", _at("type"), 0), ("Data", lambda found: len(found.get("data") or {}), 0)),
    "horizontalpodautoscalers": (
        ("Reference", _target, 0),
        ("MinPods", _at("spec", "minReplicas"), 0),
        ("MaxPods", _at("spec", "maxReplicas"), 0),
        ("Replicas", _at("status", "currentReplicas", default=0), 0),
    ),
    "leases": (("Holder", _at("spec", "holderIdentity"), 0),),
    "virtualservices": (("Hosts", lambda found: ",".join(found["spec"].get("hosts") or ()), 0), ("Weights", _weights, 0)),
    "httproutes": (("Hostnames", lambda found: ",".join(found["spec"].get("hostnames") or ()) or "*", 0),),
    "ingresses": (
        ("Class", _at("spec", "ingressClassName"), 0),
        ("Hosts", lambda found: ",".join(rule.get("host") or "*" for rule in found["spec"].get("rules") or ()) or "*", 0),
    ),
    "ingressclasses": (("Controller", _at("spec", "controller"), 0),),
    "destinationrules": (("Host", _at("spec", "host"), 0),),
    "events": (
        ("Type", _at("type"), 0),
        ("Reason", _at("reason"), 0),
        ("Object", lambda found: "{kind}/{name}".format(**found["involvedObject"]).lower(), 0),
        ("Message", _at("message"), 0),
    ),
}
