"""Gates are data: what was asked, what was found, where and when (R3.7)."""

from datetime import datetime
from enum import StrEnum

import msgspec


class GateName(StrEnum):
    TICKET = "ticket"
    APPROVAL = "approval"
    SMOKE_TESTS = "smoke-tests"
    GRADUAL_ROLLOUT = "gradual-rollout"
    ROLLBACK_TESTED = "rollback-tested"
    ENVIRONMENT = "environment"


class GateOutcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    WAIVED = "waived"

    @property
    def lets_through(self) -> bool:
        return self in (GateOutcome.PASS, GateOutcome.WAIVED)


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """``evidence`` is what was seen (one line), ``detail`` what to do about it where it did not pass, ``source`` who said it."""

    name: GateName
    outcome: GateOutcome
    evidence: str
    detail: str = ""
    source: str = ""
    at: datetime | None = None
    people: tuple[str, ...] = ()
    """Logins of those whose approval counted (``approval`` only)."""


class Checklist(msgspec.Struct, frozen=True, kw_only=True):
    """Every gate's result for one plan; ``digest`` is the plan's."""

    results: tuple[GateResult, ...]
    digest: str

    @property
    def passed(self) -> bool:
        return bool(self.results) and all(result.outcome.lets_through for result in self.results)

    @property
    def approvers(self) -> tuple[str, ...]:
        """Logins of the people whose approval counted, for the journal."""
        return tuple(login for result in self.results for login in result.people)

    @property
    def unmet(self) -> tuple[GateResult, ...]:
        return tuple(result for result in self.results if not result.outcome.lets_through)


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A change ticket as its system shows it now. ``approvals`` are the decisions of people, by their account there."""

    key: str
    status: str
    title: str = ""
    url: str = ""
    approved: bool
    approvals: tuple["Approval", ...] = ()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    display_name: str
    decision: str
    """``approved``, ``declined`` or ``pending``."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is: the name for people, the login on this machine, the account in the ticket system."""

    name: str
    login: str
    ticket_account: str = ""
