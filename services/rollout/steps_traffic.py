"""Doing the steps that move requests from one version to the other."""

from types import ModuleType

from services.actuator import Mutation, Write
from services.model.rollout import Guard
from services.model.steps import SetTraffic
from services.rollout import state
from services.rollout.run import Run
from services.traffic import istio

ROUTERS: dict[str, ModuleType] = {"istio": istio}


async def set_traffic(run: Run, step: SetTraffic) -> None:
    """Write the weights where the route has them now; what the route says afterwards is the actual weight."""
    router = ROUTERS[step.router]
    service = run.rollout.release.service
    live = await run.patiently(f"reading {step.route}", lambda: run.connection.get(step.route))
    split = router.locate(live, service)
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


def actual_weight(run: Run) -> int | None:
    """The canary's share as the inventory's route says now; ``None`` where there is no route or it can't be read."""
    route = run.rollout.plan.route
    step = next((step for step in run.rollout.plan.steps if isinstance(step, SetTraffic)), None)
    document = run.inventory.raw(route) if route and step else None
    if document is None or step is None:
        return None
    router = ROUTERS[step.router]
    try:
        return int(router.weight_of(document, router.locate(document, run.rollout.release.service)))
    except istio.NotRoutable:
        return None
