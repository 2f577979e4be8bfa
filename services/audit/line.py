"""The bytes of the journal, exactly.

A segment is a file of lines; a line is ``HASH TAB JSON LF``:

- ``JSON`` is one UTF-8 JSON object without raw line feeds.
- ``HASH`` is 64 lower-case hexadecimal characters: SHA-256 over the 9 bytes ``audit-v1\\0``, then the previous line's ``HASH``
  as those 64 ASCII characters, then the bytes of ``JSON`` as they stand in the file (neither TAB nor LF).
- The line before the very first one counts as 64 zeros. The chain runs on from the last line of a segment to the first of
  the next.

So one line checks with standard tools: ``printf 'audit-v1\\0%s%s' "$PREVIOUS" "$JSON" | sha256sum``. Nothing is ever
serialised again to be checked, so no two writers need to agree on a canonical form of JSON.
"""

import hashlib
import re
from typing import NamedTuple

import msgspec

from services.model.objects import Json

FORMAT = 1
"""The ``v`` of every entry. A journal whose newest segment has a higher one is read, never written."""
GENESIS = "0" * 64
DOMAIN = b"audit-v1\0"
SEGMENT_DIGITS = 12
HASH_LENGTH = 64
HASH = re.compile(r"[0-9a-f]{64}")

_encoder = msgspec.json.Encoder()


def encode(entry: Json) -> bytes:
    return _encoder.encode(entry)


def chain(previous: str, body: bytes) -> str:
    return hashlib.sha256(DOMAIN + previous.encode("ascii") + body).hexdigest()


def line(hash_: str, body: bytes) -> bytes:
    return b"%s\t%s\n" % (hash_.encode("ascii"), body)


def segment_name(first_seq: int) -> str:
    return f"{first_seq:0{SEGMENT_DIGITS}d}.jsonl"


class Scan(NamedTuple):
    """What a run of bytes holds: how many of its first bytes are valid lines, where the chain stands after them, and the rest."""

    valid_bytes: int
    last_seq: int
    last_hash: str
    bodies: list[bytes]
    rest: bytes

    @property
    def torn(self) -> bool:
        """The rest is what an interrupted write leaves: no line feed in it, but for a block of NULs to the end of the file."""
        return bool(self.rest) and b"\n" not in self.rest.rstrip(b"\0")


def scan(content: bytes, previous_hash: str, previous_seq: int) -> Scan:
    """Follow the chain through ``content`` as far as it holds."""
    position, seq, bodies = 0, previous_seq, []
    while (end := content.find(b"\n", position)) >= 0:
        body = content[position + HASH_LENGTH + 1 : end]
        expected = chain(previous_hash, body)
        if content[position : position + HASH_LENGTH + 1] != expected.encode("ascii") + b"\t":
            break
        previous_hash, seq, position = expected, seq + 1, end + 1
        bodies.append(body)
    return Scan(position, seq, previous_hash, bodies, content[position:])
