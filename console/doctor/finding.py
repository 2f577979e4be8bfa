"""What an examination finds: one value a check, the same for people and for programs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """``unknown`` where an answer came that decides nothing, ``skipped`` where the question does not arise here. No answer at all
    is a ``problem``."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Group(StrEnum):
    """What is examined, in the order in which it is told."""

    CONFIGURATION = "configuration"
    OPERATOR = "operator"
    CLUSTERS = "clusters"
    PERMISSIONS = "permissions"
    APIS = "APIs"
    MEASUREMENTS = "measurements"
    TICKETS = "tickets"
    HOME = "home"
    JOURNAL = "journal"
    TERMINAL = "terminal"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """``found`` is how it is, ``needed`` what Quarterdeck needs and why, ``action`` the one thing to do next; the last two are
    empty where all is well."""

    group: Group
    name: str
    subject: str
    outcome: Outcome
    found: str
    needed: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a check is about. Its methods make the findings."""

    group: Group
    name: str
    subject: str = ""

    def ok(self, found: str) -> Finding:
        return self._finding(Outcome.OK, found, "", "")

    def warning(self, found: str, needed: str, action: str) -> Finding:
        return self._finding(Outcome.WARNING, found, needed, action)

    def problem(self, found: str, needed: str, action: str) -> Finding:
        return self._finding(Outcome.PROBLEM, found, needed, action)

    def unknown(self, found: str, needed: str = "", action: str = "") -> Finding:
        return self._finding(Outcome.UNKNOWN, found, needed, action)

    def skipped(self, found: str) -> Finding:
        return self._finding(Outcome.SKIPPED, found, "", "")

    def _finding(self, outcome: Outcome, found: str, needed: str, action: str) -> Finding:
        return Finding(
            group=self.group,
            name=self.name,
            subject=self.subject,
            outcome=outcome,
            found=found,
            needed=needed,
            action=action,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``run`` answers with findings, and may raise: the examination turns that into a finding about ``topic``."""

    topic: Topic
    run: Callable[[], Awaitable[Sequence[Finding]]]
