"""Identifiers that sort by time: 48 bits of Unix milliseconds, 80 random bits, in Crockford's base 32 (ULID specification)."""

import os
from functools import lru_cache

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
"""Ten bits in two characters."""


def new_ulid(unix: float) -> str:
    """A ULID for the moment ``unix`` (Unix seconds)."""
    return _moment(max(0, int(unix * 1000)) & (1 << 48) - 1) + _digits(int.from_bytes(os.urandom(10), "big"), 80)


@lru_cache(maxsize=16)
def _moment(milliseconds: int) -> str:
    return _digits(milliseconds, 50)  # the two bits more are zeros at the front


def _digits(number: int, bits: int) -> str:
    return "".join([_PAIRS[number >> at & 1023] for at in range(bits - 10, -1, -10)])
