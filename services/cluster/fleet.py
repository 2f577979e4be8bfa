"""The fleet as the screen and ``status`` show it: environments, services and pods out of the live pictures."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.clock import Clock
from services.cluster.inventory import HEARTBEAT_SECONDS, Inventory
from services.cluster.objects import REVISION_ANNOTATION, Deployment, VirtualService, template_version
from services.cluster.picture import Picture
from services.cluster.watched import RolloutWatch, decoded, rollouts, unreadable_checkpoints
from services.cluster.workloads import Failed, deployment_ready, pod_problem, pods_by_version, replicasets_of
from services.model.fleet import EnvironmentView, FleetView, Health, PodView, ServiceView
from services.model.objects import ObjectRef
from services.model.rollout import Rollout

STALE_SECONDS = 2 * HEARTBEAT_SECONDS
"""Older than this, two signs of life in a row missed, a picture says nothing about health any more."""
CANARY = "-canary"

__all__ = ["RolloutWatch", "fleet_view", "pod_views", "rollouts", "service_names", "unreadable_checkpoints"]


class Place(Protocol):
    """Where an environment is, as configured."""

    @property
    def tier(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def namespaces(self) -> Sequence[str]: ...


def fleet_view(environments: Mapping[str, Place], inventories: Mapping[str, Inventory], clock: Clock) -> FleetView:
    """All environments, in the order they are configured. ``inventories`` are by context; one that is missing is unreachable."""
    live = {context: _live_rollouts(inventory) for context, inventory in inventories.items()}
    return FleetView(
        environments=tuple(
            _environment(name, place, inventories.get(place.context), live.get(place.context, {}), clock)
            for name, place in environments.items()
        )
    )


def pod_views(picture: Picture, namespace: str, service: str) -> tuple[PodView, ...]:
    """The pods of a service, canary first, then by name."""
    return (
        *_pods(picture, namespace, service, service + CANARY, "canary"),
        *_pods(picture, namespace, service, service, "stable"),
    )


def service_names(picture: Picture, namespace: str) -> tuple[str, ...]:
    """The services of a namespace: its Deployments, a canary counted as part of its service."""
    names = {name for place, name in picture.deployments if place == namespace}
    return tuple(sorted(name for name in names if not _is_canary(name, names)))


def _environment(
    name: str, place: Place, inventory: Inventory | None, live: Mapping[tuple[str, str], Rollout], clock: Clock
) -> EnvironmentView:
    age = inventory.age() if inventory is not None else None
    current = age is not None and age <= STALE_SECONDS
    services: list[ServiceView] = []
    if inventory is not None and age is not None:
        note = "" if current else f"last seen {age:.0f} s ago"
        for namespace in place.namespaces:
            for service in service_names(inventory, namespace):
                services.append(_service(inventory, name, place.context, namespace, service, live, note))
    return EnvironmentView(
        name=name,
        tier=str(place.tier),
        context=place.context,
        namespaces=tuple(place.namespaces),
        reachable=current,
        age_seconds=age,
        services=tuple(services),
        problem=_problem(inventory, place) if inventory is not None else f"context {place.context} is not connected",
    )


def _problem(inventory: Inventory, place: Place) -> str:
    if inventory.problem:
        return inventory.problem
    for ref, problem in inventory.undecodable().items():
        if ref.namespace in place.namespaces:
            return f"can't read {ref} in {ref.namespace}: {problem}"
    for (namespace, checkpoint), problem in unreadable_checkpoints(inventory).items():
        if namespace in place.namespaces:
            return f"can't read checkpoint {checkpoint} in {namespace}: {problem}"
    return ""


def _service(
    inventory: Inventory,
    environment: str,
    context: str,
    namespace: str,
    service: str,
    live: Mapping[tuple[str, str], Rollout],
    stale: str,
) -> ServiceView:
    stable = inventory.deployments[namespace, service]
    canary = inventory.deployments.get((namespace, service + CANARY))
    route = inventory.virtual_services.get((namespace, service))
    rollout = live.get((namespace, service))
    # Other routers' objects are read by whoever drives the rollout: what it saw last is in its checkpoint.
    seen = rollout.actual_weight if rollout is not None else None
    weight = canary_weight(route, service) if route is not None else seen
    health, detail = _health(inventory, stable)
    canary_on = canary is not None and bool(canary.spec.replicas or canary.status.replicas or weight)
    if canary is not None and canary_on:
        second, why = _health(inventory, canary)
        if _GRAVITY[second] > _GRAVITY[health]:
            health, detail = second, f"canary: {why}"
    return ServiceView(
        name=service,
        namespace=namespace,
        environment=environment,
        context=context,
        kind="Deployment",
        version=template_version(stable.spec.template, service),
        ready=stable.status.ready_replicas,
        desired=stable.spec.replicas,
        health=Health.UNKNOWN if stale else health,
        detail=stale or detail,
        rollout=rollout.id if rollout is not None else None,
        canary_version=template_version(canary.spec.template, service) if canary is not None and canary_on else "",
        canary_ready=canary.status.ready_replicas if canary is not None else 0,
        canary_weight=weight,
        changed=_changed(inventory, stable),
    )


_GRAVITY = {Health.OK: 0, Health.UNKNOWN: 1, Health.PROGRESSING: 2, Health.DEGRADED: 3, Health.FAILED: 4}


def _health(picture: Picture, deployment: Deployment) -> tuple[Health, str]:
    meta, status, desired = deployment.metadata, deployment.status, deployment.spec.replicas
    counts = (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas)
    if status.observed_generation >= meta.generation and all(count == desired for count in counts):
        return Health.OK, ""  # a thousand services are drawn several times a second: the pods of a sound one are not looked at
    readiness = deployment_ready(picture, ObjectRef("Deployment", meta.namespace, meta.name))
    if readiness.failed is not Failed.NO:
        return Health.FAILED, readiness.detail
    if readiness.ready:
        return Health.OK, ""
    complete = any(condition.reason == "NewReplicaSetAvailable" for condition in status.conditions)
    settled = status.updated_replicas == status.replicas == desired and status.observed_generation >= meta.generation
    if complete and settled:
        return Health.DEGRADED, f"{status.available_replicas} of {desired} pods are available"
    return Health.PROGRESSING, readiness.detail


def canary_weight(route: VirtualService, service: str) -> int | None:
    """Percent of the requests that the first route with a canary in it gives to the canary; ``None`` where there is none."""
    for http in route.spec.http:
        shares = [
            share.weight
            for share in http.route
            if share.destination.subset == "canary" or share.destination.host.partition(".")[0] == service + CANARY
        ]
        if shares:
            # A destination without a weight gets everything where it is alone, and nothing beside others.
            return sum(share if share is not None else 100 * (len(http.route) == 1) for share in shares)
    return None


def _changed(picture: Picture, deployment: Deployment) -> float | None:
    """When the last rollout made its last progress; else when the newest ReplicaSet was made. Unix seconds."""
    for condition in deployment.status.conditions:
        if condition.type == "Progressing" and condition.last_update_time is not None:
            return condition.last_update_time.timestamp()
    revision = deployment.metadata.annotations.get(REVISION_ANNOTATION)
    for owner in replicasets_of(picture, ObjectRef("Deployment", deployment.metadata.namespace, deployment.metadata.name)):
        born = owner.metadata.creation_timestamp
        if born is not None and owner.metadata.annotations.get(REVISION_ANNOTATION) == revision:
            return born.timestamp()
    return None


def _pods(picture: Picture, namespace: str, service: str, workload: str, track: str) -> list[PodView]:
    views: list[PodView] = []
    for version, pods in pods_by_version(picture, ObjectRef("Deployment", namespace, workload), service).items():
        for pod in pods:
            born = pod.metadata.creation_timestamp
            views.append(
                PodView(
                    name=pod.metadata.name,
                    version=version,
                    track=track,
                    ready=pod.ready,
                    phase=pod.status.phase,
                    reason=pod_problem(pod),
                    restarts=pod.restarts,
                    created=born.timestamp() if born is not None else 0.0,
                    node=pod.spec.node_name,
                )
            )
    return sorted(views, key=lambda view: view.name)


def _live_rollouts(inventory: Inventory) -> dict[tuple[str, str], Rollout]:
    """The rollout that is not over yet of each service, by namespace and service; the newest where there are several."""
    found: dict[tuple[str, str], Rollout] = {}
    for (namespace, _), config_map in inventory.checkpoints.items():
        rollout = decoded(config_map)
        if isinstance(rollout, Rollout) and not rollout.phase.final:
            key = (namespace, rollout.release.service)
            if key not in found or rollout.created > found[key].created:
                found[key] = rollout
    return found


def _is_canary(name: str, names: set[str]) -> bool:
    return name.endswith(CANARY) and name.removesuffix(CANARY) in names
