"""The result of a rollout as one document (the command line's contract)."""

from typing import Any

import msgspec

from services.actuator.shown import shown
from services.model.errors import ExitCode
from services.model.gates import GateResult
from services.model.objects import Json, dotted
from services.model.release import Release
from services.model.rollout import ENOUGH_EVIDENCE, Phase, Reason, Rollout, StepOutcome
from services.model.steps import Plan
from services.rollout.finish import rollback_seconds
from services.rollout.follow import Followed

OUTCOMES = {
    Phase.SUCCEEDED: ("succeeded", ExitCode.DONE),
    Phase.ROLLED_BACK: ("rolled_back", ExitCode.ROLLED_BACK),
    Phase.NEEDS_ATTENTION: ("needs_attention", ExitCode.NEEDS_ATTENTION),
    Phase.PAUSED: ("needs_attention", ExitCode.NEEDS_ATTENTION),
    Phase.REFUSED: ("gate_unmet", ExitCode.GATE_UNMET),
}


NEVER_RAN = (StepOutcome.PENDING, StepOutcome.SKIPPED)
PAUSES = {"attention": "error", "shared incident": "trigger"}
"""Why a rollout waits for a person, as the kind of a reason; everything else was a person's own wish or the plan's."""


def verdict(followed: Followed) -> tuple[str, ExitCode, Reason | None]:
    """Outcome, exit code and reason of what was followed to its end.

    A driver that was refused before it changed anything ends ``rejected`` whatever refused it: who is at fault is the reason's
    kind, and the exit code is the error's (1 for a cluster that could not be asked or said no, 2 for bad input).
    """
    rollout, error = followed.rollout, followed.error
    if not followed.abandoned:
        outcome, code = OUTCOMES[rollout.phase]
        if rollout.phase is Phase.PAUSED:
            word, _, detail = rollout.pause_reason.partition(":")
            kind = PAUSES.get(word, "operator")
            value, limit, now = _figures(rollout, word)
            detail = now or detail.strip() or rollout.pause_reason
            return outcome, code, Reason(kind=kind, name=word.replace(" ", "-"), value=value, limit=limit, detail=detail)
        return outcome, code, rollout.reason
    reason = Reason(kind="error", name="driver", detail=str(error) if error else "its driver has ended; nobody watches it")
    if rollout.epoch == 0 and error is not None:
        return "rejected", ExitCode(error.exit_code), reason
    return "interrupted", ExitCode.INTERRUPTED, reason


def _figures(rollout: Rollout, word: str) -> tuple[Json, Json, str]:
    """What a pause is about, as value, limit and, where they are of now, their words: the evidence of health of the 100 that are
    needed, or the trigger that fires."""
    if word == "undecided" and rollout.judgement is not None:
        return rollout.judgement.health, ENOUGH_EVIDENCE, ""
    fired = next((reading for reading in rollout.triggers if reading.fired), None) if word == "shared incident" else None
    return (None, None, "") if fired is None else (fired.value, fired.limit, f"{fired.name}: {fired.detail}")


def deploy_document(rollout: Rollout, outcome: str, reason: Reason | None) -> dict[str, Json]:
    """The document of ``deploy`` for a rollout that was started."""
    return {
        "rollout": rollout.id,
        "service": rollout.release.service,
        "environment": rollout.release.target.environment,
        "version": rollout.release.version,
        "previous_version": rollout.plan.previous_version,
        "strategy": rollout.release.strategy.value,
        "outcome": outcome,
        "reason": msgspec.to_builtins(reason),
        "gates": gates(rollout.gates),
        "steps": steps(rollout),
        "rollback": rollback(rollout),
        "duration_seconds": round((rollout.finished if rollout.finished is not None else rollout.now) - rollout.started, 3),
        "journal": {"first": rollout.journal_first, "last": rollout.journal_last},
    }


def refused_document(
    release: Release, plan: Plan | None, outcome: str, reason: Reason, results: tuple[GateResult, ...], seqs: list[int]
) -> dict[str, Json]:
    """The document of ``deploy`` for a release of which nothing was changed."""
    return {
        "rollout": None,
        "service": release.service,
        "environment": release.target.environment,
        "version": release.version,
        "previous_version": plan.previous_version if plan is not None else None,
        "strategy": release.strategy.value,
        "outcome": outcome,
        "reason": msgspec.to_builtins(reason),
        "gates": gates(results),
        "steps": [],
        "rollback": None,
        "duration_seconds": 0.0,
        "journal": {"first": seqs[0] if seqs else None, "last": seqs[-1] if seqs else None},
    }


def dry_run_document(plan: Plan, results: tuple[GateResult, ...]) -> dict[str, Json]:
    return {
        "digest": plan.digest,
        "steps": [
            {
                "name": step.name,
                "changes": [
                    {
                        "object": f"{change.object.kind.lower()}/{change.object.name}",
                        "path": dotted(change.path),
                        "old": shown(change.path, change.old),
                        "new": shown(change.path, change.new),
                    }
                    for change in step.changes
                ],
                "command": step.command,
                "expected_seconds": step.expected_seconds,
                "undo": step.undo.value,
            }
            for step in plan.steps
        ],
        "gates": gates(results),
    }


def gates(results: tuple[GateResult, ...]) -> list[Json]:
    return [
        {"name": gate.name.value, "outcome": gate.outcome.value, "evidence": gate.evidence, "detail": gate.detail}
        for gate in results
    ]


def steps(rollout: Rollout) -> list[Json]:
    """Every step that was begun, and those that never were, with what became of each."""
    found: list[Json] = []
    for step, own in zip(rollout.plan.steps, rollout.steps, strict=True):
        told: dict[str, Any] = {
            "name": step.name,
            "outcome": own.outcome.value,
            "started": msgspec.to_builtins(own.started),
            "seconds": round(own.seconds, 3) if own.outcome not in NEVER_RAN else None,
            "command": step.command,
        }
        found.append(told)
    return found


def rollback(rollout: Rollout) -> Json:
    if rollout.breach_at is None:
        return None
    return {
        "trigger": rollout.reason.name if rollout.reason is not None else "",
        "seconds": rollback_seconds(rollout),
        "restored": rollout.phase is Phase.ROLLED_BACK,
        "left": list(rollout.left),
    }
