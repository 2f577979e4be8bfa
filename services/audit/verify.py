"""Checks a journal without trusting the program that wrote it.

Deliberately apart: its own reading and hashing, nothing of the writer's code, and it opens files for reading only.
The rules are those of ``line.py`` and ``checkpoint.py``. What each part can show:

- The chain: damage, and changes by who does not hash everything anew. Not entries cut cleanly from the end.
- Signed checkpoints: also whatever was changed or cut of what is signed, by who has not the key. Who has it, such as anybody
  with the same login, can write it all anew; so can, under another key, who replaces ``checkpoint.pub`` too.
- A public key or a sequence number with its hash that were kept elsewhere: those as well.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from base64 import b64decode
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_DOMAIN = b"audit-v1\x00"
_LINE = re.compile(rb"([0-9a-f]{64})\t(\{.*\})", re.DOTALL)
_SEGMENT = re.compile(r"[0-9]{12}\.jsonl")
_HASH = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1024 * 1024
_BASE64 = "[A-Za-z0-9+/]"
_NOTE = re.compile(
    rf"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>[0-9]{{1,15}})\n(?P<root>{_BASE64}{{43}}=)\nat (?P<at>[0-9TZ:.-]{{20,30}})\n)"
    rf"\n— (?P<signer>[^\s+]+) (?P<signature>{_BASE64}{{91}}=)\n"
)
_KEY = re.compile(rf"([^\s+]+)\+([0-9a-f]{{8}})\+({_BASE64}{{44}})")


class _Numbered(msgspec.Struct):
    seq: int


class _Signed(msgspec.Struct):
    note: str


_numbered = msgspec.json.Decoder(_Numbered).decode
"""Reads all of the JSON and keeps the number: six times as fast as the standard library, which has the word on what is odd."""


@dataclass(frozen=True, slots=True)
class Problem:
    """``kind`` is one of

    ``torn-tail`` (an interrupted write: no final line feed, or NULs to the end), ``wrong-hash``, ``bad-line`` (not of the form
    hash, TAB, JSON), ``bad-json``, ``sequence-gap``, ``missing-segment``, ``broken-link`` (a segment does not continue the one
    before), ``header``, ``unreadable``, ``missing-journal``; of checkpoints ``bad-checkpoint`` (not of the form),
    ``bad-signature``, ``other-key`` (not signed by the key asked for), ``checkpoint-order`` (the size goes back);
    ``not-as-signed`` (another hash than was signed), ``tail-cut`` (signed entries are gone from the end), ``not-as-witnessed``
    (the same against a copy elsewhere).
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


@dataclass(frozen=True, slots=True)
class _Pin:
    """What the chain's hash after entry ``seq`` must be, and who says so."""

    seq: int
    hash: str
    by: str
    signed: bool


@dataclass(slots=True)
class _Walk:
    """Where the walk through the segments stands."""

    previous_hash: str = "0" * 64
    good_hash: str = "0" * 64
    """The hash before the first wrong line of the previous segment: what a header after damage goes on from."""
    next_seq: int = 1
    entries: int = 0
    first: int | None = None
    last: int | None = None
    previous_name: str | None = None
    previous_sha256: str | None = None
    problems: list[Problem] = field(default_factory=list)
    pins: deque[_Pin] = field(default_factory=deque)
    """Still to come, in the order of their numbers."""
    signed: int | None = None
    signed_at: str = ""


def verify(directory: Path, *, key: str | None = None, witnessed: Sequence[tuple[int, str]] = ()) -> Verification:
    """Follow the whole chain in ``directory`` and name every place where it does not hold.

    ``key`` is the public key as kept elsewhere (the line of ``checkpoint.pub``); without it that file is believed. ``witnessed``
    are sequence numbers and hashes that were kept elsewhere.
    """
    walk = _Walk()
    known = key or _text(directory / "checkpoint.pub")
    pins = [_Pin(seq, hash_, "the copy kept elsewhere", False) for seq, hash_ in witnessed]
    # Read before the segments: entries written meanwhile are not missed by the checkpoints of them.
    pins += _checkpoints(directory, walk, known)
    sizes = _sizes(directory, walk)
    journal_id = _text(directory / "journal.id")
    walk.pins.extend(sorted(pins, key=lambda pin: pin.seq))
    if not sizes and not walk.problems:
        kind = "missing-segment" if journal_id else "missing-journal"
        walk.problems.append(Problem(kind, None, None, f"there is no segment in {directory / 'seg'}"))
    elif sizes and not journal_id:
        walk.problems.append(Problem("header", None, None, "journal.id is missing"))
    segments = 0
    for name, size in sizes.items():
        try:
            with (directory / "seg" / name).open("rb", buffering=0) as file:
                _segment(walk, name, _blocks(file, size), journal_id, last=name == max(sizes))
        except OSError as error:
            walk.problems.append(Problem("unreadable", name, None, error.strerror or str(error)))
            continue
        segments += 1
    cut = False
    for pin in walk.pins:
        kind = "tail-cut" if pin.signed else "not-as-witnessed"
        if pin.signed and cut:
            continue  # said once, with the first of what is gone
        cut = cut or pin.signed
        walk.problems.append(Problem(kind, None, pin.seq, f"the journal ends at entry {walk.last}; {pin.by} has entry {pin.seq}"))
    problems = tuple(walk.problems)
    return Verification(not problems, walk.entries, segments, walk.first, walk.last, problems, walk.signed, walk.signed_at, known)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _checkpoints(directory: Path, walk: _Walk, known: str) -> list[_Pin]:
    """The checkpoints whose signature holds."""
    try:
        lines = (directory / "checkpoints").read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        walk.problems.append(Problem("unreadable", None, None, f"checkpoints: {error.strerror or error}"))
        return []
    pins: list[_Pin] = []
    # What stands behind the last line feed is being written, or was interrupted.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            note = msgspec.json.decode(line, type=_Signed).note
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # An interrupted one has no end; the next was begun on a line of its own.
            if line and (not line.startswith(b"{") or line.endswith(b"}")):
                walk.problems.append(Problem("bad-checkpoint", None, None, f"line {number} of checkpoints is none"))
            continue
        made = _NOTE.fullmatch(note)
        if made is None:
            walk.problems.append(Problem("bad-checkpoint", None, None, f"line {number} of checkpoints is not of the form"))
            continue
        seq, at = int(made["size"]), made["at"]
        if kind := _unsigned(made, known):
            said = "is not signed by the key" if kind == "other-key" else "has a signature that does not hold"
            walk.problems.append(Problem(kind, None, seq, f"line {number} of checkpoints {said}"))
            continue
        if walk.signed is not None and seq < walk.signed:
            detail = f"line {number} of checkpoints covers {seq} entries, an earlier one {walk.signed}"
            walk.problems.append(Problem("checkpoint-order", None, seq, detail))
        walk.signed, walk.signed_at = max(seq, walk.signed or 0), at
        pins.append(_Pin(seq, b64decode(made["root"]).hex(), f"the checkpoint signed at {at}", True))
    return pins


def _unsigned(made: "re.Match[str]", known: str) -> str:
    """What is wrong with the signature of a note (C2SP signed-note, Ed25519); nothing where it holds."""
    name, identity, public = _KEY.fullmatch(known).groups() if _KEY.fullmatch(known) else ("", "", "")  # type: ignore[union-attr]
    raw, signature = b64decode(public or ""), b64decode(made["signature"])
    if name != made["origin"] or made["signer"] != name or signature[:4].hex() != identity:
        return "other-key"
    if raw[:1] != b"\x01" or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != identity:
        return "other-key"
    try:
        Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], made["text"].encode())
    except (InvalidSignature, ValueError):
        return "bad-signature"
    return ""


def _compare(walk: _Walk, name: str) -> None:
    """Hold the chain against what was said of it, as far as it has come."""
    while walk.pins and walk.last is not None and walk.pins[0].seq <= walk.last:
        pin = walk.pins.popleft()
        if pin.seq == walk.last and pin.hash != walk.previous_hash:
            kind = "not-as-signed" if pin.signed else "not-as-witnessed"
            detail = f"the hash is {walk.previous_hash[:12]}…, {pin.by} has {pin.hash[:12]}…: up to here it was written anew"
            walk.problems.append(Problem(kind, name, pin.seq, detail))


def _sizes(directory: Path, walk: _Walk) -> dict[str, int]:
    """Every segment, in order, with where it ended at one moment: a writer at work is not taken for an interrupted one."""
    lock = -1
    with suppress(OSError):
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    sizes = {}
    try:
        _share(lock)
        with suppress(OSError):
            sizes = {path.name: path.stat().st_size for path in (directory / "seg").iterdir() if not path.name.startswith(".")}
    finally:
        if lock >= 0:
            os.close(lock)
    for name in sorted(sizes):
        if not _SEGMENT.fullmatch(name):
            walk.problems.append(Problem("header", name, None, "the name is not that of a segment"))
    return {name: sizes[name] for name in sorted(sizes) if _SEGMENT.fullmatch(name)}


def _share(lock: int) -> None:
    for _ in range(1000 if lock >= 0 else 0):
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.002)
        else:
            return


def _blocks(file: FileIO, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes, in pieces that stay in the processor's cache while they are worked on."""
    while size > 0 and (block := file.read(min(_BLOCK, size))):
        size -= len(block)
        yield block


def _segment(walk: _Walk, name: str, blocks: Iterator[bytes], journal_id: str, *, last: bool) -> None:
    sha256, rest, empty, begun, damaged = hashlib.sha256(), b"", True, False, False
    for block in blocks:
        sha256.update(block)
        *lines, rest = (rest + block).split(b"\n")
        if lines and not begun:
            _begin(walk, name, _json(lines[0]), journal_id)
            begun = True
        start, empty = 0, False
        while start < len(lines):
            if good := _good(walk, lines, start):
                start += good
                if not damaged:
                    walk.good_hash = walk.previous_hash
            else:
                _line(walk, name, lines[start])
                start, damaged = start + 1, True
            _compare(walk, name)
    if not begun:
        _begin(walk, name, None, journal_id)
    if rest or empty:
        where = "of the newest segment" if last else "of a segment that others follow"
        what = "a block of NULs" if rest and not rest.strip(b"\0") else f"{len(rest)} bytes without a final line feed"
        walk.problems.append(Problem("torn-tail", name, walk.next_seq, f"the end {where} is {what}: an interrupted write"))
    walk.previous_name, walk.previous_sha256 = name, sha256.hexdigest()


def _begin(walk: _Walk, name: str, header: Any, journal_id: str) -> None:
    """Check what a segment says of itself and of the one before, and take up the chain where it says."""
    first_seq = int(name[:12])
    facts = header.get("data") if isinstance(header, dict) else None
    if not isinstance(facts, dict) or header.get("event") != "journal.segment":
        walk.problems.append(Problem("header", name, first_seq, "the first line is not the segment's header"))
        facts = {}
    else:
        for key, expected in (("journal_id", journal_id), ("segment", name)):
            if expected and facts.get(key) != expected:
                walk.problems.append(Problem("header", name, first_seq, f"{key} is {facts.get(key)!r} instead of {expected!r}"))
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
    if first_seq != walk.next_seq:
        detail = f"this segment begins with entry {first_seq}: entries {walk.next_seq} to {first_seq - 1} are gone"
        if first_seq < walk.next_seq:
            detail = f"this segment begins with {first_seq}, which {walk.previous_name} already has"
        walk.problems.append(Problem("missing-segment", name, first_seq, detail))
        walk.next_seq = first_seq
        # With a segment gone the chain can only be taken up where this one says that it does.
        stated = facts.get("prev_hash")
        if isinstance(stated, str) and _HASH.fullmatch(stated):
            walk.previous_hash = stated
        return
    if facts and facts.get("prev_hash") != walk.previous_hash:
        walk.problems.append(Problem("broken-link", name, first_seq, "prev_hash is not the last hash of the segment before"))
    elif facts and facts.get("prev_segment_sha256") != walk.previous_sha256:
        walk.problems.append(Problem("broken-link", name, first_seq, "prev_segment_sha256 is not that of the segment before"))


def _good(walk: _Walk, lines: list[bytes], start: int) -> int:
    """Move on over the lines from ``start`` on that are as they should be; how many."""
    previous, seq = walk.previous_hash.encode("latin-1"), walk.next_seq
    sha256, numbered = hashlib.sha256, _numbered
    count = 0
    # As far as the next place where the hash is known.
    end = start + max(1, walk.pins[0].seq - seq + 1) if walk.pins else None
    for raw in islice(lines, start, end):
        body = raw[65:]
        digest = sha256(_DOMAIN + previous + body).hexdigest().encode("ascii")
        if not raw.startswith(digest + b"\t{"):
            break
        try:
            if numbered(body).seq != seq:
                break
        except (msgspec.MsgspecError, UnicodeDecodeError):
            break
        previous, seq, count = digest, seq + 1, count + 1
    if count:
        walk.first = walk.next_seq if walk.first is None else walk.first
        walk.previous_hash, walk.next_seq, walk.last = previous.decode("ascii"), seq, seq - 1
        walk.entries += count
    return count


def _line(walk: _Walk, name: str, raw: bytes) -> None:
    """Judge one line that is not as it should be, and move on."""
    seq = walk.next_seq
    walk.next_seq += 1
    walk.entries += 1
    walk.first = seq if walk.first is None else walk.first
    walk.last = seq
    match = _LINE.fullmatch(raw)
    if match is None:
        walk.problems.append(Problem("bad-line", name, seq, "the line is not of the form hash, TAB, JSON object"))
        # Its hash can't be trusted to be one; what follows is judged against the bytes that stand there.
        walk.previous_hash = raw[:64].decode("latin-1")
        return
    stated, body = match[1].decode("ascii"), match[2]
    expected = hashlib.sha256(_DOMAIN + walk.previous_hash.encode("latin-1") + body).hexdigest()
    # After a wrong line the chain is taken up from what the line states, so that each later line is judged by itself.
    walk.previous_hash = stated
    if stated != expected:
        walk.problems.append(
            Problem(
                "wrong-hash", name, seq, f"the line says {stated[:12]}…, its bytes after the line before give {expected[:12]}…"
            )
        )
    entry = _json(raw)
    if not isinstance(entry, dict):
        walk.problems.append(Problem("bad-json", name, seq, "the entry is not a JSON object"))
    elif entry.get("seq") != seq:
        stored = entry.get("seq")
        walk.problems.append(Problem("sequence-gap", name, seq, f"the entry says it is number {stored!r}"))
        if isinstance(stored, int) and not isinstance(stored, bool) and seq < stored < seq + 10**9:
            walk.next_seq, walk.last = stored + 1, stored


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw[65:].decode("utf-8"))
    except (ValueError, RecursionError):
        return None
