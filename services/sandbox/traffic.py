"""Who gets how many requests: the load of each service, split over its pods by weight or readiness, counted as time goes by."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from services.clock import Clock
from services.sandbox import fleet, routing
from services.sandbox.behaviour import Behaviour
from services.sandbox.controllers.rules import ready
from services.sandbox.fleet import Workload
from services.sandbox.podmetrics import PodMetrics
from services.sandbox.resources import PODS, SERVICES, Object, labels, meta
from services.sandbox.store import Event, Store

STEP_SECONDS = 1.0
"""Counts move on at most once in so many pace seconds, unless the split changes."""
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: ``500m`` → 0.5, ``512Mi`` → bytes."""
    number = text.rstrip("mkKMGi")
    return float(number) * _UNITS[text[len(number) :]]


@dataclass(slots=True)
class _Flow:
    """One service of one namespace: the split in force, and up to when it has been counted."""

    since: float
    rates: dict[str, float]
    """Requests a second by pod uid."""


class Traffic:
    """Counts lazily: whenever somebody looks, and just before a split changes."""

    def __init__(self, store: Store, clock: Clock, random: Random, behaviour: Callable[[Object], Behaviour]) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._behaviour = behaviour
        self._flows: dict[tuple[str, str], _Flow] = {}
        self._pods: dict[str, PodMetrics] = {}
        store.subscribe(self._see)

    def page(self, pod: Object) -> str:
        """The metrics page of a running pod."""
        namespace, service = meta(pod)["namespace"], labels(pod).get("app", "")
        workload = fleet.BY_NAME.get(service)
        if workload is not None and namespace in fleet.NAMESPACES:
            flow = self._flows.get((namespace, service))
            if flow is None:
                flow = self._flows[namespace, service] = _Flow(self._clock.pace(), self._split(namespace, workload))
            if self._clock.pace() - flow.since >= STEP_SECONDS:
                self._count(flow)
        return self._metrics(pod).page(self._clock.pace())

    def scenario_changed(self) -> None:
        """Count everything up to now; from now on the pods behave as the scenario says."""
        for flow in self._flows.values():
            self._count(flow)
        for namespace in fleet.NAMESPACES:
            for pod in self._store.each(PODS, namespace):
                if metrics := self._pods.get(meta(pod)["uid"]):
                    metrics.behaviour = self._behaviour(pod)

    def _see(self, event: Event) -> None:
        """Where a change moves requests, count what was served under the old split and begin the new one."""
        found, before = event.object, event.previous
        moved: set[str] = set()
        if event.resource is PODS:
            if event.kind != "MODIFIED" or before is None or ready(before) != ready(found) or labels(before) != labels(found):
                moved = {labels(found).get("app", "")}
        elif event.resource is SERVICES or event.resource in routing.ROUTES:
            moved = routing.services_of(event.resource, found)
            if before is not None:
                moved |= routing.services_of(event.resource, before)
        namespace = meta(found).get("namespace", "")
        for service in moved:
            if (flow := self._flows.get((namespace, service))) is not None:
                self._count(flow)
                flow.rates = self._split(namespace, fleet.BY_NAME[service])
        if event.resource is PODS and event.kind == "DELETED":
            self._pods.pop(meta(found)["uid"], None)

    def _count(self, flow: _Flow) -> None:
        now = self._clock.pace()
        for uid, rate in flow.rates.items() if now > flow.since else ():
            if (metrics := self._pods.get(uid)) is not None:
                metrics.serve(self._random, rate, now - flow.since)
        flow.since = now

    def _split(self, namespace: str, workload: Workload) -> dict[str, float]:
        """Requests a second for each pod. What a route sends to a subset without ready pods is lost, as in a mesh."""
        rates: dict[str, float] = {}
        for pod in self._store.all(PODS, namespace):
            if labels(pod).get("app") == workload.name:
                self._metrics(pod)
                rates[meta(pod)["uid"]] = 0.0
        for chosen, share in routing.arms(self._store, namespace, workload.name):
            for pod in chosen:
                rates[meta(pod)["uid"]] += workload.rate_in(namespace) * share / len(chosen)
        return rates

    def _metrics(self, pod: Object) -> PodMetrics:
        uid = meta(pod)["uid"]
        if uid not in self._pods:
            namespace = meta(pod)["namespace"]
            workload = fleet.BY_NAME.get(labels(pod).get("app", ""), fleet.WORKLOADS[-1])
            limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
            self._pods[uid] = PodMetrics(
                workload=workload,
                behaviour=self._behaviour(pod),
                born=self._clock.pace(),
                cpu_limit=quantity(limits.get("cpu", "1")),
                memory_limit=quantity(limits.get("memory", "512Mi")),
                plan_rate=workload.rate_in(namespace) / workload.replicas_in(namespace),
                started=self._clock.unix(),
            )
        return self._pods[uid]
