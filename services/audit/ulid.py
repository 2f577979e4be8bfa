"""Identifiers that sort by time: 48 bits of Unix milliseconds, 80 random bits, in Crockford's base 32 (ULID specification)."""

import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_ulid(unix: float) -> str:
    """A ULID for the moment ``unix`` (Unix seconds)."""
    number = (max(0, int(unix * 1000)) & (1 << 48) - 1) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
