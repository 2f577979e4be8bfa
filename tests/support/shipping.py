"""A journal with entries and a shipper at work on it, within the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from services.audit import Event, Journal
from services.audit.shipping.burials import Burials
from services.audit.shipping.courier import Courier
from services.audit.shipping.deadletters import BURIED, DeadLetter
from services.audit.shipping.given import Given
from services.audit.shipping.shipper import Shipper, Target
from services.audit.shipping.status import SinkStatus
from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Sink
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.clock import Clock, SystemClock
from services.redaction import Redactor
from services.settings.sinks import Elasticsearch
from support.elastic import Elastic


class QuickClock(SystemClock):
    """A clock on which everything waits ``times`` shorter than it says; ages grow as much faster."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self._times = times
        self._from = super().monotonic()
        self._at = super().unix()

    def monotonic(self) -> float:
        return self._from + (super().monotonic() - self._from) * self._times

    def unix(self) -> float:
        return self._at + (self.monotonic() - self._from)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.unix(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._times)


class ScriptedSink:
    """Answers as it is told: ``answers`` are used up, then everything is delivered. Keeps what it took."""

    kind = "elasticsearch"

    def __init__(self, name: str = "scripted", assurance: Assurance = Assurance.DURABLE, limits: Limits | None = None) -> None:
        self.name = name
        self.assurance = assurance
        self.limits = limits or Limits()
        self.unordered = False
        self.answers: list[Delivery | Exception] = []
        self.refuse: dict[int, str] = {}
        """Entries that are rejected by themselves, with the reason; substitutes are taken."""
        self.suspect: set[int] = set()
        """Entries for which a whole batch is refused; substitutes are taken."""
        self.taken: list[Record] = []
        self.batches: list[list[int]] = []
        self.lost: set[int] = set()
        """Entries that it says it does not hold, once."""
        self.asked = 0
        self.can_be_asked = True
        self.closed = False

    def size(self, record: Record) -> int:
        return len(record.body)

    async def send(self, batch: Sequence[Record]) -> Delivery:
        self.batches.append([record.seq for record in batch])
        await asyncio.sleep(0)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        from services.audit.sinks.base import Trouble

        whole = [record for record in batch if not record.substitute]
        if self.suspect & {record.seq for record in whole}:
            return Delivery(trouble=Trouble.SUSPECT, detail="400: no")
        answers, reasons = [], {}
        for position, record in enumerate(batch):
            if record.seq in self.refuse and not record.substitute:
                answers.append(Answer.REJECTED)
                reasons[position] = self.refuse[record.seq]
            else:
                answers.append(Answer.DELIVERED)
                self.taken.append(record)
        return Delivery(answers=tuple(answers), reasons=reasons)

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        self.asked += 1
        if not self.can_be_asked:
            return None
        found = [record.seq for record in records if record.seq in self.lost]
        self.lost.clear()
        return found

    async def probe(self) -> Probe:
        return Probe(ok=True)

    async def close(self) -> None:
        self.closed = True


class KnowingSink(ScriptedSink):
    """It can be asked for an entry by its id. ``trouble`` is what the next askings meet."""

    def __init__(self, name: str = "scripted", **more: Any) -> None:
        super().__init__(name, **more)
        self.trouble: list[Delivery] = []

    async def holds(self, record: Record) -> bool | Delivery:
        self.asked += 1
        return self.trouble.pop(0) if self.trouble else record.id in {one.id for one in self.taken}


class Graveyard:
    """Keeps the letters of a courier, and what is recorded of them."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.events: list[Event] = []
        self.full = 0
        """So many times the disk is full first."""

    @property
    def buried(self) -> list[DeadLetter]:
        return [letter for letter in self.letters if letter.what == BURIED]

    def courier(
        self, sink: Sink, clock: Clock, *, standing: Mapping[int, DeadLetter] = MappingProxyType({}), seed: int = 1
    ) -> Courier:
        burials = Burials(sink.name, keep=self.keep, record=self.record, clock=clock)
        burials.begin(standing)
        return Courier(sink, burials=burials, clock=clock, random=Random(seed))

    async def keep(self, letter: DeadLetter) -> None:
        if self.full:
            self.full -= 1
            raise OSError(28, "No space left on device")
        self.letters.append(letter)

    async def record(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Place:
    """``directory`` is the journal's."""

    directory: Path
    journal: Journal
    shipper: Shipper
    task: "asyncio.Task[None]"
    appended: int = 0

    @property
    def last(self) -> int:
        """The number of the last entry, as far as the shipper has seen."""
        return max((sink.acked_seq + sink.backlog for sink in self.shipper.sinks), default=0)

    @property
    def status(self) -> SinkStatus:
        """Of the first sink; a blank one before it is at work."""
        return (*self.shipper.sinks, SinkStatus(name="", kind="", assurance="", required=False))[0]

    async def write(self, number: int = 1, **changes: Any) -> None:
        await asyncio.gather(*(self.journal.append(entry(self.appended + n, **changes)) for n in range(number)))
        self.appended += number

    async def drained(self, seconds: float = 60.0) -> None:
        await self.until(lambda: self.shipper.drained and self.last > self.appended, seconds)

    async def until(self, there: Any, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not there():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)


def entry(n: int, **changes: Any) -> Event:
    known: dict[str, Any] = {"event": "deployment.executed", "user": "jane", "service": "payment-service", "data": {"n": n}}
    return Event(**(known | changes))


@contextlib.asynccontextmanager
async def shipping(
    home: Path,
    to: "Elastic | ScriptedSink | Sequence[Sink]",
    *,
    entries: int = 0,
    clock: SystemClock,
    given: Given | None = None,
) -> AsyncIterator[Place]:
    """``entries`` are written first. Ends the shipper as its process would be ended."""
    redactor = Redactor(b"k" * 32)
    directory = home / "journal"
    journal = Journal.open(directory, redactor=redactor, clock=clock)
    if isinstance(to, Elastic):
        section = Elasticsearch(kind="elasticsearch", url=to.url, timeout=2.0)
        targets = [Target(ElasticsearchSink(section, secrets=redactor, clock=clock), True)]
    else:
        targets = [Target(sink, True) for sink in ([to] if isinstance(to, ScriptedSink) else to)]
    shipper = Shipper(directory, targets, record=lambda event: journal.append_within(event), clock=clock, given=given)
    place = Place(directory, journal, shipper, asyncio.create_task(asyncio.sleep(0)))
    await place.write(entries)
    place.task = asyncio.create_task(shipper.run())
    try:
        yield place
    finally:
        place.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await place.task
        journal.close()
