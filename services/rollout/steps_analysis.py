"""Doing the steps that only look and wait: the baseline, the analyses, the pauses."""

import msgspec

from services.analysis.judge import Verdict
from services.model.objects import Json
from services.model.rollout import Reason, TriggerName
from services.model.steps import Analyse, MeasureBaseline, OnUndecided, Pause
from services.rollout import judging, state
from services.rollout.passing import doubt
from services.rollout.run import Breach, PersonNeeded, Run, Spent

LOOKS = 3
"""Intervals of the metrics that an extended baseline takes at least."""


async def measure_baseline(run: Run, step: MeasureBaseline) -> None:
    """Watch the running version for the step's time, and once more where it served nothing to compare with; the watch loop
    keeps the counts. Raises :class:`PersonNeeded` where there still is no baseline."""
    while True:
        await run.spend()
        own = state.current_state(run.rollout)
        baseline = await run.baseline(own.expected_seconds)
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
    """Pass when the time is over, the new version served enough, does not fail, and the judge has proof of its health; else go on
    until it has, for as long again at most, then the step's policy decides. No data always asks a person: it is no reason to go
    on, nor to go back.

    A trigger that fires meanwhile, the judge among them, ends the step from outside, and so does health that is proven while the
    step is extended, or before its time where that is allowed (see :mod:`services.rollout.passing`). Raises :class:`Breach` where
    undecided means going back.
    """
    while True:
        spent = await run.spend(needs_data=True)
        if spent is Spent.PROMOTED:
            await _verdict(run, "promoted", "promoted by a person")
            return
        missing = _missing(run, step, spent)
        if not missing:
            if less := judging.without(run.rollout.judgement):
                # A pass that proves less than it might says so: not every service tells how long its requests take.
                note = state.current_state(run.rollout).note
                run.change(state.noted(run.rollout, "; ".join(filter(None, (note, less)))))
            await _verdict(run, Verdict.HEALTHY if step.proof else judging.HOLDS, "passed")
            return
        unknown = spent is Spent.BLIND or judging.no_data(run.rollout)
        found = Verdict.NO_DATA if unknown else Verdict.UNDECIDED
        missing = f"no data: {missing}" if unknown else missing
        if spent is Spent.ALL and not state.is_extended(run.rollout):
            run.change(state.extended(run.rollout, step.seconds, f"undecided ({missing}): {step.seconds:.0f} s more"))
            await _verdict(run, found, "undecided")
            continue
        if not unknown and step.on_undecided is OnUndecided.ROLLBACK:
            await _verdict(run, found, "undecided")
            raise Breach(_undecided(run, step, missing))
        if not unknown and step.on_undecided is OnUndecided.ADVANCE and _bearable(run, step):
            run.change(state.noted(run.rollout, f"went on undecided, as the configuration says: {missing}"))
            await _verdict(run, found, "undecided")
            return
        run.change(state.concluded(run.rollout, found.value))  # what is paused says why from its first checkpoint on
        await run.pause(f"undecided: {missing}")
        await _verdict(run, found, "undecided")
        await run.unpaused()


def _missing(run: Run, step: Analyse, spent: Spent) -> str:
    """What the step lacks to pass; empty where nothing."""
    served = state.current_state(run.rollout).requests
    if spent is Spent.BLIND:
        return f"its metrics can't be read ({run.unreadable or 'it has no pods'})"
    if served < step.min_requests:
        quiet = "no requests reach it; " if not served else ""
        return f"{quiet}the new version served {served:.0f} of the {step.min_requests} requests a verdict needs"
    if why := doubt(run.rollout, run.settings):
        return why
    return judging.evidence_words(run.rollout) if step.proof and not judging.proven(run.rollout) else ""


def _bearable(run: Run, step: Analyse) -> bool:
    """Whether going on undecided risks little: enough was served, nothing fails, and it is surely not worse by much."""
    enough = state.current_state(run.rollout).requests >= step.min_requests
    return enough and not doubt(run.rollout, run.settings) and judging.surely_below(run.rollout, run.settings.judge.advance_below)


def _undecided(run: Run, step: Analyse, missing: str) -> Reason:
    """The reason of a rollback for want of proof. Its figures are what the trigger's always are: the evidence of a regression, of
    the 100 that would have made an abort; how much there is of health is in the words."""
    reading = judging.reading(run.rollout.judgement)
    seconds = state.current_state(run.rollout).seconds
    detail = f"undecided after {seconds:.0f} s, which rolls back here (judge.on_undecided): {missing}"
    return Reason(kind="trigger", name=TriggerName.JUDGE.value, value=reading.value, limit=reading.limit, detail=detail)


async def pause(run: Run, step: Pause) -> None:
    if step.seconds is not None:
        await run.spend()
        return
    await run.pause("approval: the plan waits here until a person promotes it")
    await run.unpaused()
    run.promoted.clear()


async def _verdict(run: Run, verdict: str, outcome: str) -> None:
    run.change(state.concluded(run.rollout, str(verdict)))
    own, judgement = state.current_state(run.rollout), run.rollout.judgement
    data: dict[str, Json] = {
        "step": run.rollout.step,
        "requests": own.requests,
        "weight": run.rollout.weight,
        "verdict": str(verdict),
        "argo_at": own.argo_at,
    }
    if judgement is not None:
        data["evidence"] = {
            "regression": judgement.regression,
            "health": judgement.health,
            "detail": judgement.detail,
            "log_e": judgement.log_e,
            "limit": judgement.abort_at,
            "metrics": msgspec.to_builtins(judgement.undrawn.metrics),
        }
    if run.asked:
        data["asked"] = msgspec.to_builtins(run.asked)
    await run.note("deployment.health_check", outcome=outcome, duration=own.seconds, data=data)
