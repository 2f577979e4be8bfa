"""Reading the journal in pages, from any place in it, so that looking at an entry of last year costs as much as one of today.

A place is a sequence number. Segments are named after their first one, and within a segment the lines are in order: the place is
found by halving the file, so no page reads more than its own lines and a few blocks. Blocks; not for the event loop.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import msgspec

from services.audit.event import JournalUnavailable
from services.audit.line import HASH_LENGTH
from services.audit.segments import opened, segments
from services.model.objects import Json

Entry = dict[str, Json]
Wanted = Callable[[Entry], bool]
NEWEST = 2**63
"""Before this come all entries."""
LOOKED_AT = 2000
"""Lines that one page looks at, however few of them are wanted: then it says how far it came."""
_BLOCK = 256 * 1024
_log = logging.getLogger("quarterdeck.journal")
_NEAR = 64 * 1024
"""Bytes that are read through rather than halved again."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The ``entries`` that were wanted, oldest first, among those from ``first`` to ``last`` (sequence numbers, both looked at).

    ``end``: in the direction of reading there is nothing behind them. ``last`` < ``first``: no line was there to be looked at.
    """

    entries: tuple[Entry, ...]
    first: int
    last: int
    end: bool


class _Seq(msgspec.Struct):
    seq: int


_seq = msgspec.json.Decoder(_Seq)
_entry = msgspec.json.Decoder(dict[str, Json])


def older(directory: Path, before: int, *, limit: int, wanted: Wanted | None = None, lines: int = LOOKED_AT) -> Page:
    """The newest ``limit`` wanted entries with numbers below ``before``."""
    found: list[Entry] = []
    first, last = before, before - 1
    looked = 0
    for seq, raw in _backwards(directory, before):
        if looked >= lines or len(found) >= limit:
            return Page(entries=tuple(reversed(found)), first=first, last=last, end=False)
        if not looked and before == NEWEST:
            last = seq
        looked, first = looked + 1, seq
        if (entry := _decoded(raw)) is not None and (wanted is None or wanted(entry)):
            found.append(entry)
    return Page(entries=tuple(reversed(found)), first=first, last=last, end=True)


def newer(directory: Path, after: int, *, limit: int, wanted: Wanted | None = None, lines: int = LOOKED_AT) -> Page:
    """The oldest ``limit`` wanted entries with numbers above ``after``."""
    found: list[Entry] = []
    last = after
    looked = 0
    for seq, raw in _forwards(directory, after):
        if looked >= lines or len(found) >= limit:
            return Page(entries=tuple(found), first=after + 1, last=last, end=False)
        looked, last = looked + 1, seq
        if (entry := _decoded(raw)) is not None and (wanted is None or wanted(entry)):
            found.append(entry)
    return Page(entries=tuple(found), first=after + 1, last=last, end=True)


def _backwards(directory: Path, before: int) -> Iterator[tuple[int, bytes]]:
    """The lines below ``before``, newest first. A line that can't be read has no number and is left to ``verify``."""
    for segment in reversed(segments(directory)):
        if segment.first >= before:
            continue
        try:
            file = opened(segment)
        except FileNotFoundError:
            continue  # kept long enough, and removed since the directory was listed
        with file:
            for raw in lines_before(file, place_of(file, before)):
                if (seq := number_of(raw)) is not None and seq < before:
                    yield seq, raw


def _forwards(directory: Path, after: int) -> Iterator[tuple[int, bytes]]:
    known = segments(directory)
    for segment, following in zip_longest(known, known[1:]):
        if following is not None and following.first <= after + 1:
            continue
        try:
            file = opened(segment)
        except FileNotFoundError:
            continue
        with file:
            file.seek(place_of(file, after + 1))
            for raw in file:
                # a line without its end is being written
                if raw.endswith(b"\n") and (seq := number_of(raw)) is not None and seq > after:
                    yield seq, raw


def place_of(file: BinaryIO, seq: int) -> int:
    """Where the line of ``seq`` begins, or the first one above it; the file's end where all are below."""
    low, high = 0, file.seek(0, 2)
    while high - low > _NEAR:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        start = file.tell()
        number = None
        while number is None and file.tell() < high:
            number = number_of(file.readline())
        if number is None or start >= high:
            high = middle  # no whole line begins between here and there: what is looked for is before
        elif number < seq:
            low = start
        else:
            high = middle
    file.seek(low)
    place = low
    for raw in file:
        number = number_of(raw)
        if number is not None and number >= seq:
            return place
        place += len(raw)
    return place


def lines_before(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The whole lines of the first ``end`` bytes, last one first."""
    position, held = end, b""
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


def number_of(raw: bytes) -> int | None:
    try:
        return _seq.decode(raw[HASH_LENGTH + 1 :]).seq
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _decoded(raw: bytes) -> Entry | None:
    try:
        return _entry.decode(raw[HASH_LENGTH + 1 :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def of_rollout(directory: Path, rollout: str, *, since: str = "", most: int) -> tuple[Sequence[Entry], bool]:
    """The newest ``most`` entries of a rollout, oldest first, and whether those are all. Entries from before ``since`` (a time
    stamp as the journal writes it) are not looked for: a rollout has none before it was made."""
    # An entry of the rollout holds its name's JSON form; looking for it first spares decoding the others.
    needle = msgspec.json.encode(rollout)
    found: list[Entry] = []
    for raw in _of_rollout(directory, rollout, since):
        if needle not in raw:
            if since and "" < _stamp(raw) < since:
                break
            continue
        entry = _decoded(raw)
        if entry is not None and entry.get("rollout") == rollout:
            if len(found) >= most:
                return found[::-1], False
            found.append(entry)
    return found[::-1], True


def _of_rollout(directory: Path, rollout: str, since: str) -> Iterator[bytes]:
    """The lines that may be of the rollout, newest first: those of the index, or all where it is of no use."""
    if rollout and (directory / "seg").is_dir():
        # Only who asks for something needs a database.
        from services.audit.index import IndexUnusable, matching

        try:
            return matching(directory, {"rollout": rollout}, since)
        except (IndexUnusable, JournalUnavailable) as error:
            _log.info("read without its index: %s", error)
    return (raw for _, raw in _backwards(directory, NEWEST))


class _Stamp(msgspec.Struct):
    timestamp: str = ""


_stamp_decoder = msgspec.json.Decoder(_Stamp)


def _stamp(raw: bytes) -> str:
    try:
        return _stamp_decoder.decode(raw[HASH_LENGTH + 1 :]).timestamp
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
