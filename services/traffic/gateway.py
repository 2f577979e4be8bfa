"""Traffic through a Gateway API HTTPRoute: which weights are ours, what they are, and what to write to change them.

A rule is ours where its ``backendRefs`` hold the service's own Service. Within such a rule only the weights of the two Services
``SERVICE`` and ``SERVICE-canary`` are written; where the second is not among them yet, the list of this one rule is written as a
whole, the canary's entry being a copy of stable's. Matches, filters, timeouts, session persistence, other rules and hosts stay
as they are. Every rule of the service gets the weights, so a header match does not hide a rule from the canary.

Weights are proportions within a rule (default 1; 0 takes no requests; all 0 answers 500):
https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.model.objects import ObjectRef, pointer, value_at
from services.traffic.backends import canary_service
from services.traffic.labels import between_services, selector_of
from services.traffic.router import (
    CANARY_SUFFIX,
    Document,
    Guard,
    NotRoutable,
    Pods,
    Route,
    Surroundings,
    Write,
    checked,
    name_of,
    named,
    namespace_of,
)

KIND = "HTTPRoute"


@dataclass(frozen=True, slots=True)
class SplitRule:
    """One rule of ours: its position in ``spec.rules``, and the positions of both Services in its ``backendRefs`` (the canary's
    is ``None`` where it is not there yet)."""

    index: int
    stable: int
    canary: int | None

    @property
    def list_path(self) -> str:
        return pointer("spec", "rules", self.index, "backendRefs")


def rules_of(http_route: Mapping[str, Any], service: str) -> tuple[SplitRule, ...]:
    """The rules of ``service``. Raises :class:`NotRoutable` where there is none or one is ambiguous."""
    found: list[SplitRule] = []
    for index, rule in enumerate(_rules(http_route)):
        refs = _refs(rule)
        stable = [position for position, ref in enumerate(refs) if _is(ref, service, http_route)]
        canary = [position for position, ref in enumerate(refs) if _is(ref, service + CANARY_SUFFIX, http_route)]
        if not stable:
            continue
        if len(stable) > 1 or len(canary) > 1 or len(refs) != len(stable) + len(canary):
            listed = ", ".join(f"{ref.get('name', '?')} {_weight(ref)}" for ref in refs)
            raise NotRoutable(
                f"httproute/{name_of(http_route)} is ambiguous in {label(rule, index)}",
                f"It sends requests to: {listed}.",
                f"A split rule has two backends, {service} and {service}{CANARY_SUFFIX}: remove the others from this rule.",
            )
        if canary and not sum(_weight(ref) for ref in refs):
            raise NotRoutable(
                f"httproute/{name_of(http_route)} gives no weights in {label(rule, index)}",
                "All its backends have weight 0, so its requests are answered with 500.",
                f"Give {service} the weight 100.",
            )
        found.append(SplitRule(index, stable[0], canary[0] if canary else None))
    if not found:
        raise NotRoutable(
            f"httproute/{name_of(http_route)} has no rule that sends requests to {service}",
            f"None of its backendRefs names service/{service}.",
            f"Add a rule with the backend {service}.",
        )
    return tuple(found)


def label(rule: Mapping[str, Any], index: int) -> str:
    return f"rule {rule['name']!r}" if rule.get("name") else f"rule {index + 1}"


class Gateway:
    """The router of HTTPRoutes."""

    name = "gateway"
    by_pods = False

    def found(self, around: Surroundings) -> tuple[ObjectRef, ...]:
        return tuple(ObjectRef(KIND, around.namespace, name_of(route)) for route in self.carriers(around))

    def carriers(self, around: Surroundings) -> tuple[Document, ...]:
        return tuple(
            route
            for route in around.http_routes
            if any(_is(ref, around.service, route) for rule in _rules(route) for ref in _refs(rule))
        )

    def passed_over(self, around: Surroundings) -> tuple[str, ...]:
        return ()

    def route(self, around: Surroundings, chosen: ObjectRef | None) -> Route:
        body = named(around.http_routes, chosen.name) if chosen is not None else None
        if body is None or chosen is None:
            raise NotRoutable(
                f"no HTTPRoute in namespace {around.namespace} sends requests to {around.service}",
                "None of their backendRefs names it.",
                f"an HTTPRoute with a rule whose backendRefs hold {around.service}",
            )
        rules = rules_of(body, around.service)
        for parent in value_at(body, "/status/parents") or ():
            for condition in (parent.get("conditions") or ()) if isinstance(parent, dict) else ():
                if condition.get("type") == "Accepted" and condition.get("status") == "False":
                    raise NotRoutable(
                        f"{chosen} is not accepted by its Gateway ({condition.get('reason', '?')})",
                        f"{condition.get('message', '')} Its weights would have no effect.".strip(),
                        "See to its parentRefs, then plan again.",
                    )
        labels = between_services(around)
        pinned = [
            label(rule, index)
            for index, rule in enumerate(_rules(body))
            if any(_is(ref, around.canary_name, body) for ref in _refs(rule)) and index not in {ours.index for ours in rules}
        ]
        notes: list[str] = []
        if pinned:
            notes.append(f"{chosen}: {', '.join(pinned)} sends its requests to the canary whatever the weight; left as it is.")
        if any(_rules(body)[rule.index].get("sessionPersistence") for rule in rules):
            notes.append(f"{chosen} keeps sessions: a user stays on the version of the first request, so shares move slowly.")
        return Route(
            ref=chosen,
            body=body,
            labels=labels,
            created=canary_service(around, labels),
            basis={"stable": selector_of(around.own), "canary": selector_of(around.canary_own)},
            notes=tuple(notes),
        )

    def weight_of(self, document: Mapping[str, Any], service: str, pods: Pods) -> int:
        """Where rules differ, the largest."""
        return max(self._share(document, rule) for rule in rules_of(document, service))

    def writes(self, document: Mapping[str, Any], service: str, weight: int, pods: Pods) -> tuple[Write, ...]:
        checked(weight)
        found: list[Write] = []
        for rule in rules_of(document, service):
            if rule.canary is not None:
                found.append((f"{rule.list_path}/{rule.stable}/weight", 100 - weight))
                found.append((f"{rule.list_path}/{rule.canary}/weight", weight))
            elif weight:
                stable = _refs(_rules(document)[rule.index])[rule.stable]
                canary = {**stable, "name": service + CANARY_SUFFIX, "weight": weight}
                found.append((rule.list_path, [{**stable, "weight": 100 - weight}, canary]))
        return tuple(found)

    def reaches(self, document: Mapping[str, Any], service: str) -> bool:
        refs = [ref for rule in _rules(document) for ref in _refs(rule)]
        return any(_weight(ref) > 0 and _is(ref, service + CANARY_SUFFIX, document) for ref in refs)

    def guards(self, document: Mapping[str, Any], service: str) -> tuple[Guard, ...]:
        """The matches of each rule and the names of its backends: a list that was reordered meanwhile is refused."""
        found: list[Guard] = []
        for rule in rules_of(document, service):
            matches = pointer("spec", "rules", rule.index, "matches")
            if (value := value_at(dict(document), matches)) is not None:
                found.append((matches, value))
            found.append((f"{rule.list_path}/{rule.stable}/name", service))
            if rule.canary is not None:
                found.append((f"{rule.list_path}/{rule.canary}/name", service + CANARY_SUFFIX))
        return tuple(found)

    def _share(self, document: Mapping[str, Any], rule: SplitRule) -> int:
        if rule.canary is None:
            return 0
        refs = _refs(_rules(document)[rule.index])
        canary, total = _weight(refs[rule.canary]), sum(_weight(ref) for ref in refs)
        return max(1, round(100 * canary / total)) if canary else 0


def _rules(http_route: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = value_at(dict(http_route), "/spec/rules")
    return [rule if isinstance(rule, dict) else {} for rule in rules] if isinstance(rules, list) else []


def _refs(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rule's backends, positions kept; an entry that is none is one of nobody's."""
    refs = rule.get("backendRefs")
    return [ref if isinstance(ref, dict) else {} for ref in refs] if isinstance(refs, list) else []


def _is(ref: Mapping[str, Any], service: str, http_route: Mapping[str, Any]) -> bool:
    """Whether a backend is the Service ``service`` of the route's own namespace."""
    return (
        ref.get("name") == service
        and ref.get("kind") in (None, "Service")
        and ref.get("group") in (None, "")
        and ref.get("namespace") in (None, "", namespace_of(http_route))
    )


def _weight(ref: Mapping[str, Any]) -> int:
    weight = ref.get("weight")
    return weight if isinstance(weight, int) and not isinstance(weight, bool) and weight >= 0 else 1
