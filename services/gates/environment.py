"""R3.6: the operator has said where this goes; for production by typing its name, exactly."""

from services.gates.question import Finding, Question
from services.model.gates import GateOutcome

_SHOWN = 40


async def look(question: Question) -> Finding:
    """Outside production naming the environment is enough. A confirmation that names another place fails everywhere."""
    name = question.release.target.environment
    place = f"{name} (context {question.release.target.context}, namespace {question.release.target.namespace})"
    typed = question.confirmed
    if typed is not None and typed != name:
        shown = typed if len(typed) <= _SHOWN else typed[: _SHOWN - 1] + "…"
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence=f"{shown!r} was typed, the target is {place}",
            detail=f"Type exactly: {name} (--confirm {name})",
        )
    if typed is None and question.production:
        return Finding(
            outcome=GateOutcome.UNKNOWN,
            evidence=f"the target is {place}; not confirmed yet",
            detail=f"Type exactly: {name} (--confirm {name})",
        )
    how = "typed" if typed is not None else "named"
    return Finding(outcome=GateOutcome.PASS, evidence=f"{place} was {how}", source="the operator")
