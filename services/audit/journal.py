"""The journal as the rest of the house uses it: awaited from asyncio, written by one thread."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit import reading
from services.audit.entry import Draft, Moment, draft
from services.audit.event import Event, JournalHealth, JournalUnavailable, Receipt
from services.audit.place import Disk
from services.audit.store import ACKNOWLEDGED_EVENT, Store
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

MAX_BATCH = 1000
"""Entries written with one sync at most."""
PROBE_SECONDS = 5.0
"""Wall seconds between two looks at a journal that can't be written."""
PROBE_PATIENCE = 0.25
"""Wall seconds that such a look waits for another process, which was waited for when it was found to hold the journal."""
CLOSE_SECONDS = 5.0
SIGN_ENTRIES = 100
"""Entries after which the next checkpoint is signed at the latest."""
SIGN_SECONDS = 10.0
"""Wall seconds of quiet after which what was written is signed."""
HEARTBEAT_SECONDS = 3600.0
"""Wall seconds after which a checkpoint is signed though nothing was written: silence is told from a gap."""
DEGRADED_EVENT = "journal.degraded"

_log = logging.getLogger("quarterdeck.journal")


class _Pending(msgspec.Struct):
    event: Event
    moment: Moment
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Receipt]"
    """Belongs to ``loop``: the writer's thread only ever looks whether it was cancelled."""
    keep: bool
    """Must be written, however late: it records what has been done already."""
    draft: Draft | None = None
    answered: bool = False


class Journal:
    """Append-only, hash-chained, synced (see ``services/audit/line.py`` for the bytes). Several processes may share one.

    Opening never fails: a journal that can't be written says so in ``health``, refuses ``append`` with the reason, and is
    looked at again every five seconds.
    """

    def __init__(self, store: Store, *, redactor: Redactor, clock: Clock, program: str) -> None:
        self._store = store
        self._redactor = redactor
        self._clock = clock
        self._program = program
        self._id = ""
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._kept: list[Draft] = []
        self._degraded_since: str | None = None
        self._refused = 0
        self._health = JournalHealth(ok=True)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._unsigned = 0
        """Entries of this process since its last checkpoint."""

    @classmethod
    def open(
        cls, directory: Path, *, redactor: Redactor, clock: Clock, program: str = "quarterdeck", disk: Disk | None = None
    ) -> "Journal":
        """The journal in ``directory``, made where there is none; an interrupted write of an earlier process is set right."""
        store = Store(directory, clock=clock, redactor=redactor, program=program, disk=disk)
        journal = cls(store, redactor=redactor, clock=clock, program=program)
        try:
            store.open()
        except JournalUnavailable as error:
            journal._degrade(error)
        journal._look()
        if not journal._health.ok:
            journal._start()
        return journal

    @property
    def id(self) -> str:
        """The journal's own id; empty where it could never be read."""
        return self._id

    @property
    def directory(self) -> Path:
        return self._store.directory

    @property
    def health(self) -> JournalHealth:
        return self._health

    async def append(self, event: Event) -> Receipt:
        """Record ``event``; it is on the disk when this returns. :class:`JournalUnavailable` where it is not."""
        return await self._submit(event, keep=False)

    async def append_within(self, event: Event, seconds: float = 0.25) -> Receipt | None:
        """Record ``event`` of a rollback: never raises, never takes longer than ``seconds`` (wall).

        ``None`` means that it is not on the disk yet: it is kept in memory and written, marked ``late``, when the journal
        is back.
        """
        future = self._submit(event, keep=True)
        # asyncio.wait, unlike wait_for, leaves the write alone when the time is over.
        await asyncio.wait({future}, timeout=seconds)
        if not future.done():
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            return None
        return None if future.exception() else future.result()

    async def acknowledge(self, user: str, reason: str) -> Receipt:
        """A person has looked at the damage found in an earlier segment; entries are taken again."""
        damage = self._store.damage
        if damage is None:
            raise JournalUnavailable(
                "There is nothing to acknowledge", self._health.detail or "No damage stands open in this journal."
            )
        facts: dict[str, Json] = {"reason": reason, "damage": msgspec.to_builtins(damage)}
        event = Event(event=ACKNOWLEDGED_EVENT, user=user, outcome="acknowledged", data=facts)
        return await self._submit(event, keep=True)

    def entries(
        self,
        *,
        service: str | None = None,
        environment: str | None = None,
        event: str | None = None,
        rollout: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Json]]:
        """The stored entries that match, oldest first; with ``limit`` the newest so many. Reads files: not for the loop."""
        return reading.entries(
            self.directory, service=service, environment=environment, event=event, rollout=rollout, since=since, limit=limit
        )

    def receipt(self, seq: int) -> Receipt | None:
        """The receipt of an entry that is stored already, if there is one with this number. Reads files: not for the loop."""
        found = reading.find(self.directory, seq)
        if found is None:
            return None
        return Receipt(seq=seq, id=str(found.entry["id"]), hash=found.hash, ts=str(found.entry["timestamp"]))

    def close(self) -> None:
        """Write what waits (five seconds at most) and let go of the files. What could not be written goes to the log."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_SECONDS)
        for left in self._kept:
            _log.error("not written to the journal: %s", left.body(0).decode())
        if self._thread is None or not self._thread.is_alive():
            self._store.close()

    def _submit(self, event: Event, *, keep: bool) -> "asyncio.Future[Receipt]":
        loop = asyncio.get_running_loop()
        pending = _Pending(event, Moment.of(self._clock), loop, loop.create_future(), keep)
        if self._closed:
            if keep and (made := self._draft(pending)) is not None:
                _log.error("not written to the journal, which is closed: %s", made.body(0).decode())
            pending.future.set_exception(JournalUnavailable("The journal is closed", f"{event.event} was not recorded."))
            return pending.future
        self._start()
        self._queue.put(pending)
        return pending.future

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    # From here on the writer's thread.

    def _run(self) -> None:
        going = True
        while going:
            batch: list[_Pending] = []
            quiet = SIGN_SECONDS if self._unsigned else HEARTBEAT_SECONDS
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=quiet if self._health.ok else PROBE_SECONDS)
                while True:
                    if item is None:
                        going = False
                        break
                    batch.append(item)
                    if len(batch) >= MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
            try:
                self._handle([pending for pending in batch if pending.keep or not pending.future.cancelled()])
            except Exception as error:
                # Whatever it is, those who wait must hear of it, and this thread must live on.
                _log.exception("the journal's writer failed")
                left = [pending for pending in batch if not pending.answered]
                self._refuse(left, JournalUnavailable("The journal can't be written", f"{type(error).__name__}: {error}."))
            if self._health.ok and (not batch or not going or self._unsigned >= SIGN_ENTRIES):
                self._sign(ending=not going)

    def _sign(self, *, ending: bool) -> None:
        """A checkpoint of what is written. Where it can't be signed entries are taken all the same, and the log says so."""
        if ending and not self._unsigned:
            return
        self._unsigned = 0
        try:
            self._store.sign()
        except JournalUnavailable as error:
            _log.error("no checkpoint: %s", error)
        except Exception:
            _log.exception("no checkpoint")

    def _handle(self, batch: list[_Pending]) -> None:
        away = None if self._health.ok else self._probe(must=any(pending.keep for pending in batch))
        drafted = [pending for pending in batch if self._draft(pending) is not None]
        if away is not None:
            # It was looked at a moment ago: trying again would make those who wait do so twice.
            self._refuse(drafted, away)
            return
        # What must be written also goes into a journal whose damage nobody has acknowledged; nothing else does.
        if self._store.damage is None:
            self._write(drafted, despite_damage=False)
        else:
            self._write([pending for pending in drafted if pending.keep], despite_damage=True)
            self._write([pending for pending in drafted if not pending.keep], despite_damage=False)

    def _draft(self, pending: _Pending) -> Draft | None:
        try:
            pending.draft = draft(pending.event, pending.moment, redactor=self._redactor, program=self._program)
        except Exception as error:
            _log.exception("an event could not be made into an entry")
            _resolve(
                [pending],
                JournalUnavailable(f"{pending.event.event} can't be recorded", f"{type(error).__name__}: {error}."),
            )
        return pending.draft

    def _write(self, batch: Sequence[_Pending], *, despite_damage: bool) -> None:
        if not batch:
            return
        must = [pending for pending in batch if pending.keep]
        alone = len(must) == len(batch)
        drafts = [pending.draft for pending in batch if pending.draft]
        try:
            receipts = self._store.append(drafts, despite_damage=despite_damage, must=alone)
        except JournalUnavailable as error:
            if must and not (despite_damage if self._store.damage is not None else alone):
                # Damage found just now, or a full disk: what must be written still can be.
                self._refuse([pending for pending in batch if not pending.keep], error)
                self._write(must, despite_damage=self._store.damage is not None)
            else:
                self._refuse(batch, error)
            return
        self._look()
        self._unsigned += len(receipts)
        _answer(list(zip(batch, receipts, strict=True)))

    def _refuse(self, batch: Sequence[_Pending], error: JournalUnavailable) -> None:
        for pending in batch:
            if pending.keep and pending.draft is not None:
                pending.draft.late = True
                self._kept.append(pending.draft)
            else:
                self._refused += 1
        self._degrade(error)
        _resolve(batch, error)

    def _probe(self, *, must: bool) -> JournalUnavailable | None:
        """Try whether the journal can be written again; if so, first what was kept, after a note of the gap. Else why not."""
        try:
            self._store.look(patience=PROBE_PATIENCE)
            if self._degraded_since is not None and (self._kept or self._store.damage is None):
                facts: dict[str, Json] = {
                    "from": self._degraded_since,
                    "to": Moment.of(self._clock).stamp,
                    "count": len(self._kept),
                    "refused": self._refused,
                }
                event = Event(event=DEGRADED_EVENT, user="", data=facts)
                gap = draft(event, Moment.of(self._clock), redactor=self._redactor, program=self._program)
                self._store.append([gap, *self._kept], despite_damage=True, must=must or bool(self._kept))
                self._kept.clear()
                self._degraded_since, self._refused = None, 0
        except JournalUnavailable as error:
            self._degrade(error)
            return error
        self._look()
        return None

    def _degrade(self, error: JournalUnavailable) -> None:
        if self._store.damage is None and self._degraded_since is None:
            self._degraded_since = Moment.of(self._clock).stamp
        self._health = JournalHealth(ok=False, detail=str(error), pending=len(self._kept))

    def _look(self) -> None:
        damage = self._store.damage
        self._id = self._store.id or self._id
        if damage is not None:
            detail = f"{damage.segment} is damaged at entry {damage.seq}: see `quarterdeck journal verify`"
            self._health = JournalHealth(ok=False, detail=detail, pending=len(self._kept))
        elif self._degraded_since is None:
            self._health = JournalHealth(ok=True)


def _resolve(batch: Sequence[_Pending], error: JournalUnavailable) -> None:
    _answer([(pending, error) for pending in batch])


def _answer(results: Sequence[tuple[_Pending, Receipt | JournalUnavailable]]) -> None:
    """Tell those who wait, each loop once."""
    for pending, _ in results:
        pending.answered = True
    for loop in {pending.loop for pending, _ in results}:
        # A loop that was closed has nobody left who waits; what had to be written is written or kept all the same.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, [(pending.future, result) for pending, result in results if pending.loop is loop])


def _set(results: "Sequence[tuple[asyncio.Future[Receipt], Receipt | JournalUnavailable]]") -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, Receipt):
            future.set_result(result)
        else:
            future.set_exception(result)
