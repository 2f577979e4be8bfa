"""Checks a journal without trusting the program that wrote it.

Deliberately apart: its own reading and hashing, nothing of the writer's code, and it opens files for reading only.
The rules are those of ``line.py``, ``checkpoint.py``, ``emergency.py`` and ``retention.py``. What each part can show:

- The chain: damage, and changes by who does not hash everything anew. Not entries cut cleanly from the end.
- Signed checkpoints: also whatever was changed or cut of what is signed, by who has not the key; and that checkpoints were taken
  away, where a key is left, or more is unsigned at the end than an interrupted process leaves (``verifying/signed.py``).
  Not: what is younger than its checkpoint (200 entries at most, all within 20 s by what they say themselves); checkpoints that
  were taken away once the next start has signed what it found; an older journal put back with its older checkpoints; anything
  by who has the key, such as anybody with the same login, or replaces both keys and signs all anew.
- What sinks were sent (their cursors), a public key or a sequence number with its hash that were kept elsewhere: those as well.
"""

import errno
import fcntl
import os
import re
import stat
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.audit.verifying import beside, notes, signed
from services.audit.verifying.beside import decoded
from services.audit.verifying.gone import holes, removal
from services.audit.verifying.lines import DOMAIN, Job, Line, Part, blocks, good
from services.audit.verifying.parts import parts
from services.audit.verifying.walk import Pin, Problem, Verification, Walk

__all__ = ["Problem", "Verification", "verify"]

_LINE = re.compile(rb"([0-9a-f]{64})\t(\{.*\})", re.DOTALL)
_SEGMENT = re.compile(r"([0-9]{12})(\.jsonl|\.jsonl\.gz|\.gone)")
_HASH = re.compile(r"[0-9a-f]{64}")
_FORMS = (".jsonl", ".jsonl.gz", ".gone")
"""Of several forms of one segment the first is the one: the others are what an interrupted packing or removal left."""


def verify(directory: Path, *, key: str | None = None, witnessed: Sequence[tuple[int, str]] = ()) -> Verification:
    """Follow the whole chain in ``directory`` and name every place where it does not hold.

    ``key`` is the public key as kept elsewhere (the line of ``checkpoint.pub``); without it that file is believed. ``witnessed``
    are sequence numbers and hashes that were kept elsewhere.
    """
    walk = Walk()
    if why := _unreadable(directory):
        walk.problem("unreadable", None, None, f"{directory}: {why}")
        return Verification(ok=False, entries=0, segments=0, first=None, last=None, problems=tuple(walk.problems))
    journal_id = beside.identity(directory, walk)
    pins = [Pin(seq, hash_, "the copy kept elsewhere", "copy") for seq, hash_ in witnessed]
    # Read before the segments: what sinks take of entries written meanwhile is not missed there.
    pins += beside.sinks(directory, walk, journal_id)
    waiting = beside.emergency(directory, walk, journal_id)
    with _held(directory):
        # As they are at one moment, in this order where the lock is not to be had: what a writer at work signs meanwhile is not
        # missed in the segments, and what it writes is not taken for unsigned.
        beside_it = signed.public_key(directory, walk)
        content = signed.content(directory, walk)
        files = _files(directory, walk)
    walk.key = key or beside_it
    pins += signed.checkpoints(directory, walk, content)
    signed.own_key(directory, walk, beside_it)
    walk.pins.extend(sorted(pins, key=lambda pin: pin.seq))
    if not files and not walk.problems:
        kind = "missing-segment" if journal_id else "missing-journal"
        walk.problem(kind, None, None, f"there is no segment in {directory / 'seg'}")
    elif files and journal_id == "":
        walk.problem("header", None, None, "journal.id is missing")
    read_already = parts(_jobs(files, [pin.seq for pin in walk.pins]))
    segments = 0
    for at, (path, size) in enumerate(files):
        name = f"{path.name[:12]}.jsonl"
        try:
            if size < 0:
                raise OSError(errno.EINVAL, "it is no regular file")
            if path.suffix == ".gone":
                removal(walk, name, beside.content_of(path), partial(_begin, walk, name, journal_id))
                continue
            if (part := read_already.get(str(path))) is not None and _fits(walk, part):
                _take(walk, name, part, journal_id)
            else:
                _segment(walk, name, blocks(path, size), journal_id, last=path == files[-1][0])
        except (OSError, EOFError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            first = int(path.name[:12])
            span = f"entries {first} to {int(files[at + 1][0].name[:12]) - 1}" if at + 1 < len(files) else f"entry {first} on"
            walk.problem("unreadable", path.name, None, f"{why}: what is in it ({span}) could not be looked at")
            walk.unread = True
            continue
        segments += 1
    removed = holes(walk)
    if not walk.unread:
        # Else nobody knows how far it goes.
        walk.cut()
        signed.unsigned(walk, [(path, size) for path, size in files if path.suffix != ".gone"])
    return Verification(
        ok=not walk.problems,
        entries=walk.entries,
        segments=segments,
        first=walk.first,
        last=walk.last,
        problems=tuple(walk.problems),
        signed=walk.signed,
        signed_at=walk.signed_at,
        key=walk.key,
        removed=removed,
        waiting=waiting,
        witnessed=walk.witnessed,
    )


def _jobs(files: Sequence[tuple[Path, int]], pins: Sequence[int]) -> list[Job]:
    """``pins`` in their order; each goes to the segment that has its number, if one has."""
    firsts = [int(path.name[:12]) for path, _ in files]
    bounds = [*(bisect_left(pins, first) for first in firsts), len(pins)]
    return [
        Job(str(path), size, firsts[at], list(pins[bounds[at] : bounds[at + 1]]))
        for at, (path, size) in enumerate(files)
        if path.suffix != ".gone" and size >= 0
    ]


def _unreadable(directory: Path) -> str:
    """Why there is nothing to be seen of the journal; empty where there is, or where there is no such directory."""
    try:
        os.listdir(directory)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _files(directory: Path, walk: Walk) -> list[tuple[Path, int]]:
    """Every segment, in order, with where it ends now. A size below 0 is that of what is no file."""
    there: dict[str, os.stat_result] = {}
    try:
        with suppress(FileNotFoundError):
            there = {path.name: path.lstat() for path in (directory / "seg").iterdir() if not path.name.startswith(".")}
    except OSError as error:
        walk.problem("unreadable", None, None, f"seg: {error.strerror or error}: no entry could be looked at")
        walk.unread = True
    found: dict[str, str] = {}
    for name in sorted(there):
        made = _SEGMENT.fullmatch(name)
        if made is None:
            walk.problem("header", name, None, "the name is not that of a segment")
        elif made[1] not in found or _FORMS.index(made[2]) < _FORMS.index(found[made[1]]):
            found[made[1]] = made[2]
    names = [first + form for first, form in sorted(found.items())]
    return [(directory / "seg" / name, there[name].st_size if stat.S_ISREG(there[name].st_mode) else -1) for name in names]


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """While no writer is in the middle of something: one at work is not taken for an interrupted one. Where the lock can't be had
    it goes on without."""
    lock = -1
    with suppress(OSError):
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _share(lock)
        yield
    finally:
        if lock >= 0:
            os.close(lock)


def _share(lock: int) -> None:
    for _ in range(1000 if lock >= 0 else 0):
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.002)
        else:
            return


def _compare(walk: Walk, name: str) -> None:
    """Hold the chain against what was said of it, as far as it has come."""
    while walk.pins and walk.last is not None and walk.pins[0].seq <= walk.last:
        pin = walk.pins.popleft()
        if pin.seq == walk.last:
            walk.hold_against(pin, name, walk.previous_hash)


def _fits(walk: Walk, part: Part) -> bool:
    return (part.begins == walk.previous_hash or walk.unread) and bool(part.entries)


def _take(walk: Walk, name: str, part: Part, journal_id: str | None) -> None:
    """A segment in which all is as it should be, as it was read elsewhere."""
    _begin(walk, name, journal_id, decoded(part.header))
    walk.begun = walk.previous_hash
    seq = walk.next_seq
    walk.first = seq if walk.first is None else walk.first
    walk.entries += part.entries
    walk.next_seq += part.entries
    walk.last = walk.next_seq - 1
    walk.previous_hash = walk.good_hash = part.ends
    _own(walk, name, part.own)
    while walk.pins and walk.pins[0].seq <= walk.last:
        pin = walk.pins.popleft()
        if pin.seq >= seq:
            walk.hold_against(pin, name, part.hashes.get(pin.seq, ""))
    walk.previous_name, walk.previous_sha256 = name, part.sha256


def _segment(walk: Walk, name: str, content: Iterable[bytes], journal_id: str | None, *, last: bool) -> None:
    digest, rest, empty, begun, damaged = sha256(), b"", True, False, False
    for block in content:
        digest.update(block)
        *lines, rest = (rest + block).split(b"\n")
        if lines and not begun:
            _begin(walk, name, journal_id, decoded(lines[0][65:]))
            walk.begun, begun = walk.previous_hash, True
        start, empty = 0, False
        while start < len(lines):
            if count := _good(walk, name, lines, start):
                start += count
                if not damaged:
                    walk.good_hash = walk.previous_hash
            else:
                _line(walk, name, lines[start])
                start, damaged = start + 1, True
            _compare(walk, name)
    if not begun:
        _begin(walk, name, journal_id, None)
    if rest or empty:
        where = "of the newest segment" if last else "of a segment that others follow"
        what = "a block of NULs" if rest and not rest.strip(b"\0") else f"{len(rest)} bytes without a final line feed"
        walk.problem("torn-tail", name, walk.next_seq, f"the end {where} is {what}: an interrupted write")
    walk.previous_name, walk.previous_sha256 = name, digest.hexdigest()


def _begin(walk: Walk, name: str, journal_id: str | None, header: Any) -> None:
    """Check what a segment says of itself and of the one before, and take up the chain where it says."""
    first_seq = int(name[:12])
    facts = header.get("data") if isinstance(header, dict) else None
    if not isinstance(facts, dict) or header.get("event") != "journal.segment":
        walk.problem("header", name, first_seq, "the first line is not the segment's header")
        facts = {}
    else:
        for key, expected in (("journal_id", journal_id), ("segment", name)):
            if expected and facts.get(key) != expected:
                walk.problem("header", name, first_seq, f"{key} is {facts.get(key)!r} instead of {expected!r}")
    damage = facts.get("damage")
    after_damage = (
        isinstance(damage, dict)
        and walk.previous_name is not None
        and damage.get("segment") == walk.previous_name
        and damage.get("sha256") == walk.previous_sha256
        and facts.get("prev_hash") == walk.good_hash
    )
    if after_damage:
        # The damage itself has been reported; the writer said where it went on.
        walk.previous_hash, walk.next_seq = walk.good_hash, first_seq
        return
    stated = facts.get("prev_hash")
    linked = isinstance(stated, str) and _HASH.fullmatch(stated)
    if walk.unread:
        # What is before it could not be looked at: it is taken up where this one says.
        walk.unread, walk.next_seq = False, first_seq
        walk.previous_hash = str(stated) if linked else walk.previous_hash
        return
    if first_seq != walk.next_seq:
        detail = f"this segment begins with entry {first_seq}: entries {walk.next_seq} to {first_seq - 1} are gone"
        if first_seq < walk.next_seq:
            detail = f"this segment begins with {first_seq}, which {walk.previous_name} already has"
        walk.problem("missing-segment", name, first_seq, detail)
        walk.next_seq = first_seq
        # With a segment gone the chain can only be taken up where this one says that it does.
        walk.previous_hash = str(stated) if linked else walk.previous_hash
        return
    if facts and facts.get("prev_hash") != walk.previous_hash:
        walk.problem("broken-link", name, first_seq, "prev_hash is not the last hash of the segment before")
    elif walk.previous_name is not None and walk.previous_sha256 is None:
        walk.digests[walk.previous_name] = str(facts.get("prev_segment_sha256"))
    elif facts and facts.get("prev_segment_sha256") != walk.previous_sha256:
        walk.problem("broken-link", name, first_seq, "prev_segment_sha256 is not that of the segment before")


def _good(walk: Walk, name: str, lines: list[bytes], start: int) -> int:
    """Move on over the lines from ``start`` on that are as they should be; how many."""
    before, seq = walk.previous_hash.encode("latin-1"), walk.next_seq
    # As far as the next place where the hash is known.
    end = start + max(1, walk.pins[0].seq - seq + 1) if walk.pins else None
    count, last, own = good(lines, start, end, before, seq)
    if count:
        walk.first = seq if walk.first is None else walk.first
        walk.previous_hash, walk.next_seq, walk.last = last.decode("ascii"), seq + count, seq + count - 1
        walk.entries += count
        _own(walk, name, own)
    return count


def _own(walk: Walk, name: str, lines: Iterable[Line]) -> None:
    """What the journal says about itself in entries that hold: checkpoints that were shipped with the rest, removed segments."""
    for line in lines:
        entry = decoded(line.body)
        facts = entry.get("data") if isinstance(entry, dict) else None
        if not isinstance(facts, dict):
            continue
        if entry["event"] == "journal.removed" and isinstance(facts.get("segment"), str):
            walk.removals[facts["segment"]] = facts
        of_checkpoint = entry["event"] in ("journal.checkpoint", "journal.sealed") and "note" in facts
        if not of_checkpoint or (walk.uncheckable and not walk.key):
            continue
        note = notes.read(str(facts["note"]), walk.key)
        if note is None:
            walk.problem("bad-checkpoint", name, line.seq, "the checkpoint in this entry is not of the form")
        elif note.wrong:
            walk.problem(note.wrong, name, line.seq, f"the checkpoint in this entry {notes.said(note.wrong)}")
        else:
            walk.signed, walk.signed_at = max(note.size, walk.signed or 0), max(note.at, walk.signed_at)
            pin = Pin(note.size, note.root, f"the checkpoint signed at {note.at}", "checkpoint")
            # Of the entry before; or of the segment before, where the writer had to go on to the next one with it.
            known = {int(name[:12]) - 1: walk.begun, line.seq - 1: line.previous}
            walk.hold_against(pin, name, known.get(note.size, ""))


def _line(walk: Walk, name: str, raw: bytes) -> None:
    """Judge one line that is not as it should be, and move on."""
    seq = walk.next_seq
    walk.next_seq += 1
    walk.entries += 1
    walk.first = seq if walk.first is None else walk.first
    walk.last = seq
    match = _LINE.fullmatch(raw)
    if match is None:
        walk.problem("bad-line", name, seq, "the line is not of the form hash, TAB, JSON object")
        # Its hash can't be trusted to be one; what follows is judged against the bytes that stand there.
        walk.previous_hash = raw[:64].decode("latin-1")
        return
    stated, body = match[1].decode("ascii"), match[2]
    expected = sha256(DOMAIN + walk.previous_hash.encode("latin-1") + body).hexdigest()
    # After a wrong line the chain is taken up from what the line states, so that each later line is judged by itself.
    walk.previous_hash = stated
    if stated != expected:
        detail = f"the line says {stated[:12]}…, its bytes after the line before give {expected[:12]}…"
        walk.problem("wrong-hash", name, seq, detail)
    entry = decoded(body)
    if not isinstance(entry, dict):
        walk.problem("bad-json", name, seq, "the entry is not a JSON object")
    elif entry.get("seq") != seq:
        stored = entry.get("seq")
        walk.problem("sequence-gap", name, seq, f"the entry says it is number {stored!r}")
        if isinstance(stored, int) and not isinstance(stored, bool) and seq < stored < seq + 10**9:
            walk.next_seq, walk.last = stored + 1, stored
