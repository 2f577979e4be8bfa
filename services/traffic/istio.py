"""Traffic through an Istio VirtualService: which weights are ours, what they are, and what to write to change them.

Pure functions over the object as the API server sent it. Only weights are ever written, each at its own JSON pointer, so
matches, headers, mirrors, other rules and other hosts stay as they are, and taking a change back is taking back numbers.

A rule is *split* when its route holds exactly two destinations, the service's stable subset and its canary subset. Every split
rule of the service gets the weights. Rules that send everything to one subset (a pinned group of users, say) are left alone.
A route that has no canary destination yet is refused rather than extended: a destination that was added shifts what a JSON
pointer means and can't be undone number by number; adding it once at weight 0 changes nothing for users.

Weights: ``networking.istio.io/v1`` asks for weights that sum to 100 over the destinations of one route; a single destination
may leave its weight out, and beside others a missing weight is 0.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.model.objects import ObjectRef, pointer, value_at
from services.traffic.labels import reached_through_service, selector_of, told_apart
from services.traffic.router import (
    CANARY,
    STABLE,
    Document,
    Guard,
    NotRoutable,
    Pods,
    Route,
    Surroundings,
    Write,
    checked,
    named,
)

__all__ = [
    "Guard",
    "Istio",
    "NotRoutable",
    "Split",
    "SplitRule",
    "Write",
    "guards",
    "locate",
    "subset_labels",
    "weight_of",
    "writes",
]

KIND = "VirtualService"


UNKNOWN_CONTEXT = "CONTEXT"  # in a command line: to be filled in by the person, who knows which cluster it is


@dataclass(frozen=True, slots=True)
class SplitRule:
    """One split rule: its position in ``spec.http``, its name (may be empty), and the positions of both destinations."""

    index: int
    name: str
    stable: int
    canary: int

    def weight_path(self, destination: int) -> str:
        return pointer("spec", "http", self.index, "route", destination, "weight")

    def destination_path(self, destination: int) -> str:
        return pointer("spec", "http", self.index, "route", destination, "destination")


@dataclass(frozen=True, slots=True)
class Split:
    """Where the weights of one service live. ``pinned`` names rules that send some users to the canary alone, whatever the
    weight: they are not touched."""

    service: str
    rules: tuple[SplitRule, ...]
    stable_subset: str = STABLE
    canary_subset: str = CANARY
    pinned: tuple[str, ...] = ()


def is_host(host: str, service: str, namespace: str) -> bool:
    """Whether a destination's ``host`` means ``service`` of ``namespace`` (short name, or name.namespace.svc…)."""
    if host == service:
        return True
    parts = host.rstrip(".").split(".")
    return parts[:3] == [service, namespace, "svc"]


def locate(
    virtual_service: Mapping[str, Any],
    service: str,
    *,
    stable_subset: str = STABLE,
    canary_subset: str = CANARY,
    context: str = UNKNOWN_CONTEXT,
) -> Split:
    """Find the split rules of ``service``. Raises :class:`NotRoutable` where there is none or one is ambiguous; the commands in
    its hints name ``context``."""
    name = _name(virtual_service)
    namespace = str(value_at(virtual_service, "/metadata/namespace") or "")
    split: list[SplitRule] = []
    pinned: list[str] = []
    stable_only: list[int] = []
    without_subset: list[int] = []
    for index, rule in enumerate(_rules(virtual_service)):
        route = _route(rule)
        ours = [
            (position, str(entry["destination"].get("subset") or ""))
            for position, entry in enumerate(route)
            if is_host(str(entry["destination"].get("host") or ""), service, namespace)
        ]
        if not ours:
            continue
        label = _label(rule, index)
        stable = [position for position, subset in ours if subset == stable_subset]
        canary = [position for position, subset in ours if subset == canary_subset]
        if stable and canary:
            if len(stable) > 1 or len(canary) > 1 or len(route) != 2:
                raise _ambiguous(name, label, route, stable_subset, canary_subset)
            found = SplitRule(index, str(rule.get("name") or ""), stable[0], canary[0])
            if sum(_weights(route)) == 0:
                raise NotRoutable(
                    f"virtualservice/{name} gives no weights in {label}",
                    f"Both {stable_subset} and {canary_subset} have weight 0, so where requests go is not defined.",
                    "Set the weights to 100 and 0: " + _patch(name, namespace, _weighing(_pairs(found, 0)), context),
                )
            split.append(found)
        elif canary:
            pinned.append(label)
        elif stable and len(route) == 1:
            stable_only.append(index)
        else:
            without_subset.append(index)
    if not split:
        raise _unsplit(virtual_service, name, service, stable_only, without_subset, stable_subset, canary_subset, context)
    return Split(service, tuple(split), stable_subset, canary_subset, tuple(pinned))


def weight_of(virtual_service: Mapping[str, Any], split: Split) -> int:
    """The canary's share in percent. Where rules differ, the largest; a share above 0 never rounds to 0.

    Raises :class:`NotRoutable` where the destinations are no longer at the places that ``split`` names.
    """
    return max(_share(virtual_service, split, rule) for rule in split.rules)


def writes(virtual_service: Mapping[str, Any], split: Split, weight: int) -> tuple[Write, ...]:
    """The weights to write so that the canary gets ``weight`` percent and stable the rest, in every split rule.

    Raises :class:`NotRoutable` where the destinations are no longer at the places that ``split`` names, and ``ValueError``
    for a weight outside 0–100.
    """
    checked(weight)
    guards(virtual_service, split)
    return tuple(write for rule in split.rules for write in _pairs(rule, weight))


def reaches(virtual_service: Mapping[str, Any], service: str, subset: str = CANARY) -> bool:
    """Whether any rule sends requests to ``subset`` of ``service``, however the route is laid out: what can't be located as a
    split (somebody rearranged it) may still do so."""
    namespace = str(value_at(virtual_service, "/metadata/namespace") or "")
    return any(
        weight > 0
        and str(entry["destination"].get("subset") or "") == subset
        and is_host(str(entry["destination"].get("host") or ""), service, namespace)
        for rule in _rules(virtual_service)
        for entry, weight in zip(_route(rule), _weights(_route(rule)), strict=True)
    )


def guards(virtual_service: Mapping[str, Any], split: Split) -> tuple[Guard, ...]:
    """What to ``test`` with the writes: the destination at each position, so that a list reordered meanwhile is refused."""
    namespace = str(value_at(virtual_service, "/metadata/namespace") or "")
    found: list[Guard] = []
    for rule in split.rules:
        for position, subset in ((rule.stable, split.stable_subset), (rule.canary, split.canary_subset)):
            path = rule.destination_path(position)
            destination = value_at(virtual_service, path)
            if (
                not isinstance(destination, dict)
                or destination.get("subset") != subset
                or not is_host(str(destination.get("host") or ""), split.service, namespace)
            ):
                raise NotRoutable(
                    f"virtualservice/{_name(virtual_service)} was rearranged",
                    f"{path} no longer is {split.service}'s subset {subset}.",
                    "Look at the route, then plan again.",
                )
            found.append((path, destination))
    return tuple(found)


def subset_labels(destination_rule: Mapping[str, Any] | None, split: Split) -> tuple[dict[str, str], dict[str, str]]:
    """The pod labels that the stable and the canary subset select. Raises :class:`NotRoutable` where a subset is not defined:
    Istio answers requests to an undefined subset with 503."""
    if destination_rule is None:
        raise NotRoutable(
            f"{split.service} has no DestinationRule",
            f"The route names the subsets {split.stable_subset} and {split.canary_subset}, and nothing defines them.",
            f"Create a DestinationRule for host {split.service} with these subsets and the labels of their pods.",
        )
    subsets = {
        str(subset.get("name")): {str(key): str(value) for key, value in (subset.get("labels") or {}).items()}
        for subset in value_at(destination_rule, "/spec/subsets") or ()
        if isinstance(subset, dict)
    }
    for wanted in (split.stable_subset, split.canary_subset):
        if not subsets.get(wanted):
            raise NotRoutable(
                f"destinationrule/{_name(destination_rule)} defines no subset {wanted} with labels",
                f"It defines: {', '.join(subsets) or 'none'}.",
                f"Add to spec.subsets: {{name: {wanted}, labels: {{track: {wanted}}}}}.",
            )
    return subsets[split.stable_subset], subsets[split.canary_subset]


class Istio:
    """The router of VirtualServices."""

    name = "istio"
    by_pods = False

    def found(self, around: Surroundings) -> tuple[ObjectRef, ...]:
        return tuple(
            ObjectRef(KIND, around.namespace, _name(document))
            for document in around.virtual_services
            if _is_for(document, around.service, around.namespace)
        )

    def carriers(self, around: Surroundings) -> tuple[Document, ...]:
        return tuple(document for document in around.virtual_services if _is_for(document, around.service, around.namespace))

    def passed_over(self, around: Surroundings) -> tuple[str, ...]:
        return ()

    def route(self, around: Surroundings, chosen: ObjectRef | None) -> Route:
        body = named(around.virtual_services, chosen.name) if chosen is not None else None
        if body is None or chosen is None:
            raise NotRoutable(
                f"{around.service} has no VirtualService in namespace {around.namespace}, so requests can't be split",
                "",
                f"a VirtualService that routes to {around.service}'s subsets stable (weight 100) and canary (weight 0)",
            )
        split = locate(body, around.service, context=around.context or UNKNOWN_CONTEXT)
        rule = _destination_rule(around)
        stable_labels, canary_labels = subset_labels(rule, split)
        labels = told_apart(around.stable, stable_labels, canary_labels, stable="the subset stable", canary="the subset canary")
        reached_through_service(around, labels)
        notes: tuple[str, ...] = ()
        if split.pinned:
            notes = (f"{chosen}: {', '.join(split.pinned)} sends its requests to the canary whatever the weight; left as it is.",)
        return Route(
            ref=chosen,
            body=body,
            labels=labels,
            basis={"subsets": value_at(rule, "/spec"), "service": selector_of(around.own)},
            notes=notes,
        )

    def weight_of(self, document: Mapping[str, Any], service: str, pods: Pods) -> int:
        return weight_of(document, locate(document, service))

    def writes(self, document: Mapping[str, Any], service: str, weight: int, pods: Pods) -> tuple[Write, ...]:
        return writes(document, locate(document, service), weight)

    def reaches(self, document: Mapping[str, Any], service: str) -> bool:
        return reaches(document, service)

    def guards(self, document: Mapping[str, Any], service: str) -> tuple[Guard, ...]:
        return guards(document, locate(document, service))


def _is_for(virtual_service: Document, service: str, namespace: str) -> bool:
    """Whether requests for the service go through this VirtualService: by its hosts, or by where a rule sends them."""
    hosts = [str(host) for host in value_at(virtual_service, "/spec/hosts") or ()]
    destinations = [str(entry["destination"].get("host") or "") for rule in _rules(virtual_service) for entry in _route(rule)]
    return any(is_host(host, service, namespace) for host in (*hosts, *destinations))


def _destination_rule(around: Surroundings) -> Document | None:
    return next(
        (
            rule
            for rule in around.destination_rules
            if is_host(str(value_at(rule, "/spec/host") or ""), around.service, around.namespace)
        ),
        None,
    )


def _name(document: Mapping[str, Any]) -> str:
    return str(value_at(document, "/metadata/name") or "")


def _rules(virtual_service: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = value_at(virtual_service, "/spec/http")
    return [rule if isinstance(rule, dict) else {} for rule in rules] if isinstance(rules, list) else []


def _route(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rule's destinations, positions kept; an entry without a destination is one of nobody's."""
    return [
        entry if isinstance(entry, dict) and isinstance(entry.get("destination"), dict) else {"destination": {}}
        for entry in rule.get("route") or ()
    ]


def _label(rule: Mapping[str, Any], index: int) -> str:
    return f"rule {rule['name']!r}" if rule.get("name") else f"rule {index + 1}"


def _weights(route: list[dict[str, Any]]) -> list[int]:
    weights = [weight if isinstance(weight := entry.get("weight"), int) else 0 for entry in route]
    return [weights[0] or 100] if len(weights) == 1 else weights


def _share(virtual_service: Mapping[str, Any], split: Split, rule: SplitRule) -> int:
    guards(virtual_service, split)
    route = _route(_rules(virtual_service)[rule.index])
    weights = _weights(route)
    total = sum(weights)
    canary = weights[rule.canary]
    if not canary or not total:
        return 0
    return max(1, round(100 * canary / total))


def _pairs(rule: SplitRule, weight: int) -> tuple[Write, Write]:
    return (rule.weight_path(rule.stable), 100 - weight), (rule.weight_path(rule.canary), weight)


def _weighing(pairs: tuple[Write, ...]) -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": weight} for path, weight in pairs]


def _patch(name: str, namespace: str, operations: list[dict[str, Any]], context: str) -> str:
    change = ["--type=json", "-p", json.dumps(operations)]
    return shlex.join(["kubectl", "patch", "virtualservice", name, "-n", namespace, *change, "--context", context])


def _ambiguous(name: str, label: str, route: list[dict[str, Any]], stable: str, canary: str) -> NotRoutable:
    listed = ", ".join(
        f"{entry['destination'].get('host', '?')}/{entry['destination'].get('subset', '-')} {weight}"
        for entry, weight in zip(route, _weights(route), strict=True)
    )
    return NotRoutable(
        f"virtualservice/{name} is ambiguous in {label}",
        f"It sends requests to: {listed}.",
        f"A split rule has exactly two destinations, one {stable} and one {canary}: remove the others from this rule.",
    )


def _unsplit(
    virtual_service: Mapping[str, Any],
    name: str,
    service: str,
    stable_only: list[int],
    without_subset: list[int],
    stable: str,
    canary: str,
    context: str,
) -> NotRoutable:
    namespace = str(value_at(virtual_service, "/metadata/namespace") or "")
    title = f"virtualservice/{name} has no rule that splits {service} between {stable} and {canary}"
    if stable_only:
        index = stable_only[0]
        route = _route(_rules(virtual_service)[index])
        destination = route[0]["destination"]
        operations = [
            {"op": "test", "path": pointer("spec", "http", index, "route", 0, "destination"), "value": destination},
            {"op": "add", "path": pointer("spec", "http", index, "route", 0, "weight"), "value": 100},
            {
                "op": "add",
                "path": pointer("spec", "http", index, "route", "-"),
                "value": {"destination": {**destination, "subset": canary}, "weight": 0},
            },
        ]
        command = _patch(name, namespace, operations, context)
        return NotRoutable(
            title,
            f"{_label(_rules(virtual_service)[index], index).capitalize()} sends everything to {stable}; "
            f"there is no {canary} destination.",
            f"Add it once at weight 0, which changes nothing for users: {command}",
        )
    if without_subset:
        index = without_subset[0]
        return NotRoutable(
            title,
            f"{_label(_rules(virtual_service)[index], index).capitalize()} routes to {service} without these two subsets.",
            f"Route it to subset {stable} (weight 100) and subset {canary} (weight 0) of host {service}.",
        )
    return NotRoutable(
        title,
        f"None of its http rules routes to host {service}.",
        f"Add an http rule with subset {stable} (weight 100) and subset {canary} (weight 0) of host {service}.",
    )
