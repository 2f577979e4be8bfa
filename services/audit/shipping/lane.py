"""One sink's way through the journal: what comes next, what is on its way, how far it has come.

The cursor moves only behind batches that were delivered, in the journal's order, whatever order they arrived in.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from random import Random

import msgspec

from services.audit.place import Disk
from services.audit.shipping import cursor as cursors
from services.audit.shipping import deadletters, notices
from services.audit.shipping.burials import Burials
from services.audit.shipping.confirming import Confirmation
from services.audit.shipping.courier import Courier
from services.audit.shipping.cursor import Cursor, CursorUnusable, Witness
from services.audit.shipping.status import SinkState, SinkStatus, waits_since
from services.audit.shipping.tail import Bounds, Broken, Place, Removed, Tail
from services.audit.shipping.uninterrupted import uninterrupted
from services.audit.sinks.base import Assurance, Record, Sink
from services.clock import Clock

LINGER_SECONDS = 1.0
"""Wall seconds that an entry waits for others to share a request with."""
LOOK_SECONDS = 0.1
"""Wall seconds between two looks at what is new."""
SAVE_SECONDS = 1.0
SAVE_ENTRIES = 1000
AGAIN_SECONDS = 30.0
"""Wall seconds between two looks at a cursor or a journal that a person has to see to."""

_NOWHERE = -1
"""Instead of that number, while the cursor was not seen."""

_log = logging.getLogger("quarterdeck.shipping")


class _Flight(msgspec.Struct, frozen=True):
    records: list[Record]
    task: "asyncio.Task[None]"
    since: float


class _Wait(msgspec.Struct, frozen=True):
    """An entry that waits: its own time, and since when it is known to wait (on the monotonic clock). Where it was not read,
    ``behind`` is the number of the one before it."""

    timestamp: float
    since: float
    behind: int = 0


class Lane:
    """See the module. ``bounds`` is shared by all lanes, and looked after by whoever runs them."""

    def __init__(
        self,
        sink: Sink,
        *,
        required: bool,
        bounds: Bounds,
        journal: str,
        record: notices.Recorder,
        clock: Clock,
        random: Random,
        disk: Disk,
    ) -> None:
        self.sink = sink
        self._required = required
        self._bounds = bounds
        self._journal = journal
        self._record = record
        self._clock = clock
        self._disk = disk
        self._burials = Burials(sink.name, keep=self._keep, record=record, clock=clock)
        self._courier = Courier(sink, burials=self._burials, clock=clock, random=random)
        self._cursor = Cursor(journal_id=journal, sink=sink.name, kind=sink.kind)
        self._confirmation = Confirmation(sink, self._courier, bounds, journal, clock)
        self._tail: Tail | None = None
        self._held: deque[Record] = deque()
        """Read, and not yet on their way."""
        self._held_since = 0.0
        self._flights: deque[_Flight] = deque()
        self._saved = self._cursor
        self._saved_at = 0.0
        self._unsaved = ""
        self._uncounted = ""
        self._counted: tuple[int, int] | None = None
        """The file of letters as it was when they were counted last (:func:`services.audit.shipping.deadletters.state`)."""
        self._stopped = ""
        self._failing = False
        """It could not go on, and has not read anything since."""
        self._next: _Wait | None = None
        """The next entry, where it was not read: nothing goes on then, or not yet."""
        self._dead = 0
        self._last_seq = 0
        self._placed = False
        """Its cursor was seen: before that it knows of no entry whether it waits."""
        self.looked = asyncio.Event()
        """It has seen that, or why it can't."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._open()
                async with asyncio.TaskGroup() as group:
                    if self.sink.assurance is not Assurance.DURABLE:
                        group.create_task(self._confirm())
                    group.create_task(self._work())
            except* (CursorUnusable, Broken) as group_error:
                await self._stop(_first(group_error))
            except* Exception as group_error:
                # The journal can't be read, or the mistake is ours: seen by everybody, and no reason for other sinks to stop.
                error = _first(group_error)
                _log.error("sink %s can't go on for now", self.sink.name, exc_info=error)
                self._fail(SinkState.RETRYING, f"{type(error).__name__}: {error}")
            finally:
                self.looked.set()
                for flight in self._flights:
                    flight.task.cancel()
                await asyncio.gather(*(flight.task for flight in self._flights), return_exceptions=True)
                self._flights.clear()
                self._held.clear()
                self._tail = None
            await self._clock.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Save how far it came, and let go of the sink."""
        await self._save()
        await self.sink.close()

    @property
    def note(self) -> str:
        """What a person should know of it beside its state."""
        return "; ".join(said for said in (self._unsaved, self._uncounted, self._confirmation.note) if said)

    @property
    def drained(self) -> bool:
        """Whether everything that is in the journal was taken."""
        return not self._stopped and self._cursor.acked_seq >= self._last() > 0

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to be done for it."""
        return self.drained and self._cursor.confirmed_seq == self._cursor.acked_seq and self._saved == self._cursor

    def status(self) -> SinkStatus:
        tally = self._courier.tally
        backlog = max(0, self._last() - self._cursor.acked_seq)
        lag = self._lag() if backlog else None
        return SinkStatus(
            name=self.sink.name,
            kind=self.sink.kind,
            assurance=self.sink.assurance.value,
            required=self._required,
            state=SinkState.STOPPED if self._stopped else tally.state,
            lag_seconds=lag or 0.0,
            backlog=backlog,
            oldest=self._clock.unix() - lag if lag is not None else None,
            acked_seq=self._cursor.acked_seq,
            confirmed_seq=self._cursor.confirmed_seq,
            unconfirmed=self._cursor.acked_seq - self._cursor.confirmed_seq,
            delivery_seconds=tally.delivery_seconds,
            delivered=tally.delivered,
            duplicates=tally.duplicates,
            retries=tally.retries,
            dead_letters=self._dead,
            last_ok=tally.last_ok,
            error=self._stopped or tally.error,
            error_since=tally.error_since,
            last_error=tally.last_error,
            last_error_at=tally.last_error_at,
        )

    async def recount(self) -> None:
        """Look how many dead letters there are, of which others may have delivered some; and since when the next entry waits,
        where it was not read."""
        directory = self._bounds.directory
        try:
            letters = await asyncio.to_thread(deadletters.state, directory, self.sink.name)
            if letters != self._counted or self._uncounted:
                self._dead = len(await asyncio.to_thread(deadletters.undelivered, directory, self.sink.name))
            self._counted, self._uncounted = letters, ""
        except OSError as error:
            self._uncounted = f"the dead letters of {self.sink.name} can't be read: {error.strerror or error}"
        behind = self._behind
        if self._flights or self._held or self._last() <= self._cursor.acked_seq:
            self._next = None
        elif self._next is None or self._next.behind != behind:
            try:
                at = await asyncio.to_thread(waits_since, directory, behind) if self._placed else None
            except OSError:
                at = None  # as its lane says too
            self._next = _Wait(self._clock.unix() if at is None else at, self._clock.monotonic(), behind)

    @property
    def _behind(self) -> int:
        """The number of the entry behind which the next one waits."""
        return self._cursor.acked_seq if self._placed else _NOWHERE

    def _lag(self) -> float | None:
        """For how long the oldest entry that was not taken has been waiting: by its own time, or by how long it has been known,
        where the clock was set back since. ``None`` where none is known yet."""
        waits = [_Wait(flight.records[0].timestamp, flight.since) for flight in list(self._flights)[:1]]
        waits += [_Wait(record.timestamp, self._held_since) for record in list(self._held)[:1]]
        if not waits and self._next is not None and self._next.behind == self._behind:
            waits = [self._next]
        now, monotonic = self._clock.unix(), self._clock.monotonic()
        return max((max(now - wait.timestamp, monotonic - wait.since) for wait in waits), default=None)

    async def _open(self) -> None:
        """Where the cursor says that it was left, once that is found to be a place of this journal."""
        directory, sink = self._bounds.directory, self.sink
        found = await asyncio.to_thread(cursors.fitting, directory, sink.name, kind=sink.kind, journal=self._journal)
        self._cursor = self._saved = found or self._cursor
        place = Place(self._cursor.acked_seq, self._cursor.acked_hash) if self._cursor.acked_seq else None
        try:
            self._tail = await asyncio.to_thread(Tail, self._bounds, self._journal, place)
        except Removed as gone:
            await self._skip(gone.place)
            self._tail = await asyncio.to_thread(Tail, self._bounds, self._journal, gone.place)
        if place is None and self._tail.place.seq:
            # A sink that is new here begins with what there still is.
            start = self._tail.place
            self._move(start.seq, start.hash, confirmed=True)
        standing = await asyncio.to_thread(deadletters.standing, directory, sink.name)
        # What was buried behind the cursor may be sent again by hand meanwhile, and its confirmation reads the letters itself.
        on_the_way = {
            seq: found for seq, found in standing.items() if found.what == deadletters.REFUSED or seq > self._cursor.acked_seq
        }
        self._burials.begin(on_the_way)
        self._confirmation.begin(self._cursor)
        self._stopped = ""
        self._placed = True
        self.looked.set()

    async def _work(self) -> None:
        while True:
            while len(self._flights) < self._courier.width and (found := await self._batch()):
                batch, since = found
                self._flights.append(_Flight(batch, asyncio.create_task(self._courier.deliver(batch)), since))
            if not self._flights:
                await self._save_when_due()
                await self._clock.sleep(LOOK_SECONDS)
                continue
            head = self._flights[0]
            if not head.task.done():
                room = len(self._flights) < self._courier.width
                await asyncio.wait({head.task}, timeout=LOOK_SECONDS if room else SAVE_SECONDS)
            while self._flights and self._flights[0].task.done():
                flight = self._flights.popleft()
                flight.task.result()
                self._acked(flight.records)
            await self._save_when_due()

    async def _batch(self) -> tuple[list[Record], float] | None:
        """What is to be sent next, and since when it waits: a full batch, or what has waited long enough; else nothing."""
        limits = self.sink.limits
        if len(self._held) < limits.entries:
            await self._read(limits.entries - len(self._held), limits.batch_bytes)
        if not self._held:
            return None
        batch: list[Record] = []
        size = 0
        for record in self._held:
            size += self.sink.size(record)
            if batch and (len(batch) >= limits.entries or size > limits.batch_bytes):
                break
            batch.append(record)
        full = len(batch) < len(self._held) or len(batch) >= limits.entries
        first = self._held[0].timestamp
        waited = max(self._clock.unix() - first, self._clock.monotonic() - self._held_since)
        if not full and waited < LINGER_SECONDS:
            return None
        for _ in batch:
            self._held.popleft()
        since, self._held_since = self._held_since, self._clock.monotonic()
        return batch, since

    async def _read(self, entries: int, size: int) -> None:
        tail = self._tail
        if tail is None:
            return
        records: list[Record] = []
        if tail.behind():
            try:
                records = await asyncio.to_thread(tail.read, entries, size)
            except Removed as gone:
                # What was read before is delivered first: the cursor never stands behind what is still on its way.
                if not self._held and not self._flights:
                    await self._skip(gone.place)
                    self._tail = await asyncio.to_thread(Tail, self._bounds, self._journal, gone.place)
                return
        if self._failing:
            self._failing = False
            self._courier.tally.resumed()
        if records and not self._held:
            self._held_since = self._clock.monotonic()
        self._held += records
        self._last_seq = max(self._last_seq, tail.place.seq)

    def _last(self) -> int:
        """The number of the last entry, as far as is known without reading it."""
        return max(self._bounds.last_seq, self._last_seq)

    def _acked(self, records: Sequence[Record]) -> None:
        last = records[-1]
        durable = self.sink.assurance is Assurance.DURABLE
        self._move(last.seq, last.hash, confirmed=durable)
        if not durable:
            self._confirmation.taken(Place(last.seq, last.hash))

    def _move(self, seq: int, hash_: str, *, confirmed: bool) -> None:
        self._cursor = msgspec.structs.replace(self._cursor, acked_seq=seq, acked_hash=hash_)
        if confirmed:
            self._confirm_to(Place(seq, hash_))

    def _confirm_to(self, place: Place) -> None:
        witness = Witness(seq=place.seq, hash=place.hash, at=self._clock.unix())
        self._cursor = msgspec.structs.replace(
            self._cursor, confirmed_seq=place.seq, confirmed_hash=place.hash, witness=witness, queried=self._confirmation.queried
        )

    async def _confirm(self) -> None:
        while True:
            if (place := await self._confirmation.look()) is not None:
                self._confirm_to(place)
            await self._clock.sleep(SAVE_SECONDS)

    async def _skip(self, place: Place) -> None:
        """Entries were removed from this disk before this sink had them: said loudly, and gone on behind them."""
        first = self._cursor.acked_seq + 1
        _log.error("sink %s: entries %d to %d were removed before they were sent", self.sink.name, first, place.seq)
        await self._record(notices.gap(self.sink.name, first, place.seq))
        self._move(place.seq, place.hash, confirmed=True)

    async def _stop(self, error: BaseException) -> None:
        reason = str(error)
        if reason != self._stopped:
            _log.error("sink %s is stopped: %s", self.sink.name, reason)
            await self._record(notices.stopped(self.sink.name, reason))
        self._stopped = reason
        self._fail(SinkState.STOPPED, reason)

    def _fail(self, state: SinkState, reason: str) -> None:
        self._failing = True
        self._courier.tally.failed(state, reason, self._clock.unix())

    async def _keep(self, found: deadletters.DeadLetter) -> None:
        await uninterrupted(deadletters.add, self._bounds.directory, self.sink.name, found, disk=self._disk)

    async def _save_when_due(self) -> None:
        ahead = self._cursor.acked_seq - self._saved.acked_seq
        if self._cursor == self._saved:
            return
        if ahead >= SAVE_ENTRIES or self._clock.monotonic() - self._saved_at >= SAVE_SECONDS:
            await self._save()

    async def _save(self) -> None:
        wanted = self._cursor
        if wanted == self._saved or self._stopped:
            return
        self._saved_at = self._clock.monotonic()
        try:
            await uninterrupted(cursors.save, self._bounds.directory, wanted, disk=self._disk)
        except OSError as error:
            # Delivery goes on: after a restart this much is sent again.
            self._unsaved = f"the cursor of {self.sink.name} can't be saved: {error.strerror or error}"
            return
        self._saved, self._unsaved = wanted, ""


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
