"""R3.1: a change ticket is linked, and its system says now that it is approved."""

from services.gates.question import Finding, Question
from services.model.gates import GateOutcome, Ticket


async def look(question: Question) -> Finding:
    """Pass where the ticket is approved; fail where it is missing or not; unknown where no ticket system is configured."""
    if missing := no_ticket(question):
        return missing
    assert question.ticket is not None
    ticket, seconds = await question.ticket.get()
    evidence = f"{ticket.key} is {ticket.status} (answered in {seconds:.1f} s)"
    if ticket.approved:
        return Finding(outcome=GateOutcome.PASS, evidence=evidence, source=ticket.url)
    waiting = _waiting(ticket)
    return Finding(
        outcome=GateOutcome.FAIL,
        evidence=f"{evidence}; {waiting}" if waiting else evidence,
        detail=f"Have {ticket.key} approved, then check again: {ticket.url}",
        source=ticket.url,
    )


def no_ticket(question: Question) -> Finding | None:
    """Why there is no ticket to ask for, if so."""
    if not question.release.ticket:
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence="no change ticket is linked",
            detail="Name the approved change: --ticket CHG-123 (or CHANGE_TICKET in the environment).",
        )
    if question.ticket is None:
        return Finding(
            outcome=GateOutcome.UNKNOWN,
            evidence=f"{question.release.ticket} can't be looked up: no ticket system is configured",
            detail="Add a 'tickets:' section to the configuration.",
        )
    return None


def _waiting(ticket: Ticket) -> str:
    """Which decisions stand against the ticket, by name."""
    words = {"declined": "declined by", "pending": "waiting for"}
    parts = []
    for decision, text in words.items():
        names = [approval.display_name for approval in ticket.approvals if approval.decision == decision]
        if names:
            parts.append(f"{text} {', '.join(names)}")
    return "; ".join(parts)
