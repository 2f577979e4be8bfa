"""Who gets how many requests: the load of each service, split over its pods by weight or readiness, counted as time goes by."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from services.clock import Clock
from services.sandbox import fleet, routing
from services.sandbox.behaviour import WELL, Behaviour, Behaviours, split_image
from services.sandbox.controllers.rules import ready
from services.sandbox.fleet import Workload
from services.sandbox.podmetrics import PodMetrics
from services.sandbox.resources import PODS, SERVICES, Object, labels, meta
from services.sandbox.store import Event, Store
from services.sandbox.weather import CELL_SECONDS, Moment, Noise, Weather

STEP_SECONDS = 1.0
"""Counts move on at most once in so many pace seconds, or…"""
ROUND_SECONDS, LONGEST_STEP = 0.08, 5.0
"""…once in so many wall seconds, at most so many pace ones, unless the split changes: whoever asks one pod after the other sees
all of them at the same moment, however fast time goes by."""
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: ``500m`` → 0.5, ``512Mi`` → bytes."""
    number = text.rstrip("mkKMGi")
    return float(number) * _UNITS[text[len(number) :]]


@dataclass(slots=True)
class _Flow:
    """One service of one namespace: the split in force, and up to when it has been counted."""

    since: float
    weather: Weather
    rates: dict[str, float] = field(default_factory=dict)
    """Requests a second by pod uid."""
    exposed: dict[str, float] = field(default_factory=dict)
    """When each version that the scenario is about got its first requests, in pace seconds."""


class Traffic:
    """Counts lazily: whenever somebody looks, and just before a split changes. ``seed`` is that of the noise."""

    def __init__(self, store: Store, clock: Clock, random: Random, behaviours: Behaviours, seed: int = 0) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._behaviours = behaviours
        self._seed = seed
        self._flows: dict[tuple[str, str], _Flow] = {}
        self._pods: dict[str, PodMetrics] = {}
        self._step = max(STEP_SECONDS, min(LONGEST_STEP, ROUND_SECONDS * clock.speed))
        store.subscribe(self._see)

    def page(self, pod: Object) -> str:
        """The metrics page of a running pod."""
        namespace, service = meta(pod)["namespace"], labels(pod).get("app", "")
        if service in fleet.BY_NAME and namespace in fleet.NAMESPACES:
            flow = self._flows.get((namespace, service))
            if flow is None:
                weather = Weather(self._behaviours.scenario.noise, f"{self._seed}/{namespace}/{service}")
                flow = self._flows[namespace, service] = _Flow(self._clock.pace(), weather)
                self._split(namespace, service, flow)
            if self._clock.pace() - flow.since >= self._step:
                self._count(flow)
        return self._metrics(pod).page(self._clock.pace())

    def faulty_since(self, pod: Object) -> float | None:
        """The pace second from which on a pod's version has the faults that the scenario gives it: long ago, where they do not
        wait; ``None`` before its first requests, where they do."""
        after = self._behaviour(pod).after
        if not after:
            return 0.0
        flow = self._flows.get((meta(pod)["namespace"], labels(pod).get("app", "")))
        began = flow.exposed.get(_tag(pod)) if flow is not None else None
        return began + after if began is not None else None

    def behaviour(self, pod: Object) -> Behaviour:
        """How a pod behaves at this moment."""
        since = self.faulty_since(pod)
        return self._behaviour(pod) if since is not None and since <= self._clock.pace() else WELL

    def exposures(self) -> list[tuple[str, str, float]]:
        """Namespace and service of each new version that gets requests, and the pace second of its first ones."""
        return [(*key, min(flow.exposed.values())) for key, flow in self._flows.items() if flow.exposed]

    def scenario_changed(self) -> None:
        """Count everything up to now; from now on the pods behave as the scenario says."""
        for (namespace, service), flow in self._flows.items():
            # What was served has been counted as it was until now; what is to come begins with the scenario.
            self._count(flow)
            flow.exposed.clear()
            flow.weather = Weather(self._behaviours.scenario.noise, f"{self._seed}/{namespace}/{service}")
        for namespace in fleet.NAMESPACES:
            for pod in self._store.each(PODS, namespace):
                if metrics := self._pods.get(meta(pod)["uid"]):
                    metrics.behaviour = self._behaviour(pod)
        for (namespace, service), flow in self._flows.items():
            self._split(namespace, service, flow)

    def _behaviour(self, pod: Object) -> Behaviour:
        return self._behaviours.of(meta(pod)["namespace"], _image(pod))

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
                self._split(namespace, service, flow)
        if event.resource is PODS and event.kind == "DELETED":
            self._pods.pop(meta(found)["uid"], None)

    def _count(self, flow: _Flow) -> None:
        now = self._clock.pace()
        for since, until in _pieces(flow.since, now, self._turns(flow, now)):
            incident = self._incident(flow, since)
            for uid, rate in flow.rates.items():
                if (metrics := self._pods.get(uid)) is not None:
                    began = flow.exposed.get(metrics.version, math.inf)
                    moment = Moment(
                        factor=flow.weather.factor(metrics.name, since),
                        added=incident,
                        cluster=flow.weather.noise.cluster,
                        faulty=not metrics.behaviour.after or since >= began + metrics.behaviour.after,
                    )
                    metrics.serve(self._random, rate, until - since, moment)
        flow.since = now

    def _turns(self, flow: _Flow, now: float) -> set[float]:
        """The pace seconds since the last count at which something about the errors changes."""
        turns = set()
        if flow.weather.noise != Noise():
            first = math.floor(flow.since / CELL_SECONDS) + 1
            turns |= {cell * CELL_SECONDS for cell in range(first, math.ceil(now / CELL_SECONDS))}
        for began in flow.exposed.values():
            turns.add(began + self._behaviours.scenario.behaviour.after)
            if (incident := self._behaviours.scenario.incident) is not None:
                turns |= {began + incident.after, began + incident.after + incident.seconds}
        return turns

    def _incident(self, flow: _Flow, at: float) -> float:
        """The share of requests that an incident lets fail on every pod, at a pace second."""
        incident = self._behaviours.scenario.incident
        if incident is None or not any(0 <= at - began - incident.after < incident.seconds for began in flow.exposed.values()):
            return 0.0
        return incident.errors

    def _split(self, namespace: str, service: str, flow: _Flow) -> None:
        """Requests a second for each pod from now on. What a route sends to a subset without ready pods is lost, as in a mesh."""
        rates: dict[str, float] = {}
        tags: dict[str, str] = {}
        avoided: set[str] = set()
        for pod in self._store.all(PODS, namespace):
            if labels(pod).get("app") == service:
                uid = meta(pod)["uid"]
                self._metrics(pod)
                rates[uid] = 0.0
                if self._behaviours.is_new(namespace, _image(pod)):
                    tags[uid] = _tag(pod)
                if self._behaviour(pod).avoided:
                    avoided.add(uid)
        total = self._rate(fleet.BY_NAME[service], namespace)
        for chosen, share in routing.arms(self._store, namespace, service):
            for pod in chosen:
                rates[meta(pod)["uid"]] += total * share / len(chosen)
        if avoided:
            rates = _without(rates, avoided)
        served = {tag for uid, tag in tags.items() if rates[uid]}
        flow.rates = rates
        flow.exposed = {tag: flow.exposed.get(tag, self._clock.pace()) for tag in sorted(served)}

    def _rate(self, workload: Workload, namespace: str) -> float:
        rate = self._behaviours.scenario.rate
        return workload.rate_in(namespace) if rate is None else rate

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
                name=meta(pod)["name"],
                version=_tag(pod),
            )
        return self._pods[uid]


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _tag(pod: Object) -> str:
    return split_image(_image(pod))[1]


def _pieces(since: float, until: float, turns: Iterable[float]) -> Iterator[tuple[float, float]]:
    """The time between two moments, cut wherever it takes a turn."""
    edges = [since, *sorted(turn for turn in turns if since < turn < until), until]
    return ((begin, end) for begin, end in pairwise(edges) if end > begin)


def _without(rates: Mapping[str, float], avoided: Collection[str]) -> dict[str, float]:
    """The same requests, none of them to the pods ``avoided``: the others get theirs, as far as there are any."""
    others = sum(rate for uid, rate in rates.items() if uid not in avoided)
    grown = sum(rates.values()) / others if others else 0.0
    return {uid: 0.0 if uid in avoided else rate * grown for uid, rate in rates.items()}
