"""The writer's side of the files: where the chain stands, appending to it, a new segment, recovery.

Everything here blocks and runs in the journal's own thread. Several processes may write to one journal: whoever holds the
lock first reads what others have added since.
"""

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit.checkpoint import KeyUnusable, Signer
from services.audit.entry import Draft, Moment, draft, placed
from services.audit.event import Event, JournalUnavailable, Receipt
from services.audit.header import SEGMENT_EVENT, Damage, event_of, header_of, refused_by
from services.audit.line import FORMAT, GENESIS, scan, segment_name
from services.audit.place import (
    LOCK_SECONDS,
    Disk,
    SyncFailed,
    journal_id,
    locked,
    open_lock,
    prepare,
    release,
    reserve,
    sha256_of,
    unavailable,
    write_all,
    write_whole,
)
from services.audit.ulid import new_ulid
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

MAX_SEGMENT = 64 * 1024 * 1024
MAX_SEGMENT_AGE = 24 * 3600.0
_SEAL_ROOM = 4096
_TICK_NS = 20_000_000
SEGMENT = re.compile(r"[0-9]{12}\.jsonl")

SEALED_EVENT = "journal.sealed"
RECOVERED_EVENT = "journal.recovered"
ACKNOWLEDGED_EVENT = "journal.acknowledged"


class _Tail:
    """The segment being written: its open file and where the chain stands at its end."""

    def __init__(self, descriptor: int, path: Path, size: int, seq: int, hash_: str, created: float) -> None:
        self.descriptor = descriptor
        self.path = path
        self.inode = os.fstat(descriptor).st_ino
        self.size = size
        self.seq = seq
        self.hash = hash_
        self.created = created
        self.sealed = False
        self.beside = os.stat(path.parent).st_mtime_ns
        """When the directory was last changed, as of the opening of this segment."""
        self.damage: Damage | None = None
        """Damage before this segment (named by its header) that nobody has acknowledged yet."""


class Store:
    """See the module. Every public method takes the lock; each raises :class:`JournalUnavailable` with its reason."""

    def __init__(self, directory: Path, *, clock: Clock, redactor: Redactor, program: str, disk: Disk | None = None) -> None:
        self.directory = directory
        self.id = ""
        self._clock = clock
        self._redactor = redactor
        self._program = program
        self._disk = disk or Disk()
        self._lock = -1
        self._tail: _Tail | None = None
        self._known_seq = 0
        self._signer = Signer(directory, disk=self._disk)

    @property
    def damage(self) -> Damage | None:
        return self._tail.damage if self._tail else None

    def open(self, *, patience: float = LOCK_SECONDS) -> None:
        """Make the journal where there is none; recover a torn tail. Waits ``patience`` wall seconds for another process."""
        prepare(self.directory)
        try:
            if self._lock < 0:
                self._lock = open_lock(self.directory)
            with locked(self._lock, self.directory, seconds=patience):
                self.id = journal_id(self.directory, disk=self._disk)
                self._refresh()
        except OSError as error:
            raise unavailable(self.directory, error) from error

    def append(self, drafts: Sequence[Draft], *, despite_damage: bool = False, must: bool = False) -> list[Receipt]:
        """Write ``drafts`` and return once they are on the disk; all of them or none.

        On a full disk what ``must`` be written takes the room that was kept for it; nothing else is written without such room.
        While damage stands unacknowledged only ``despite_damage`` writes (rollbacks, and the acknowledgement itself).
        """
        if not self.id:
            self.open()
        try:
            with locked(self._lock, self.directory):
                tail = self._refresh()
                if tail.damage and not despite_damage:
                    raise refused_by(tail.damage)
                if not must:
                    reserve(self.directory, disk=self._disk)
                return self._append(drafts)
        except OSError as error:
            if must and error.errno in (errno.ENOSPC, errno.EDQUOT) and release(self.directory):
                return self.append(drafts, despite_damage=despite_damage, must=True)
            # Whatever is wrong with the files, the next attempt begins from nothing.
            self.close()
            raise unavailable(self.directory, error) from error

    def look(self, *, patience: float = LOCK_SECONDS) -> None:
        """See where the chain stands without writing: another process may have acknowledged the damage."""
        if not self.id:
            self.open(patience=patience)
        try:
            with locked(self._lock, self.directory, seconds=patience):
                self._refresh()
        except OSError as error:
            self.close()
            raise unavailable(self.directory, error) from error

    def sign(self) -> None:
        """Sign how far the chain goes, with the time."""
        self.look()
        try:
            with locked(self._lock, self.directory):
                tail = self._refresh()
                self._signer.sign(self.id, tail.seq, tail.hash, Moment.of(self._clock).stamp)
        except KeyUnusable as error:
            raise JournalUnavailable("The journal's checkpoint can't be signed", f"{error}.") from error
        except OSError as error:
            raise unavailable(self.directory, error) from error

    def close(self) -> None:
        self.id = ""
        self._forget()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Everything below runs with the lock held.

    def _append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        tail = self._current()
        content, receipts = placed(drafts, tail.seq, tail.hash)
        if (
            tail.sealed
            or tail.size + len(content) + _SEAL_ROOM > MAX_SEGMENT
            or self._clock.unix() - tail.created > MAX_SEGMENT_AGE
        ):
            tail = self._rotate(tail)
            content, receipts = placed(drafts, tail.seq, tail.hash)
        try:
            self._write(tail, content)
        except SyncFailed as failed:
            # After a failed sync the kernel may have dropped the pages: the file is not tried again, the entries are.
            tail = self._replace(tail, failed)
            content, receipts = placed(drafts, tail.seq, tail.hash)
            try:
                self._write(tail, content)
            except SyncFailed as again:
                raise OSError(again.error.errno, again.error.strerror) from again
        self._advance(tail, len(content), receipts)
        if any(made.fields["event"] == ACKNOWLEDGED_EVENT for made in drafts):
            tail.damage = None
        return receipts

    def _write(self, tail: _Tail, content: bytes) -> None:
        try:
            write_all(tail.descriptor, content, self._disk)
        except OSError:
            self._disk.truncate(tail.descriptor, tail.size)
            raise
        try:
            self._disk.sync(tail.descriptor)
        except OSError as error:
            raise SyncFailed(error) from error

    def _advance(self, tail: _Tail, written: int, receipts: Sequence[Receipt]) -> None:
        tail.size += written
        tail.seq, tail.hash = receipts[-1].seq, receipts[-1].hash
        self._known_seq = tail.seq

    def _current(self) -> _Tail:
        if self._tail is None:
            raise AssertionError("the tail is read before anything is written")
        return self._tail

    def _segments(self) -> list[Path]:
        return sorted(path for path in (self.directory / "seg").iterdir() if SEGMENT.fullmatch(path.name))

    def _refresh(self) -> _Tail:
        """Where the chain stands now, whoever moved it."""
        tail = self._tail
        if tail and self._as_left(tail):
            return tail
        with os.scandir(self.directory / "seg") as listing:
            names = [found.name for found in listing if SEGMENT.fullmatch(found.name)]
        if tail and names and max(names) == tail.path.name:
            found = os.stat(tail.path)
            if found.st_ino == tail.inode and found.st_size == tail.size:
                return tail
            if found.st_ino == tail.inode and found.st_size > tail.size and self._read_on(tail, found.st_size):
                return tail
        self._forget()
        self._tail = tail = (
            self._load() if names else self._create(GENESIS, 1, {"prev_segment": None, "prev_segment_sha256": None})
        )
        if tail.seq < self._known_seq:
            seq = tail.seq
            self._forget()
            raise JournalUnavailable(
                "The journal has lost entries",
                f"{tail.path} ends at entry {seq}; this process has written up to {self._known_seq}.",
                "Run `quarterdeck journal verify` and find out who changed it; restart to go on from what is left.",
            )
        self._known_seq = tail.seq
        return tail

    def _as_left(self, tail: _Tail) -> bool:
        """Nobody has written since: the segment is the file that it was, as long as it was, and none has been put beside it.

        A directory's time stamp may be as coarse as the kernel's tick: only one that is older than the segment's own by more
        than that says so. Otherwise the directory is listed.
        """
        try:
            found = os.stat(tail.path)
            beside = os.stat(self.directory / "seg").st_mtime_ns
        except FileNotFoundError:
            return False
        same = found.st_ino == tail.inode and found.st_size == tail.size
        return same and beside + _TICK_NS < found.st_mtime_ns and beside == tail.beside

    def _read_on(self, tail: _Tail, size: int) -> bool:
        """Follow what another process has appended; ``False`` where it does not hold and the segment has to be judged whole."""
        content = os.pread(tail.descriptor, size - tail.size, tail.size)
        found = scan(content, tail.hash, tail.seq)
        if found.rest or len(content) < size - tail.size:
            return False
        self._note(tail, found.bodies)
        tail.size, tail.seq, tail.hash = size, found.last_seq, found.last_hash
        self._known_seq = tail.seq
        return True

    def _note(self, tail: _Tail, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            if b'"journal.' not in body:
                continue
            name = event_of(body)
            tail.sealed = tail.sealed or name == SEALED_EVENT
            if name == ACKNOWLEDGED_EVENT:
                tail.damage = None

    def _load(self) -> _Tail:
        """Open the newest segment, check it whole, and set right what an interrupted write left."""
        path = self._segments()[-1]
        content = path.read_bytes()
        first_seq = int(path.stem)
        header = header_of(content)
        if header is None:
            if b"\n" in content.rstrip(b"\0"):
                return self._go_on_after(path, content, 0, self._hash_before(path), first_seq - 1)
            # Segments are put in place complete: without even a header line nothing acknowledged can have been in it.
            self._keep_torn(path, content, 0)
            path.unlink()
            self._disk.sync_directory(path.parent)
            if not self._segments():
                return self._create(GENESIS, 1, {"prev_segment": None, "prev_segment_sha256": None})
            return self._load()
        if header["v"] > FORMAT:
            raise JournalUnavailable(
                "The journal was written by a newer Quarterdeck",
                f"{path} has format {header['v']}; this program writes format {FORMAT}.",
                "It can be read here, not written: use the newer program, or another home (--home DIR).",
            )
        data = header["data"]
        found = scan(content, data["prev_hash"], first_seq - 1)
        if found.rest and not found.torn:
            return self._go_on_after(path, content, found.valid_bytes, found.last_hash, found.last_seq)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        created = datetime.fromisoformat(header["timestamp"]).timestamp()
        tail = _Tail(descriptor, path, found.valid_bytes, found.last_seq, found.last_hash, created)
        if data.get("damage"):
            tail.damage = msgspec.convert(data["damage"], Damage)
        self._note(tail, found.bodies)
        if found.rest:
            self._recover(tail, found.rest)
            # The note of it may have begun a new segment, e.g. where this one is older than a day.
            return self._current()
        return tail

    def _recover(self, tail: _Tail, rest: bytes) -> None:
        self._tail = tail
        copy = self._keep_torn(tail.path, rest, tail.size)
        self._disk.truncate(tail.descriptor, tail.size)
        self._disk.sync(tail.descriptor)
        self._append(
            [
                self._own(
                    RECOVERED_EVENT,
                    {
                        "segment": tail.path.name,
                        "offset": tail.size,
                        "bytes": len(rest),
                        "sha256": hashlib.sha256(rest).hexdigest(),
                        "copy": f"torn/{copy}",
                    },
                )
            ]
        )

    def _keep_torn(self, path: Path, rest: bytes, offset: int) -> str:
        name = f"{path.stem}-{offset}-{new_ulid(self._clock.unix())}.bin"
        write_whole(self.directory / "torn" / name, rest, disk=self._disk)
        return name

    def _go_on_after(self, path: Path, content: bytes, good_bytes: int, good_hash: str, good_seq: int) -> _Tail:
        """A new segment after a damaged one, which stays as it is. Its header names the last good hash and the bad file."""
        rest = content[good_bytes:]
        damage = Damage(segment=path.name, seq=good_seq + 1, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        path.chmod(0o400)
        facts = {"prev_segment": path.name, "prev_segment_sha256": damage.sha256, "damage": msgspec.to_builtins(damage)}
        # The numbers of the lines that can't be trusted any more are not given out again.
        return self._create(good_hash, good_seq + rest.count(b"\n") + (not rest.endswith(b"\n")) + 1, facts)

    def _hash_before(self, path: Path) -> str:
        """The last good hash of the segment before ``path``."""
        earlier = [segment for segment in self._segments() if segment.name < path.name]
        if not earlier:
            return GENESIS
        content = earlier[-1].read_bytes()
        header = header_of(content)
        return scan(content, header["data"]["prev_hash"] if header else GENESIS, int(earlier[-1].stem) - 1).last_hash

    def _rotate(self, tail: _Tail) -> _Tail:
        """Seal ``tail`` and begin the next segment."""
        if not tail.sealed:
            facts = {"segment": tail.path.name, "first": int(tail.path.stem), "last": tail.seq + 1}
            content, receipts = placed([self._own(SEALED_EVENT, facts)], tail.seq, tail.hash)
            try:
                self._write(tail, content)
            except SyncFailed as failed:
                return self._replace(tail, failed)
            self._advance(tail, len(content), receipts)
        made = self._next(tail, {})
        tail.path.chmod(0o400)
        return made

    def _replace(self, tail: _Tail, failed: SyncFailed) -> _Tail:
        """Leave a file whose sync failed; what was not acknowledged is cut from it as far as the disk allows."""
        self._disk.truncate(tail.descriptor, tail.size)
        return self._next(tail, {"reason": f"sync of {tail.path.name} failed: {failed.error.strerror}"})

    def _next(self, tail: _Tail, more: dict[str, Json]) -> _Tail:
        facts: dict[str, Json] = {
            "prev_segment": tail.path.name,
            "prev_segment_sha256": sha256_of(tail.descriptor, tail.size),
            **more,
        }
        if tail.damage:
            facts["damage"] = msgspec.to_builtins(tail.damage)
        made = self._create(tail.hash, tail.seq + 1, facts)
        os.close(tail.descriptor)
        self._tail = made
        self._known_seq = made.seq
        return made

    def _create(self, prev_hash: str, first_seq: int, facts: dict[str, Json]) -> _Tail:
        path = self.directory / "seg" / segment_name(first_seq)
        data = {"journal_id": self.id, "segment": path.name, "prev_hash": prev_hash, "schema": FORMAT, **facts}
        content, (receipt,) = placed([self._own(SEGMENT_EVENT, data)], first_seq - 1, prev_hash)
        write_whole(path, content, disk=self._disk)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        tail = _Tail(descriptor, path, len(content), receipt.seq, receipt.hash, self._clock.unix())
        if facts.get("damage"):
            tail.damage = msgspec.convert(facts["damage"], Damage)
        return tail

    def _own(self, event: str, data: dict[str, Json]) -> Draft:
        happened = Event(event=event, user="", data=data)
        return draft(happened, Moment.of(self._clock), redactor=self._redactor, program=self._program)

    def _forget(self) -> None:
        if self._tail is not None:
            os.close(self._tail.descriptor)
            self._tail = None
