"""How far the sinks have come, by their cursors (``cursors/NAME.json``): nothing is packed or removed before they have it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit import reading
from services.audit.levels import Behind
from services.audit.segments import segments

ARCHIVE = "s3"
"""The kind of sink that takes whole segments."""


class Confirmed(msgspec.Struct, frozen=True):
    """Every sink in ``sinks`` has confirmed all entries up to ``up_to``; the one that has come least far is ``last``.

    Without sinks nobody has to confirm anything."""

    sinks: tuple[str, ...] = ()
    up_to: int = 0
    last: str = ""

    def covers(self, seq: int) -> bool:
        return not self.sinks or seq <= self.up_to


class _Cursor(msgspec.Struct):
    journal_id: str = ""
    kind: str = ""
    acked_seq: int = 0
    confirmed_seq: int = 0


_decoder = msgspec.json.Decoder(_Cursor)


def confirmed(directory: Path, required: Sequence[str] | None) -> Confirmed:
    """What every sink in ``required`` (``None``: that has a cursor) has confirmed; nothing, where one has no cursor, or one of
    another journal."""
    if required is None:
        required = sorted(path.stem for path in (directory / "cursors").glob("*.json"))
    if not required:
        return Confirmed()
    identity = (directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
    cursors = {name: _read(directory, name, identity) for name in required}
    reached = {name: found.confirmed_seq if found else 0 for name, found in cursors.items()}
    last = min(reached, key=lambda name: reached[name])
    return Confirmed(tuple(required), reached[last], last)


def behind(directory: Path, required: Sequence[str] | None, now: float) -> Behind | None:
    """The required sink whose oldest entry that it has not taken is oldest, and for how long that has waited; ``None`` where all
    of them have all. One that has never begun is not counted: there is nothing yet that it is behind."""
    if not required:
        return None
    identity = (directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
    found = []
    for name in required:
        cursor = _read(directory, name, identity)
        waiting = _waiting(directory, cursor) if cursor and cursor.acked_seq else None
        if waiting is not None:
            found.append(Behind(name, max(0.0, now - _unix(waiting.entry.get("timestamp")))))
    return max(found, key=lambda each: each.seconds, default=None)


def _waiting(directory: Path, cursor: _Cursor) -> reading.Located | None:
    """The entry since which the sink is behind: the next one that it has not taken. An archive takes a segment when it is sealed,
    so there it is the one that the segment behind the next one begins with."""
    seq = cursor.acked_seq + 1
    if cursor.kind != ARCHIVE:
        return reading.find(directory, seq)
    following = next((segment.first for segment in segments(directory) if segment.first > seq), None)
    return None if following is None else reading.find(directory, following)


def _unix(stamp: object) -> float:
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return float("inf")  # no time that could be waited from


def _read(directory: Path, name: str, journal_id: str) -> _Cursor | None:
    try:
        found = _decoder.decode((directory / "cursors" / f"{name}.json").read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if found.journal_id == journal_id else None
