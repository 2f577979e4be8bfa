"""The journal as the rest of the house uses it: awaited from asyncio, written by one thread."""

import asyncio
import contextlib
import logging
import queue
import threading
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

import msgspec

from services.audit import reading
from services.audit.entry import Draft, draft
from services.audit.event import Event, JournalHealth, JournalUnavailable, Receipt
from services.audit.place import Disk
from services.audit.store import ACKNOWLEDGED_EVENT, Store
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

MAX_BATCH = 1000
"""Entries written with one sync at most."""
PROBE_SECONDS = 5.0
"""Wall seconds between two looks at a journal that could not be written."""
CLOSE_SECONDS = 5.0
DEGRADED_EVENT = "journal.degraded"

_log = logging.getLogger("quarterdeck.journal")


class _Pending(msgspec.Struct):
    draft: Draft
    future: "Future[Receipt]"
    keep: bool
    """Must be written, however late: it records what has been done already."""


class Journal:
    """Append-only, hash-chained, synced (see ``services/audit/line.py`` for the bytes). Several processes may share one.

    Opening never fails: a journal that can't be written says so in ``health``, refuses ``append`` with the reason, and is
    looked at again every five seconds while something waits for it.
    """

    def __init__(self, store: Store, *, redactor: Redactor, clock: Clock, program: str) -> None:
        self._store = store
        self._redactor = redactor
        self._clock = clock
        self._program = program
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._kept: list[Draft] = []
        self._health = JournalHealth(ok=True)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._starting = threading.Lock()

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
            journal._health = JournalHealth(ok=False, detail=str(error))
        journal._look()
        return journal

    @property
    def id(self) -> str:
        """The journal's own id; empty while it can't be read."""
        return self._store.id

    @property
    def directory(self) -> Path:
        return self._store.directory

    @property
    def health(self) -> JournalHealth:
        return self._health

    async def append(self, event: Event) -> Receipt:
        """Record ``event``; it is on the disk when this returns. :class:`JournalUnavailable` where it is not."""
        return await asyncio.wrap_future(self._submit(event, keep=False))

    async def append_within(self, event: Event, seconds: float = 0.25) -> Receipt | None:
        """Record ``event`` of a rollback: never raises, never takes longer than ``seconds`` (wall).

        ``None`` means that it is not on the disk yet: it is kept in memory and written, marked ``late``, when the journal
        is back.
        """
        future = asyncio.wrap_future(self._submit(event, keep=True))
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
            raise JournalUnavailable("There is nothing to acknowledge", "No damage stands open in this journal.")
        facts: dict[str, Json] = {"reason": reason, "damage": msgspec.to_builtins(damage)}
        receipt = await asyncio.wrap_future(self._submit(Event(event=ACKNOWLEDGED_EVENT, user=user, data=facts), keep=True))
        self._look()
        return receipt

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

    def _submit(self, event: Event, *, keep: bool) -> "Future[Receipt]":
        made = draft(event, clock=self._clock, redactor=self._redactor, program=self._program)
        pending = _Pending(made, Future(), keep)
        if self._closed:
            if keep:
                self._kept.append(made)
            pending.future.set_exception(JournalUnavailable("The journal is closed", f"{event.event} was not recorded."))
            return pending.future
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()
        self._queue.put(pending)
        return pending.future

    def _run(self) -> None:
        going = True
        while going:
            batch: list[_Pending] = []
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=PROBE_SECONDS if self._kept else None)
                while True:
                    if item is None:
                        going = False
                        break
                    batch.append(item)
                    if len(batch) >= MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
            self._handle([pending for pending in batch if pending.future.set_running_or_notify_cancel() or pending.keep])

    def _handle(self, batch: list[_Pending]) -> None:
        if self._kept:
            self._write_kept()
        must = [pending for pending in batch if pending.keep]
        may = [pending for pending in batch if not pending.keep]
        # Entries that must be written also go into a journal whose damage nobody has acknowledged; the others do not.
        if self._store.damage is None:
            self._write(batch, despite_damage=False)
        else:
            self._write(must, despite_damage=True)
            self._write(may, despite_damage=False)

    def _write(self, batch: list[_Pending], *, despite_damage: bool) -> None:
        if not batch:
            return
        try:
            receipts = self._store.append([pending.draft for pending in batch], despite_damage=despite_damage)
        except JournalUnavailable as error:
            must = [pending for pending in batch if pending.keep]
            if must and self._store.damage is not None and not despite_damage:
                # The damage was found just now; what must be written still can be.
                self._refuse([pending for pending in batch if not pending.keep], error)
                self._write(must, despite_damage=True)
            else:
                self._refuse(batch, error)
            return
        except Exception as error:
            # Whatever it is, those who wait must hear of it, and this thread must live on.
            _log.exception("the journal's writer failed")
            self._refuse(batch, JournalUnavailable("The journal can't be written", f"{type(error).__name__}: {error}."))
            return
        self._look()
        for pending, receipt in zip(batch, receipts, strict=True):
            _resolve(pending.future, receipt)

    def _refuse(self, batch: list[_Pending], error: JournalUnavailable) -> None:
        for pending in batch:
            if pending.keep:
                pending.draft.late = True
                self._kept.append(pending.draft)
        self._health = JournalHealth(ok=False, detail=str(error), pending=len(self._kept))
        for pending in batch:
            _resolve(pending.future, error)

    def _write_kept(self) -> None:
        facts: dict[str, Json] = {"from": self._kept[0].timestamp, "to": self._kept[-1].timestamp, "count": len(self._kept)}
        back = draft(
            Event(event=DEGRADED_EVENT, user="", data=facts), clock=self._clock, redactor=self._redactor, program=self._program
        )
        try:
            self._store.append([back, *self._kept], despite_damage=True)
        except JournalUnavailable as error:
            self._health = JournalHealth(ok=False, detail=str(error), pending=len(self._kept))
            return
        self._kept.clear()
        self._look()

    def _look(self) -> None:
        damage = self._store.damage
        if damage is not None:
            detail = f"{damage.segment} is damaged at entry {damage.seq}: see `quarterdeck journal verify`"
            self._health = JournalHealth(ok=False, detail=detail, pending=len(self._kept))
        elif self._store.id:
            self._health = JournalHealth(ok=True, pending=len(self._kept))


def _resolve(future: "Future[Receipt]", result: Receipt | JournalUnavailable) -> None:
    if future.cancelled():
        return
    if isinstance(result, Receipt):
        future.set_result(result)
    else:
        future.set_exception(result)
