"""The writer's side of the files, under the lock that all processes of one journal share.

Everything here blocks and runs in the journal's own threads.
"""

import errno
import logging
import os
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec

from services.audit.chain import Chain
from services.audit.checkpoint import KeyUnusable
from services.audit.emergency import Emergency, put_aside
from services.audit.entry import Draft, Moment
from services.audit.event import JournalUnavailable, Receipt
from services.audit.header import Damage, refused_by
from services.audit.levels import Room
from services.audit.line import HASH_LENGTH
from services.audit.place import (
    LOCK_SECONDS,
    Disk,
    journal_id,
    locked,
    open_lock,
    prepare,
    release,
    reserve,
    unavailable,
)
from services.audit.reading import lines_backwards
from services.audit.signing import SIGN_ENTRIES, Unsigned
from services.audit.tail import Tail
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

CHECKPOINT_EVENT = "journal.checkpoint"
MERGED_EVENT = "journal.emergency"
HEARTBEAT = 3600.0
"""Seconds by the entries' own time stamps without an entry, after which a checkpoint becomes one."""
_BEFORE = 60.0
_LOOKED_AT = 50_000
_AT_LEAST = 1000
"""Entries that are looked at whatever their time stamps say: another process's clock may be behind, or have been set back."""

_log = logging.getLogger("quarterdeck.journal")


class Store:
    """See the module. Every public method takes the lock; each raises :class:`JournalUnavailable` with its reason."""

    def __init__(self, directory: Path, *, clock: Clock, redactor: Redactor, program: str, disk: Disk | None = None) -> None:
        self.directory = directory
        self._clock = clock
        self._disk = disk or Disk()
        self._lock = -1
        self._chain = Chain(directory, clock=clock, redactor=redactor, program=program, disk=self._disk)
        self.emergency = Emergency(directory, disk=self._disk)
        self.unsigned = Unsigned(clock)

    @property
    def id(self) -> str:
        """The journal's id; empty where the journal is not open."""
        return self._chain.id

    @property
    def damage(self) -> Damage | None:
        return self._chain.tail.damage if self._chain.tail else None

    @property
    def rotations(self) -> int:
        """How many segments this process has sealed."""
        return self._chain.rotations

    @property
    def last(self) -> int:
        """The number of the newest entry that this process knows of."""
        return self._chain.tail.seq if self._chain.tail else 0

    def room(self) -> Room | None:
        return self._disk.room(str(self.directory))

    def suspect(self) -> None:
        """Have the newest segment checked whole at the next look: somebody has found it wrong."""
        self._chain.suspect = True

    def open(self, *, patience: float = LOCK_SECONDS) -> None:
        """Make the journal where there is none; recover a torn tail. Waits ``patience`` wall seconds for another process."""
        prepare(self.directory)
        try:
            if self._lock < 0:
                self._lock = open_lock(self.directory)
            with locked(self._lock, self.directory, seconds=patience):
                self._chain.id = journal_id(self.directory, disk=self._disk)
                tail = self._chain.refresh()
                if tail.damage is None:
                    self._sign_what_was_left(tail)
        except OSError as error:
            raise unavailable(self.directory, error) from error

    def append(self, drafts: Sequence[Draft], *, despite_damage: bool = False, must: bool = False) -> list[Receipt]:
        """Write ``drafts`` and return once they are on the disk; all of them or none.

        One that was saved in the emergency segment while it waited, and that another process has taken up from there, is in the
        journal already: it is left out, and there is no receipt of it.
        On a full disk what ``must`` be written takes the room that was kept for it; nothing else is written without such room.
        While damage stands unacknowledged only ``despite_damage`` writes (rollbacks, and the acknowledgement itself).
        """
        if not self.id:
            self.open()
        try:
            with locked(self._lock, self.directory):
                tail = self._chain.refresh()
                if tail.damage and not despite_damage:
                    raise refused_by(tail.damage)
                if not must:
                    reserve(self.directory, disk=self._disk)
                if not self.unsigned.count and tail.damage is None:
                    self._sign_what_was_left(tail)
                known = self._known([made for made in drafts if made.late])
                missing = [made for made in drafts if made.id not in known] if known else drafts
                receipts = self._chain.append(missing) if missing else []
                self.unsigned.wrote(self.last)
                return receipts
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
                self._chain.refresh()
        except OSError as error:
            self.close()
            raise unavailable(self.directory, error) from error

    def due(self) -> bool:
        """Whether a checkpoint is: another process may have signed what this one wrote."""
        if self.unsigned.due:
            self._look_behind(self.last)
        return self.unsigned.due

    def _sign_what_was_left(self, tail: Tail) -> None:
        """Sign what an interrupted process left unsigned, where that is due: else it would add up. Where it can't be signed
        entries are taken all the same."""
        try:
            self._look_behind(tail.seq)
            if self.unsigned.due:
                self._chain.signer.sign(self.id, tail.seq, tail.hash, Moment.of(self._clock).stamp)
                self.unsigned.signed(tail.seq)
        except (KeyUnusable, OSError) as error:
            self.unsigned.failed()
            _log.error("no checkpoint of what was left unsigned: %s", error)

    def _look_behind(self, last: int) -> None:
        """See what the checkpoints cover, and how old the first entry behind that is."""
        covered = self._chain.signer.covered()
        age = float("inf")
        if last <= covered:
            age = 0.0
        elif last - covered <= SIGN_ENTRIES:
            oldest = next(islice(lines_backwards(self.directory), last - covered - 1, None), b"")
            # One that tells no time may be as old as any.
            age = self._clock.unix() - written if (written := _unix(_stamp_of(oldest))) < float("inf") else age
        self.unsigned.found(covered, last, age)

    def sign(self) -> None:
        """Sign how far the chain goes, with the time.

        After an hour in which nobody wrote the checkpoint becomes an entry: silence is told from a gap wherever entries are sent.
        """
        self.look()
        try:
            with locked(self._lock, self.directory):
                tail = self._chain.refresh()
                silent = not self.unsigned.count and self._clock.unix() - tail.written >= HEARTBEAT
                beat = tail.damage is None and silent
                tail = self._chain.ready() if beat else tail
                note = self._chain.signer.sign(self.id, tail.seq, tail.hash, Moment.of(self._clock).stamp)
                if beat:
                    self._chain.append([self._chain.own(CHECKPOINT_EVENT, {"note": note})])
                self.unsigned.signed(tail.seq)
        except KeyUnusable as error:
            raise JournalUnavailable("The journal's checkpoint can't be signed", f"{error}.") from error
        except OSError as error:
            raise unavailable(self.directory, error) from error

    def merge(self) -> int:
        """Append what waits in the emergency segment, after a note of it, and empty that. How many entries were added."""
        if self.emergency.empty():
            return 0
        self.look()
        try:
            with locked(self._lock, self.directory):
                self._chain.refresh()
                return self._merge()
        except OSError as error:
            self.close()
            raise unavailable(self.directory, error) from error

    def _merge(self) -> int:
        held = self.emergency.read()
        drafts = {made.id: made for made in held.drafts}
        # A write that took too long was saved there too, and may have gone through after all.
        known = self._known(held.drafts)
        missing = [made for name, made in drafts.items() if name not in known]
        if missing or held.rest:
            facts: dict[str, Json] = {"count": len(held.drafts), "merged": len(missing), "hash": held.hash}
            if held.rest:
                copy, digest = put_aside(self.directory, held.rest, disk=self._disk)
                facts["unreadable"] = {"bytes": len(held.rest), "sha256": digest, "copy": copy}
            self._chain.append([self._chain.own(MERGED_EVENT, facts), *missing])
            self.unsigned.wrote(self.last)
        self.emergency.clear(held.hash)
        return len(missing)

    def _known(self, drafts: Sequence[Draft]) -> set[str]:
        """The ids of ``drafts`` that the chain has already."""
        wanted = {made.id for made in drafts}
        found: set[str] = set()
        if not wanted:
            return found
        earliest = min(_unix(made.timestamp) for made in drafts) - _BEFORE
        for looked, raw in enumerate(lines_backwards(self.directory)):
            try:
                entry = _stamped.decode(raw[HASH_LENGTH + 1 :])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if entry.id in wanted:
                found.add(entry.id)
            before = looked > _AT_LEAST and not entry.late and _unix(entry.timestamp) < earliest
            if looked > _LOOKED_AT or before or found == wanted:
                break
        return found

    def close(self) -> None:
        self._chain.id = ""
        self._chain.forget()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class _Stamped(msgspec.Struct):
    id: str = ""
    timestamp: str = ""
    late: bool = False


_stamped = msgspec.json.Decoder(_Stamped)


def _stamp_of(raw: bytes) -> str:
    """Empty where there is none."""
    try:
        return _stamped.decode(raw[HASH_LENGTH + 1 :]).timestamp
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _unix(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return float("inf")
