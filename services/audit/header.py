"""What the first line of a segment says, read as what it is: bytes that anybody may have written."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from services.audit.event import JournalUnavailable
from services.audit.line import FORMAT, HASH, HASH_LENGTH

SEGMENT_EVENT = "journal.segment"


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that holds a line which is complete and wrong: corruption, not an interrupted write."""

    segment: str
    seq: int
    sha256: str
    bytes: int


def header_of(content: bytes) -> dict[str, Any] | None:
    """The header entry, or ``None`` where the first line is not one that can be gone on from."""
    first, ended, _ = content.partition(b"\n")
    try:
        entry = msgspec.json.decode(first[HASH_LENGTH + 1 :])
        if not ended or not isinstance(entry, dict) or entry.get("event") != SEGMENT_EVENT or type(entry.get("v")) is not int:
            return None
        if entry["v"] > FORMAT:
            return entry
        if not HASH.fullmatch(entry["data"]["prev_hash"]):
            return None
        datetime.fromisoformat(entry["timestamp"])
        if entry["data"].get("damage"):
            msgspec.convert(entry["data"]["damage"], Damage)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError):
        # Written by anybody but us: whatever is missing or of another type, it is not a header.
        return None
    return entry


def newer(path: Path, form: int) -> JournalUnavailable:
    """What is said to who would write to a segment of a format that only a later program knows."""
    return JournalUnavailable(
        "The journal was written by a newer Quarterdeck",
        f"{path} has format {form}; this program writes format {FORMAT}.",
        "It can be read here, not written: use the newer program, or another home (--home DIR).",
    )


def refused_by(damage: Damage) -> JournalUnavailable:
    """What is said to who would write after ``damage`` that nobody has acknowledged."""
    return JournalUnavailable(
        "The journal is damaged",
        f"{damage.segment} holds a wrong line at entry {damage.seq}; it was left as it is and a new segment begun.",
        "Read `quarterdeck journal verify`, then `quarterdeck journal acknowledge --reason TEXT`; until then only rollbacks run.",
    )
