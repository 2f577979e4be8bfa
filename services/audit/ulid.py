"""Identifiers that sort by time: 48 bits of Unix milliseconds, 80 random bits, in Crockford's base 32 (ULID specification)."""

import base64
import os

_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def new_ulid(unix: float) -> str:
    """A ULID for the moment ``unix`` (Unix seconds)."""
    milliseconds = max(0, int(unix * 1000)) & (1 << 48) - 1
    # 128 bits in 26 characters of 5: RFC 4648 pads at the end, a ULID at the front, so 32 zero bits are put before (and cut).
    raw = b"\0\0\0\0" + milliseconds.to_bytes(6, "big") + os.urandom(10)
    return base64.b32encode(raw).translate(_CROCKFORD)[6:].decode("ascii")
