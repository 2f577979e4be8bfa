"""What the verifier tells, and where its walk through the segments stands."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

_LONGEST = 500
"""Characters of a problem's detail."""


@dataclass(frozen=True, slots=True)
class Problem:
    """``kind`` is one of

    ``torn-tail`` (an interrupted write: no final line feed, or NULs to the end), ``wrong-hash``, ``bad-line`` (not of the form
    hash, TAB, JSON), ``bad-json``, ``sequence-gap``, ``missing-segment``, ``broken-link`` (a segment does not continue the one
    before), ``header``, ``unreadable``, ``missing-journal``; of what is left of a removed segment ``removal`` (it does not hold,
    or nothing in the journal says that it was removed); of the emergency segment ``emergency``; of checkpoints
    ``bad-checkpoint`` (not of the form), ``bad-signature``, ``other-key`` (not signed by the key asked for), ``checkpoint-order``
    (the size goes back); ``unsigned`` (a key without checkpoints, or more entries at the end without one than an interrupted
    process leaves); ``not-as-signed`` (another hash than was signed), ``tail-cut`` (entries that are signed, or that a sink
    has, are gone from the end), ``not-as-witnessed`` (another hash than a sink or a copy elsewhere has, or none).
    """

    kind: str
    segment: str | None
    seq: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``entries`` and ``segments`` that were read; ``first`` and ``last`` sequence numbers (``None`` where there is no entry)."""

    ok: bool
    entries: int
    segments: int
    first: int | None
    last: int | None
    problems: tuple[Problem, ...]
    signed: int | None = None
    """The number of the last entry that a checkpoint covers."""
    signed_at: str = ""
    key: str = ""
    """The public key that the checkpoints were checked by."""
    removed: int = 0
    """Entries whose time was over: their segments are gone, as the journal itself says, and the chain holds across the hole."""
    waiting: int = 0
    """Entries in the emergency segment."""
    witnessed: int | None = None
    """The number of the last entry that a sink is known to have and that is as it was sent."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What the chain's hash after entry ``seq`` must be, and who says so: a checkpoint, a sink, or a copy elsewhere."""

    seq: int
    hash: str
    by: str
    source: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A segment that was removed, and the digest of it by the header of the next one."""

    name: str
    first: int
    last: int


@dataclass(slots=True)
class Walk:
    """Where the walk through the segments stands."""

    key: str = ""
    previous_hash: str = "0" * 64
    good_hash: str = "0" * 64
    """The hash before the first wrong line of the previous segment: what a header after damage goes on from."""
    begun: str = ""
    """The hash that the current segment goes on from."""
    next_seq: int = 1
    entries: int = 0
    first: int | None = None
    last: int | None = None
    previous_name: str | None = None
    previous_sha256: str | None = None
    """``None``: what it was is only told by others."""
    unread: bool = False
    """The segment before, or all of them, could not be looked at."""
    uncheckable: bool = False
    """Checkpoints, or the key to check them by, could not be looked at."""
    problems: list[Problem] = field(default_factory=list)
    pins: deque[Pin] = field(default_factory=deque)
    """Still to come, in the order of their numbers."""
    signed: int | None = None
    signed_at: str = ""
    witnessed: int | None = None
    holes: list[Hole] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """Of removed segments, as the headers behind them say."""
    removals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the journal says about segments that it removed."""

    def problem(self, kind: str, segment: str | None, seq: int | None, detail: str) -> None:
        self.problems.append(Problem(kind, _told(segment) if segment else None, seq, _told(detail)))

    def hold_against(self, pin: Pin, name: str, hash_: str) -> None:
        """Compare the chain at ``pin`` with what was said of it."""
        if pin.hash == hash_:
            if pin.source == "sink":
                self.witnessed = pin.seq
            return
        kind = "not-as-signed" if pin.source == "checkpoint" else "not-as-witnessed"
        detail = f"the hash is {hash_[:12]}…, {pin.by} has {pin.hash[:12]}…: up to here it was written anew"
        self.problem(kind, name, pin.seq, detail)

    def cut(self) -> None:
        """Say what is gone from the end."""
        said = set()
        for pin in self.pins:
            kind = "not-as-witnessed" if pin.source == "copy" else "tail-cut"
            if pin.source in said:
                continue  # said once, with the first of what is gone
            if pin.source != "copy":
                said.add(pin.source)
            self.problem(kind, None, pin.seq, f"the journal ends at entry {self.last}; {pin.by} has entry {pin.seq}")


def _told(text: str) -> str:
    """What a file's name or content says, as text that can be written anywhere: it may hold what has no UTF-8 form, or go on."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
