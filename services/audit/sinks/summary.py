"""What stores of logs show of an entry beside its JSON: how serious it is, one line for people, and flat values to search by."""

import re
from enum import StrEnum

from services.audit.sinks.base import Record

SEARCHED = ("event", "user", "environment", "service", "version", "change_ticket", "outcome", "rollout", "phase")
"""Fields of R6.1, and the rollout, by which entries are looked for. All texts."""
_WRONG = frozenset(
    {
        "failed",
        "error",
        "lost",
        "needs_attention",
        "not_restored",
        "outcome_unknown",
        "overdue",
        "regressed",
        "missing",
        "unknown",
    }
)
_NOTABLE = frozenset(
    {"refused", "rejected", "gate_unmet", "interrupted", "rolled_back", "superseded", "taken_over", "held", "paused"}
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_LONGEST = 300


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def severity(record: Record) -> Severity:
    outcome = text(record, "outcome")
    if outcome in _WRONG:
        return Severity.ERROR
    if outcome in _NOTABLE or record.fields.get("rollback_triggered") is True or record.substitute:
        return Severity.WARNING
    return Severity.INFO


def headline(record: Record) -> str:
    """``deployment.completed production payment-service v2.15.0 succeeded (jane)``"""
    words = [text(record, name) for name in ("event", "environment", "service", "version", "outcome")]
    user = text(record, "user")
    line = " ".join(word for word in (*words, f"({user})" if user else "") if word)
    line = "".join(char if char.isprintable() else " " for char in line).strip() or "entry"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def searched(record: Record) -> dict[str, str]:
    """The values to search by: those that the entry has, each cut, since stores bound what they index."""
    found = {name: text(record, name)[:_LONGEST] for name in SEARCHED}
    return {name: value for name, value in found.items() if value}


def text(record: Record, name: str) -> str:
    value = record.fields.get(name)
    return value if isinstance(value, str) else ""


def stamp(record: Record) -> str:
    """The entry's time with microseconds, as it stands in the entry; empty where that is in another form."""
    found = text(record, "timestamp")
    return found if _STAMP.fullmatch(found) else ""


def program(record: Record, name: str) -> str:
    """``host``, ``pid`` or ``version`` of the process that wrote the entry; empty where it is not said."""
    of = record.fields.get("prog")
    value = of.get(name) if isinstance(of, dict) else None
    return "" if value is None or isinstance(value, dict | list) else str(value)
