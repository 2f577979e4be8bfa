"""Doing the steps that change workloads, and waiting until the cluster has followed."""

from services.actuator import Mutation, Write
from services.analysis import reasons
from services.analysis.triggers import crash_loop, progress_deadline
from services.cluster.workloads import deployment_ready
from services.model.objects import ObjectRef, value_at
from services.model.rollout import Reason, TriggerName
from services.model.steps import EnsureWorkload, PatchImage, Scale, Step, WaitReady, object_changes
from services.rollout import state
from services.rollout.arms import workload_facts
from services.rollout.run import Breach, Run

REPLICAS = "/spec/replicas"


async def patch_image(run: Run, step: PatchImage) -> None:
    if step.promotes:
        # Said before the patch leaves: from here on pods of the new version take their place among stable's, each with its share.
        run.change(state.risen(run.rollout, pace=run.clock.pace()))
    for ref, changes in object_changes(step).items():
        await run.apply(mutation(run, step, ref, tuple(Write(change.path, change.new) for change in changes)))


async def ensure_workload(run: Run, step: EnsureWorkload) -> None:
    writes = [Write(change.path, change.new) for change in step.changes if change.path != REPLICAS]
    await run.apply(mutation(run, step, step.workload, (*writes, Write(REPLICAS, step.replicas))))


async def scale(run: Run, step: Scale) -> None:
    live = await run.patiently(f"reading {step.workload}", lambda: run.connection.get(step.workload))
    replicas = step.replicas
    if step.at_least:
        replicas = max(replicas, int(value_at(live, REPLICAS) or 0))
    await run.apply(mutation(run, step, step.workload, (Write(REPLICAS, replicas),)))


async def wait_ready(run: Run, step: WaitReady) -> None:
    """Ready, or a breach: pods that crash, a progress deadline that passed, or this step's own timeout."""
    live = await run.patiently(f"reading {step.workload}", lambda: run.connection.get(step.workload))
    generation = int(value_at(live, "/metadata/generation") or 0)
    began = run.clock.pace() - state.current_state(run.rollout).seconds

    def ready() -> bool:
        run.progress(run.clock.pace() - began)
        deployment = run.inventory.deployments.get((step.workload.namespace, step.workload.name))
        if deployment is None or deployment.metadata.generation < generation:
            return False  # the watch has not caught up with our own change yet
        return deployment_ready(run.inventory, step.workload).ready

    def decided() -> bool:
        return ready() or bool(_failures(run, step, run.clock.pace() - began))

    await run.until(decided, step.timeout)
    if ready():
        if step.workload == run.rollout.plan.stable and run.rollout.exposed_at is not None:
            run.change(state.risen(run.rollout, pace=run.clock.pace()))  # it has its whole share only now
        return
    waited = round(run.clock.pace() - began, 1)
    failures = _failures(run, step, waited)
    if failures:
        raise Breach(failures[0], failures[1:])
    detail = f"{step.workload} was not ready after {waited:.0f} s: {deployment_ready(run.inventory, step.workload).detail}"
    raise Breach(
        Reason(kind="trigger", name=TriggerName.PROGRESS_DEADLINE.value, value=waited, limit=step.timeout, detail=detail)
    )


def _failures(run: Run, step: WaitReady, waited: float) -> tuple[Reason, ...]:
    """The triggers that the workload's own state sets off. The watch loop sees the same; here nothing waits for its next look."""
    facts = workload_facts(run.inventory, run.rollout, waited=round(waited, 1), deadline=step.timeout)
    return reasons((crash_loop(facts), progress_deadline(facts)))


def mutation(run: Run, step: Step, ref: ObjectRef, writes: tuple[Write, ...]) -> Mutation:
    return Mutation(object=ref, writes=writes, command=step.command, step=run.rollout.step, step_name=step.name)
