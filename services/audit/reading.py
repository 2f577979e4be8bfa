"""Reading the journal: newest first from the end of the files, so that the last few entries of a large one cost little."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from services.audit.event import JournalUnavailable
from services.audit.line import HASH_LENGTH, encode
from services.audit.packed import NotPacked
from services.audit.paging import place_of
from services.audit.segments import Segment, opened, segments
from services.model.objects import Json

_BLOCK = 256 * 1024

_log = logging.getLogger("quarterdeck.journal")


def entries(
    directory: Path,
    *,
    service: str | None = None,
    environment: str | None = None,
    event: str | None = None,
    rollout: str | None = None,
    user: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    unreadable: list[str] | None = None,
) -> list[dict[str, Json]]:
    """The entries that match, as stored, oldest first; with ``limit`` the newest so many. Lines that are not entries are left
    to ``verify``, and so are damaged packed segments, whose names ``unreadable`` is given."""
    asked = {"service": service, "environment": environment, "event": event, "rollout": rollout}
    exact = {name: value for name, value in {**asked, "user": user, "outcome": outcome}.items() if value is not None}
    wanted = matching_all(exact, since, until)
    # An entry that matches holds the value's JSON form; looking for it first spares decoding the others.
    needles = [encode(value) for value in exact.values()]
    found: list[dict[str, Json]] = []
    for raw in _candidates(directory, exact, since, unreadable):
        if limit is not None and len(found) >= limit:
            break
        if any(needle not in raw for needle in needles):
            continue
        entry = _entry(raw)
        if entry is not None and wanted(entry):
            found.append(entry)
    found.reverse()
    return found


def matching_all(
    exact: Mapping[str, str], since: datetime | None = None, until: datetime | None = None
) -> Callable[[dict[str, Json]], bool]:
    """Whether an entry has these values in these fields, and is from ``since`` on and from before ``until``."""
    first = since.timestamp() if since is not None else None
    end = until.timestamp() if until is not None else None

    def holds(entry: dict[str, Json]) -> bool:
        if any(entry.get(name) != value for name, value in exact.items()):
            return False
        if first is None and end is None:
            return True
        moment = _moment(entry)
        return (first is None or moment >= first) and (end is None or moment < end)

    return holds


def _candidates(
    directory: Path, exact: Mapping[str, str], since: datetime | None, unreadable: list[str] | None
) -> Iterator[bytes]:
    """The lines that can be what is asked for, newest first: those of the index, or all where it is of no use."""
    stamp = ""
    if since is not None and since.year >= 1000:
        stamp = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    # An empty value is in most entries, and a few people are in all of them: no index leads to those.
    telling = {name: value for name, value in exact.items() if value and name not in ("user", "outcome")}
    if (telling or stamp) and (directory / "seg").is_dir():
        # Only who asks for something needs a database.
        from services.audit.index import IndexUnusable, matching

        try:
            return matching(directory, telling, stamp, unreadable)
        except (IndexUnusable, JournalUnavailable) as error:
            _log.info("read without its index: %s", error)
    return lines_backwards(directory, unreadable)


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """One entry and where it stands. ``body`` is its JSON exactly as stored."""

    entry: dict[str, Json]
    body: bytes
    hash: str
    segment: str


def find(directory: Path, seq: int) -> Located | None:
    """The entry with this sequence number."""
    for segment in reversed(segments(directory)):
        if segment.first > seq:
            continue
        try:
            file = opened(segment)
        except FileNotFoundError:
            continue
        with file:
            file.seek(place_of(file, seq))
            if (entry := _entry(raw := file.readline())) is not None and entry.get("seq") == seq:
                return _located(entry, raw, segment.name)
            # Where the numbers are not in order it may be elsewhere.
            file.seek(0)
            for raw in file:
                entry = _entry(raw)
                if entry is not None and entry.get("seq") == seq:
                    return _located(entry, raw, segment.name)
    return None


def _located(entry: dict[str, Json], raw: bytes, segment: str) -> Located:
    hash_, body = raw[:HASH_LENGTH].decode("ascii", "replace"), raw[HASH_LENGTH + 1 :].rstrip(b"\n")
    return Located(entry=entry, body=body, hash=hash_, segment=segment)


def lines_backwards(directory: Path, unreadable: list[str] | None = None) -> Iterator[bytes]:
    """All lines, newest first. What a damaged packed segment does not give is left out: the log says so, and ``unreadable`` has
    its name."""
    for segment in reversed(segments(directory)):
        try:
            yield from _backwards(segment)
        except FileNotFoundError:
            continue  # kept long enough, and removed since the directory was listed
        except NotPacked as error:
            _log.error("a segment can't be read whole: %s", error)
            if unreadable is not None:
                unreadable.append(segment.path.name)


def _backwards(segment: Segment) -> Iterator[bytes]:
    with opened(segment) as file:
        position = file.seek(0, os.SEEK_END)
        held = b""
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            held = file.read(position - start) + held
            position = start
            first, *rest = held.split(b"\n")
            yield from (raw for raw in reversed(rest) if raw)
            held = first
        if held:
            yield held


def _entry(raw: bytes) -> dict[str, Json] | None:
    try:
        entry = msgspec.json.decode(raw[HASH_LENGTH + 1 :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return entry if isinstance(entry, dict) else None


def _moment(entry: dict[str, Json]) -> float:
    try:
        return datetime.fromisoformat(str(entry.get("timestamp"))).timestamp()
    except ValueError:
        return 0.0
