"""What a driver answers to a person's intent, and what it does about it."""

from services.model.rollout import Phase, Reason
from services.rollout import state
from services.rollout.engine import MAY_BE_ACCEPTED
from services.rollout.intents import Answer, Ask, Intent
from services.rollout.run import Breach, Run


async def answer(run: Run, ask: Ask) -> Answer:
    rollout = run.rollout
    if run.ending:
        return Answer(ok=False, detail="the rollout is just ending; roll it back once it is over")
    if rollout.phase.final or rollout.phase is Phase.NEEDS_ATTENTION:
        return Answer(ok=False, detail=f"the rollout is over ({rollout.phase.value})")
    if rollout.phase is Phase.ROLLING_BACK:
        joined = ask.intent in (Intent.ABORT, Intent.ROLLBACK)
        return Answer(ok=joined, detail="it is rolling back already")
    match ask.intent:
        case Intent.PAUSE:
            if rollout.phase is Phase.PAUSED:
                return Answer(ok=True, detail=f"it is paused already ({rollout.pause_reason})")
            await run.pause(f"{state.OPERATOR_PAUSE}: paused by {ask.operator}", user=ask.operator)
            return Answer(ok=True, detail="paused; the triggers still watch")
        case Intent.RESUME | Intent.PROMOTE:
            if ask.intent is Intent.RESUME and rollout.phase is not Phase.PAUSED:
                return Answer(ok=True, detail="it is running")
            step = state.current(rollout)
            if ask.intent is Intent.PROMOTE and not isinstance(step, MAY_BE_ACCEPTED):
                name = step.name if step is not None else "the end"
                return Answer(ok=False, detail=f"a person can pass an analysis, a pause or smoke tests, not {name!r}")
            if ask.intent is Intent.PROMOTE:
                run.promoted.set()
            if rollout.phase is Phase.PAUSED:
                run.change(state.resumed(run.rollout))
            done = "promoted" if ask.intent is Intent.PROMOTE else "resumed"
            await run.note(
                f"rollout.{done}", outcome="done", user=ask.operator, data={"step": rollout.step, "reason": ask.reason}
            )
            return Answer(ok=True, detail=done)
        case Intent.ABORT | Intent.ROLLBACK:
            if not run.breach.done():
                detail = ask.reason or f"asked for by {ask.operator}"
                run.breach.set_result(Breach(Reason(kind="operator", name=ask.intent.value, detail=detail)))
            return Answer(ok=True, detail="rolling back")
