"""What the shipper records in the journal itself: what a person has to know of delivery, once each time it begins or ends."""

from typing import Protocol

from services.audit.event import Event
from services.audit.shipping.deadletters import DeadLetter
from services.model.objects import Json

DEAD_LETTER_EVENT = "audit.dead_letter"
LATE_EVENT = "audit.shipping_late"
CAUGHT_UP_EVENT = "audit.shipping_caught_up"
STOPPED_EVENT = "audit.shipping_stopped"
GAP_EVENT = "audit.shipping_gap"


class Recorder(Protocol):
    """Who writes the journal (``Journal.append_within``): never raises; what can't be written now is kept and written later."""

    async def __call__(self, event: Event) -> object: ...


def dead_letter(sink: str, found: DeadLetter) -> Event:
    facts: dict[str, Json] = {"sink": sink, "seq": found.seq, "id": found.id, "event": found.event, "reason": found.reason}
    return Event(event=DEAD_LETTER_EVENT, user="", outcome="rejected", data=facts)


def late(sink: str, lag: float, backlog: int, error: str) -> Event:
    """``lag`` in wall seconds."""
    facts: dict[str, Json] = {"sink": sink, "lag_seconds": round(lag, 1), "backlog": backlog, "error": error}
    return Event(event=LATE_EVENT, user="", outcome="overdue", data=facts)


def caught_up(sink: str, seconds: float) -> Event:
    """``seconds``: how long the sink was late, wall."""
    return Event(event=CAUGHT_UP_EVENT, user="", outcome="restored", data={"sink": sink, "late_seconds": round(seconds, 1)})


def stopped(sink: str, reason: str) -> Event:
    return Event(event=STOPPED_EVENT, user="", outcome="refused", data={"sink": sink, "reason": reason})


def gap(sink: str, first: int, last: int) -> Event:
    """Entries that were removed from this disk before the sink had them."""
    return Event(event=GAP_EVENT, user="", outcome="lost", data={"sink": sink, "first": first, "last": last})
