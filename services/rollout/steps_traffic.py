"""Doing the steps that move requests from one version to the other."""

from services.actuator import Mutation, Write
from services.cluster.workloads import current_pods
from services.model.objects import ObjectRef, value_at
from services.model.rollout import Guard
from services.model.steps import SetTraffic, WaitReady
from services.rollout import state
from services.rollout.arms import runs_new_version
from services.rollout.routes import ROUTERS
from services.rollout.run import PersonNeeded, Run
from services.rollout.steps_workload import REPLICAS, asked_for, carrying, read
from services.strategies import commands
from services.traffic import istio


async def set_traffic(run: Run, step: SetTraffic) -> None:
    """Write the weights where the route has them now; what the route says afterwards is the actual weight."""
    router = ROUTERS[step.router]
    service = run.rollout.release.service
    live = await read(run, step.route)
    split = router.locate(live, service)
    await _carried(run, step, router.weight_of(live, split))
    mutation = Mutation(
        object=step.route,
        writes=tuple(Write(path, value) for path, value in router.writes(live, split, step.weight)),
        command=step.command,
        step=run.rollout.step,
        step_name=step.name,
        expects=tuple(Guard(path, value) for path, value in router.guards(live, split)),
    )
    # Said before the request leaves: the first five minutes count from here even where its answer is lost.
    run.change(state.exposed(run.rollout, weight=step.weight, pace=run.clock.pace()))
    applied = await run.apply(mutation)
    run.change(state.routed(run.rollout, router.weight_of(applied.object, split)))


async def _carried(run: Run, step: SetTraffic, weight: int) -> None:
    """Return once the side that is to get more requests has the ready pods for them. Pods that were ready when the plan waited
    for them may be gone, or be too few by now. Raises :class:`PersonNeeded` where they don't come."""
    plan = run.rollout.plan
    if step.weight == weight or plan.canary is None:
        return
    rises = step.weight > weight
    receiver = plan.canary if rises else plan.stable
    needed = await carrying(run, step.weight) if rises else asked_for(run.rollout, receiver)
    if rises:
        await _grow(run, step, receiver, needed)

    def ready() -> bool:
        deployment = run.inventory.deployments.get((receiver.namespace, receiver.name))
        if deployment is None or not run.sees_cluster or not runs_new_version(run.inventory, run.rollout, receiver):
            return False
        able = sum(pod.ready for pod in current_pods(run.inventory, receiver))
        return able >= (needed if rises else max(needed, deployment.spec.replicas))

    waits = [each.timeout for each in plan.steps if isinstance(each, WaitReady) and each.workload == receiver]
    timeout = waits[-1] if waits else run.settings.canary.ready_timeout
    if not await run.until(ready, timeout):
        able = sum(pod.ready for pod in current_pods(run.inventory, receiver))
        raise PersonNeeded(
            f"{receiver} can't carry what it is to get",
            f"{able} of its pods are ready, {needed} are needed for {step.weight if rises else 100} % of the requests "
            f"(waited {timeout:.0f} s). The route is as it was: {weight} % to the new version.",
            "See to its pods, then resume; or roll back.",
        )


async def _grow(run: Run, step: SetTraffic, canary: ObjectRef, needed: int) -> None:
    """Stable has grown since the canary was scaled: it needs more pods for the same share."""
    live = await read(run, canary)
    if int(value_at(live, REPLICAS) or 0) >= needed:
        return
    await run.apply(
        Mutation(
            object=canary,
            writes=(Write(REPLICAS, needed),),
            command=commands.scale(run.rollout.release.target, canary, needed),
            step=run.rollout.step,
            step_name=step.name,
        )
    )


def actual_weight(run: Run) -> int | None:
    """The canary's share as the inventory's route says now; ``None`` where there is no route or it can't be read."""
    route = run.rollout.plan.route
    step = next((step for step in run.rollout.plan.steps if isinstance(step, SetTraffic)), None)
    document = run.last_seen(route) if route and step and run.sees_routes else None
    if document is None or step is None:
        return None
    router = ROUTERS[step.router]
    try:
        return int(router.weight_of(document, router.locate(document, run.rollout.release.service)))
    except istio.NotRoutable:
        return None
