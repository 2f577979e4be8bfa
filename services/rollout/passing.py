"""Whether the analysis under way has all that it needs to pass, at a look."""

from services.analysis import Limits, exceeds
from services.analysis.judge import Verdict
from services.model.rollout import Rollout, TriggerName
from services.model.steps import Analyse
from services.rollout import judging, state
from services.settings import Settings


def proven_early(rollout: Rollout, settings: Settings) -> str:
    """Why the analysis under way may end now, before the time that it was given; empty where it may not.

    Evidence of health may be looked at as often as one likes: that it ever gets so strong has a chance of at most β in a version
    that is not healthy. So an extended step, whose planned time is over and which waits for nothing but proof, ends as soon as it
    has it; within its planned time only where the plan allows it.
    """
    step = state.current(rollout)
    if not isinstance(step, Analyse) or not step.proof or rollout.judgement is None:
        return ""
    extended = state.is_extended(rollout)
    own, trial = state.current_state(rollout), judging.under_way(rollout.judgement, rollout.step)
    if not (extended or step.promote_early) or own.seconds >= own.expected_seconds:
        return ""
    healthy = trial.state.verdict is Verdict.HEALTHY
    enough = own.seconds >= trial.parameters.minimum_s and own.requests >= step.min_requests
    if not healthy or not enough or doubt(rollout, settings):
        return ""
    return f"proven healthy after {own.seconds:.0f} s" if extended else "proven healthy before its time"


def doubt(rollout: Rollout, settings: Settings) -> str:
    """Why the new version can't be called good by what it did lately; empty where it can.

    The error rate's trigger looks at the time after a rise of its share. That that time is over passes nobody who fails now.
    """
    reading = next((reading for reading in rollout.triggers if reading.name is TriggerName.ERROR_RATE), None)
    lately = rollout.samples[-1].canary if rollout.samples else None
    if reading is None or reading.value is None or lately is None or lately.errors is None:
        why = f" ({reading.detail})" if reading is not None and reading.detail else ""
        return f"the new version's error rate is not known{why}"
    if exceeds(Limits.of(settings), requests=lately.requests, errors=lately.errors, baseline=rollout.baseline):
        return (
            f"{lately.errors:.0f} of {lately.requests:.0f} requests to the new version failed lately, "
            f"more than {reading.limit:.0%} of them"
        )
    return ""
