"""R3.2: enough people other than the operator have signed off, and we know who they are.

Accounts of the ticket system count only as the persons they belong to (``people:`` of the configuration): two accounts of
one person are one approval, and an account that belongs to nobody we know is none.
"""

from services.gates.question import Finding, Question
from services.gates.ticket import no_ticket
from services.model.gates import Approval, GateOutcome, Person


async def look(question: Question) -> Finding:
    """Pass where at least ``policy.approvals`` distinct persons approved. Unknown in production while the operator is not a
    person of the configuration: then nobody can say that the operator is not among the approvers."""
    if question.operator is None and question.production:
        return Finding(
            outcome=GateOutcome.UNKNOWN,
            evidence="the operator is not a known person, so approvals by somebody else can't be told from their own",
            detail="Add your login under 'people:' in the configuration.",
        )
    if missing := no_ticket(question):
        return missing
    assert question.ticket is not None
    ticket, _ = await question.ticket.get()
    counted: dict[str, Person] = {}
    ignored: list[str] = []
    for approval in ticket.approvals:
        if approval.decision == "approved":
            _count(approval, question, counted, ignored)
    needed = question.policy.approvals
    names = ", ".join(person.name for person in counted.values())
    evidence = f"{names or 'nobody'} approved; {len(counted)} approval{'' if len(counted) == 1 else 's'}, {needed} needed"
    if ignored:
        evidence += f" (not counted: {', '.join(dict.fromkeys(ignored))})"
    declined = [approval.display_name for approval in ticket.approvals if approval.decision == "declined"]
    if declined:
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence=f"declined by {', '.join(declined)}; {evidence}",
            detail=f"Settle it in {ticket.key}: {ticket.url}",
            source=ticket.url,
        )
    if len(counted) >= needed:
        return Finding(outcome=GateOutcome.PASS, evidence=evidence, source=ticket.url, people=tuple(counted))
    missing_people = needed - len(counted)
    return Finding(
        outcome=GateOutcome.FAIL,
        evidence=evidence,
        detail=f"{missing_people} more {'person' if missing_people == 1 else 'people'} must approve {ticket.key}: {ticket.url}",
        source=ticket.url,
        people=tuple(counted),
    )


def _count(approval: Approval, question: Question, counted: dict[str, Person], ignored: list[str]) -> None:
    person = question.settings.person_of(approval.account)
    if person is None:
        ignored.append(f"{approval.display_name or approval.account or 'an account without a name'}, not in 'people:'")
    elif question.operator is not None and person.login == question.operator.login:
        ignored.append(f"{person.name}, the operator")
    else:
        counted[person.login] = person
