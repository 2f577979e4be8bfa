"""Who answers a service's requests: what its VirtualService, HTTPRoute or Ingresses say, else the pods that its Service selects.

A group of pods is empty where a route names what has no ready pods: its share is lost, as in a mesh.
"""

from typing import Any

from services.sandbox.controllers.rules import ready, selected
from services.sandbox.resources import (
    DESTINATIONRULES,
    HTTPROUTES,
    INGRESSES,
    PODS,
    SERVICES,
    VIRTUALSERVICES,
    Object,
    Resource,
    labels,
    meta,
)
from services.sandbox.store import Store

ROUTES = (VIRTUALSERVICES, DESTINATIONRULES, HTTPROUTES, INGRESSES)
"""Kinds that move requests when they change, besides Services and pods."""

Arms = list[tuple[list[Object], float]]
"""Groups of pods, each with its share of the requests."""

_NGINX = "nginx.ingress.kubernetes.io/"
_CANARY = "-canary"


def arms(store: Store, namespace: str, name: str) -> Arms:
    """The ready pods that answer requests to the service ``name``, by share. Nothing where there is no such Service."""
    service = store.get(SERVICES, namespace, name)
    if service is None:
        return []
    return (
        _mesh(store, namespace, name, service)
        or _gateway(store, namespace, name)
        or _nginx(store, namespace, name)
        or [(_behind(store, namespace, service), 1.0)]
    )


def services_of(resource: Resource, found: Object) -> set[str]:
    """The services whose requests an object moves."""
    spec = found.get("spec") or {}
    if resource is HTTPROUTES:
        names = {ref.get("name", "") for rule in spec.get("rules") or () for ref in rule.get("backendRefs") or ()}
    elif resource is INGRESSES:
        names = {path["backend"]["service"]["name"] for _, path in _paths(found)}
    else:
        names = hosts(found)
    return {name.removesuffix(_CANARY) for name in names}


def hosts(found: Object) -> set[str]:
    """The services that a Service, a VirtualService or a DestinationRule is about, without their domain in the cluster."""
    spec = found.get("spec") or {}
    given = spec.get("hosts") or ([spec["host"]] if "host" in spec else [meta(found)["name"]])
    return {_without_domain(str(each)) for each in given}


def _without_domain(host: str) -> str:
    parts = host.split(".")
    return parts[0] if parts[2:3] == ["svc"] else host


def _behind(store: Store, namespace: str, service: Object | None) -> list[Object]:
    """The ready pods of a Service."""
    if service is None:
        return []
    return [pod for pod in store.all(PODS, namespace) if selected(service, pod) and ready(pod)]


def _mesh(store: Store, namespace: str, name: str, service: Object) -> Arms:
    """By the first rule of the VirtualService of the service's host that takes any request."""
    routes = [found for found in store.each(VIRTUALSERVICES, namespace) if name in hosts(found)]
    everybody = [rule for found in routes[:1] for rule in found["spec"].get("http") or () if _takes_any(rule)]
    http = everybody[0].get("route") if everybody else None
    if not http:
        return []
    rules = [found for found in store.each(DESTINATIONRULES, namespace) if name in hosts(found)]
    subsets: dict[str, dict[str, str]] = {
        subset["name"]: subset.get("labels") or {} for rule in rules for subset in rule["spec"].get("subsets") or ()
    }
    pods = _behind(store, namespace, service)
    # A single route without a weight takes everything.
    weights = [int(route.get("weight", 100 if len(http) == 1 else 0)) for route in http]
    total = sum(weights) or 100
    found: Arms = []
    for route, weight in zip(http, weights, strict=True):
        wanted = route["destination"].get("subset")
        asked = {} if wanted is None else subsets.get(wanted)
        chosen = [pod for pod in pods if asked is not None and all(labels(pod).get(key) == value for key, value in asked.items())]
        found.append((chosen, weight / total))
    return found


def _gateway(store: Store, namespace: str, name: str) -> Arms:
    """By the HTTPRoute that has the Service among its backends; of its rules, the last one is taken to be everybody's."""
    for route in store.each(HTTPROUTES, namespace):
        rules = [rule for rule in route["spec"].get("rules") or () if name in _names(rule)]
        if rules:
            refs = rules[-1]["backendRefs"]
            total = sum(_weight(ref) for ref in refs)
            return [
                (_behind(store, namespace, store.get(SERVICES, namespace, ref["name"])), _weight(ref) / total if total else 0.0)
                for ref in refs
            ]
    return []


def _nginx(store: Store, namespace: str, name: str) -> Arms:
    """By an Ingress of the Service, and the canary Ingress of the same path."""
    main: list[Object] = []
    canaries: list[Object] = []
    for ingress in store.each(INGRESSES, namespace):
        (canaries if _annotation(ingress, "canary") == "true" else main).append(ingress)
    places = {(at, path.get("path")) for ingress in main for at, path in _paths(ingress) if _backend(path) == name}
    if not places:
        return []
    stable = _behind(store, namespace, store.get(SERVICES, namespace, name))
    for ingress in canaries:
        backends = [_backend(path) for at, path in _paths(ingress) if (at, path.get("path")) in places]
        if backends:
            share = int(_annotation(ingress, "canary-weight") or 0) / int(_annotation(ingress, "canary-weight-total") or 100)
            return [(stable, 1 - share), (_behind(store, namespace, store.get(SERVICES, namespace, backends[0])), share)]
    return [(stable, 1.0)]


def _takes_any(rule: dict[str, Any]) -> bool:
    """Whether a VirtualService's rule asks nothing of a request."""
    asked = [{key: value for key, value in match.items() if key != "name"} for match in rule.get("match") or ()]
    return not asked or any(each in ({}, {"uri": {"prefix": "/"}}) for each in asked)


def _names(rule: dict[str, Any]) -> set[str]:
    return {ref.get("name", "") for ref in rule.get("backendRefs") or ()}


def _weight(ref: dict[str, Any]) -> int:
    return int(ref.get("weight", 1))


def _paths(ingress: Object) -> list[tuple[str, dict[str, Any]]]:
    """(host, path) of everything an Ingress answers with a Service."""
    return [
        (rule.get("host") or "", path)
        for rule in ingress["spec"].get("rules") or ()
        for path in (rule.get("http") or {}).get("paths") or ()
        if path["backend"].get("service")
    ]


def _backend(path: dict[str, Any]) -> str:
    return str(path["backend"]["service"]["name"])


def _annotation(ingress: Object, key: str) -> str:
    return str((meta(ingress).get("annotations") or {}).get(_NGINX + key) or "")
