"""By which labels the pods of both versions are told apart."""

from collections.abc import Mapping
from typing import Any

from services.model.objects import Json, value_at
from services.traffic.router import CANARY, STABLE, NotRoutable, Surroundings, name_of
from services.traffic.selector import selects

TRACK = "track"
"""The label that tells versions apart where nothing else is given: ``track: stable`` and ``track: canary``."""


def pod_labels(workload: Mapping[str, Any]) -> dict[str, str]:
    return texts(value_at(dict(workload), "/spec/template/metadata/labels"))


def selector_of(service: Mapping[str, Any] | None) -> dict[str, str]:
    """What a Service selects; empty where there is none."""
    return texts(value_at(dict(service), "/spec/selector")) if service is not None else {}


def texts(labels: Json) -> dict[str, str]:
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def told_apart(
    workload: Mapping[str, Any], stable_selects: Mapping[str, str], canary_selects: Mapping[str, str], *, stable: str, canary: str
) -> dict[str, str]:
    """What the canary's pods have to carry besides stable's labels, so that each side selects its own pods and no others.

    ``stable`` and ``canary`` say in words who selects. Raises :class:`NotRoutable` where pods of both versions would be mixed.
    """
    pods = pod_labels(workload)
    selector = value_at(dict(workload), "/spec/selector") or {}
    labels = {key: value for key, value in canary_selects.items() if pods.get(key) != value}
    canary_pods = {**pods, **labels}
    apart = bool(labels) and not selects(selector, canary_pods)
    of_stable = bool(stable_selects) and stable_selects.items() <= pods.items()
    if not apart or not of_stable or stable_selects.items() <= canary_pods.items():
        raise NotRoutable(
            f"the pods of deployment/{name_of(workload)} carry {text(pods)} and are selected by {_selected(selector)}, "
            f"{stable} selects {text(stable_selects)}, {canary} {text(canary_selects)}: "
            f"pods of both versions could not be told apart",
            "",
            f"labels such as {TRACK}={STABLE} in the Deployment's selector and template (a selector is immutable: create it "
            f"anew), and {stable} that selects {TRACK}={STABLE}, {canary} that selects {TRACK}={CANARY}",
        )
    return labels


def between_services(around: Surroundings) -> dict[str, str]:
    """:func:`told_apart` by the Services of both versions; where ``SERVICE-canary`` is missing, as it will be made."""
    if around.own is None:
        raise NotRoutable(
            f"there is no service/{around.service} in namespace {around.namespace}",
            "A route sends requests to Services.",
            f"a Service {around.service} that selects the pods of deployment/{name_of(around.stable)}",
        )
    stable_selects = selector_of(around.own)
    canary_selects = selector_of(around.canary_own) if around.canary_own is not None else {**stable_selects, TRACK: CANARY}
    return told_apart(
        around.stable,
        stable_selects,
        canary_selects,
        stable=f"service/{around.service}",
        canary=f"service/{around.canary_name}",
    )


def reached_through_service(around: Surroundings, labels: Mapping[str, str]) -> None:
    """Raise :class:`NotRoutable` where the Service does not select the canary's pods: a subset has only those of the Service's
    endpoints that carry its labels, and Istio answers a share that goes to none of them with 503."""
    asked, pods = selector_of(around.own), {**pod_labels(around.stable), **labels}
    if asked and not asked.items() <= pods.items():
        missing = {key: value for key, value in asked.items() if pods.get(key) != value}
        raise NotRoutable(
            f"service/{around.service} selects {text(asked)}, which the canary's pods ({text(pods)}) don't carry",
            "The subset canary would have no endpoints: its share of the requests would be answered with 503.",
            f"a Service {around.service} that selects the pods of both versions, without {text(missing)}",
        )


def _selected(selector: Mapping[str, Any]) -> str:
    expressions = [
        f"{each.get('key')} {each.get('operator')} {', '.join(each.get('values') or ())}".rstrip()
        for each in selector.get("matchExpressions") or ()
    ]
    return ", ".join([text(selector.get("matchLabels") or {}), *expressions])


def text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "no labels"
