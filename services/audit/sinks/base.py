"""What every sink answers: what became of each entry of a batch, in terms that the shipper acts on without knowing the sink.

A sink knows one wire protocol. It holds no cursor, never retries, never waits for a better moment and never raises for what the
other side does: all that is the shipper's. So every row of a protocol's table of answers is one value here.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from services.model.objects import Json


class Assurance(StrEnum):
    """What a sink's "yes" is worth."""

    DURABLE = "durable"
    """It is on the other side's disks: an accepted entry is a confirmed one."""
    ACCEPTED = "accepted"
    """It was taken, and may still be lost: confirmed once it was read back, where the sink can be asked."""
    NONE = "none"
    """There is no answer at all (syslog)."""


class Answer(StrEnum):
    """What became of one entry."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    """The sink had it already: as good as delivered."""
    RETRY = "retry"
    """Not this time; later, unchanged."""
    REJECTED = "rejected"
    """Never, as it is: to the dead letters, and a substitute in its place."""


class Trouble(StrEnum):
    """Why a batch as a whole was not taken."""

    UNREACHABLE = "unreachable"
    """Refused, reset, timed out, a name that does not resolve, or no answer: it may have been stored all the same. Retried."""
    BUSY = "busy"
    """429, 5xx, or the protocol's own word for it. Retried, not before ``retry_after``."""
    TOO_LARGE = "too-large"
    """413 or the like: to be sent in parts; one entry alone is rejected."""
    HOLD = "hold"
    """Credentials, certificate, index, address: a person has to mend the configuration. Kept, alarmed, probed."""
    SUSPECT = "suspect"
    """The batch was refused without saying which entry it is about (400): bisected down to the one."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it stands in the journal. ``body`` is the JSON exactly as stored (already redacted); ``hash`` the chain's
    value of its line, the witness of everything before it."""

    journal: str
    seq: int
    hash: str
    body: bytes
    timestamp: float
    """Unix seconds of the entry's ``timestamp``."""
    fields: dict[str, Json]
    """``body``, decoded."""
    substitute: bool = False
    """Stands in for an entry that the sink rejected: number, id, hash and event only, so that the sink has no hole."""

    @property
    def id(self) -> str:
        """The same at every attempt, in every process: by this a sink knows an entry again. A substitute has one of its own, so
        that it never stands in the way of the entry, should that be delivered one day."""
        return f"{self.journal}:{self.seq}:substitute" if self.substitute else f"{self.journal}:{self.seq}"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: an answer for each of its entries in order, or the ``trouble`` that it met as a whole.

    ``detail`` is for a person: one line, inert, without secrets. ``reasons`` has it for rejected entries, by position.
    """

    answers: tuple[Answer, ...] = ()
    trouble: Trouble | None = None
    detail: str = ""
    reasons: dict[int, str] = {}
    retry_after: float | None = None
    """Wall seconds that the sink asked to be left alone."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch may hold, as the sink encodes it. ``batch_bytes`` counts before compression."""

    entries: int = 500
    batch_bytes: int = 1 << 20
    entry_bytes: int = 1 << 20


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a sink would take entries: asked by ``config check`` and ``doctor``, never stored among the real ones if that can
    be avoided. ``detail`` says what was found, ``hint`` the one thing to do."""

    ok: bool
    detail: str = ""
    hint: str = ""


class Sink(Protocol):
    """One place entries are sent to."""

    @property
    def name(self) -> str:
        """As configured; unique, and the name of its cursor."""
        ...

    @property
    def kind(self) -> str: ...

    @property
    def assurance(self) -> Assurance: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def unordered(self) -> bool:
        """Whether batches may be on their way side by side: only where the sink knows an entry again by its id."""
        ...

    def size(self, record: Record) -> int:
        """Bytes of ``record`` as this sink encodes it."""
        ...

    async def send(self, batch: Sequence[Record]) -> Delivery: ...

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """Read back: the sequence numbers among ``records`` that the sink does not hold. ``None`` where it can't be asked, or did
        not answer."""
        ...

    async def probe(self) -> Probe: ...

    async def close(self) -> None: ...


@runtime_checkable
class Knowing(Protocol):
    """A sink that can be asked for one entry by its id, and knows at once what it has taken."""

    async def holds(self, record: Record) -> bool | Delivery:
        """Whether ``record`` is there; ``False`` too where it may not be asked. The trouble, where it did not answer, or holds
        another entry under that id."""
        ...


@runtime_checkable
class Withdrawing(Protocol):
    """A sink that can take a substitute back, once the entry that it stood in for is there."""

    async def withdraw(self, record: Record) -> str:
        """Take back the substitute of ``record``; why it is still there, empty where it is not."""
        ...


@runtime_checkable
class Archive(Protocol):
    """One place sealed segments are put whole, never to be changed again (S3 with object lock)."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    async def put(self, segment: Path, *, journal: str, first: int, last: int, sha256: str) -> Delivery:
        """Store a sealed segment under a name that its content decides; answers for it as for a batch of one."""
        ...

    async def probe(self) -> Probe: ...

    async def close(self) -> None: ...
