"""A service's objects as a plan is made from: read fresh from the cluster."""

import asyncio

from services.cluster.connection import Connection
from services.model.errors import NotFound, Rejected
from services.model.objects import Json, ObjectRef
from services.model.release import Target
from services.model.steps import EnsureWorkload
from services.rollout.run import Run
from services.rollout.scaling import is_autoscaled
from services.strategies import ServiceState, clone, compile_plan


async def read_state(connection: Connection, target: Target, service: str) -> ServiceState:
    """The objects of ``service`` by their conventional names. Raises :class:`NotFound` without its Deployment."""

    async def found(kind: str, name: str) -> dict[str, Json] | None:
        try:
            return await connection.get(ObjectRef(kind, target.namespace, name))
        except NotFound:
            return None

    ref = ObjectRef("Deployment", target.namespace, service)
    stable, canary, route, destination, autoscaled = await asyncio.gather(
        connection.get(ref),
        found("Deployment", f"{service}-canary"),
        found("VirtualService", service),
        found("DestinationRule", service),
        is_autoscaled(connection, ref),
    )
    return ServiceState(stable=stable, canary=canary, route=route, destination=destination, autoscaled=autoscaled)


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
