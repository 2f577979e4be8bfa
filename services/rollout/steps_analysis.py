"""Doing the steps that only look and wait: the baseline, the analyses, the pauses."""

from services.analysis import Limits, exceeds
from services.model.rollout import TriggerName
from services.model.steps import Analyse, MeasureBaseline, Pause
from services.rollout import state
from services.rollout.run import PersonNeeded, Run, Spent

LOOKS = 3
"""Intervals of the metrics that an extended baseline takes at least."""


async def measure_baseline(run: Run, step: MeasureBaseline) -> None:
    """Watch the running version for the step's time, and once more where it served nothing to compare with; the watch loop
    keeps the counts. Raises :class:`PersonNeeded` where there still is no baseline."""
    while True:
        await run.spend()
        own = state.current_state(run.rollout)
        baseline = run.baseline(own.expected_seconds)
        run.change(state.measured(run.rollout, baseline))
        if baseline.requests and baseline.p99 is not None:
            return
        missing = (
            f"only {baseline.requests:.0f} requests with durations to take a P99 from"
            if baseline.requests
            else f"no requests were measured{f' ({run.unreadable})' if run.unreadable else ''}"
        )
        if state.is_extended(run.rollout):
            raise PersonNeeded(
                f"undecided: no baseline: {missing} in {own.expected_seconds:.0f} s",
                "Without one, an error rate is compared with its limit alone and latencies with nothing.",
            )
        # Counters need two looks, and a pod that was just found has had one.
        more = max(step.seconds, LOOKS * run.settings.metrics.interval)
        run.change(state.extended(run.rollout, more, f"undecided (no baseline: {missing}): {more:.0f} s more"))


async def analyse(run: Run, step: Analyse) -> None:
    """Pass when the time is over, the new version served enough and does not fail; else once more the same time, then a person
    decides.

    A trigger that fires meanwhile ends the step from outside (see :mod:`services.rollout.watch`).
    """
    while True:
        spent = await run.spend(needs_data=True)
        if spent is Spent.PROMOTED:
            await _verdict(run, "promoted by a person")
            return
        served = state.current_state(run.rollout).requests
        if spent is Spent.BLIND:
            missing = f"its metrics can't be read ({run.unreadable or 'it has no pods'})"
        elif served < step.min_requests:
            missing = f"the new version served {served:.0f} of the {step.min_requests} requests a verdict needs"
        else:
            missing = doubt(run)
        if not missing:
            await _verdict(run, "passed")
            return
        if spent is Spent.ALL and not state.is_extended(run.rollout):
            run.change(state.extended(run.rollout, step.seconds, f"undecided ({missing}): {step.seconds:.0f} s more"))
            await _verdict(run, "undecided")
            continue
        await run.pause(f"undecided: {missing}")
        await _verdict(run, "undecided")
        await run.unpaused()


def doubt(run: Run) -> str:
    """Why the new version can't be called good by what it did lately; empty where it can.

    The error rate's trigger looks at the time after a rise of its share. That that time is over passes nobody who fails now.
    """
    reading = next((reading for reading in run.rollout.triggers if reading.name is TriggerName.ERROR_RATE), None)
    lately = run.rollout.samples[-1].canary if run.rollout.samples else None
    if reading is None or reading.value is None or lately is None or lately.errors is None:
        why = f" ({reading.detail})" if reading is not None and reading.detail else ""
        return f"the new version's error rate is not known{why}"
    if exceeds(Limits.of(run.settings), requests=lately.requests, errors=lately.errors, baseline=run.rollout.baseline):
        return (
            f"{lately.errors:.0f} of {lately.requests:.0f} requests to the new version failed lately, "
            f"more than {reading.limit:.0%} of them"
        )
    return ""


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
