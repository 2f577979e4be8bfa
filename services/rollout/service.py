"""A service's objects as a plan is made from: read fresh from the cluster."""

import asyncio
from collections.abc import Mapping

from services.cluster.connection import Connection
from services.model.errors import Forbidden, NotFound, Rejected
from services.model.objects import Json, ObjectRef, value_at
from services.model.release import Target
from services.model.steps import EnsureWorkload
from services.rollout.run import Run
from services.rollout.scaling import is_autoscaled
from services.strategies import ServiceState, clone, compile_plan

ROUTES = ("VirtualService", "DestinationRule", "HTTPRoute", "Ingress")
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


async def read_state(connection: Connection, target: Target, service: str) -> ServiceState:
    """The objects of ``service``, and every route of its namespace. Raises :class:`NotFound` without its Deployment."""
    namespace = target.namespace

    async def found(kind: str, name: str) -> dict[str, Json] | None:
        try:
            return await connection.get(ObjectRef(kind, namespace, name))
        except NotFound:
            return None

    ref = ObjectRef("Deployment", namespace, service)
    (stable, canary, own, canary_own), routes, classes, autoscaled = await asyncio.gather(
        asyncio.gather(
            connection.get(ref),
            found("Deployment", f"{service}-canary"),
            found("Service", service),
            found("Service", f"{service}-canary"),
        ),
        asyncio.gather(*(_listed(connection, kind, namespace) for kind in ROUTES)),
        _classes(connection, namespace),
        is_autoscaled(connection, ref),
    )
    listed = dict(zip(ROUTES, routes, strict=True))
    return ServiceState(
        stable=stable,
        canary=canary,
        own=own,
        canary_own=canary_own,
        virtual_services=listed["VirtualService"] or (),
        destination_rules=listed["DestinationRule"] or (),
        http_routes=listed["HTTPRoute"] or (),
        ingresses=listed["Ingress"] or (),
        classes=classes,
        unseen=tuple(kind for kind, seen in listed.items() if seen is None and kind != "DestinationRule"),
        autoscaled=autoscaled,
    )


async def _listed(connection: Connection, kind: str, namespace: str) -> tuple[dict[str, Json], ...] | None:
    """All objects of a kind; none where the cluster does not know it; ``None`` where they may not be read."""
    try:
        found = await connection.list(kind, namespace, type=dict)
    except NotFound:
        return ()
    except Forbidden:
        return None
    return tuple(found)


async def _classes(connection: Connection, namespace: str) -> Mapping[str, str] | None:
    """Controller by IngressClass, the default one under the empty name too; ``None`` where they may not be read."""
    listed = await _listed(connection, "IngressClass", namespace)
    if listed is None:
        return None
    classes: dict[str, str] = {}
    for found in listed:
        controller = str(value_at(found, "/spec/controller") or "")
        classes[str(value_at(found, "/metadata/name"))] = controller
        if (value_at(found, "/metadata/annotations") or {}).get(DEFAULT_CLASS) == "true":
            classes[""] = controller
    return classes


async def unchanged(run: Run) -> bool:
    """Whether the plan that was confirmed is still the plan for the service as it is now."""
    release = run.rollout.release
    live = await read_state(run.connection, release.target, release.service)
    try:
        return compile_plan(release, live, run.settings).digest == run.rollout.plan.digest
    except Rejected:
        return False


async def bodies(run: Run) -> dict[ObjectRef, dict[str, Json]]:
    """Bodies of the workloads that the plan creates, so that even absent objects can be claimed before the first step."""
    found: dict[ObjectRef, dict[str, Json]] = {}
    for step in run.rollout.plan.steps:
        if isinstance(step, EnsureWorkload):
            source = await run.connection.get(step.source)
            found[step.workload] = clone(source, step.workload.name, images=step.images, labels=step.labels, replicas=0)
    return found
