"""An entry as a document with the field names of the Elastic Common Schema, beside our own.

https://www.elastic.co/docs/reference/ecs/ecs-field-reference. Our own fields stand under ``quarterdeck``, whose types never
change from entry to entry; what differs from event to event (``data``) is in ``event.original`` alone, the entry exactly as it
stands in the journal, so that no new key can ever clash with a mapping. With ``event.hash`` the chain can be checked there too.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.audit.sinks.base import Record
from services.model.objects import Json

ECS_VERSION = "8.11.0"
DATASET = "quarterdeck.audit"

_OWN = (
    "v", "id", "timestamp", "event", "user", "environment", "service", "version", "command", "change_ticket", "approvers",
    "outcome", "rollback_triggered", "duration_seconds", "rollout", "phase", "ref", "late",
)  # fmt: skip
_OUTCOMES = {
    **dict.fromkeys(("passed", "pass", "done", "succeeded", "restored", "confirmed", "acknowledged"), "success"),
    **dict.fromkeys(("failed", "refused", "rejected", "missing", "overdue", "lost", "regressed", "rolled_back"), "failure"),
}
"""ECS knows three outcomes; any other of ours is its ``unknown``. Ours stands beside it, unchanged."""


def document(record: Record) -> bytes:
    """The document, as JSON on one line."""
    return msgspec.json.encode(_substitute(record) if record.substitute else _document(record))


def _document(record: Record) -> dict[str, Any]:
    entry = record.fields
    prog = entry.get("prog")
    program: Mapping[str, Json] = prog if isinstance(prog, dict) else {}
    approvers = entry.get("approvers")
    approved = [str(name) for name in approvers] if isinstance(approvers, list) else []
    user = _text(entry, "user")
    duration = entry.get("duration_seconds")
    return {
        "@timestamp": entry.get("timestamp"),
        "ecs": {"version": ECS_VERSION},
        "message": _message(entry),
        "event": _event(record)
        | {
            "type": [_type(entry)],
            "outcome": _OUTCOMES.get(_text(entry, "outcome"), "unknown"),
            # nanoseconds
            **({"duration": round(duration * 1e9)} if isinstance(duration, int | float) else {}),
            "original": record.body.decode("utf-8", "replace"),
        },
        **({"user": {"name": user}} if user else {}),
        **({"related": {"user": sorted({user, *approved} - {""})}} if user or approved else {}),
        "host": {"name": program.get("host")},
        "process": {"name": program.get("name"), "pid": program.get("pid")},
        "service": {
            name: value
            for name, value in (
                ("name", _text(entry, "service")),
                ("version", _text(entry, "version")),
                ("environment", _text(entry, "environment")),
            )
            if value
        },
        "labels": {name: text for name in ("rollout", "change_ticket", "phase") if (text := _text(entry, name))},
        "quarterdeck": {"journal": record.journal, "seq": record.seq} | {name: entry[name] for name in _OWN if name in entry},
    }


def _substitute(record: Record) -> dict[str, Any]:
    """What is known to be acceptable of an entry that was not: that it is there, and what it was."""
    entry = record.fields
    return {
        "@timestamp": entry.get("timestamp"),
        "ecs": {"version": ECS_VERSION},
        "message": f"{_text(entry, 'event')}: refused here as it was; the entry is in the journal and in its dead letters",
        "event": _event(record) | {"outcome": "unknown"},
        "quarterdeck": {"journal": record.journal, "seq": record.seq, "id": entry.get("id"), "payload_dropped": True},
    }


def _event(record: Record) -> dict[str, Any]:
    return {
        "id": f"{record.journal}:{record.seq}",
        "sequence": record.seq,
        "hash": record.hash,
        "kind": "event",
        "category": ["configuration"],
        "action": _text(record.fields, "event"),
        "dataset": DATASET,
        "module": "quarterdeck",
    }


def _type(entry: Mapping[str, Json]) -> str:
    """One of ECS's types of event: https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-type"""
    event = _text(entry, "event")
    for ending, kind in ((".started", "start"), (".completed", "end"), (".refused", "denied"), (".executed", "change")):
        if event.endswith(ending):
            return kind
    return "change" if event.endswith(".rollback") else "info"


def _message(entry: Mapping[str, Json]) -> str:
    words = (_text(entry, name) for name in ("event", "service", "version", "environment", "phase", "outcome"))
    return " ".join(word for word in words if word)


def _text(entry: Mapping[str, Json], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
