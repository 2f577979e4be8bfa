"""The chain as it is written: appending, a new segment, recovery. Everything here blocks and runs with the journal's lock held.

Several processes may write to one journal: whoever holds the lock first reads what others have added since.
"""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit.checkpoint import KeyUnusable, Signer
from services.audit.entry import ACKNOWLEDGED_EVENT, SEALED_EVENT, Draft, Moment, draft, placed
from services.audit.event import Event, JournalUnavailable, Receipt
from services.audit.header import SEGMENT_EVENT, Damage, header_of, newer
from services.audit.line import FORMAT, GENESIS, scan, segment_name
from services.audit.place import Disk, SyncFailed, sha256_of, write_all, write_whole
from services.audit.segments import opened, segments
from services.audit.tail import Examined, Tail, examine
from services.audit.ulid import new_ulid
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

MAX_SEGMENT = 64 * 1024 * 1024
MAX_SEGMENT_AGE = 24 * 3600.0
_SEAL_ROOM = 4096
_TICK_NS = 20_000_000
_log = logging.getLogger("quarterdeck.journal")
SEGMENT = re.compile(r"[0-9]{12}\.jsonl")

RECOVERED_EVENT = "journal.recovered"


class Chain:
    """Where the chain stands, and how it goes on. Raises ``OSError`` and :class:`JournalUnavailable`."""

    def __init__(self, directory: Path, *, clock: Clock, redactor: Redactor, program: str, disk: Disk) -> None:
        self.directory = directory
        self.id = ""
        self.tail: Tail | None = None
        self.suspect = False
        """The newest segment is to be checked whole before it is written to again."""
        self.rotations = 0
        self.signer = Signer(directory, disk=disk)
        self._seg = os.fspath(directory / "seg")
        self._clock = clock
        self._redactor = redactor
        self._program = program
        self._disk = disk
        self._known_seq = 0

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        tail = self._current()
        content, receipts = placed(drafts, tail.seq, tail.hash)
        if self._full(tail, len(content)):
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
                # Who waits is told that it was not written: it must not be found there all the same.
                self._disk.truncate(tail.descriptor, tail.size)
                raise OSError(again.error.errno, again.error.strerror) from again
        self._advance(tail, len(content), receipts)
        if any(made.fields["event"] == ACKNOWLEDGED_EVENT for made in drafts):
            tail.damage = None
        return receipts

    def ready(self) -> Tail:
        """Where the next entry of some few KiB goes: a segment whose time is over is sealed before."""
        tail = self._current()
        return self._rotate(tail) if self._full(tail, 2 * _SEAL_ROOM) else tail

    def _full(self, tail: Tail, more: int) -> bool:
        aged = self._clock.unix() - tail.created > MAX_SEGMENT_AGE
        return tail.sealed or tail.size + more + _SEAL_ROOM > MAX_SEGMENT or aged

    def _write(self, tail: Tail, content: bytes) -> None:
        try:
            write_all(tail.descriptor, content, self._disk)
        except OSError:
            self._disk.truncate(tail.descriptor, tail.size)
            raise
        try:
            self._disk.sync(tail.descriptor)
        except OSError as error:
            raise SyncFailed(error) from error

    def _advance(self, tail: Tail, written: int, receipts: Sequence[Receipt]) -> None:
        tail.size += written
        tail.seq, tail.hash = receipts[-1].seq, receipts[-1].hash
        tail.wrote(receipts[-1].ts)
        self._known_seq = tail.seq

    def _current(self) -> Tail:
        if self.tail is None:
            raise AssertionError("the tail is read before anything is written")
        return self.tail

    def _newest(self) -> Path | None:
        with os.scandir(self._seg) as listing:
            names = [found.name for found in listing if SEGMENT.fullmatch(found.name)]
        return self.directory / "seg" / max(names) if names else None

    def refresh(self) -> Tail:
        """Where the chain stands now, whoever moved it. Call it before anything else."""
        tail = self.tail
        if tail and not self.suspect and self._as_left(tail):
            return tail
        beside = os.stat(self._seg).st_mtime_ns
        newest = self._newest()
        if tail and newest and newest.name == tail.path.name and not self.suspect:
            found = os.stat(tail.place)
            same = found.st_ino == tail.inode
            if same and (found.st_size == tail.size or (found.st_size > tail.size and self._read_on(tail, found.st_size))):
                tail.beside = beside
                return tail
        self.forget()
        self.tail = tail = self._load(newest) if newest else self._begun()
        self.suspect = False
        if tail.seq < self._known_seq:
            seq = tail.seq
            self.forget()
            raise JournalUnavailable(
                "The journal has lost entries",
                f"{tail.path} ends at entry {seq}; this process has written up to {self._known_seq}.",
                "Run `quarterdeck journal verify` and find out who changed it; restart to go on from what is left.",
            )
        self._known_seq = tail.seq
        return tail

    def _as_left(self, tail: Tail) -> bool:
        """Nobody has written since: the segment is the file that it was, as long as it was, and none has been put beside it.

        A directory's time stamp may be as coarse as the kernel's tick: only one that is older than the segment's own by more
        than that says so. Otherwise the directory is listed.
        """
        try:
            found = os.stat(tail.place)
            beside = os.stat(tail.beside_place).st_mtime_ns
        except FileNotFoundError:
            return False
        same = found.st_ino == tail.inode and found.st_size == tail.size
        return same and beside + _TICK_NS < found.st_mtime_ns and beside == tail.beside

    def _read_on(self, tail: Tail, size: int) -> bool:
        """Follow what another process has appended; ``False`` where it does not hold and the segment has to be judged whole."""
        content = os.pread(tail.descriptor, size - tail.size, tail.size)
        found = scan(content, tail.hash, tail.seq)
        if found.rest or len(content) < size - tail.size:
            return False
        tail.note(found.bodies)
        tail.size, tail.seq, tail.hash = size, found.last_seq, found.last_hash
        self._known_seq = tail.seq
        return True

    def _begun(self) -> Tail:
        """The first segment of all. Raises :class:`JournalUnavailable` where there have been others."""
        if left := segments(self.directory):
            raise JournalUnavailable(
                "The journal has lost entries",
                f"{left[-1].path} is the newest segment there is, and others followed it.",
                "Run `quarterdeck journal verify` and find out who removed them.",
            )
        return self._create(GENESIS, 1, {"prev_segment": None, "prev_segment_sha256": None})

    def _load(self, path: Path) -> Tail:
        """Open the newest segment, check its end (where in doubt all of it), set right what an interrupted write left."""
        found = examine(path, whole=self.suspect)
        if found.header is None:
            if not found.torn:
                return self._go_on_after(path, found._replace(last_hash=self._hash_before(path)))
            # Segments are put in place complete: without even a header line nothing acknowledged can have been in it.
            self._keep_torn(path, found.rest, 0)
            path.unlink()
            self._disk.sync_directory(path.parent)
            newest = self._newest()
            return self._load(newest) if newest else self._begun()
        if found.newer:
            raise newer(path, found.header["v"])
        if not found.torn:
            return self._go_on_after(path, found)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        created = datetime.fromisoformat(found.header["timestamp"]).timestamp()
        tail = Tail(descriptor, path, found.valid_bytes, found.last_seq, found.last_hash, created)
        if damage := found.header["data"].get("damage"):
            tail.damage = msgspec.convert(damage, Damage)
        tail.note(found.bodies)
        if found.rest:
            self._recover(tail, found.rest)
            # The note of it may have begun a new segment, e.g. where this one is older than a day.
            return self._current()
        return tail

    def _recover(self, tail: Tail, rest: bytes) -> None:
        self.tail = tail
        if tail.damage is None:
            # What an interrupted process left unsigned may be old by now: it is signed before anything follows.
            self._checkpoint(tail)
        copy = self._keep_torn(tail.path, rest, tail.size)
        self._disk.truncate(tail.descriptor, tail.size)
        self._disk.sync(tail.descriptor)
        self.append(
            [
                self.own(
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

    def _go_on_after(self, path: Path, found: Examined) -> Tail:
        """A new segment after a damaged one, which stays as it is. Its header names the last good hash and the bad file."""
        content = path.read_bytes()
        damage = Damage(segment=path.name, seq=found.last_seq + 1, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        path.chmod(0o400)
        facts = {"prev_segment": path.name, "prev_segment_sha256": damage.sha256, "damage": msgspec.to_builtins(damage)}
        # The numbers of the lines that can't be trusted any more are not given out again.
        lost = found.rest.count(b"\n") + (not found.rest.endswith(b"\n"))
        return self._create(found.last_hash, found.last_seq + lost + 1, facts)

    def _hash_before(self, path: Path) -> str:
        """The last good hash of the segment before ``path``."""
        earlier = [segment for segment in segments(self.directory) if segment.first < int(path.stem)]
        if not earlier:
            return GENESIS
        with opened(earlier[-1]) as file:
            content = file.read()
        header = header_of(content)
        return scan(content, header["data"]["prev_hash"] if header else GENESIS, earlier[-1].first - 1).last_hash

    def _rotate(self, tail: Tail) -> Tail:
        """Seal ``tail`` and begin the next segment."""
        if not tail.sealed:
            facts: dict[str, Json] = {"segment": tail.path.name, "first": int(tail.path.stem), "last": tail.seq + 1}
            if note := self._checkpoint(tail):
                facts["note"] = note
            content, receipts = placed([self.own(SEALED_EVENT, facts)], tail.seq, tail.hash)
            try:
                self._write(tail, content)
            except SyncFailed as failed:
                return self._replace(tail, failed)
            self._advance(tail, len(content), receipts)
        made = self._next(tail, {})
        tail.path.chmod(0o400)
        self.rotations += 1
        return made

    def _checkpoint(self, tail: Tail) -> str:
        """The signed note of what is there, which a seal carries to wherever entries are sent. None where it can't be made: the
        journal goes on."""
        try:
            return self.signer.sign(self.id, tail.seq, tail.hash, Moment.of(self._clock).stamp)
        except (KeyUnusable, OSError) as error:
            _log.error("no checkpoint at the end of %s: %s", tail.path.name, error)
            return ""

    def _replace(self, tail: Tail, failed: SyncFailed) -> Tail:
        """Leave a file whose sync failed; what was not acknowledged is cut from it as far as the disk allows."""
        self._disk.truncate(tail.descriptor, tail.size)
        return self._next(tail, {"reason": f"sync of {tail.path.name} failed: {failed.error.strerror}"})

    def _next(self, tail: Tail, more: dict[str, Json]) -> Tail:
        facts: dict[str, Json] = {
            "prev_segment": tail.path.name,
            "prev_segment_sha256": sha256_of(tail.descriptor, tail.size),
            **more,
        }
        if tail.damage:
            facts["damage"] = msgspec.to_builtins(tail.damage)
        made = self._create(tail.hash, tail.seq + 1, facts)
        os.close(tail.descriptor)
        self.tail = made
        self._known_seq = made.seq
        return made

    def _create(self, prev_hash: str, first_seq: int, facts: dict[str, Json]) -> Tail:
        path = self.directory / "seg" / segment_name(first_seq)
        data = {"journal_id": self.id, "segment": path.name, "prev_hash": prev_hash, "schema": FORMAT, **facts}
        content, (receipt,) = placed([self.own(SEGMENT_EVENT, data)], first_seq - 1, prev_hash)
        write_whole(path, content, disk=self._disk)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        tail = Tail(descriptor, path, len(content), receipt.seq, receipt.hash, self._clock.unix())
        if facts.get("damage"):
            tail.damage = msgspec.convert(facts["damage"], Damage)
        return tail

    def own(self, event: str, data: dict[str, Json]) -> Draft:
        happened = Event(event=event, user="", data=data)
        return draft(happened, Moment.of(self._clock), redactor=self._redactor, program=self._program)

    def forget(self) -> None:
        if self.tail is not None:
            os.close(self.tail.descriptor)
            self.tail = None
