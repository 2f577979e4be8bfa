"""What is recorded, and what comes back once it is on disk."""

import msgspec

from services.audit.levels import Level
from services.model.errors import Unavailable
from services.model.objects import Json


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is about to happen or has happened.

    ``event`` is a stable dotted name (``deployment.started``). ``phase`` is ``intent`` before an act and ``outcome`` after
    it, or empty where nothing is changed; ``ref`` is then the ``id`` of the intent's receipt. ``duration_seconds`` is pace.
    ``data`` holds what the event needs beyond the common fields: any JSON value.
    """

    event: str
    user: str
    environment: str = ""
    service: str = ""
    version: str = ""
    command: str = ""
    change_ticket: str = ""
    approvers: tuple[str, ...] = ()
    outcome: str = ""
    rollback_triggered: bool = False
    duration_seconds: float | None = None
    rollout: str = ""
    phase: str = ""
    ref: str = ""
    data: dict[str, Json] = {}


BEGINNINGS = frozenset({"deployment.started"})
PROMOTES = "promote "
"""How the name of a step begins that gives the new version all of the traffic."""


def begins(event: Event) -> bool:
    """Whether ``event`` announces a start or a promotion: what a journal in a critical state does not allow."""
    step = event.data.get("step_name") if event.phase == "intent" and not event.rollback_triggered else None
    return event.event in BEGINNINGS or (isinstance(step, str) and step.startswith(PROMOTES))


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Proof that an entry is durable: its place in the journal, its id (a ULID), the chain's hash up to it, its time stamp."""

    seq: int
    id: str
    hash: str
    ts: str


class JournalHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How well the journal is. ``ok``: something may begin; if not, or at ``level`` low, ``detail`` says why.

    ``pending`` entries wait in memory, ``waiting`` ones in the emergency segment, for the journal to take them. ``free`` are the
    bytes left where it is (``None``: not known).
    """

    ok: bool
    detail: str = ""
    pending: int = 0
    waiting: int = 0
    level: Level = Level.OK
    free: int | None = None


class JournalUnavailable(Unavailable):
    """The journal can't take the entry: nothing may start. A rollback goes on (see ``Journal.append_within``)."""
