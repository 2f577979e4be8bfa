"""What becomes of segments with time: sealed, packed, and after ``days`` removed, each step harmless to be interrupted at.

Packing: the packed form is written beside, synced, read back and compared, put in place by a rename; only then the plain one
goes. Readers take the plain one while both are there. What an interruption leaves is not gone on from but done again: a file
beside a segment, whoever put it there, is no reason to delete the segment.

Removal goes from the oldest segment on, and only where all of this holds: its newest entry is older than ``days`` by the time
that the journal itself has seen go by (see ``SILENCE``), every required sink has confirmed all of its entries, its bytes are
those that the next segment's header states, an entry ``journal.removed`` with its range and digest is on the disk, and every
required sink has confirmed that entry, too. What is kept is ``FIRST.gone``: its first and its last line, so that the chain
verifies across the hole. That is put in place before the segment goes.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import msgspec

from services.audit import reading
from services.audit.entry import Moment, draft
from services.audit.event import Event
from services.audit.header import header_of
from services.audit.line import FORMAT, HASH_LENGTH
from services.audit.packed import Stopped, Unpacked, pack
from services.audit.place import Disk, write_all, write_whole
from services.audit.segments import GONE, PACKED, PLAIN, Segment, opened, segments
from services.audit.store import Store
from services.audit.watermark import Confirmed, confirmed
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

REMOVED_EVENT = "journal.removed"
LEAST_DAYS = 366
"""Entries of production are kept for twelve months at least."""
DAYS = 400
DAY = 86400.0
PACK_AFTER = 7 * DAY
"""Seconds after which a segment is packed where there is no sink to wait for: the newest ones are those that are read."""
SILENCE = 31 * DAY
"""Seconds between two segments that count as age at most: a clock that jumps ahead by years makes nothing old. Who uses the
journal more seldom than once a month keeps it for longer."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``days`` for which entries are kept here at least; ``required``: the sinks that must have confirmed what goes. Where it is
    not known which (``None``) all that were ever sent to must have. ``whole``: those among them that get segments once they are
    sealed, and so are behind by design."""

    days: int = DAYS
    required: tuple[str, ...] | None = None
    whole: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.days < LEAST_DAYS:
            raise ValueError(f"entries are kept for {LEAST_DAYS} days at least, not {self.days}")


class Action(StrEnum):
    KEEP = "keep"
    PACK = "pack"
    RECORD = "record"
    """Append the entry about the removal, which is then to be confirmed."""
    REMOVE = "remove"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about one sealed segment, and why. ``bytes`` on the disk now."""

    segment: str
    first: int
    last: int
    newest: str
    bytes: int
    packed: bool
    action: Action
    why: str


class _Sealed(msgspec.Struct):
    """A segment that others follow, with what the next one's header says about it."""

    segment: Segment
    last: int
    sealed: datetime
    sha256: str
    damaged: bool


def plan(directory: Path, policy: Policy, now: datetime) -> list[Step]:
    """What is to be done, oldest segment first. Reads only."""
    reached = confirmed(directory, policy.required)
    sealed = _sealed(directory)
    ages = _ages(sealed, now)
    removals = _removals(directory) if sealed and ages[0] >= policy.days * DAY else {}
    steps, oldest = [], True
    for each, age in zip(sealed, ages, strict=True):
        action, why = _decided(each, policy, reached, removals, age, oldest=oldest)
        oldest = oldest and action is Action.REMOVE
        steps.append(
            Step(
                segment=each.segment.name,
                first=each.segment.first,
                last=each.last,
                newest=each.sealed.strftime("%Y-%m-%dT%H:%M:%SZ"),
                bytes=each.segment.path.stat().st_size,
                packed=each.segment.packed,
                action=action,
                why=why,
            )
        )
    return steps


def _decided(
    each: _Sealed, policy: Policy, reached: Confirmed, removals: dict[str, int], age: float, *, oldest: bool
) -> tuple[Action, str]:
    if each.damaged:
        return Action.KEEP, "damaged: left as it is for whoever looks into it"
    if not reached.covers(each.last):
        return Action.KEEP, reached.why or f"{reached.last} has confirmed entries up to {reached.up_to} only"
    if age >= policy.days * DAY:
        told = removals.get(each.segment.name)
        if told is None:
            return Action.RECORD, f"older than {policy.days} days"
        if not reached.covers(told):
            return Action.KEEP, f"to be removed once {reached.last} has confirmed entry {told}, which says so"
        if oldest:
            return Action.REMOVE, f"older than {policy.days} days; entry {told} says so"
        return Action.KEEP, "to be removed after the one before it"
    if each.segment.packed:
        return Action.KEEP, f"younger than {policy.days} days"
    if not reached.sinks and age < PACK_AFTER:
        return Action.KEEP, f"packed {PACK_AFTER / DAY:.0f} days after it was sealed"
    return Action.PACK, "confirmed by every required sink" if reached.sinks else "sealed, and no sink to wait for"


def _ages(sealed: Sequence[_Sealed], now: datetime) -> list[float]:
    """Seconds since each segment was sealed, without what a clock says that jumped. In their order."""
    times = [*(each.sealed for each in sealed), now]
    gaps = [min(max((later - earlier).total_seconds(), 0.0), SILENCE) for earlier, later in pairwise(times)]
    return list(accumulate(reversed(gaps)))[::-1]


def _sealed(directory: Path) -> list[_Sealed]:
    """Oldest first; none where a newer version has written: its journal is read, not changed."""
    found: list[_Sealed] = []
    for segment, following in pairwise(segments(directory)):
        with opened(following) as file:
            header: dict[str, Any] | None = header_of(file.readline())
        last = following.first - 1
        if header is None:
            # What is before a damaged one can't be judged; nor does anything behind it go before it.
            sealed = found[-1].sealed if found else datetime.fromtimestamp(0, UTC)
            found.append(_Sealed(segment, last, sealed, "", damaged=True))
            continue
        if header["v"] > FORMAT:
            return []
        damage = header["data"].get("damage")
        sealed = datetime.fromisoformat(header["timestamp"]).astimezone(UTC)
        digest = str(header["data"].get("prev_segment_sha256"))
        found.append(_Sealed(segment, last, sealed, digest, bool(damage and damage.get("segment") == segment.name)))
    return found


def _removals(directory: Path) -> dict[str, int]:
    """The number of the entry that says so, by segment."""
    found = {}
    for entry in reading.entries(directory, event=REMOVED_EVENT):
        data, seq = entry.get("data"), entry.get("seq")
        if isinstance(data, dict) and isinstance(seq, int):
            found[str(data.get("segment"))] = seq
    return found


class Retention:
    """Does what ``plan`` says, in this process while no other one does. Blocks; raises ``OSError`` and ``JournalUnavailable``."""

    def __init__(self, directory: Path, policy: Policy, *, clock: Clock, redactor: Redactor, disk: Disk | None = None) -> None:
        self._directory = directory
        self._policy = policy
        self._clock = clock
        self._redactor = redactor
        self._disk = disk or Disk()

    def run(self, *, stopping: Callable[[], bool] = lambda: False) -> list[Step]:
        """The steps that were taken; none where another process is at it."""
        descriptor = os.open(self._directory / "retention.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return []
            return self._taken(stopping)
        finally:
            os.close(descriptor)

    def _taken(self, stopping: Callable[[], bool]) -> list[Step]:
        taken: list[Step] = []
        self._clear()
        # Twice: without sinks to wait for, what was recorded can be removed at once.
        for _ in range(2):
            steps = [step for step in plan(self._directory, self._policy, self._clock.now()) if step.action is not Action.KEEP]
            for step in steps:
                if stopping():
                    return taken
                if not self._done(step, stopping):
                    return taken
                taken.append(step)
            if not any(step.action is Action.RECORD for step in steps):
                break
        return taken

    def _done(self, step: Step, stopping: Callable[[], bool]) -> bool:
        if step.action is Action.PACK:
            return self._pack(step, stopping)
        return self._record(step) if step.action is Action.RECORD else self._remove(step)

    def _clear(self) -> None:
        """Away with half-written files of processes that are gone."""
        for path in sorted((self._directory / "seg").iterdir()):
            if path.name.startswith(".") and not _alive(path.name.rpartition(".")[2]):
                path.unlink(missing_ok=True)

    def _unlink(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        self._disk.sync_directory(self._directory / "seg")

    def _pack(self, step: Step, stopping: Callable[[], bool]) -> bool:
        plain = self._directory / "seg" / step.segment
        packed = plain.with_name(f"{step.segment}.gz")
        draft_ = packed.with_name(f".{packed.name}.{os.getpid()}")
        descriptor = os.open(draft_, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o400)
        try:
            try:
                with plain.open("rb") as source:
                    digest = pack(source, lambda content: write_all(descriptor, content, self._disk), stopping=stopping)
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
            if digest != _sha256(Segment(step.first, draft_, True)):
                return False
            os.rename(draft_, packed)
        except Stopped:
            return False
        finally:
            draft_.unlink(missing_ok=True)
        self._disk.sync_directory(packed.parent)
        self._unlink([plain])
        return True

    def _record(self, step: Step) -> bool:
        found = {each.segment.name: each for each in _sealed(self._directory)}[step.segment]
        if _sha256(found.segment) != found.sha256:
            return False  # damaged without anybody's notice: `verify` names it, nothing is removed
        facts: dict[str, Json] = {
            "segment": step.segment,
            "first": step.first,
            "last": step.last,
            "sha256": found.sha256,
            "newest": step.newest,
            "days": self._policy.days,
            "confirmed_by": list(confirmed(self._directory, self._policy.required).sinks),
        }
        event = Event(event=REMOVED_EVENT, user="", outcome="intended", data=facts)
        made = draft(event, Moment.of(self._clock), redactor=self._redactor, program="quarterdeck")
        store = Store(self._directory, clock=self._clock, redactor=self._redactor, program="quarterdeck", disk=self._disk)
        try:
            store.append([made])
        finally:
            store.close()
        return True

    def _remove(self, step: Step) -> bool:
        found = {each.segment.name: each for each in _sealed(self._directory)}[step.segment]
        if _sha256(found.segment) != found.sha256:
            return False
        path = self._directory / "seg" / f"{Path(step.segment).stem}{GONE}"
        write_whole(path, _ends(found.segment), disk=self._disk)
        path.chmod(0o400)
        self._unlink([path.with_name(path.stem + form) for form in (PLAIN, PACKED)])
        return True


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _sha256(segment: Segment) -> str:
    digest = hashlib.sha256()
    with Unpacked(segment.path) if segment.packed else segment.path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _ends(segment: Segment) -> bytes:
    """The first line, the hash of the last but one, and the last line."""
    with opened(segment) as file:
        first = last = file.readline()
        before = b""
        for line in file:
            before, last = last, line
    return first + (before[:HASH_LENGTH] + b"\n" + last if before else b"")
