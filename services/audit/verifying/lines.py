"""Follows the chain through a segment's lines as long as all is as it should be; what is not is judged elsewhere.

Also a program of its own, so that the segments of a large journal are read by two processes side by side: one job a line on its
standard input, one answer a line on its standard output, both JSON.
"""

import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

DOMAIN = b"audit-v1\x00"
_BLOCK = 1024 * 1024
_HEAD, _TAIL = struct.Struct("<16sIII"), struct.Struct("<II")
_START = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x10\0QD\x0c\0"
_MEMBER = 128 * 1024
"""Bytes in a member of a packed segment (RFC 1952): its header is fixed but for its size, that of what it holds, and a CRC-32."""


class Line(msgspec.Struct, array_like=True):
    """An entry of the journal about itself: its number, the hash before it, its JSON."""

    seq: int
    previous: str
    body: str


class Job(msgspec.Struct):
    """Read the first ``size`` bytes of ``path`` (all of a packed one); ``pins`` are numbers whose hash is asked for."""

    path: str
    size: int
    first: int
    pins: list[int]


class Part(msgspec.Struct):
    """A segment whose every line continues the one before, from the hash that its header says it goes on from."""

    begins: str
    ends: str
    entries: int
    sha256: str
    header: str
    hashes: dict[int, str]
    own: list[Line]


class _Numbered(msgspec.Struct, gc=False):
    seq: int
    event: str = ""


class _Facts(msgspec.Struct):
    prev_hash: str


class _Header(msgspec.Struct):
    data: _Facts


_numbered = msgspec.json.Decoder(_Numbered).decode
"""Reads all of the JSON and keeps two fields: six times as fast as the standard library, which has the word on what is odd."""
_header = msgspec.json.Decoder(_Header).decode


def good(lines: Sequence[bytes], start: int, end: int | None, previous: bytes, seq: int) -> tuple[int, bytes, list[Line]]:
    """How many of the lines from ``start`` on (before ``end``) are as they should be after ``previous``, the first being number
    ``seq``; the hash of the last; and those among them that the journal wrote of itself."""
    own: list[Line] = []
    sha256, numbered = hashlib.sha256, _numbered
    first = seq
    for raw in islice(lines, start, end):
        body = raw[65:]
        digest = sha256(DOMAIN + previous + body).hexdigest().encode("ascii")
        if not raw.startswith(digest + b"\t{"):
            break
        try:
            entry = numbered(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            break
        if entry.seq != seq:
            break
        if entry.event.startswith("journal."):
            own.append(Line(seq, previous.decode("ascii"), body.decode("utf-8", "replace")))
        previous, seq = digest, seq + 1
    return seq - first, previous, own


def blocks(path: Path, size: int) -> Iterator[bytes]:
    """What a segment holds, in pieces that stay in the processor's cache while they are worked on. ``OSError`` and ``EOFError``
    for what can't be read or unpacked."""
    if path.suffix == ".gz":
        yield from _members(path)
        return
    with path.open("rb", buffering=0) as file:
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            size -= len(block)
            yield block


def _members(path: Path) -> Iterator[bytes]:
    """What each member of a packed segment holds. Stricter than gzip is: there is one form, so that no bit may change unseen."""
    place = 0
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            if len(head) < _HEAD.size:
                raise EOFError(f"can't be unpacked: cut off behind byte {place}")
            start, size, plain, check = _HEAD.unpack(head)
            content_size = size - _HEAD.size - _TAIL.size
            if start != _START or not 0 < plain <= _MEMBER or not 0 < content_size <= 2 * _MEMBER:
                raise EOFError(f"can't be unpacked: at byte {place} there is no header of ours")
            content, tail = file.read(content_size), file.read(_TAIL.size)
            if zlib.crc32(content) != check:
                raise EOFError(f"can't be unpacked: behind byte {place} the check sum is wrong, or it is cut off")
            unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                block = unpacking.decompress(content, plain + 1)
            except zlib.error as error:
                raise EOFError(f"can't be unpacked: {error}") from error
            ended = unpacking.eof and not unpacking.unused_data and len(block) == plain
            if not ended or tail != _TAIL.pack(zlib.crc32(block), plain):
                raise EOFError(f"can't be unpacked: behind byte {place} it holds something else than its ends say")
            place += size
            yield block


def part(job: Job) -> Part | None:
    """The whole segment, or ``None`` where anything about it is odd."""
    digest, rest, hashes, own = hashlib.sha256(), b"", {}, []
    begins, previous, seq, header = "", b"", job.first, ""
    pins = iter(sorted(job.pins))
    pin = next(pins, None)
    try:
        for block in blocks(Path(job.path), job.size):
            digest.update(block)
            *lines, rest = (rest + block).split(b"\n")
            if lines and not begins:
                header = lines[0][65:].decode("utf-8", "replace")
                begins = _header(lines[0][65:]).data.prev_hash
                previous = begins.encode("ascii")
            start = 0
            while start < len(lines):
                end = None if pin is None else start + pin - seq + 1
                count, last, told = good(lines, start, end, previous, seq)
                if not count:
                    return None
                own += told
                start, seq, previous = start + count, seq + count, last
                while pin is not None and pin < seq:
                    hashes[pin] = previous.decode("ascii")
                    pin = next(pins, None)
    except (OSError, EOFError, msgspec.MsgspecError, UnicodeError):
        return None
    if rest or not begins:
        return None
    return Part(begins, previous.decode("ascii"), seq - job.first, digest.hexdigest(), header, hashes, own)


def main() -> None:
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(part(msgspec.json.decode(line, type=Job))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
