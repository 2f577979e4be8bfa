"""Traffic by replica counts, where no route splits requests: the Service sends them to the ready pods of both versions alike, so
the canary's share is its share of the pods.

Stable keeps all its pods (it has to be able to take everything back at once), so ``k`` canary pods beside ``n`` stable ones get
k / (n + k) of the requests, and no other shares can be had. The rule: **as many canary pods as keep the share at or below what
is wanted; at least one.** Where even one pod is more than what is wanted, that share is what the plan says, in its step and in a
note: never more than announced. A share is told in whole percent rounded up, so that none is understated.
"""

from collections.abc import Mapping
from typing import Any

from services.model.objects import ObjectRef, value_at
from services.traffic.labels import TRACK, pod_labels, selector_of, text
from services.traffic.router import (
    CANARY,
    Document,
    Guard,
    NotRoutable,
    Pods,
    Route,
    Surroundings,
    Write,
    checked,
    name_of,
)
from services.traffic.selector import selects

REPLICAS = "/spec/replicas"


def share(pods: Pods) -> int:
    """The canary's share of the requests in percent, rounded up; 0 where it has no pods."""
    if pods.canary <= 0:
        return 0
    return -(-100 * pods.canary // (max(0, pods.stable) + pods.canary))


def pods_for(weight: int, stable: int) -> int:
    """The canary pods beside ``stable`` ones whose share comes closest to ``weight`` percent without exceeding it; 1 where even
    one exceeds it. 0 for no weight."""
    if weight <= 0:
        return 0
    # k / (n + k) <= w/100, so k <= n × w / (100 − w). Everything can't be had as long as stable has pods.
    most = stable * weight // (100 - weight) if weight < 100 else stable * 99
    return max(1, most)


def achievable(weight: int, stable: int) -> int:
    """The share that is really had where ``weight`` percent are wanted."""
    return share(Pods(stable, pods_for(weight, stable)))


class Replicas:
    """The router that is none: the number of pods."""

    name = "replicas"
    by_pods = True

    def found(self, around: Surroundings) -> tuple[ObjectRef, ...]:
        return ()

    def carriers(self, around: Surroundings) -> tuple[Document, ...]:
        """The canary's workload, where its pods are among those that the Service sends requests to."""
        asked = selector_of(around.own)
        if around.canary is None or not asked or not asked.items() <= pod_labels(around.canary).items():
            return ()
        return (around.canary,)

    def passed_over(self, around: Surroundings) -> tuple[str, ...]:
        return ()

    def route(self, around: Surroundings, chosen: ObjectRef | None) -> Route:
        ref = ObjectRef("Deployment", around.namespace, around.canary_name)
        pods = pod_labels(around.stable)
        labels = {TRACK: CANARY}
        asked = selector_of(around.own)
        if pods.get(TRACK) == CANARY:
            raise NotRoutable(
                f"the pods of deployment/{name_of(around.stable)} carry {TRACK}={CANARY}",
                "They could not be told apart from the canary's.",
                f"the label {TRACK}=stable on stable's pods",
            )
        if around.own is not None and not (asked and asked.items() <= {**pods, **labels}.items()):
            raise NotRoutable(
                f"service/{around.service} selects {text(asked) if asked else 'no pods'}, "
                f"which the canary's pods ({text({**pods, **labels})}) don't carry",
                "Without a route the canary would get no requests at all.",
                f"a VirtualService, HTTPRoute or nginx Ingress for {around.service}, or a Service that selects both versions",
            )
        notes = []
        if around.own is None:
            notes.append(f"There is no service/{around.service}: the share of the pods says nothing of requests, only of work.")
        if selects(value_at(around.stable, "/spec/selector") or {}, {**pods, **labels}):
            notes.append(
                f"The selector of deployment/{name_of(around.stable)} does not look at {TRACK}: it matches the canary's pods "
                f"too. Their owners tell them apart; an autoscaler or a disruption budget with that selector counts them."
            )
        body: Document = around.canary if around.canary is not None else {"spec": {"replicas": 0}}
        return Route(ref=ref, body=body, labels=labels, basis={"stable": asked}, notes=tuple(notes))

    def weight_of(self, document: Mapping[str, Any], service: str, pods: Pods) -> int:
        return share(pods)

    def writes(self, document: Mapping[str, Any], service: str, weight: int, pods: Pods) -> tuple[Write, ...]:
        """Raises :class:`NotRoutable` where stable's pods are too few by now for a share as small as ``weight``."""
        checked(weight)
        wanted = pods_for(weight, pods.stable)
        had = share(Pods(pods.stable, wanted))
        if had > weight:
            raise NotRoutable(
                f"{weight} % can't be had with {pods.stable} pods of {service}",
                f"One pod of the new version beside them would get {had} % of the requests. Nothing was changed.",
                f"Scale {service} back to what it was when this was planned, then resume; or roll back and plan again.",
            )
        return ((REPLICAS, wanted),)

    def reaches(self, document: Mapping[str, Any], service: str) -> bool:
        """Never: the requests go with the pods, so none are left behind when these go."""
        return False

    def guards(self, document: Mapping[str, Any], service: str) -> tuple[Guard, ...]:
        return ()
