"""Who gets how many requests: the load of each service, split over its pods by weight or readiness, counted as time goes by."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from services.clock import Clock
from services.sandbox import fleet
from services.sandbox.behaviour import Behaviour
from services.sandbox.controllers.rules import ready, selected
from services.sandbox.fleet import Workload
from services.sandbox.podmetrics import PodMetrics
from services.sandbox.resources import DESTINATIONRULES, PODS, SERVICES, VIRTUALSERVICES, Object, labels, meta
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
        found, before, service = event.object, event.previous, ""
        if event.resource is PODS:
            if event.kind != "MODIFIED" or before is None or ready(before) != ready(found) or labels(before) != labels(found):
                service = labels(found).get("app", "")
        elif event.resource in (SERVICES, DESTINATIONRULES, VIRTUALSERVICES):
            service = _host(found)
        namespace = meta(found).get("namespace", "")
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
        name, rate = workload.name, workload.rate_in(namespace)
        service = self._store.get(SERVICES, namespace, name)
        if service is None:
            return {}
        running = [pod for pod in self._store.all(PODS, namespace) if selected(service, pod)]
        for pod in running:
            self._metrics(pod)
        rates = {meta(pod)["uid"]: 0.0 for pod in running}
        for chosen, share in self._arms(namespace, name, [pod for pod in running if ready(pod)]):
            for pod in chosen:
                rates[meta(pod)["uid"]] += rate * share / len(chosen)
        return rates

    def _arms(self, namespace: str, name: str, pods: list[Object]) -> list[tuple[list[Object], float]]:
        """Groups of pods, each with its share of the requests."""
        routes = [found for found in self._store.each(VIRTUALSERVICES, namespace) if name in (found["spec"].get("hosts") or ())]
        rules = [found for found in self._store.each(DESTINATIONRULES, namespace) if _host(found) == name]
        http = (routes[0]["spec"].get("http") or [{}])[0].get("route") if routes else None
        if not http:
            return [(pods, 1.0)]
        subsets: dict[str, dict[str, str]] = {
            subset["name"]: subset.get("labels") or {} for rule in rules for subset in rule["spec"].get("subsets") or ()
        }
        total = sum(_weight(route, len(http)) for route in http) or 100
        arms = []
        for route in http:
            wanted = route["destination"].get("subset")
            asked = {} if wanted is None else subsets.get(wanted)
            chosen = [
                pod for pod in pods if asked is not None and all(labels(pod).get(key) == value for key, value in asked.items())
            ]
            arms.append((chosen, _weight(route, len(http)) / total))
        return arms

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


def _weight(route: dict[str, Any], routes: int) -> int:
    """A single route without a weight takes everything."""
    return int(route.get("weight", 100 if routes == 1 else 0))


def _host(found: Object) -> str:
    """The service that a Service, a route or a destination rule is about, without its domain."""
    spec = found.get("spec") or {}
    hosts = spec.get("hosts") or ([spec["host"]] if "host" in spec else [meta(found)["name"]])
    return str(hosts[0]).split(".")[0]
