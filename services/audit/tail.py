"""The end of the newest segment: where the chain stands, and what a look at the file makes of it."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.audit.entry import ACKNOWLEDGED_EVENT, SEALED_EVENT
from services.audit.header import Damage, header_of
from services.audit.line import FORMAT, GENESIS, HASH, HASH_LENGTH, scan

WINDOW = 64 * 1024
"""Bytes of the end of a long segment that are checked before it is written to; the rest is checked in the background."""


class Tail:
    """The segment being written: its open file and where the chain stands at its end."""

    def __init__(self, descriptor: int, path: Path, size: int, seq: int, hash_: str, created: float) -> None:
        self.descriptor = descriptor
        self.path = path
        self.place = os.fspath(path)
        self.beside_place = os.fspath(path.parent)
        self.inode = os.fstat(descriptor).st_ino
        self.size = size
        self.seq = seq
        self.hash = hash_
        self.created = created
        self.written = created
        """Unix seconds of the newest entry's time stamp."""
        self.sealed = False
        self.beside = os.stat(self.beside_place).st_mtime_ns
        """When the directory was last changed, as of the last time that it was listed."""
        self.damage: Damage | None = None
        """Damage before this segment (named by its header) that nobody has acknowledged yet."""

    def note(self, bodies: Sequence[bytes]) -> None:
        """Take up what entries say about the segment itself."""
        for body in bodies:
            if b'"journal.' not in body:
                continue
            name = _told(body).event
            self.sealed = self.sealed or name == SEALED_EVENT
            if name == ACKNOWLEDGED_EVENT:
                self.damage = None
        if bodies:
            self.wrote(_told(bodies[-1]).timestamp)

    def wrote(self, stamp: str) -> None:
        try:
            self.written = datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            return  # not one of ours: it tells no time


class _Told(msgspec.Struct):
    event: str = ""
    timestamp: str = ""


_decoder = msgspec.json.Decoder(_Told)


def _told(body: bytes) -> _Told:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Told()  # it holds its place in the chain and is no entry


class Examined(NamedTuple):
    """What the newest segment holds: its header (``None``: no usable one), how far it is valid, and the rest behind that."""

    header: dict[str, Any] | None
    valid_bytes: int
    last_seq: int
    last_hash: str
    bodies: list[bytes]
    rest: bytes

    @property
    def torn(self) -> bool:
        """The rest is what an interrupted write leaves."""
        return b"\n" not in self.rest.rstrip(b"\0")

    @property
    def newer(self) -> bool:
        return self.header is not None and self.header["v"] > FORMAT

    @property
    def open_damage(self) -> Damage | None:
        """Damage before this segment, named by its header, that nothing in it acknowledges."""
        named = self.header["data"].get("damage") if self.header is not None else None
        if not named or any(b'"journal.' in body and _told(body).event == ACKNOWLEDGED_EVENT for body in self.bodies):
            return None
        return msgspec.convert(named, Damage)


def examine(path: Path, *, whole: bool) -> Examined:
    """Follow the chain through the segment at ``path``.

    Unless ``whole``: through its header and its last 64 KiB only, where those hold and nothing else has to be known.
    """
    with path.open("rb") as file:
        if not whole and (short := _by_its_end(file.fileno(), int(path.stem))) is not None:
            return short
        content = file.read()
    header = header_of(content)
    if header is None or header["v"] > FORMAT:
        return Examined(header, 0, int(path.stem) - 1, GENESIS, [], content)
    found = scan(content, header["data"]["prev_hash"], int(path.stem) - 1)
    return Examined(header, found.valid_bytes, found.last_seq, found.last_hash, found.bodies, found.rest)


class _Numbered(msgspec.Struct):
    seq: int


_numbered = msgspec.json.Decoder(_Numbered)


def _by_its_end(descriptor: int, first: int) -> Examined | None:
    size = os.fstat(descriptor).st_size
    if size <= 2 * WINDOW:
        return None
    header = header_of(os.pread(descriptor, WINDOW, 0))
    if header is None or header["v"] > FORMAT or header["data"].get("damage"):
        return None
    window = os.pread(descriptor, WINDOW, size - WINDOW)
    start = window.find(b"\n") + 1
    end = window.find(b"\n", start) + 1
    if not start or not end:
        return None
    anchor = window[start:end]
    hash_ = anchor[:HASH_LENGTH].decode("latin-1")
    try:
        seq = _numbered.decode(anchor[HASH_LENGTH + 1 : -1]).seq
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    found = scan(window[end:], hash_, seq)
    if not HASH.fullmatch(hash_) or seq <= first or not found.bodies or b"\n" in found.rest.rstrip(b"\0"):
        return None
    return Examined(header, size - len(found.rest), found.last_seq, found.last_hash, found.bodies, found.rest)


def holds(path: Path, size: int) -> bool:
    """Whether the chain holds through the first ``size`` bytes of a segment that may be written to meanwhile."""
    with path.open("rb") as file:
        content = file.read(size)
    header = header_of(content)
    return header is not None and (
        header["v"] > FORMAT or not scan(content, header["data"]["prev_hash"], int(path.stem) - 1).rest.rstrip(b"\0").count(b"\n")
    )
