"""Traffic through ingress-nginx: a second Ingress with canary annotations beside the one that serves the service.

The canary Ingress repeats the hosts and paths of the service's own Ingresses with ``SERVICE-canary`` as backend, and its
annotation ``canary-weight`` says how many of ``canary-weight-total`` (100 where it is not given) requests it gets. Only these
two annotations are written. Whatever the project finds on it otherwise (other annotations, canary by header or cookie) stays.
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary

Only ingress-nginx reads these annotations: another controller, NGINX Inc.'s of nearly the same name included, would take the
second Ingress for a rival of the first. So the controller of the Ingress's class has to be known.
"""

from collections.abc import Mapping
from typing import Any

from services.model.objects import ObjectRef, pointer, value_at
from services.traffic.backends import canary_service, own_labels
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
)

KIND = "Ingress"
CONTROLLER = "k8s.io/ingress-nginx"
CLASS_NAME = "nginx"
"""The class that is taken for ingress-nginx where the classes can't be read."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PREFIX = "nginx.ingress.kubernetes.io/"
ANNOTATIONS = ("metadata", "annotations")
IS_CANARY = pointer(*ANNOTATIONS, f"{PREFIX}canary")
WEIGHT = pointer(*ANNOTATIONS, f"{PREFIX}canary-weight")
TOTAL = pointer(*ANNOTATIONS, f"{PREFIX}canary-weight-total")
RULES = "/spec/rules"
_BY_OTHERS = ("canary-by-header", "canary-by-cookie")


class Nginx:
    """The router of ingress-nginx."""

    name = "nginx"
    by_pods = False

    def found(self, around: Surroundings) -> tuple[ObjectRef, ...]:
        """The Ingresses that send all their requests for the service to it, of a class that ingress-nginx serves."""
        mains = [ingress for ingress in _mains(around) if not _why_not(around, ingress)]
        return tuple(ObjectRef(KIND, around.namespace, name_of(ingress)) for ingress in mains)

    def carriers(self, around: Surroundings) -> tuple[Document, ...]:
        return tuple(
            ingress
            for ingress in around.ingresses
            if _annotations(ingress).get(f"{PREFIX}canary") == "true" and around.canary_name in _backends(ingress)
        )

    def passed_over(self, around: Surroundings) -> tuple[str, ...]:
        return tuple(why for ingress in _mains(around) if (why := _why_not(around, ingress)))

    def route(self, around: Surroundings, chosen: ObjectRef | None) -> Route:
        """One canary Ingress carries the paths of all the service's Ingresses of the class: ``chosen`` stands for them."""
        mains = [ingress for ingress in _mains(around) if not _why_not(around, ingress)]
        if not mains:
            why = "; ".join(self.passed_over(around))
            raise NotRoutable(
                f"no Ingress of ingress-nginx sends requests to {around.service}",
                f"{why[:1].upper()}{why[1:]}." if why else f"None in namespace {around.namespace} has it as a backend.",
                f"an Ingress with ingressClassName {CLASS_NAME} whose paths have the backend {around.service}",
            )
        labels = between_services(around)
        classes = {_class(ingress) for ingress in mains}
        if len(classes) > 1:
            raise NotRoutable(
                f"{' and '.join(f'ingress/{name_of(ingress)}' for ingress in mains)} are of different classes",
                f"They are of {', '.join(sorted(classes))}; one canary Ingress has one class.",
                "Bring them to one class, or configure another router for the service.",
            )
        wanted = _canary_ingress(around, mains)
        existing = _existing(around, wanted)
        notes = [
            "ingress-nginx is retired since March 2026 and gets no fixes: plan to move to the Gateway API.",
        ]
        if around.classes is None:
            notes.append(
                f"The IngressClasses can't be read: the class {_class(mains[0])} is taken for ingress-nginx by its name. Another "
                f"controller would ignore the weights; the share that arrives is measured."
            )
        created = canary_service(around, labels)
        if existing is None:
            ref, body, created = ObjectRef(KIND, around.namespace, around.canary_name), wanted, (*created, wanted)
        else:
            ref, body = ObjectRef(KIND, around.namespace, name_of(existing)), existing
            others = [key for key in _annotations(existing) if key.removeprefix(PREFIX).startswith(_BY_OTHERS)]
            if others:
                notes.append(f"{ref} sends some users to the canary whatever the weight ({', '.join(others)}); left as it is.")
        basis = {
            "stable": selector_of(around.own),
            "canary": selector_of(around.canary_own),
            "rules": value_at(wanted, RULES),
        }
        return Route(ref=ref, body=body, labels=labels, created=created, basis=basis, notes=tuple(notes))

    def weight_of(self, document: Mapping[str, Any], service: str, pods: Pods) -> int:
        weight, total = _numbers(document)
        return max(1, min(100, round(100 * weight / total))) if weight else 0

    def writes(self, document: Mapping[str, Any], service: str, weight: int, pods: Pods) -> tuple[Write, ...]:
        """A total that ``weight`` percent is no whole part of becomes 100."""
        checked(weight)
        _, total = _numbers(document)
        if total * weight % 100:
            return (WEIGHT, str(weight)), (TOTAL, "100")
        return ((WEIGHT, str(total * weight // 100)),)

    def reaches(self, document: Mapping[str, Any], service: str) -> bool:
        if service + CANARY_SUFFIX not in _backends(dict(document)):
            return False
        try:
            weight, _ = _numbers(document)
        except NotRoutable:
            return True  # no canary any more: all requests of its paths may come here
        return weight > 0 or any(key.removeprefix(PREFIX).startswith(_BY_OTHERS) for key in _annotations(document))

    def guards(self, document: Mapping[str, Any], service: str) -> tuple[Guard, ...]:
        _numbers(document)
        return (IS_CANARY, "true"), (RULES, value_at(dict(document), RULES))


def _numbers(document: Mapping[str, Any]) -> tuple[int, int]:
    """Weight and total as the canary Ingress says. Raises :class:`NotRoutable` where it is none, or says no numbers."""
    body = dict(document)
    if value_at(body, IS_CANARY) != "true":
        raise NotRoutable(
            f"ingress/{name_of(document)} is no canary",
            f"Its annotation {PREFIX}canary is not 'true', so it takes requests on its own.",
            "Remove it or rename it: the canary's Ingress is made by the rollout.",
        )
    weight, total = value_at(body, WEIGHT), value_at(body, TOTAL)
    texts = ("0" if weight is None else weight, "100" if total is None else total)
    if (
        not all(isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 for text in texts)
        or texts[1] == "0"
    ):
        raise NotRoutable(
            f"ingress/{name_of(document)} gives no weight that can be read",
            f"canary-weight is {weight!r}, canary-weight-total is {total!r}.",
            f"Set {PREFIX}canary-weight to '0'.",
        )
    return int(texts[0]), max(1, int(texts[1]))


def _mains(around: Surroundings) -> list[Document]:
    """The Ingresses, canaries left out, that have the service as a backend."""
    return [
        ingress
        for ingress in around.ingresses
        if _annotations(ingress).get(f"{PREFIX}canary") != "true"
        and (_rules(ingress, around.service) or _default(ingress, around))
    ]


def _default(ingress: Document, around: Surroundings) -> bool:
    return bool(value_at(ingress, "/spec/defaultBackend/service/name") == around.service)


def _why_not(around: Surroundings, ingress: Document) -> str:
    """Why a canary beside this Ingress would be ignored; empty where it would not."""
    ref, name = f"ingress/{name_of(ingress)}", _class(ingress)
    if around.classes is None:
        if name != CLASS_NAME:
            return f"{ref} is of the class {name or '(default)'}, whose controller can't be looked up"
    elif name not in around.classes:
        return f"{ref} is of the class {name or '(default)'}, which nothing defines"
    elif around.classes[name] != CONTROLLER:
        return f"{ref} is served by {around.classes[name]}, which ignores canary annotations"
    if not _rules(ingress, around.service):
        return f"{ref} has {around.service} as default backend only, for which ingress-nginx knows no canary"
    return ""


def _canary_ingress(around: Surroundings, mains: list[Document]) -> Document:
    """The canary's Ingress as it is created: weight 0, every host and path of ``mains`` that the service answers."""
    annotations = {f"{PREFIX}canary": "true", f"{PREFIX}canary-weight": "0"}
    spec: Document = {}
    if class_name := value_at(mains[0], "/spec/ingressClassName"):
        spec["ingressClassName"] = class_name
    elif class_name := _annotations(mains[0]).get(CLASS_ANNOTATION):
        annotations[CLASS_ANNOTATION] = class_name
    spec["rules"] = [
        {
            **({"host": rule["host"]} if rule.get("host") else {}),
            "http": {
                "paths": [
                    {**path, "backend": {"service": {**path["backend"]["service"], "name": around.canary_name}}} for path in paths
                ]
            },
        }
        for ingress in mains
        for rule, paths in _rules(ingress, around.service)
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": KIND,
        "metadata": {
            "name": around.canary_name,
            "namespace": around.namespace,
            "labels": own_labels(mains[0]),
            "annotations": annotations,
        },
        "spec": spec,
    }


def _existing(around: Surroundings, wanted: Document) -> Document | None:
    """The canary Ingress that is there already. Raises :class:`NotRoutable` where one stands in the way."""
    by_name = named(around.ingresses, around.canary_name)
    places = _places(wanted)
    rivals = [
        ingress
        for ingress in around.ingresses
        if _annotations(ingress).get(f"{PREFIX}canary") == "true" and _places(ingress) & places
    ]
    ours = [ingress for ingress in rivals if _backends(ingress) == {around.canary_name}]
    others = [ingress for ingress in rivals if ingress not in ours]
    if others or len(ours) > 1:
        listed = " and ".join(f"ingress/{name_of(ingress)}" for ingress in (*others, *ours))
        raise NotRoutable(
            f"{listed} {'is a canary' if len(others) + len(ours) == 1 else 'are canaries'} of the same paths",
            "ingress-nginx knows one canary for each path.",
            f"Remove {listed}, or let one send its share to {around.canary_name}.",
        )
    if by_name is not None and by_name not in ours:
        raise NotRoutable(
            f"ingress/{around.canary_name} exists and is not a canary of {around.service}'s paths",
            "The rollout would have to take it over.",
            f"Remove or rename ingress/{around.canary_name}.",
        )
    if ours and not places <= _places(ours[0]):
        missing = ", ".join(f"{host or '*'}{path}" for host, path in sorted(places - _places(ours[0])))
        raise NotRoutable(
            f"ingress/{name_of(ours[0])} does not repeat all paths of {around.service}",
            f"Missing: {missing}. Requests for them would never reach the canary.",
            f"Add them to ingress/{name_of(ours[0])}, or remove it: the rollout makes its own.",
        )
    if ours:
        _numbers(ours[0])
        return ours[0]
    return None


def _rules(ingress: Document, service: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The rules that have paths with ``service`` as backend, each with these paths."""
    found = []
    rules = value_at(ingress, RULES)
    for rule in rules if isinstance(rules, list) else ():
        listed = value_at(rule, "/http/paths") if isinstance(rule, dict) else None
        paths = [path for path in listed or () if isinstance(path, dict) and value_at(path, "/backend/service/name") == service]
        if paths:
            found.append((rule, paths))
    return found


def _all_paths(ingress: Document) -> list[tuple[str, dict[str, Any]]]:
    rules = value_at(ingress, RULES)
    return [
        (str(rule.get("host") or ""), path)
        for rule in (rules if isinstance(rules, list) else ())
        if isinstance(rule, dict)
        for path in value_at(rule, "/http/paths") or ()
        if isinstance(path, dict)
    ]


def _places(ingress: Document) -> set[tuple[str, str]]:
    return {(host, str(path.get("path") or "/")) for host, path in _all_paths(ingress)}


def _backends(ingress: Document) -> set[str]:
    return {str(value_at(path, "/backend/service/name") or "") for _, path in _all_paths(ingress)}


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    found = value_at(dict(document), pointer(*ANNOTATIONS))
    return found if isinstance(found, dict) else {}


def _class(ingress: Document) -> str:
    """The name of the Ingress's class; empty where the cluster's default class decides."""
    return str(value_at(ingress, "/spec/ingressClassName") or _annotations(ingress).get(CLASS_ANNOTATION) or "")
