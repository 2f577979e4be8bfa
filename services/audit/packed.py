"""Sealed segments in a tenth of their size, still read from any place in them.

A packed segment is a plain gzip file (RFC 1952): ``zcat`` reads it. It is made of members of at most 128 KiB of lines each, and
every member says in the extra field ``QD`` of its header how long it and what it holds are, and the CRC-32 of its deflated bytes
(three 32-bit integers, little-endian). So the place of any byte is found by walking over headers, looking at one entry unpacks
one member, and no bit of it can change unseen, not even one that changes nothing of what is unpacked. The rest of its header
is always the same.
"""

import hashlib
import io
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

MEMBER = 128 * 1024
"""Bytes of lines in one member."""
_HEAD = struct.Struct("<16sIII")
_MAGIC = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x10\0QD\x0c\0"
"""gzip, deflate, with an extra field; no time, no system; 16 bytes of extra, 12 of them in ``QD``."""
_TAIL = 8
_LEVEL = 6


class NotPacked(OSError):
    """The file is not one of ours, or is damaged."""


class Stopped(Exception):
    """Packing was told to stop; what was written of it is to be thrown away."""


def pack(source: BinaryIO, write: Callable[[bytes], None], *, stopping: Callable[[], bool] = lambda: False) -> str:
    """Pack all of ``source``; returns the SHA-256 of what was read, in hexadecimal. Raises :class:`Stopped`."""
    digest = hashlib.sha256()
    while plain := source.read(MEMBER):
        if stopping():
            raise Stopped
        digest.update(plain)
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        content = packer.compress(plain) + packer.flush()
        size = _HEAD.size + len(content) + _TAIL
        write(_HEAD.pack(_MAGIC, size, len(plain), zlib.crc32(content)))
        write(content)
        write(struct.pack("<II", zlib.crc32(plain), len(plain)))
    return digest.hexdigest()


class Unpacked(io.RawIOBase):
    """What a packed segment holds, as a file that can be read and sought in. :class:`NotPacked` for what is none."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._starts = [0]
        """Where each member's content begins, unpacked; at the end how long all of it is."""
        self._places: list[tuple[int, int]] = []
        self._at = 0
        self._held = (-1, b"")
        try:
            self._walk()
        except BaseException:
            self.close()
            raise

    def _walk(self) -> None:
        place, end = 0, os.fstat(self._descriptor).st_size
        while place < end:
            head = os.pread(self._descriptor, _HEAD.size, place)
            if len(head) < _HEAD.size:
                raise NotPacked(f"{self._path}: cut off at byte {place}")
            magic, size, plain, _ = _HEAD.unpack(head)
            if magic != _MAGIC or not 0 < plain <= MEMBER or size <= _HEAD.size + _TAIL:
                raise NotPacked(f"{self._path}: no member of a packed segment at byte {place}")
            self._places.append((place, size))
            self._starts.append(self._starts[-1] + plain)
            place += size
        if place != end:
            raise NotPacked(f"{self._path}: cut off")

    def _member(self, number: int) -> bytes:
        if self._held[0] != number:
            place, size = self._places[number]
            raw = os.pread(self._descriptor, size, place)
            if zlib.crc32(raw[_HEAD.size : -_TAIL]) != _HEAD.unpack_from(raw)[3]:
                raise NotPacked(f"{self._path}: byte {place}: wrong check sum")
            try:
                plain = zlib.decompress(raw[_HEAD.size : -_TAIL], -zlib.MAX_WBITS)
            except zlib.error as error:
                raise NotPacked(f"{self._path}: byte {place}: {error}") from error
            if struct.pack("<II", zlib.crc32(plain), len(plain)) != raw[-_TAIL:]:
                raise NotPacked(f"{self._path}: byte {place}: wrong check sum")
            self._held = (number, plain)
        return self._held[1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        if self._at >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._at) - 1
        plain = self._member(number)
        part = plain[self._at - self._starts[number] :][: len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
