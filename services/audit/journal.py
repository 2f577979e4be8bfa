"""The journal as the rest of the house uses it: awaited from asyncio, written by one thread."""

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from services.audit import reading
from services.audit.entry import ACKNOWLEDGED_EVENT, Moment
from services.audit.event import Event, JournalHealth, JournalUnavailable, Receipt
from services.audit.keeping import Keeping
from services.audit.levels import Behind, Level
from services.audit.place import Disk
from services.audit.retention import Policy
from services.audit.store import Store
from services.audit.watermark import behind
from services.audit.writer import Pending, Writer
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

ASIDE_SECONDS = 0.1
"""Wall seconds of somebody's patience that are kept for the emergency segment, where the journal itself takes too long."""


class Journal:
    """Append-only, hash-chained, synced (see ``services/audit/line.py`` for the bytes). Several processes may share one.

    Opening never fails: a journal that can't be written says so in ``health``, refuses ``append`` with the reason, and is
    looked at again every five seconds.
    """

    def __init__(self, store: Store, policy: Callable[[], Policy], *, redactor: Redactor, clock: Clock, program: str) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._writer = Writer(store, redactor=redactor, clock=clock, program=program, lag=self._lag)
        self._keeping = Keeping(store, self._writer, policy, clock=clock, redactor=redactor)
        self._closed = False

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        redactor: Redactor,
        clock: Clock,
        program: str = "quarterdeck",
        disk: Disk | None = None,
        policy: Callable[[], Policy] = Policy,
    ) -> "Journal":
        """The journal in ``directory``, made where there is none. An interrupted write of an earlier process is set right, and
        what it left in the emergency segment is taken up.

        ``policy`` is asked each time that it matters, in threads of the journal: it may change while this process lives. It
        raises :class:`JournalUnavailable` where it can't be told: then nothing is packed or removed."""
        store = Store(directory, clock=clock, redactor=redactor, program=program, disk=disk)
        journal = cls(store, policy, redactor=redactor, clock=clock, program=program)
        journal._writer.open()
        journal._keeping.start()
        return journal

    @property
    def id(self) -> str:
        """The journal's own id; empty where it could never be read."""
        return self._writer.id

    @property
    def directory(self) -> Path:
        return self._store.directory

    @property
    def health(self) -> JournalHealth:
        return self._writer.health

    async def append(self, event: Event) -> Receipt:
        """Record ``event``; it is on the disk when this returns. :class:`JournalUnavailable` where it is not."""
        return await self._submit(event, keep=False).future

    async def append_within(self, event: Event, seconds: float = 0.25) -> Receipt | None:
        """Record ``event`` of a rollback: never raises, never takes longer than ``seconds`` (wall).

        ``None`` means that it is not in the journal yet: it waits in the emergency segment, or where that can't be written either
        in memory, and is written, marked ``late``, when the journal is back.
        """
        pending = self._submit(event, keep=True)
        future = pending.future
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        aside = min(ASIDE_SECONDS, seconds * 0.4)
        # asyncio.wait, unlike wait_for, leaves the write alone when the time is over.
        await asyncio.wait({future}, timeout=seconds - aside)
        if not future.done():
            either: set[asyncio.Future[Any]] = {future, self._save(pending)}
            await asyncio.wait(either, timeout=aside, return_when=asyncio.FIRST_COMPLETED)
        return None if not future.done() or future.exception() else future.result()

    def _lag(self) -> Behind | None:
        """The required sink that is behind most, if any. Raises ``OSError`` and :class:`JournalUnavailable`."""
        policy = self._policy()
        return behind(self.directory, policy.required, self._clock.unix(), whole=policy.whole)

    def _save(self, pending: Pending) -> "asyncio.Future[None]":
        """Have it saved by a thread of its own: the writer's is held up by the disk."""
        saved = pending.loop.create_future()

        def told() -> None:
            if not saved.done():
                saved.set_result(None)

        def save() -> None:
            self._writer.save(pending)
            if not pending.loop.is_closed():
                pending.loop.call_soon_threadsafe(told)

        threading.Thread(target=save, name="journal-emergency", daemon=True).start()
        return saved

    async def acknowledge(self, user: str, reason: str) -> Receipt:
        """A person has looked at the damage found in an earlier segment; entries are taken again."""
        damage = self._store.damage
        if damage is None:
            if self.health.level is Level.DEGRADED:
                raise JournalUnavailable("Nothing was acknowledged", self.health.detail)
            raise JournalUnavailable(
                "There is nothing to acknowledge", self.health.detail or "No damage stands open in this journal."
            )
        facts: dict[str, Json] = {"reason": reason, "damage": msgspec.to_builtins(damage)}
        event = Event(event=ACKNOWLEDGED_EVENT, user=user, outcome="acknowledged", data=facts)
        return await self._submit(event, keep=True).future

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
        self._keeping.stop()
        if self._writer.stop():
            self._store.close()

    def _submit(self, event: Event, *, keep: bool) -> Pending:
        loop = asyncio.get_running_loop()
        pending = Pending(event, Moment.of(self._clock), loop, loop.create_future(), keep)
        if self._closed:
            self._writer.log(pending)
            pending.future.set_exception(JournalUnavailable("The journal is closed", f"{event.event} was not recorded."))
        else:
            self._writer.put(pending)
        return pending
