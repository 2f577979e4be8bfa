"""Signed checkpoints, wherever they stand: C2SP ``tlog-checkpoint`` in a ``signed-note``, Ed25519."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_BASE64 = "[A-Za-z0-9+/]"
_NOTE = re.compile(
    rf"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>[0-9]{{1,15}})\n(?P<root>{_BASE64}{{43}}=)\nat (?P<at>[0-9TZ:.-]{{20,30}})\n)"
    rf"\n— (?P<signer>[^\s+]+) (?P<signature>{_BASE64}{{91}}=)\n"
)
_KEY = re.compile(rf"([^\s+]+)\+([0-9a-f]{{8}})\+({_BASE64}{{44}})")


@dataclass(frozen=True, slots=True)
class Note:
    """What a checkpoint says: how many entries, the hash of the last, when. ``wrong``: the kind of what is wrong with it."""

    size: int
    root: str
    at: str
    wrong: str


def read(note: str, key: str) -> Note | None:
    """``None`` where it is not of the form."""
    made = _NOTE.fullmatch(note)
    if made is None or not (_one_form(made["root"]) and _one_form(made["signature"])):
        return None
    return Note(int(made["size"]), b64decode(made["root"]).hex(), made["at"], _wrong(made, key))


def line(note: str) -> bytes:
    """``note`` as it stands in ``checkpoints``, without the line feed: there is one form, so that no bit of it may change."""
    return b'{"note":' + json.dumps(note, ensure_ascii=False).encode() + b"}"


def is_key(text: str) -> bool:
    return (made := _KEY.fullmatch(text)) is not None and _one_form(made[3])


def said(kind: str) -> str:
    return "is not signed by the key" if kind == "other-key" else "has a signature that does not hold"


def _one_form(encoded: str) -> bool:
    """Base64 leaves bits of its last character unused: they are 0."""
    return b64encode(b64decode(encoded)).decode() == encoded


def _wrong(made: "re.Match[str]", known: str) -> str:
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
