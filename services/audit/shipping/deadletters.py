"""Entries that a sink will never take as they are: ``dead/NAME.jsonl`` in the journal's directory, one file a sink.

Each line is ``64 hex hash, TAB, JSON, LF`` and continues the chain of the line before, like the journal's own. Nothing is ever
changed: what becomes of an entry is another line. The entry itself stays in the journal; a letter holds its number, its hash and
the reason.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.audit.line import GENESIS, HASH_LENGTH, chain, line, scan
from services.audit.place import Disk, write_all
from services.audit.sinks.base import Record

DIRECTORY = "dead"
REFUSED = "refused"
BURIED = "buried"
RELEASED = "released"
DELIVERED = "delivered"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """``what`` became of an entry: ``refused``, and its substitute is on its way; ``buried``, as the substitute was taken;
    ``released``, as the substitute was refused too; ``delivered``, once it was taken later. ``at``: time stamp, RFC 3339, UTC."""

    what: str
    at: str
    journal: str
    seq: int
    hash: str
    id: str
    event: str
    reason: str

    def about(self, record: Record) -> bool:
        """Whether it is about this very entry: a journal that was restored from an older copy gives numbers out once more."""
        return (self.journal, self.seq, self.hash) == (record.journal, record.seq, record.hash)


_decoder = msgspec.json.Decoder(DeadLetter)


def path_of(directory: Path, sink: str) -> Path:
    """``directory`` is the journal's."""
    return directory / DIRECTORY / f"{sink}.jsonl"


def letter(record: Record, what: str, at: str, reason: str) -> DeadLetter:
    fields = record.fields
    return DeadLetter(
        what=what,
        at=at,
        journal=record.journal,
        seq=record.seq,
        hash=record.hash,
        id=str(fields.get("id", "")),
        event=str(fields.get("event", "")),
        reason=reason,
    )


def add(directory: Path, sink: str, found: DeadLetter, *, disk: Disk) -> None:
    """Keep a letter, durable when this returns. Raises ``OSError``. What an interrupted write left is cut off first."""
    place = directory / DIRECTORY
    place.mkdir(mode=0o700, exist_ok=True)
    path = path_of(directory, sink)
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = path.read_bytes()
        if torn := len(content) - (content.rfind(b"\n") + 1):
            content = content[:-torn]
            disk.truncate(descriptor, len(content))
        # Behind damage the chain begins anew at the last good line: nothing is removed, and a check finds the place.
        held = scan(content, GENESIS, 0)
        body = msgspec.json.encode(found)
        try:
            write_all(descriptor, line(chain(held.last_hash, body), body), disk)
            disk.sync(descriptor)
        except OSError:
            disk.truncate(descriptor, len(content))
            raise
    finally:
        os.close(descriptor)
    if new:
        disk.sync_directory(place)


def state(directory: Path, sink: str) -> tuple[int, int] | None:
    """Another one whenever a letter was added; ``None`` where there are none. Raises ``OSError``."""
    try:
        found = path_of(directory, sink).stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def read(directory: Path, sink: str) -> Sequence[DeadLetter]:
    """Every line that can be read, oldest first."""
    try:
        content = path_of(directory, sink).read_bytes()
    except FileNotFoundError:
        return []
    letters = []
    for raw in content.split(b"\n")[:-1]:  # a last line without its end was never acknowledged, and is cut off by the next
        try:
            letters.append(_decoder.decode(raw[HASH_LENGTH + 1 :]))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # an interrupted write, or damage: ``intact`` tells
    return letters


def intact(directory: Path, sink: str) -> bool:
    """Whether the chain of the letters holds to the end of the file."""
    try:
        return not scan(path_of(directory, sink).read_bytes(), GENESIS, 0).rest
    except FileNotFoundError:
        return True


def standing(directory: Path, sink: str) -> dict[int, DeadLetter]:
    """The last letter of each entry in whose place a substitute is at the sink, or may be."""
    found: dict[int, DeadLetter] = {}
    for one in read(directory, sink):
        if one.what in (REFUSED, BURIED):
            found[one.seq] = one
        else:
            found.pop(one.seq, None)
    return found


def undelivered(directory: Path, sink: str) -> dict[int, DeadLetter]:
    """The dead letters that were not delivered since, by entry."""
    return {seq: found for seq, found in standing(directory, sink).items() if found.what == BURIED}


def names(directory: Path) -> list[str]:
    """The sinks that have dead letters."""
    return sorted(path.stem for path in (directory / DIRECTORY).glob("*.jsonl"))
