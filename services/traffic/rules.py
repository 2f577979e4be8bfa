"""The rules by which requests reach a service, as a person reads them: each rule's conditions, destinations and weights.

It shows all rules, whatever they are laid out like, and changes none; what carries the split is the routers' business."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.model.objects import ObjectRef, value_at
from services.traffic.choose import REPLICAS, ROUTERS, shares
from services.traffic.router import Document, Pods, Surroundings, named

CANARY_NOTES = "nginx.ingress.kubernetes.io/canary"
EVERYTHING = "every request"
ROUTE_KINDS = ("VirtualService", "HTTPRoute", "Ingress")


class Rule(msgspec.Struct, frozen=True):
    """``when`` in words; destinations with their weights as they are written (``None``: none is given)."""

    when: str
    destinations: tuple[tuple[str, int | None], ...]


class RouteRules(msgspec.Struct, frozen=True, kw_only=True):
    """One object that sends requests to a service. ``actual`` is the canary's share in percent that it gives (``None``: it can't
    be told, see ``problem``)."""

    router: str
    ref: ObjectRef
    rules: tuple[Rule, ...]
    actual: int | None
    problem: str = ""


def rules_around(around: Surroundings) -> tuple[RouteRules, ...]:
    """What sends requests to the service, its canary included; its ready pods where no route does. A kind of routes that may not
    be read is one of which nothing is known: that pods share the requests then would be a guess."""
    ready = Pods(*(int(value_at(found, "/status/readyReplicas") or 0) for found in (around.stable, around.canary or {})))
    held = {each.ref: each for each in shares(around, ready)}
    found = []
    for name, router in ROUTERS.items():
        if router.by_pods:
            continue
        refs = dict.fromkeys((*router.found(around), *(ref for ref, each in held.items() if each.router is router)))
        for ref in refs:
            body = _body(around, ref)
            share = held.get(ref)
            problem = share.problem.title if share is not None and share.problem is not None else ""
            actual = None if problem else share.weight if share is not None else 0
            if body is not None:
                found.append(RouteRules(router=name, ref=ref, rules=_rules(body), actual=actual, problem=problem))
    found += [_unreadable(around, kind) for kind in around.unseen]
    if found:
        return tuple(found)
    workload = ObjectRef("Deployment", around.namespace, around.service)
    pods: tuple[tuple[str, int | None], ...] = (
        (f"{ready.stable} ready pod{'' if ready.stable == 1 else 's'} of {around.service}", None),
    )
    if around.canary is not None and ready.canary:
        pods = (*pods, (f"{ready.canary} of {around.canary_name}", None))
    weight = -(-100 * ready.canary // (ready.stable + ready.canary)) if ready.canary else 0
    return (RouteRules(router=REPLICAS.name, ref=workload, rules=(Rule(EVERYTHING, pods),), actual=weight),)


def _unreadable(around: Surroundings, kind: str) -> RouteRules:
    problem = f"not known: {kind}s may not be read"
    return RouteRules(router="?", ref=ObjectRef(kind, around.namespace, "?"), rules=(), actual=None, problem=problem)


def _body(around: Surroundings, ref: ObjectRef) -> Document | None:
    kinds = {"VirtualService": around.virtual_services, "HTTPRoute": around.http_routes, "Ingress": around.ingresses}
    return named(kinds.get(ref.kind, ()), ref.name)


def _rules(body: Document) -> tuple[Rule, ...]:
    kind = str(body.get("kind"))
    if kind == "VirtualService":
        return tuple(_istio(rule) for rule in _maps(value_at(body, "/spec/http")))
    if kind == "HTTPRoute":
        return tuple(_gateway(rule) for rule in _maps(value_at(body, "/spec/rules")))
    return _nginx(body)


def _istio(rule: Mapping[str, Any]) -> Rule:
    destinations = []
    for share in _maps(rule.get("route")):
        to = share.get("destination") or {}
        subset = f" {to['subset']}" if to.get("subset") else ""
        destinations.append((f"{to.get('host', '?')}{subset}", _weight(share)))
    matches = [_matched(match) for match in _maps(rule.get("match"))]
    return Rule(_when(rule, matches), tuple(destinations) or _elsewhere(rule))


def _gateway(rule: Mapping[str, Any]) -> Rule:
    destinations = tuple((str(ref.get("name", "?")), _weight(ref)) for ref in _maps(rule.get("backendRefs")))
    matches = []
    for match in _maps(rule.get("matches")):
        parts = [f"{_text(match['path'].get('type'))} {_text(match['path'].get('value'))}"] if _is_map(match.get("path")) else []
        parts += [f"header {_text(one.get('name'))}={_text(one.get('value'))}" for one in _maps(match.get("headers"))]
        parts += [f"query {_text(one.get('name'))}={_text(one.get('value'))}" for one in _maps(match.get("queryParams"))]
        parts += [_text(match["method"])] if match.get("method") else []
        matches.append(" ".join(parts))
    return Rule(_when(rule, matches), destinations or _elsewhere(rule))


def _nginx(body: Document) -> tuple[Rule, ...]:
    notes = value_at(body, "/metadata/annotations") or {}
    canary = notes.get(CANARY_NOTES) == "true"
    weight = str(notes.get(f"{CANARY_NOTES}-weight", ""))
    by = [f"{name.rpartition('-by-')[2]} {value}" for name, value in sorted(notes.items()) if f"{CANARY_NOTES}-by-" in name]
    share = (int(weight) if weight.isdigit() else None) if canary else None
    found = []
    for rule in _maps(value_at(body, "/spec/rules")):
        for path in _maps(value_at(rule, "/http/paths")):
            service = value_at(path, "/backend/service/name") or "?"
            when = f"{_text(rule.get('host')) or 'any host'}{_text(path.get('path')) or '/'}"
            found.append(Rule(" ".join((when, *by)) if canary else when, ((str(service), share),)))
    return tuple(found)


def _when(rule: Mapping[str, Any], matches: list[str]) -> str:
    name = f"{_text(rule['name'])}: " if rule.get("name") else ""
    return name + (" or ".join(match for match in matches if match) or EVERYTHING)


def _matched(match: Mapping[str, Any]) -> str:
    """One condition of a VirtualService: its parts all hold."""
    parts = []
    for field, value in match.items():
        if field in ("headers", "queryParams", "withoutHeaders") and _is_map(value):
            parts += [f"{field} {name} {_how(one)}".strip() for name, one in value.items()]
        elif field != "name":
            parts.append(f"{field} {_how(value)}")
    return " ".join(parts)


def _how(value: Any) -> str:
    if _is_map(value):
        return " ".join(f"{kind} {_text(one)}" for kind, one in value.items())
    return _text(value)


def _elsewhere(rule: Mapping[str, Any]) -> tuple[tuple[str, int | None], ...]:
    return tuple((f"({field})", None) for field in ("redirect", "directResponse", "delegate") if rule.get(field))


def _weight(share: Mapping[str, Any]) -> int | None:
    weight = share.get("weight")
    return weight if isinstance(weight, int) else None


def _maps(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
