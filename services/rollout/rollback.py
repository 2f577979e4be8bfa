"""Putting back what a rollout changed, phase by phase, and proving that it is back.

What has to be written is planned by :func:`services.actuator.undo.plan_restore` from the undo records and the objects as they
are now; this module sends it, waits between the phases, and reads everything back. Gates don't exist here, and neither does a
journal that can hold it up. A phase that fails ends the writing: scaling the canary to zero while its requests could not be
taken away would turn a bad release into an outage.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec

from services.actuator import Misplaced, Mutation
from services.actuator.commands import kubectl_edit, kubectl_get, kubectl_status, kubectl_undo
from services.actuator.undo import Kept, Restore, RestorePhase, fold, plan_restore
from services.cluster.workloads import deployment_ready
from services.model.errors import Forbidden, HeldByAnother, NotFound, QuarterdeckError, Throttled, Unavailable
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import Reason, Rollout
from services.model.steps import SetTraffic
from services.rollout import state
from services.rollout.run import Run
from services.rollout.steps_traffic import ROUTERS

BUDGET = 300.0
"""Pace seconds a rollback may take (R5.6)."""
READY_WAIT = 120.0
"""Pace seconds for the old version's pods to be ready (R5.1)."""
REFUSED_SECONDS = 10.0
"""Wall seconds for which a refused change is tried again at least."""
REPLICAS = "/spec/replicas"
POD_SPEC = "/spec/template/spec"


@dataclass(slots=True)
class Restoration:
    """``left``: commands to do by hand; ``problems``: what went wrong, in words; ``kept``: what belongs to somebody else now."""

    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def restored(self) -> bool:
        return not self.left and not self.problems


async def roll_back(run: Run) -> Rollout:
    """Restore and verify; the answer is the rollout's final state (not yet saved).

    Raises :class:`HeldByAnother` where somebody else took the rollout over: then nothing more is touched.
    """
    await run.settle()
    reason = run.rollout.reason
    await run.note(
        "deployment.rollback",
        outcome="started",
        data={"reason": plain(reason), "also": [plain(other) for other in run.rollout.also], "values": len(run.rollout.undo)},
        seconds=0.25,
    )
    found = Restoration()
    overdue = asyncio.create_task(_when_overdue(run), name="budget")
    try:
        restore = await _planned(run)
        for position, phase in enumerate(restore.phases):
            if not await _do(run, phase, found):
                found.left += [mutation.command for later in restore.phases[position + 1 :] for mutation in later.mutations]
                break
        await _verify(run, found)
    finally:
        overdue.cancel()
        await asyncio.gather(overdue, return_exceptions=True)
    final = state.rolled_back(run.rollout, left=tuple(found.left), pace=run.clock.pace())
    seconds = round(run.clock.pace() - (run.rollout.breach_at or run.clock.pace()), 3)
    await run.note(
        "deployment.rollback",
        outcome="restored" if found.restored else "not_restored",
        duration=seconds,
        data={
            "reason": plain(reason),
            "left": list(found.left),
            "problems": list(found.problems),
            "kept": list(found.kept),
            "budget": BUDGET,
            "within_budget": seconds <= BUDGET,
        },
    )
    return msgspec.structs.replace(final, journal_last=run.rollout.journal_last)


async def _when_overdue(run: Run) -> None:
    """Once the budget is spent, say what is still to be restored and how to do it by hand; the rollback itself goes on."""
    began = run.rollout.breach_at if run.rollout.breach_at is not None else run.clock.pace()
    await run.clock.pace_sleep(max(0.0, began + BUDGET - run.clock.pace()))
    plan, folded = run.rollout.plan, fold(run.rollout.undo)
    last_seen = {item.object: run.inventory.raw(item.object) for item in folded}
    restore = plan_restore(
        folded, last_seen, context=_context(run), stable=plan.stable, canary=plan.canary, step=run.rollout.step
    )
    left = [mutation.command for phase in restore.phases for mutation in phase.mutations]
    run.change(msgspec.structs.replace(run.rollout, left=tuple(left)))
    await run.note("deployment.rollback", outcome="overdue", data={"left": [*left], "budget": BUDGET}, seconds=0.25)


async def _do(run: Run, phase: RestorePhase, found: Restoration) -> bool:
    answers = await asyncio.gather(*(_restore(run, mutation) for mutation in phase.mutations))
    for mutation, problem in zip(phase.mutations, answers, strict=True):
        if problem:
            found.left.append(mutation.command)
            found.problems.append(f"{mutation.object}: {problem}")
    if any(answers):
        return False
    for workload in phase.wait_for:
        if not await _ready(run, workload):
            readiness = deployment_ready(run.inventory, workload)
            found.problems.append(f"{workload}: its old version is not ready after {READY_WAIT:.0f} s ({readiness.detail})")
            found.left.append(kubectl_status(workload, context=_context(run)))
            return False
    return True


async def _restore(run: Run, mutation: Mutation) -> str:
    """Send one restoring change, waiting out a cluster that is away; the problem in words where it can't be done."""
    pause = 0.5
    until = run.clock.monotonic() + max(BUDGET / run.clock.speed, REFUSED_SECONDS)
    while True:
        try:
            await run.actuator.apply(mutation, hold=run.hold, rollout=run.rollout, rollback=True)
            return ""
        except HeldByAnother:
            raise
        except Throttled as error:
            await run.clock.sleep(max(0.1, error.retry_after))
        except Forbidden as error:
            # A refusal may be a webhook or a role that is just being changed: not the first answer decides.
            if run.clock.monotonic() >= until:
                return str(error)
            await run.clock.sleep(2.0)
        except NotFound as error:
            return str(error)
        except Unavailable as error:
            if isinstance(error, Misplaced):
                return str(error)
            await run.clock.sleep(pause)
            pause = min(3.0, pause * 1.5)
        except QuarterdeckError as error:
            return str(error)


async def _planned(run: Run) -> Restore:
    folded = fold(run.rollout.undo)
    live = {}
    for ref in dict.fromkeys(item.object for item in folded):
        live[ref] = await _read(run, ref)
    plan = run.rollout.plan
    return plan_restore(folded, live, context=_context(run), stable=plan.stable, canary=plan.canary, step=run.rollout.step)


def _context(run: Run) -> str:
    return run.rollout.release.target.context


async def _read(run: Run, ref: ObjectRef) -> dict[str, Json] | None:
    pause = 0.5
    while True:
        try:
            return await run.connection.get(ref)
        except NotFound:
            return None
        except Forbidden:
            return run.inventory.raw(ref)
        except Unavailable:
            await run.clock.sleep(pause)
            pause = min(3.0, pause * 1.5)


async def _verify(run: Run, found: Restoration) -> None:
    """Read everything back: what is not as it was and not already named is a problem of its own."""
    restore = await _planned(run)
    for phase in restore.phases:
        for mutation in phase.mutations:
            if mutation.command not in found.left:
                found.left.append(mutation.command)
                found.problems.append(f"{mutation.object}: not as it was before")
    for kept in restore.kept:
        found.kept.append(str(kept))
        if not _belongs_to_others(kept):
            found.problems.append(str(kept))
            found.left.append(kept.command or kubectl_get(kept.object, context=_context(run)))
    await _verify_by_plan(run, found)
    stable = run.rollout.plan.stable
    if not found.problems and not await _ready(run, stable):
        found.problems.append(f"{stable}: {deployment_ready(run.inventory, stable).detail}")
        found.left.append(kubectl_status(stable, context=_context(run)))


async def _verify_by_plan(run: Run, found: Restoration) -> None:
    """What the plan was going to change must not be there, whatever the records say: a lost record is no restored service."""
    plan = run.rollout.plan
    stable = await _read(run, plan.stable)
    new = sorted(name for name, image in _images(stable).items() if plan.new_images.get(name) == image)
    if new:
        found.problems.append(f"{plan.stable}: {', '.join(new)} still runs {run.rollout.release.version}")
        found.left.append(kubectl_undo(plan.stable, context=_context(run)))
    if plan.route is None:
        return
    step = next((step for step in plan.steps if isinstance(step, SetTraffic)), None)
    document = await _read(run, plan.route)
    if step is None or document is None:
        return
    try:
        share = int(ROUTERS[step.router].weight_of(document, ROUTERS[step.router].locate(document, run.rollout.release.service)))
    except QuarterdeckError as error:
        found.problems.append(f"{plan.route}: its split can't be read ({error.title})")
        found.left.append(kubectl_get(plan.route, context=_context(run)))
        return
    run.change(state.routed(run.rollout, share))
    if share and not any(str(plan.route) in problem for problem in found.problems):
        found.problems.append(f"{plan.route}: the canary still gets {share} % of the requests")
        found.left.append(kubectl_edit(plan.route, context=_context(run)))


def _images(workload: dict[str, Json] | None) -> dict[str, str]:
    """Container → image of a workload's pod template."""
    kinds = ("containers", "initContainers")
    listed = [container for kind in kinds for container in value_at(workload, f"{POD_SPEC}/{kind}") or ()]
    return {str(container.get("name")): str(container.get("image")) for container in listed}


async def _ready(run: Run, workload: ObjectRef) -> bool:
    seen = await _read(run, workload)
    generation = int(value_at(seen, "/metadata/generation") or 0)

    def done() -> bool:
        deployment = run.inventory.deployments.get((workload.namespace, workload.name))
        # The watch may still show the object as it was before our patch.
        return (
            deployment is not None
            and deployment.metadata.generation >= generation
            and deployment_ready(run.inventory, workload).ready
        )

    return await run.until(done, READY_WAIT)


def _belongs_to_others(kept: Kept) -> bool:
    """Replicas that an autoscaler or a person moved meanwhile are theirs; so is nothing else of a service."""
    return kept.path == REPLICAS and kept.found is not None


def plain(reason: Reason | None) -> Json:
    return msgspec.to_builtins(reason)
