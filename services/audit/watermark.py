"""How far the sinks have come, by their cursors (``cursors/NAME.json``): nothing is packed or removed before they have it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit import owed, paging, reading
from services.audit.levels import Behind
from services.audit.segments import segments


class Confirmed(msgspec.Struct, frozen=True):
    """Every sink in ``sinks`` has confirmed all entries up to ``up_to``; the one that has come least far is ``last``. ``why``:
    what is wrong with what that one has confirmed; empty where it only has not come further.

    Without sinks nobody has to confirm anything."""

    sinks: tuple[str, ...] = ()
    up_to: int = 0
    last: str = ""
    why: str = ""

    def covers(self, seq: int) -> bool:
        return not self.sinks or seq <= self.up_to


class _Cursor(msgspec.Struct):
    journal_id: str = ""
    acked_seq: int = 0
    confirmed_seq: int = 0
    confirmed_hash: str = ""


_decoder = msgspec.json.Decoder(_Cursor)


def confirmed(directory: Path, required: Sequence[str] | None) -> Confirmed:
    """What every sink in ``required`` (``None``: that has a cursor) has confirmed; nothing, where one has no cursor, or one of
    another journal, or where this journal holds another entry than the one that was confirmed: it was rewritten, or restored
    from an older copy, and what is here now is nowhere else."""
    if required is None:
        required = sorted(path.stem for path in (directory / "cursors").glob("*.json"))
    if not required:
        return Confirmed()
    identity = _identity(directory)
    first = next((segment.first for segment in segments(directory)), 1)
    reached: dict[str, tuple[int, str]] = {}
    for name in required:
        found = _read(directory, name, identity)
        if found is not None and found.confirmed_seq >= first and not _holds(directory, found):
            why = f"the entry {found.confirmed_seq} that {name} has confirmed is not the one that this journal holds"
            reached[name] = (0, why)
        else:
            # What it has confirmed may be gone from this disk: then it covers nothing of what is left.
            reached[name] = (found.confirmed_seq if found else 0, "")
    last = min(reached, key=lambda name: reached[name][0])
    return Confirmed(tuple(required), reached[last][0], last, reached[last][1])


def _holds(directory: Path, cursor: _Cursor) -> bool:
    found = reading.find(directory, cursor.confirmed_seq)
    return found is not None and found.hash == cursor.confirmed_hash


def behind(directory: Path, required: Sequence[str] | None, now: float, *, whole: Sequence[str] = ()) -> Behind | None:
    """The required sink for which an entry that it has not taken has been due for longest, and for how long; ``None`` where all
    have all. An entry is due once it is there and its sink is (see :mod:`services.audit.owed`). ``whole``: those that take a
    segment once it is sealed, and owe it from then on. Keeps since when a sink owes that has taken nothing yet."""
    if not required:
        return None
    identity = _identity(directory)
    found = []
    for name in required:
        cursor = _read(directory, name, identity)
        acked = cursor.acked_seq if cursor else 0
        begun = owed.since(directory, name) if acked else owed.first_seen(directory, name, now)
        waiting = _waiting(directory, acked, whole=name in whole)
        if waiting is not None:
            found.append(Behind(name, max(0.0, now - max(begun, _unix(waiting.entry.get("timestamp"))))))
    return max(found, key=lambda each: each.seconds, default=None)


def _identity(directory: Path) -> str:
    return (directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()


def _waiting(directory: Path, acked: int, *, whole: bool) -> reading.Located | None:
    """The entry since which a sink is behind: the first one here that it has not taken. For one that takes segments it is the one
    that the segment behind that one begins with, which was written when it was sealed."""
    known = segments(directory)
    seq = max(acked + 1, known[0].first if known else 1)
    if not whole:
        # Asked before every start: a number that is not there yet would be looked for in the whole journal.
        newest = paging.older(directory, paging.NEWEST, limit=1)
        return reading.find(directory, seq) if newest.last >= seq else None
    following = next((segment.first for segment in known if segment.first > seq), None)
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
