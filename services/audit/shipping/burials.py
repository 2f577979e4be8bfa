"""What stands in the place of an entry that one sink refuses, from the refusal to the dead letter.

A substitute has an id of its own, so a sink that has it takes the entry itself as well. Whoever is killed between the two must
not send both: that an entry was refused is kept before its substitute is sent, and from then on nobody sends the entry itself,
until its substitute is known to be refused too, or a person sends it again.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from services.audit.line import encode
from services.audit.shipping import notices
from services.audit.shipping.deadletters import BURIED, DELIVERED, REFUSED, RELEASED, DeadLetter, letter
from services.audit.sinks.base import Record
from services.clock import Clock

Keep = Callable[[DeadLetter], Awaitable[None]]
"""Keeps a letter, durable when it returns. Raises ``OSError``."""


class Burials:
    """Of one sink."""

    def __init__(self, sink: str, *, keep: Keep, record: notices.Recorder, clock: Clock) -> None:
        self._sink = sink
        self._keep = keep
        self._record = record
        self._clock = clock
        self._standing: dict[int, DeadLetter] = {}
        self._entries: dict[int, Record] = {}
        """Those in whose place a substitute is on its way."""

    def begin(self, standing: Mapping[int, DeadLetter]) -> None:
        """Go on from the letters that an earlier process left (:func:`services.audit.shipping.deadletters.standing`) of entries
        that are still to be delivered."""
        self._standing, self._entries = dict(standing), {}

    def stands(self, record: Record) -> bool:
        """Whether ``record`` was refused before, so that only its substitute may be sent."""
        found = self._standing.get(record.seq)
        return found is not None and found.about(record)

    def instead(self, record: Record) -> Record:
        """The substitute of a record that was refused."""
        self._entries[record.seq] = record
        return substitute(record)

    async def found(self, record: Record) -> None:
        """A record that was refused is there after all: somebody sent it again by hand. Raises ``OSError``."""
        await self._keep(letter(record, DELIVERED, self._now(), "it is there"))
        self._standing.pop(record.seq, None)

    async def refused(self, record: Record, reason: str) -> Record:
        """Keep that ``record`` was refused; what may be sent in its place from now on. Raises ``OSError``."""
        found = letter(record, REFUSED, self._now(), reason)
        await self._keep(found)
        self._standing[record.seq] = found
        return self.instead(record)

    async def released(self, instead: Record) -> Record:
        """The substitute was refused as well, and is not there: the entry, which may be sent itself. One that was taken once, and
        is only sent again, stays what it is. Raises ``OSError``."""
        entry = self._entries.get(instead.seq)
        if entry is None:
            return instead
        await self._keep(letter(entry, RELEASED, self._now(), "its substitute is refused as well"))
        del self._standing[instead.seq], self._entries[instead.seq]
        return entry

    async def taken(self, instead: Record) -> None:
        """The substitute is there: its entry is a dead letter now, and recorded as one. Raises ``OSError``."""
        found = self._standing.get(instead.seq)
        if found is None:
            return
        if found.what == REFUSED:
            found = msgspec.structs.replace(found, what=BURIED, at=self._now())
            await self._keep(found)
        if found.event != notices.DEAD_LETTER_EVENT:  # of which there would be no end, where a sink refuses whatever it is sent
            # An earlier process that buried it may have been killed before this: better recorded twice than never.
            await self._record(notices.dead_letter(self._sink, found))
        del self._standing[instead.seq], self._entries[instead.seq]

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def substitute(record: Record) -> Record:
    """What is sent in the place of an entry that a sink refuses: that it is there, and nothing that could be refused again."""
    fields = {name: record.fields.get(name) for name in ("v", "id", "timestamp", "event")}
    reduced = {**fields, "seq": record.seq, "hash": record.hash, "payload_dropped": True}
    return msgspec.structs.replace(record, substitute=True, fields=reduced, body=encode(reduced))
