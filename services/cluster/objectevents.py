"""What the cluster's controllers say of a service's objects: Kubernetes' Events, read when somebody looks."""

from collections.abc import Collection
from contextlib import aclosing
from datetime import datetime

import msgspec

from services.cluster.connection import Connection
from services.cluster.objects import Meta

MOST_PAGES = 10
"""Pages of a namespace's events that are looked through; a namespace that says more than that is told so."""

About = tuple[str, str]
"""Kind and name of an object."""


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said of an object, ``count`` times, last at ``last`` (Unix seconds; ``None``: unknown)."""

    about: About
    warning: bool
    reason: str
    message: str
    count: int
    first: float | None
    last: float | None
    key: str


class ObjectEvents(msgspec.Struct, frozen=True):
    """``whole`` is false where there were more events in the namespace than were looked through."""

    events: tuple[ObjectEvent, ...] = ()
    whole: bool = True


class _Involved(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""


class _Series(msgspec.Struct, frozen=True, rename="camel"):
    count: int = 0
    last_observed_time: datetime | None = None


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    metadata: Meta
    involved_object: _Involved = _Involved()
    type: str = ""
    reason: str | None = None
    message: str | None = None
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: _Series | None = None


_decoder = msgspec.json.Decoder(_Event)


async def events_about(connection: Connection, namespace: str, objects: Collection[About]) -> ObjectEvents:
    """The events about ``objects``, newest first. One that can't be read is left out: events explain, they decide nothing.

    Raises the errors of ``services/model/errors``, :class:`Forbidden` where they may not be read."""
    wanted = set(objects)
    found: list[ObjectEvent] = []
    pages = 0
    async with aclosing(connection.pages("Event", namespace, retry=False)) as listed:
        async for page in listed:
            if pages == MOST_PAGES:
                return ObjectEvents(_newest_first(found), whole=False)
            pages += 1
            for item in page.items or ():
                try:
                    event = _decoder.decode(item)
                except msgspec.DecodeError:
                    continue
                if (event.involved_object.kind, event.involved_object.name) in wanted:
                    found.append(_told(event))
    return ObjectEvents(_newest_first(found))


def _newest_first(events: list[ObjectEvent]) -> tuple[ObjectEvent, ...]:
    return tuple(sorted(events, key=lambda event: (-(event.last or 0.0), event.key)))


def _told(event: _Event) -> ObjectEvent:
    """Both forms of an event, the old one with a count and the new one with a series, as one."""
    series = event.series
    last = (series.last_observed_time if series else None) or event.last_timestamp or event.event_time or event.first_timestamp
    first = event.first_timestamp or event.event_time or event.metadata.creation_timestamp
    last = last or event.metadata.creation_timestamp
    return ObjectEvent(
        about=(event.involved_object.kind, event.involved_object.name),
        warning=event.type == "Warning",
        reason=event.reason or "",
        message=event.message or "",
        count=max(1, event.count or 0, series.count if series else 0),
        first=first.timestamp() if first is not None else None,
        last=last.timestamp() if last is not None else None,
        key=event.metadata.name,
    )
