"""Doing the steps that only look and wait: the baseline, the analyses, the pauses."""

from services.model.steps import Analyse, MeasureBaseline, Pause
from services.rollout import state
from services.rollout.run import Run, Spent


async def measure_baseline(run: Run, step: MeasureBaseline) -> None:
    """Watch the running version for the step's time; the watch loop keeps the counts."""
    await run.spend()
    run.change(state.measured(run.rollout, run.baseline(step.seconds)))


async def analyse(run: Run, step: Analyse) -> None:
    """Pass when the time is over and the new version served enough; else once more the same time, then a person decides.

    A trigger that fires meanwhile ends the step from outside (see :mod:`services.rollout.watch`).
    """
    while True:
        spent = await run.spend(needs_data=True)
        if spent is Spent.PROMOTED:
            await _verdict(run, "promoted by a person")
            return
        served = state.current_state(run.rollout).requests
        if spent is Spent.ALL and served >= step.min_requests:
            await _verdict(run, "passed")
            return
        missing = (
            f"its metrics can't be read ({run.unreadable or 'it has no pods'})"
            if spent is Spent.BLIND
            else f"the new version served {served:.0f} of the {step.min_requests} requests a verdict needs"
        )
        if spent is Spent.ALL and not state.is_extended(run.rollout):
            run.change(state.extended(run.rollout, step.seconds, f"undecided ({missing}): {step.seconds:.0f} s more"))
            await _verdict(run, "undecided")
            continue
        await run.pause(f"undecided: {missing}")
        await _verdict(run, "undecided")
        await run.unpaused()


async def pause(run: Run, step: Pause) -> None:
    if step.seconds is not None:
        await run.spend()
        return
    await run.pause("approval: the plan waits here until a person promotes it")
    await run.unpaused()
    run.promoted.clear()


async def _verdict(run: Run, verdict: str) -> None:
    own = state.current_state(run.rollout)
    await run.note(
        "deployment.health_check",
        outcome=verdict,
        duration=own.seconds,
        data={"step": run.rollout.step, "requests": own.requests, "weight": run.rollout.weight},
    )
