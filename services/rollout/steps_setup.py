"""Doing the steps that make what a split needs, and take it back."""

import msgspec

from services.actuator import Mutation
from services.actuator.undo import fold, plan_restore
from services.model.errors import NotFound
from services.model.objects import Json, ObjectRef
from services.model.steps import CleanUp, EnsureObject
from services.rollout import state
from services.rollout.run import Run


async def ensure_object(run: Run, step: EnsureObject) -> None:
    await run.apply(
        Mutation(
            object=step.object,
            writes=(),
            create=step.body,
            owned=True,
            command=step.command,
            step=run.rollout.step,
            step_name=step.name,
        )
    )


async def clean_up(run: Run, step: CleanUp) -> None:
    """What the undo records say of the step's objects is put back, as a rollback would; what somebody else has changed since is
    left to them and named."""
    folded = [item for item in fold(run.rollout.undo) if item.object in step.objects]
    live = {ref: await _read(run, ref) for ref in dict.fromkeys(item.object for item in folded)}
    plan = run.rollout.plan
    restore = plan_restore(
        folded, live, context=run.rollout.release.target.context, stable=plan.stable, canary=plan.canary, step=run.rollout.step
    )
    for phase in restore.phases:
        for mutation in phase.mutations:
            await run.apply(msgspec.structs.replace(mutation, step_name=step.name))
    if restore.kept:
        run.change(state.noted(run.rollout, "left as it is: " + "; ".join(str(kept) for kept in restore.kept)))


async def _read(run: Run, ref: ObjectRef) -> dict[str, Json] | None:
    async def found() -> dict[str, Json] | None:
        try:
            return await run.connection.get(ref)
        except NotFound:
            return None

    return await run.patiently(f"reading {ref}", found)
