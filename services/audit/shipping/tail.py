"""Reading the journal in its order, from any entry on, as far as it is on the disk.

What a writer has written and not yet synced is not read: it might be gone after a power cut, and a sink would hold an entry that
the journal does not. Writers hold the lock from the first byte to the sync, so a look at the sizes under the shared lock sees
whole batches only. Blocks; not for the event loop.
"""

import contextlib
import os
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit.header import Damage, header_of
from services.audit.line import GENESIS, HASH_LENGTH, chain
from services.audit.paging import lines_before, number_of, place_of
from services.audit.place import locked
from services.audit.segments import at, opened, segments
from services.audit.sinks.base import Record
from services.model.errors import NeedsAttention

_BLOCK = 1 << 20
_PATIENCE = 2.0

_sequence = msgspec.json.Decoder(dict[str, object])


class Place(msgspec.Struct, frozen=True):
    """Behind an entry: its number and the chain's hash there. ``Place(0, GENESIS)`` is before the first."""

    seq: int
    hash: str


START = Place(0, GENESIS)


class Broken(NeedsAttention):
    """The journal can't be followed from here: it is damaged, or has lost what was sent already."""


class Removed(Exception):
    """Entries after a place are gone from this disk, up to ``place``: their segments were removed."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"the journal begins after entry {place.seq} now")
        self.place = place


class Bounds:
    """How far each segment is on the disk, shared by all who read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sizes: dict[str, int] = {}
        self.last_seq = 0
        """The number of the last entry."""
        self._seen: tuple[str, int, int] = ("", -1, 0)

    def look(self) -> bool:
        """Look again; whether there is more (or less) than before. Raises ``JournalUnavailable`` where a writer holds the journal
        for longer than it should, ``OSError`` where it can't be read."""
        known = segments(self.directory)
        if not known:
            return False
        newest = known[-1].name
        if self._seen == (newest, known[-1].path.stat().st_size, len(known)):
            return False
        descriptor = os.open(self.directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with locked(descriptor, self.directory, shared=True, seconds=_PATIENCE):
                # What a packed segment holds is as long as it was; to measure it means to walk through it.
                self.sizes = {
                    found.name: self.sizes.get(found.name, -1) if found.packed else found.path.stat().st_size
                    for found in segments(self.directory)
                }
        finally:
            os.close(descriptor)
        for name in [name for name, size in self.sizes.items() if size < 0]:
            # One that can't be read is for those to tell of who need it: others go on.
            with contextlib.suppress(OSError), opened(at(self.directory, name)) as file:
                self.sizes[name] = file.seek(0, os.SEEK_END)
        newest = max(self.sizes)
        self.last_seq = _last_seq(self.directory / "seg" / newest, self.sizes[newest])
        self._seen = (newest, self.sizes[newest], len(self.sizes))
        return True


class Tail:
    """Follows the chain behind ``place``. The journal has to be there: ``bounds`` has looked and found a segment."""

    def __init__(self, bounds: Bounds, journal: str, place: Place | None = None) -> None:
        """``place`` is the last entry that was read before; without one, reading begins with the first there is.

        Raises :class:`Removed` where entries after it are gone, :class:`Broken` where the journal is not the one it was in.
        """
        self._bounds = bounds
        self._journal = journal
        self._segment = ""
        self._offset = 0
        self._time = 0.0
        self.place = START
        if place is None or place.seq == 0:
            first = min(bounds.sizes)
            self._enter(first, self._hash_before(first), int(Path(first).stem) - 1)
            if place is not None and self.place.seq > 0:
                raise Removed(self.place)
        else:
            self._find(place)

    def behind(self) -> bool:
        """Whether there may be something to read. Quick, and without a look at the disk."""
        end = self._bounds.sizes.get(self._segment)
        return end is None or self._offset != end or self._segment != max(self._bounds.sizes)

    def read(self, entries: int, size: int) -> list[Record]:
        """The next entries, at most so many, and bodies of about ``size`` bytes; none where there are no more.

        Raises :class:`Broken` at a damaged line that no later segment accounts for, :class:`Removed` for a segment that is gone;
        what was read before is handed out first, and the next reading meets it again.
        """
        records: list[Record] = []
        taken = 0
        while len(records) < entries and taken < size:
            end = self._bounds.sizes.get(self._segment)
            if end is None:
                if records:
                    break
                raise self._removed()
            if self._offset >= end:
                if end < 0:
                    raise lost(f"{self._segment} can't be read")
                if self._offset > end:
                    raise lost(f"{self._segment} is shorter than what was sent of it")
                if not self._next():
                    break
                continue
            try:
                block = self._block(end, size - taken)
            except Removed:
                if records:
                    break
                raise
            found, used, broken = self._lines(block, entries - len(records))
            records += found
            taken += used
            self._offset += used
            if broken and not self._past_damage():
                if records:
                    break
                raise self._damaged()
            if not used and not broken:
                break  # a line without its end: whoever writes next sets it right
        return records

    def _lines(self, block: bytes, most: int) -> tuple[list[Record], int, bool]:
        """The whole lines at the beginning of ``block`` that continue the chain, their bytes, and whether one does not."""
        records: list[Record] = []
        position = 0
        while len(records) < most and (end := block.find(b"\n", position)) >= 0:
            body = block[position + HASH_LENGTH + 1 : end]
            expected = chain(self.place.hash, body)
            if block[position : position + HASH_LENGTH + 1] != expected.encode("ascii") + b"\t":
                return records, position, True
            self.place = Place(self.place.seq + 1, expected)
            records.append(self._record(body))
            position = end + 1
        return records, position, False

    def _record(self, body: bytes) -> Record:
        try:
            fields = _sequence.decode(body)
            self._time = datetime.fromisoformat(str(fields.get("timestamp"))).timestamp()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # It holds its place in the chain and is no entry: sent as what it is, at the time of the one before.
            fields = {}
        except ValueError:
            pass
        return Record(
            journal=self._journal, seq=self.place.seq, hash=self.place.hash, body=body, timestamp=self._time, fields=fields
        )

    def _block(self, end: int, size: int) -> bytes:
        try:
            file = opened(at(self._bounds.directory, self._segment))
        except FileNotFoundError:
            raise self._removed() from None
        with file:
            file.seek(self._offset)
            return file.read(min(end - self._offset, max(_BLOCK, size)))

    def _next(self) -> bool:
        """Go to the next segment, if there is one."""
        later = [name for name in self._bounds.sizes if name > self._segment]
        if not later:
            return False
        name = min(later)
        first = int(Path(name).stem)
        if first != self.place.seq + 1:
            raise lost(f"{name} begins where {self.place.seq + 1} is expected")
        self._segment, self._offset = name, 0
        return True

    def _past_damage(self) -> bool:
        """Go on behind damage, where the next segment's header says that it knows of it: that header is sent, so every sink is
        told of the gap."""
        later = [name for name in self._bounds.sizes if name > self._segment]
        if not later:
            return False
        header = self._header(min(later))
        damage = header["data"].get("damage") if header else None
        if not header or not damage or msgspec.convert(damage, Damage).segment != self._segment:
            return False
        self._enter(min(later), str(header["data"]["prev_hash"]), int(Path(min(later)).stem) - 1)
        return True

    def _find(self, place: Place) -> None:
        names = [name for name in self._bounds.sizes if int(Path(name).stem) <= place.seq]
        if not names:
            first = min(self._bounds.sizes)
            before, seq = self._hash_before(first), int(Path(first).stem) - 1
            self._enter(first, before, seq)
            if seq > place.seq:
                raise Removed(self.place)
            if before != place.hash:
                raise self._foreign(place)
            return
        name = max(names)
        with opened(at(self._bounds.directory, name)) as file:
            start = place_of(file, place.seq)
            file.seek(start)
            line = file.readline()
        if start + len(line) > self._bounds.sizes[name] or not line.endswith(b"\n"):
            raise lost(f"it ends before entry {place.seq}, which was sent already")
        if line[:HASH_LENGTH].decode("ascii", "replace") != place.hash:
            raise self._foreign(place)
        self._enter(name, place.hash, place.seq, start + len(line))

    def _enter(self, segment: str, hash_: str, seq: int, offset: int = 0) -> None:
        self._segment, self._offset, self.place = segment, offset, Place(seq, hash_)

    def _hash_before(self, segment: str) -> str:
        header = self._header(segment)
        if header is None:
            raise lost(f"{segment} has no header")
        return str(header["data"]["prev_hash"])

    def _header(self, segment: str) -> dict[str, dict[str, object]] | None:
        with opened(at(self._bounds.directory, segment)) as file:
            return header_of(file.readline())

    def _removed(self) -> Exception:
        later = [name for name in self._bounds.sizes if name > self._segment]
        if not later:
            return lost(f"{self._segment} is gone, and nothing is behind it")
        first = min(later)
        return Removed(Place(int(Path(first).stem) - 1, self._hash_before(first)))

    def _damaged(self) -> Broken:
        return Broken(
            "The journal is damaged",
            f"{self._segment} holds a wrong line at entry {self.place.seq + 1}; what is behind it can't be sent yet.",
            "Run `quarterdeck journal verify`; sending goes on once an entry was written behind the damage.",
        )

    def _foreign(self, place: Place) -> Broken:
        return Broken(
            "The journal is not the one that was sent",
            f"Entry {place.seq} has another hash than when it was sent: it was rewritten, or replaced by another journal.",
            "Run `quarterdeck journal verify` and compare with what the sink holds.",
        )


def lost(what: str) -> Broken:
    return Broken(
        "The journal has lost entries", f"{what}.", "Run `quarterdeck journal verify` and compare with what the sink holds."
    )


def _last_seq(path: Path, size: int) -> int:
    """The number of the last whole entry in the first ``size`` bytes of a segment."""
    with path.open("rb") as file:
        for raw in lines_before(file, size):
            if raw.endswith(b"}") and (seq := number_of(raw)) is not None:
                return seq
    return int(path.stem) - 1
