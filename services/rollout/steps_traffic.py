"""Doing the steps that move requests from one version to the other."""

from services.actuator import Mutation, Write
from services.cluster.workloads import current_pods
from services.model.objects import ObjectRef, value_at
from services.model.rollout import Guard
from services.model.steps import SetTraffic, WaitReady
from services.rollout import state
from services.rollout.arms import runs_new_version
from services.rollout.routes import ready_pods, weight_in
from services.rollout.run import PersonNeeded, Run
from services.rollout.steps_workload import REPLICAS, asked_for, carrying, read, stable_replicas
from services.strategies import commands
from services.traffic.choose import ROUTERS
from services.traffic.router import Pods


async def set_traffic(run: Run, step: SetTraffic) -> None:
    """Write the weights where the route has them now; what the route says afterwards is the actual weight."""
    router = ROUTERS[step.router]
    service = run.rollout.release.service
    live = await read(run, step.route)
    pods = ready_pods(run.rollout, run.inventory)
    await _carried(run, step, router.weight_of(live, service, pods), by_pods=router.by_pods)
    wanted = Pods(await stable_replicas(run), pods.canary)
    mutation = Mutation(
        object=step.route,
        writes=tuple(Write(path, value) for path, value in router.writes(live, service, step.weight, wanted)),
        command=step.command,
        step=run.rollout.step,
        step_name=step.name,
        expects=tuple(Guard(path, value) for path, value in router.guards(live, service)),
    )
    # Said before the request leaves: the first five minutes count from here even where its answer is lost.
    run.change(state.exposed(run.rollout, weight=step.weight, pace=run.clock.pace()))
    applied = await run.apply(mutation)
    pods = ready_pods(run.rollout, run.inventory)
    run.change(state.routed(run.rollout, router.weight_of(applied.object, service, pods)))


async def _carried(run: Run, step: SetTraffic, weight: int, *, by_pods: bool) -> None:
    """Return once the side that is to get more requests has the ready pods for them. Pods that were ready when the plan waited
    for them may be gone, or be too few by now. Raises :class:`PersonNeeded` where they don't come.

    ``by_pods``: the share is a number of pods, so that it can't rise before they are there."""
    plan = run.rollout.plan
    if step.weight == weight or plan.canary is None:
        return
    rises = step.weight > weight
    if rises and by_pods:
        return
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
    if route is None or not run.sees(route):
        return None
    return weight_in(run.rollout, run.last_seen(route), run.inventory)
