"""Every gate of a release side by side (R3). What can't be found out is unknown, and unknown never passes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from services.clock import Clock
from services.gates import approval, environment, gradual_rollout, rollback_tested, smoke_tests, ticket
from services.gates.question import Finding, FindRecords, Question, TicketOnce
from services.integrations.base import TicketSystem
from services.model.errors import QuarterdeckError
from services.model.gates import Checklist, GateName, GateOutcome, GateResult, Person
from services.model.release import Release
from services.model.steps import Plan
from services.settings import Binding, Settings
from services.settings.settings import BUILT_IN

GATE_SECONDS = 10.0
"""Wall seconds one gate may take before it is unknown."""

MAX_TOLD = 600
"""Characters of evidence, detail and source that are kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Gate:
    name: GateName
    policy: str
    """Its key in the tier's policy; empty where nothing can waive it."""
    look: Callable[[Question], Awaitable[Finding]]


GATES = (
    _Gate(GateName.TICKET, "ticket", ticket.look),
    _Gate(GateName.APPROVAL, "approvals", approval.look),
    _Gate(GateName.SMOKE_TESTS, "smoke_tests", smoke_tests.look),
    _Gate(GateName.GRADUAL_ROLLOUT, "gradual_rollout", gradual_rollout.look),
    _Gate(GateName.ROLLBACK_TESTED, "rollback_tested", rollback_tested.look),
    _Gate(GateName.ENVIRONMENT, "", environment.look),
)


async def check(
    release: Release,
    plan: Plan,
    settings: Settings,
    *,
    operator: Person | None,
    confirmed: str | None,
    tickets: TicketSystem | None,
    find_records: FindRecords,
    clock: Clock,
) -> Checklist:
    """Ask every gate and wait for all of them, at most :data:`GATE_SECONDS`. The order of the results is fixed."""
    results = stream(
        release,
        plan,
        settings,
        operator=operator,
        confirmed=confirmed,
        tickets=tickets,
        find_records=find_records,
        clock=clock,
    )
    async with aclosing(results):
        found = {result.name: result async for result in results}
    return Checklist(results=tuple(found[gate.name] for gate in GATES), digest=plan.digest)


async def stream(
    release: Release,
    plan: Plan,
    settings: Settings,
    *,
    operator: Person | None,
    confirmed: str | None,
    tickets: TicketSystem | None,
    find_records: FindRecords,
    clock: Clock,
) -> AsyncGenerator[GateResult, None]:
    """The same, each result as soon as it is there. Close the iterator to stop asking."""
    ticket_once = TicketOnce(tickets, release.ticket, clock) if tickets is not None and release.ticket else None
    question = Question(
        release=release,
        plan=plan,
        settings=settings,
        operator=operator,
        confirmed=confirmed,
        ticket=ticket_once,
        find_records=find_records,
        clock=clock,
    )
    asking = [asyncio.create_task(_ask(gate, question)) for gate in GATES]
    try:
        for finished in asyncio.as_completed(asking):
            yield await finished
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if ticket_once is not None:
            await ticket_once.cancel()


async def _ask(gate: _Gate, question: Question) -> GateResult:
    try:
        async with asyncio.timeout(GATE_SECONDS):
            finding = _waived(gate, question) or await gate.look(question)
    except TimeoutError:
        finding = Finding(
            outcome=GateOutcome.UNKNOWN, evidence=f"no answer within {GATE_SECONDS:g} s", detail="Check again in a moment."
        )
    except QuarterdeckError as error:
        evidence = " ".join(part for part in (f"{error.title.rstrip('.')}.", error.detail) if part)
        finding = Finding(outcome=GateOutcome.UNKNOWN, evidence=evidence, detail=error.hint or "Check again in a moment.")
    except Exception as error:
        # The boundary of a gate: whatever breaks inside, the others still answer and this one does not pass.
        _log.exception("gate %s broke", gate.name)
        finding = Finding(
            outcome=GateOutcome.UNKNOWN,
            evidence=f"the gate broke ({type(error).__name__})",
            detail="See the log, then check again.",
        )
    return GateResult(
        name=gate.name,
        outcome=finding.outcome,
        # One clause, which others go on from: "evidence. What to do".
        evidence=_told(finding.evidence).removesuffix("."),
        detail=_told(finding.detail),
        source=_told(finding.source),
        at=question.clock.now(),
        people=finding.people,
    )


def _told(text: str) -> str:
    """Evidence quotes tickets and records, which anybody may have written: one line of it, inert, as long as a person reads."""
    line = "".join(character if character.isprintable() else " " for character in text[: 4 * MAX_TOLD])
    return line if len(line) <= MAX_TOLD else f"{line[: MAX_TOLD - 1]}…"


def _waived(gate: _Gate, question: Question) -> Finding | None:
    """A waiver, with the line of the configuration that says so; none where the gate binds."""
    if not gate.policy or getattr(question.policy, gate.policy) not in (Binding.WAIVED, 0):
        return None
    tier = question.release.target.tier
    key = f"policy.{tier}.{gate.policy}"
    where = question.settings.where(key)
    if gate.name is GateName.ROLLBACK_TESTED and where == BUILT_IN:
        return Finding(outcome=GateOutcome.WAIVED, evidence=f"binds production only; this is tier {tier}", source=where)
    value = getattr(question.policy, gate.policy)
    return Finding(outcome=GateOutcome.WAIVED, evidence=f"waived by policy: {key}: {value} ({where})", source=where)
