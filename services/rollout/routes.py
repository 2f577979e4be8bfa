"""What a rollout's route says of the canary now: the one place where the console, the driver and a rollback look it up."""

import msgspec

from services.cluster.inventory import Inventory
from services.cluster.picture import Picture
from services.cluster.workloads import pods_of_deployment
from services.model.objects import Json, ObjectRef
from services.model.rollout import Rollout
from services.model.steps import SetTraffic
from services.traffic.choose import BY_KIND, ROUTERS
from services.traffic.router import NotRoutable, Pods, Router

STALE_SECONDS = 8.0
"""An inventory older than this (wall) says nothing of now. A living one is proved every 5 s."""


def router_of(rollout: Rollout) -> Router | None:
    """Who splits the requests of the rollout's service; ``None`` where nothing is split."""
    step = next((step for step in rollout.plan.steps if isinstance(step, SetTraffic)), None)
    if step is not None:
        return ROUTERS[step.router]
    return BY_KIND.get(rollout.plan.route.kind) if rollout.plan.route is not None else None


def serves_canary(rollout: Rollout, document: dict[str, Json]) -> bool:
    """Whether the rollout's route, as it is in ``document``, sends requests to the canary, whoever laid it out. Users who were
    pinned to it before the rollout don't count: what they were sent to then is what they are sent to when it is over."""
    router, service = router_of(rollout), rollout.release.service
    if router is None or not router.reaches(document, service):
        return False
    if not rollout.plan.pinned:
        return True
    try:
        return router.weight_of(document, service, Pods(0, 0)) > 0
    except NotRoutable:
        return True


def weight_in(rollout: Rollout, document: dict[str, Json] | None, picture: Picture) -> int | None:
    """The canary's share in percent as ``document``, the rollout's route, says; where pods are counted, as the ready pods of
    ``picture`` do. ``None`` where there is no route, or it carries no split."""
    router = router_of(rollout)
    if router is None or document is None:
        return None
    try:
        return router.weight_of(document, rollout.release.service, ready_pods(rollout, picture))
    except NotRoutable:
        return None


def read_back(rollout: Rollout, inventory: Inventory) -> Rollout:
    """``rollout`` with the share that its route gives the canary now, whoever drives it or nobody; as its checkpoint says where
    it is over, or where the inventory does not show its route as it is now."""
    route = rollout.plan.route
    age = inventory.age()
    if rollout.phase.final or route is None or age is None or age >= STALE_SECONDS:
        return rollout
    if not inventory.can_read(route.kind, route.namespace):
        return rollout
    return msgspec.structs.replace(rollout, actual_weight=weight_in(rollout, inventory.raw(route), inventory))


def ready_pods(rollout: Rollout, picture: Picture) -> Pods:
    """The pods of both workloads that take requests; not counted where the share does not depend on them."""
    router = router_of(rollout)
    if router is None or not router.by_pods:
        return Pods(0, 0)

    def ready(workload: ObjectRef | None) -> int:
        pods = pods_of_deployment(picture, workload) if workload is not None else ()
        return sum(pod.ready and pod.metadata.deletion_timestamp is None for pod in pods)

    return Pods(ready(rollout.plan.stable), ready(rollout.plan.canary))
