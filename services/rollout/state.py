"""What can happen to a rollout, as pure functions from one checkpoint to the next.

Times called ``pace`` are pace seconds (see :mod:`services.clock`). Nothing here knows a cluster, a file or a clock.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from services.model.alerts import Alert
from services.model.gates import Checklist
from services.model.release import Release
from services.model.rollout import (
    Baseline,
    Driver,
    Freshness,
    Judgement,
    Phase,
    Reason,
    Rollout,
    Sample,
    StepOutcome,
    StepState,
    TriggerReading,
    UndoRecord,
)
from services.model.steps import Analyse, AnyStep, MeasureBaseline, OnUndecided, Pause, Plan, SetTraffic, Step, WaitReady

MAX_SAMPLES = 60
MAX_ALERTS = 1000
"""Fingerprints that are remembered: they have to fit into the checkpoint."""
UNDECIDED_WORDS = {
    OnUndecided.PAUSE: "ask a person",
    OnUndecided.ADVANCE: "go on with a note",
    OnUndecided.ROLLBACK: "roll back",
}
OPERATOR_PAUSE = "operator"
"""Start of every pause reason that a person asked for; all others say that a person is needed."""


def begin(
    *,
    id: str,
    release: Release,
    plan: Plan,
    checklist: Checklist,
    operator: str,
    approvers: tuple[str, ...],
    created: datetime,
    pace: float,
) -> Rollout:
    """A rollout of which nothing has been done yet."""
    rollout = Rollout(
        id=id,
        release=release,
        plan=plan,
        gates=checklist.results,
        operator=operator,
        approvers=approvers,
        created=created,
        steps=tuple(StepState(expected_seconds=step.expected_seconds) for step in plan.steps),
        now=pace,
        started=pace,
    )
    return announced(rollout)


def driven_by(rollout: Rollout, driver: Driver, epoch: int) -> Rollout:
    return msgspec.structs.replace(rollout, driver=driver, epoch=epoch)


def current(rollout: Rollout) -> AnyStep | None:
    """The step under way, or ``None`` after the last."""
    return rollout.plan.steps[rollout.step] if rollout.step < len(rollout.plan.steps) else None


def current_state(rollout: Rollout) -> StepState:
    return rollout.steps[rollout.step]


def step_started(rollout: Rollout, at: datetime) -> Rollout:
    """Mark the step under way as running. A step that already ran before its driver died keeps its start and elapsed time."""
    state = current_state(rollout)
    if state.outcome is StepOutcome.RUNNING:
        return rollout
    return announced(
        _with_step(rollout, msgspec.structs.replace(state, outcome=StepOutcome.RUNNING, started=at, seconds=0.0, requests=0.0))
    )


def step_progressed(rollout: Rollout, *, seconds: float, requests: float | None = None) -> Rollout:
    """``seconds`` of pace have been spent in the step under way, in which the new version served ``requests``."""
    state = current_state(rollout)
    served = state.requests if requests is None else requests
    return announced(_with_step(rollout, msgspec.structs.replace(state, seconds=max(state.seconds, seconds), requests=served)))


def step_finished(rollout: Rollout, note: str = "") -> Rollout:
    """The step under way is done; the next one is under way (not started yet)."""
    done = msgspec.structs.replace(current_state(rollout), outcome=StepOutcome.DONE, note=note or current_state(rollout).note)
    return announced(msgspec.structs.replace(_with_step(rollout, done), step=rollout.step + 1))


def extended(rollout: Rollout, seconds: float, note: str) -> Rollout:
    """Give the step under way ``seconds`` (pace) more than planned."""
    state = current_state(rollout)
    more = msgspec.structs.replace(state, expected_seconds=state.expected_seconds + seconds, note=note)
    return announced(_with_step(rollout, more))


def shortened(rollout: Rollout, note: str) -> Rollout:
    """The step under way has had time enough."""
    own = current_state(rollout)
    return announced(_with_step(rollout, msgspec.structs.replace(own, expected_seconds=own.seconds, note=note)))


def concluded(rollout: Rollout, verdict: str) -> Rollout:
    """What the analysis under way came to; beside it what Argo's default rule had made of the same counts by then."""
    argo_at = rollout.judgement.argo_at if rollout.judgement is not None else None
    return _with_step(rollout, msgspec.structs.replace(current_state(rollout), verdict=verdict, argo_at=argo_at))


def is_extended(rollout: Rollout) -> bool:
    step = current(rollout)
    return isinstance(step, Analyse | MeasureBaseline) and current_state(rollout).expected_seconds > step.seconds


def paused(rollout: Rollout, reason: str) -> Rollout:
    return announced(msgspec.structs.replace(rollout, phase=Phase.PAUSED, pause_reason=reason))


def resumed(rollout: Rollout) -> Rollout:
    """Go on. A look whose time was over without a verdict gets as long again: a person has said to try once more."""
    rollout = msgspec.structs.replace(rollout, phase=Phase.RUNNING, pause_reason="")
    step = current(rollout)
    if isinstance(step, Analyse | MeasureBaseline) and current_state(rollout).seconds >= current_state(rollout).expected_seconds:
        return extended(rollout, step.seconds, "undecided, tried again by a person")
    return announced(rollout)


def needs_person(rollout: Rollout) -> bool:
    """Whether it waits for a decision that no machine takes (a pause that the operator asked for is no such thing)."""
    return rollout.phase is Phase.NEEDS_ATTENTION or (
        rollout.phase is Phase.PAUSED and not rollout.pause_reason.startswith(OPERATOR_PAUSE)
    )


def breached(rollout: Rollout, reason: Reason, also: tuple[Reason, ...] = (), *, pace: float) -> Rollout:
    """Start rolling back. The first reason stays; what else was true at the time is kept beside it."""
    if rollout.phase is Phase.ROLLING_BACK:
        return rollout
    steps = list(rollout.steps)
    for index, state in enumerate(steps):
        if state.outcome is StepOutcome.RUNNING:
            steps[index] = msgspec.structs.replace(state, outcome=StepOutcome.ABORTED, note=reason.detail or reason.name)
        elif state.outcome is StepOutcome.PENDING:
            steps[index] = msgspec.structs.replace(state, outcome=StepOutcome.SKIPPED)
    return announced(
        msgspec.structs.replace(
            rollout,
            phase=Phase.ROLLING_BACK,
            steps=tuple(steps),
            reason=reason,
            also=also,
            breach_at=pace,
            rollback_started=pace,
            finished=None,
            left=(),
            pause_reason="",
        )
    )


def tried_again(rollout: Rollout, *, pace: float) -> Rollout:
    """A rollback that left something undone starts once more, for the same reason."""
    return announced(
        msgspec.structs.replace(rollout, phase=Phase.ROLLING_BACK, rollback_started=pace, finished=None, left=(), pause_reason="")
    )


def rolled_back(rollout: Rollout, *, left: tuple[str, ...], pace: float) -> Rollout:
    """The rollback is over: restored where nothing is ``left`` to do by hand."""
    phase = Phase.NEEDS_ATTENTION if left else Phase.ROLLED_BACK
    weight = rollout.weight if left else 0
    return announced(msgspec.structs.replace(rollout, phase=phase, left=left, finished=pace, weight=weight))


def succeeded(rollout: Rollout, *, pace: float) -> Rollout:
    return announced(msgspec.structs.replace(rollout, phase=Phase.SUCCEEDED, finished=pace))


def refused(rollout: Rollout, reason: Reason, *, pace: float) -> Rollout:
    """Ended before anything was changed."""
    return announced(msgspec.structs.replace(rollout, phase=Phase.REFUSED, reason=reason, finished=pace))


def noted(rollout: Rollout, note: str) -> Rollout:
    """Say something of the step under way."""
    return _with_step(rollout, msgspec.structs.replace(current_state(rollout), note=note))


def measured(rollout: Rollout, baseline: Baseline) -> Rollout:
    return msgspec.structs.replace(rollout, baseline=baseline)


def observed(
    rollout: Rollout, *, sample: Sample | None, triggers: tuple[TriggerReading, ...], actual_weight: int | None
) -> Rollout:
    """What the watch loop saw at one look; the newest ``MAX_SAMPLES`` samples are kept."""
    samples = (*rollout.samples, sample)[-MAX_SAMPLES:] if sample else rollout.samples
    return msgspec.structs.replace(rollout, samples=samples, triggers=triggers, actual_weight=actual_weight)


def metrics_read(rollout: Rollout, freshness: Freshness) -> Rollout:
    """How old the metrics are at this look, and what is wrong with them."""
    return msgspec.structs.replace(rollout, freshness=freshness)


def alerts_known(rollout: Rollout, firing: Sequence[Alert]) -> Rollout:
    """These fire while nothing is changed yet: whatever they are about, it is not the new version."""
    before = dict.fromkeys((*(rollout.alerts_before or ()), *(each.fingerprint for each in firing)))
    return msgspec.structs.replace(rollout, alerts_before=tuple(before)[-MAX_ALERTS:])


def judged(rollout: Rollout, judgement: Judgement) -> Rollout:
    """What the judge says after its latest look, with all that it goes on from."""
    return msgspec.structs.replace(rollout, judgement=judgement)


def exposed(rollout: Rollout, *, weight: int, pace: float) -> Rollout:
    """The new version is given ``weight`` percent of the requests; the first time and the latest rise are remembered."""
    rises = weight > rollout.weight
    rollout = msgspec.structs.replace(rollout, weight=weight)
    return risen(rollout, pace=pace) if rises else rollout


def risen(rollout: Rollout, *, pace: float) -> Rollout:
    """From now on more requests reach the new version than before (by a weight, or because its pods replace the old ones)."""
    since = pace if rollout.exposed_at is None else rollout.exposed_at
    return msgspec.structs.replace(rollout, exposed_at=since, raised_at=pace)


def watched_anew(rollout: Rollout, *, pace: float) -> Rollout:
    """Nobody watched for a while: what was seen before says nothing of now, and an exposed version is on trial again."""
    raised = rollout.raised_at if rollout.exposed_at is None else pace
    return msgspec.structs.replace(rollout, triggers=(), raised_at=raised)


def routed(rollout: Rollout, actual: int) -> Rollout:
    """The route itself says that the new version gets ``actual`` percent."""
    return msgspec.structs.replace(rollout, actual_weight=actual)


def recorded(rollout: Rollout, undo: tuple[UndoRecord, ...]) -> Rollout:
    """The same rollout with exactly these undo records."""
    return msgspec.structs.replace(rollout, undo=undo)


def journalled(rollout: Rollout, seq: int) -> Rollout:
    return msgspec.structs.replace(
        rollout, journal_first=seq if rollout.journal_first is None else rollout.journal_first, journal_last=seq
    )


def rebased(rollout: Rollout, *, pace: float, now: datetime, speed: float) -> Rollout:
    """The checkpoint in this machine's pace seconds, where the clock of the machine that wrote it went differently.

    Pace seconds of two machines agree as far as their clocks do. ``now`` of a checkpoint can't be later than the local
    ``pace``, nor earlier than the wall time since it was ``written`` allows; where it is, everything in it is shifted by the
    same number of seconds. ``now`` is the local wall time; ``speed`` pace seconds per wall second.
    """
    earliest = pace
    if rollout.written is not None:
        earliest -= max(0.0, (now - rollout.written).total_seconds()) * speed
    elif rollout.now <= pace:
        return rollout
    shift = min(max(rollout.now, earliest), pace) - rollout.now
    if not shift:
        return rollout

    def moved(at: float | None) -> float | None:
        return None if at is None else at + shift

    judgement, fresh = rollout.judgement, rollout.freshness

    return msgspec.structs.replace(
        rollout,
        now=rollout.now + shift,
        started=rollout.started + shift,
        finished=moved(rollout.finished),
        exposed_at=moved(rollout.exposed_at),
        raised_at=moved(rollout.raised_at),
        next_at=moved(rollout.next_at),
        breach_at=moved(rollout.breach_at),
        rollback_started=moved(rollout.rollback_started),
        samples=tuple(msgspec.structs.replace(sample, at=sample.at + shift) for sample in rollout.samples),
        triggers=tuple(msgspec.structs.replace(reading, at=moved(reading.at)) for reading in rollout.triggers),
        judgement=msgspec.structs.replace(judgement, at=moved(judgement.at)) if judgement is not None else None,
        freshness=(
            msgspec.structs.replace(fresh, data_at=moved(fresh.data_at), since=moved(fresh.since)) if fresh is not None else None
        ),
    )


def stamped(rollout: Rollout, *, pace: float, written: datetime) -> Rollout:
    """The checkpoint as it is written now, with the countdown brought up to date."""
    return announced(msgspec.structs.replace(rollout, now=pace, written=written))


def promoting(rollout: Rollout) -> bool:
    """Whether the stable workload has begun to change, by what was recorded (not by what was planned)."""
    return any(record.object == rollout.plan.stable and record.path.startswith("/spec/template") for record in rollout.undo)


def expected_rollback(rollout: Rollout) -> float:
    """Predicted pace seconds from the rollback key to the restored service, from where the rollout is: once stable has begun to
    change, its pods have to be rolled back too, which takes about as long as they were expected to take on the way there."""
    plan = rollout.plan
    if plan.canary is None or not promoting(rollout):
        return plan.rollback_seconds
    rolls = (step.expected_seconds for step in plan.steps if isinstance(step, WaitReady) and step.workload == plan.stable)
    return plan.rollback_seconds + max(rolls, default=0.0)


def announced(rollout: Rollout) -> Rollout:
    """The same rollout saying what the machine does next, and the pace second at which it will (where that is known)."""
    text, at = _next(rollout)
    return msgspec.structs.replace(rollout, next=text, next_at=at)


def _with_step(rollout: Rollout, state: StepState) -> Rollout:
    steps = list(rollout.steps)
    steps[rollout.step] = state
    return msgspec.structs.replace(rollout, steps=tuple(steps))


def _next(rollout: Rollout) -> tuple[str, float | None]:
    if rollout.phase is Phase.PAUSED:
        return f"waits for a person: {rollout.pause_reason}", None
    if rollout.phase is Phase.ROLLING_BACK:
        return f"restores {rollout.plan.previous_version} and verifies it", None
    if rollout.phase is Phase.NEEDS_ATTENTION:
        return "a person has to look: " + (rollout.left[0] if rollout.left else "see the journal"), None
    if rollout.phase is not Phase.RUNNING:
        return "", None
    step = current(rollout)
    if step is None:
        return "finishes", None
    after = rollout.plan.steps[rollout.step + 1] if rollout.step + 1 < len(rollout.plan.steps) else None
    then = _words(after) if after else "done"
    state = current_state(rollout)
    remaining = max(0.0, state.expected_seconds - state.seconds)
    running = state.outcome is StepOutcome.RUNNING
    if isinstance(step, Analyse):
        decided = UNDECIDED_WORDS[step.on_undecided]
        asked = "then ask" if step.on_undecided is OnUndecided.PAUSE else f"then {decided}"
        undecided = decided if is_extended(rollout) else f"+{step.seconds:.0f} s, {asked}"
        return f"{then} if healthy; undecided → {undecided}", rollout.now + remaining if running else None
    if isinstance(step, Pause):
        return (f"{then}", rollout.now + remaining) if step.seconds is not None else (f"{then} once promoted", None)
    return then, None


def _words(step: Step) -> str:
    return f"{step.weight} % of requests to the new version" if isinstance(step, SetTraffic) else step.name
