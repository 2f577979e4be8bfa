"""From "taken" to "there for good", where a sink's yes does not mean that.

A server that answered 2xx may still lose what it had in memory. So what was taken is asked for a while later, by number, and what
is missing is sent again. A sink that can't be asked gets everything of the last ten minutes again whenever a connection broke,
since that is how a restart looks from here; what is older is held to be there.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from services.audit.shipping import deadletters
from services.audit.shipping.burials import substitute
from services.audit.shipping.courier import Courier
from services.audit.shipping.cursor import Cursor
from services.audit.shipping.tail import START, Bounds, Place, Removed, Tail
from services.audit.sinks.base import Record, Sink
from services.clock import Clock

READ_BACK_SECONDS = 60.0
"""Wall seconds after which a sink is asked for what it took: longer than servers keep it in memory alone."""
ASK_AGAIN_SECONDS = 30.0
OVERLAP_SECONDS = 600.0
"""Wall seconds for which what was taken counts as in danger, where the sink can't be asked."""
_ENTRIES = 500
_BYTES = 1 << 20


class _Taken(msgspec.Struct, frozen=True):
    """Entries up to ``place`` were taken; ``at`` is on the monotonic clock."""

    place: Place
    at: float


class Confirmation:
    """One sink's entries between taken and confirmed."""

    def __init__(self, sink: Sink, courier: Courier, bounds: Bounds, journal: str, clock: Clock) -> None:
        self.queried = False
        """The sink has answered once: from then on only its answers count."""
        self.note = ""
        """What a person should know: a sink that took entries and does not hold them loses them, or filters them out."""
        self._sink = sink
        self._courier = courier
        self._bounds = bounds
        self._journal = journal
        self._clock = clock
        self._confirmed = START
        self._taken: deque[_Taken] = deque()
        self._ask_at = 0.0
        self._misses = 0
        """Times in a row that something was missing."""

    def begin(self, cursor: Cursor) -> None:
        """From what an earlier process left."""
        self.queried = cursor.queried
        self._confirmed = Place(cursor.confirmed_seq, cursor.confirmed_hash) if cursor.confirmed_seq else START
        self._taken.clear()
        if cursor.acked_seq > cursor.confirmed_seq:
            self.taken(Place(cursor.acked_seq, cursor.acked_hash))

    def taken(self, place: Place) -> None:
        self._taken.append(_Taken(place, self._clock.monotonic()))

    async def look(self) -> Place | None:
        """See what can be confirmed, and send again what is found to be missing; how far it goes now, where that has moved."""
        now = self._clock.monotonic()
        ripe = [taken for taken in self._taken if now - taken.at >= READ_BACK_SECONDS]
        if self._courier.connection_lost and not self.queried and self._taken and not self._courier.tally.error:
            await self._overlap()
            return None
        if not ripe or now < self._ask_at:
            return None
        records = await self._records(ripe[-1].place)
        if not records:
            return self._confirm(ripe[-1].place)  # removed from this disk meanwhile
        missing = await self._sink.missing(records)
        if missing is None:
            self._ask_at = now + ASK_AGAIN_SECONDS
            return None if self.queried else self._aged(now)
        self.queried = True
        if missing:
            wanted = set(missing)
            self.note = f"{self._sink.name} does not hold {len(wanted)} entries that it took: sent again"
            await self._courier.deliver([record for record in records if record.seq in wanted])
            # What is filtered out there never appears, however often it is sent.
            self._ask_at = self._clock.monotonic() + min(OVERLAP_SECONDS, READ_BACK_SECONDS * 2 ** min(self._misses, 10))
            self._misses += 1
            return None
        return self._confirm(Place(records[-1].seq, records[-1].hash))

    def _aged(self, now: float) -> Place | None:
        """What was taken so long ago that it is held to be there."""
        old = [taken for taken in self._taken if now - taken.at >= OVERLAP_SECONDS]
        return self._confirm(old[-1].place) if old else None

    async def _overlap(self) -> None:
        """Send everything again that was taken of late."""
        self._courier.connection_lost = False
        last = self._taken[-1].place
        place = self._confirmed
        while place.seq < last.seq:
            records = await self._records(last, place)
            if not records:
                break
            await self._courier.deliver(records)
            place = Place(records[-1].seq, records[-1].hash)
        now = self._clock.monotonic()
        self._taken = deque(_Taken(taken.place, now) for taken in self._taken)

    def _confirm(self, place: Place) -> Place:
        self._confirmed = place
        self.note, self._misses = "", 0
        while self._taken and self._taken[0].place.seq <= place.seq:
            self._taken.popleft()
        return place

    async def _records(self, last: Place, place: Place | None = None) -> Sequence[Record]:
        """The next entries that are not confirmed, up to ``last``, as they were sent: substitutes for dead letters."""
        return await asyncio.to_thread(self._read, last, place or self._confirmed)

    def _read(self, last: Place, place: Place) -> Sequence[Record]:
        try:
            tail = Tail(self._bounds, self._journal, place)
        except Removed as gone:
            tail = Tail(self._bounds, self._journal, gone.place)
        dead = deadletters.undelivered(self._bounds.directory, self._sink.name)
        records = [record for record in tail.read(_ENTRIES, _BYTES) if record.seq <= last.seq]
        return [substitute(record) if (letter := dead.get(record.seq)) and letter.about(record) else record for record in records]
