"""The end of a rollout: journalled, in the checkpoint, and as a record in its namespace."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from services.actuator.undo import fold
from services.audit import Journal, Receipt
from services.model.errors import ExitCode, HeldByAnother, QuarterdeckError
from services.model.objects import Json
from services.model.rollout import Phase, Record, Rollout
from services.model.steps import SetTraffic, SmokeTest
from services.rollout import state
from services.rollout.events import entry
from services.rollout.run import Run

EXIT_CODES = {
    Phase.SUCCEEDED: ExitCode.DONE,
    Phase.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Phase.NEEDS_ATTENTION: ExitCode.NEEDS_ATTENTION,
    Phase.REFUSED: ExitCode.GATE_UNMET,
}
JOURNAL_PATIENCE = 5.0
"""Wall seconds the last entry may take; what is late is kept by the journal and written when it is back."""
LOOKED_AT = 50
"""The newest entries of a rollout among which its end would be: nothing but looks at its health may follow it."""

log = logging.getLogger(__name__)


async def finish(run: Run, final: Rollout) -> ExitCode:
    """``final`` becomes the rollout's state once the journal has it, so whoever sees the end can read it there."""
    duration = round((final.finished or final.now) - final.started, 3)
    receipt = await _told_before(run.journal, final) or await run.journal.append_within(
        entry(final, "deployment.completed", outcome=final.phase.value, duration=duration, data=_figures(final)), JOURNAL_PATIENCE
    )
    if receipt is not None:
        final = state.journalled(final, receipt.seq)
    run.change(final)
    namespace = final.release.target.namespace
    await _written(run, "checkpoint", run.save)
    if final.phase is not Phase.REFUSED:
        record = _record(run, final, receipt)
        await _written(run, "record", lambda: run.coordination.record(record, namespace))
    return EXIT_CODES[final.phase]


async def _told_before(journal: Journal, final: Rollout) -> Receipt | None:
    """The journal's word on this very end, where a driver was killed between writing it and the checkpoint: it is told once."""
    if final.epoch < 2:
        return None
    try:
        return await asyncio.to_thread(_end_of, journal, final)
    except OSError as error:
        log.warning("whether the end of %s is in the journal already could not be read: %s", final.id, error)
        return None


def _end_of(journal: Journal, final: Rollout) -> Receipt | None:
    for found in reversed(journal.entries(rollout=final.id, limit=LOOKED_AT)):
        if found["event"] == "deployment.completed" and found["outcome"] == final.phase.value:
            return journal.receipt(found["seq"])
        if found["event"] in ("deployment.rollback", "deployment.completed") or _changed(final, found):
            return None
    return None


def _changed(final: Rollout, found: Mapping[str, Any]) -> bool:
    """Whether an entry is about a change of the service. Who takes a rollout over claims it first, and asks its smoke tests again
    where they were under way: neither makes its end another one."""
    asking = {index for index, step in enumerate(final.plan.steps) if isinstance(step, SmokeTest)}
    facts = found["data"] or {}
    return found["event"] == "deployment.executed" and facts.get("step_name") != "claim" and facts.get("step") not in asking


async def _written(run: Run, what: str, call: Callable[[], Awaitable[None]]) -> None:
    """What was done to the service is done, whatever becomes of the bookkeeping: a failure here is logged, and the outcome stays.
    Only a rollout that somebody else took over meanwhile is no longer ours to answer for."""
    try:
        await run.patiently(f"writing the {what}", call)
    except HeldByAnother:
        raise
    except QuarterdeckError as error:
        log.warning("the %s of %s could not be written, its end is in the journal only: %s", what, run.rollout.id, error)


def _record(run: Run, final: Rollout, receipt: Receipt | None) -> Record:
    return Record(
        rollout=final.id,
        service=final.release.service,
        version=final.release.version,
        previous_version=final.plan.previous_version,
        environment=final.release.target.environment,
        tier=final.release.target.tier.value,
        strategy=final.release.strategy.value,
        outcome=final.phase.value,
        restored=final.phase is Phase.ROLLED_BACK,
        operator=final.operator,
        finished=run.clock.now(),
        journal_id=run.journal.id,
        journal_seq=receipt.seq if receipt else -1,
        journal_hash=receipt.hash if receipt else "",
        values_restored=restored_values(final),
        template_changed=state.promoting(final),
        highest_weight=highest_weight(final),
        pods=max((sample.canary.pods for sample in final.samples), default=0),
        served=_served(final),
    )


def _figures(rollout: Rollout) -> dict[str, Json]:
    """The metrics of ``deployment.completed`` (R6.2): before, at the end, and how the steps went.

    The entry's version is the one that a rollback left: the one that runs since is ``restored_version``."""
    last = rollout.samples[-1] if rollout.samples else None
    return {
        "previous_version": rollout.plan.previous_version,
        "restored_version": rollout.plan.previous_version if rollout.phase is Phase.ROLLED_BACK else None,
        "kind": rollout.kind.value,
        "strategy": rollout.release.strategy.value,
        "reason": msgspec.to_builtins(rollout.reason),
        "left": list(rollout.left),
        "rollback_seconds": rollback_seconds(rollout),
        "metrics": {
            "baseline": msgspec.to_builtins(rollout.baseline),
            "last": msgspec.to_builtins(last),
            "triggers": msgspec.to_builtins(rollout.triggers),
        },
        "steps": [
            {"name": step.name, "outcome": own.outcome.value, "seconds": round(own.seconds, 3)}
            for step, own in zip(rollout.plan.steps, rollout.steps, strict=True)
        ],
    }


def restored_values(rollout: Rollout) -> int:
    """How many values a rollback has put back (parents that were made on the way to one are none); 0 before it has."""
    if rollout.phase is not Phase.ROLLED_BACK:
        return 0
    return sum(item.last != item.original and item.last != {} for item in fold(rollout.undo))


def highest_weight(rollout: Rollout) -> int:
    """The largest share, in percent, that the new version was given: by what was recorded, not by what was planned."""
    given = [rollout.plan.steps[record.step] for record in rollout.undo if 0 <= record.step < len(rollout.plan.steps)]
    return max((step.weight for step in given if isinstance(step, SetTraffic)), default=0)


def _served(rollout: Rollout) -> bool:
    return any(sample.canary.requests > 0 for sample in rollout.samples) or any(step.requests > 0 for step in rollout.steps)


def rollback_seconds(rollout: Rollout) -> float | None:
    """Pace seconds from the breach to the verified restoration, or to now."""
    if rollout.breach_at is None:
        return None
    return round((rollout.finished if rollout.finished is not None else rollout.now) - rollout.breach_at, 3)
