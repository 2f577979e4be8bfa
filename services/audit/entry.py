"""From an event to the entry that is stored: redacted, bounded, always valid JSON."""

import hashlib
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from services.audit.event import Event, Receipt
from services.audit.line import FORMAT, chain, encode, line
from services.audit.ulid import new_ulid
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

SEALED_EVENT = "journal.sealed"
ACKNOWLEDGED_EVENT = "journal.acknowledged"
MAX_ENTRY = 64 * 1024
"""Bytes of an entry's JSON."""
MAX_STRING = 16 * 1024
"""Bytes of one string within an entry."""
MAX_DEPTH = 32
_MAX_INT = 2**63
_MAX_ITEMS = 20_000
_WORTH_CUTTING = 1024
_ROOM = 1024
"""Left for the sequence number and what else is added when the entry gets its place."""


class Draft(msgspec.Struct, kw_only=True):
    """An entry that has everything but its place in the chain."""

    id: str
    timestamp: str
    fields: dict[str, Json]
    late: bool = False

    encoded: bytes = b""
    """``fields`` as JSON, made once: the entry is put together from bytes when its place is known."""

    def body(self, seq: int) -> bytes:
        rest = self.encoded or encode(self.fields)
        late = b',"late":true}' if self.late else b"}"
        # Both are written by ourselves and need no escapes; the rest is the object of the fields without its opening brace.
        start = f'{{"v":{FORMAT},"seq":{seq},"id":"{self.id}","timestamp":"{self.timestamp}",'
        return start.encode("ascii") + rest[1:-1] + late


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When something was handed in (UTC); it may be written later."""

    now: datetime
    monotonic: float

    @classmethod
    def of(cls, clock: Clock) -> "Moment":
        return cls(clock.now(), clock.monotonic())

    @property
    def stamp(self) -> str:
        return self.now.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def placed(drafts: Sequence[Draft], seq: int, hash_: str) -> tuple[bytes, list[Receipt]]:
    """The lines of ``drafts`` after the entry ``seq`` with ``hash_``, and the receipts for when they are on the disk."""
    content, receipts = [], []
    for made in drafts:
        seq += 1
        body = made.body(seq)
        hash_ = chain(hash_, body)
        content.append(line(hash_, body))
        receipts.append(Receipt(seq=seq, id=made.id, hash=hash_, ts=made.timestamp))
    return b"".join(content), receipts


def draft(event: Event, moment: Moment, *, redactor: Redactor, program: str) -> Draft:
    """``event`` as it will be stored. Never raises for anything an event can hold."""
    bounded = _Bounds()
    values: dict[str, Json] = msgspec.structs.asdict(event)
    # Of most entries most fields are empty: nothing in them has to be bounded or redacted.
    told: dict[str, Json] = {}
    for name, value in values.items():
        if value:
            told[name] = value if type(value) is str and value.isascii() else bounded.plain(value, 0)
        elif type(value) is tuple:
            values[name] = []
    redacted, rules = redactor.value(told)
    values.update(redacted)
    own: dict[str, Json] = {
        "redacted": list(rules),
        "mono": round(moment.monotonic, 6),
        "boot": boot_id(),
        "prog": {"name": program, "version": program_version(), "host": host(), "pid": os.getpid()},
    }
    fields = {**values, **own}
    encoded = encode(fields)
    made = Draft(id=new_ulid(moment.now.timestamp()), timestamp=moment.stamp, fields=fields, encoded=encoded)
    if len(encoded) > MAX_STRING:
        # Only then can a string in it be too long, or all of it.
        made.fields = {**bounded.cut(values), **own}
        if bounded.truncated:
            made.fields["truncated"] = bounded.truncated
        made.encoded = b""
        _shrink(made)
        made.encoded = encode(made.fields)
    return made


class _Bounds:
    """Two passes: first to plain JSON values (before redaction), then strings to their largest size (after it)."""

    def __init__(self) -> None:
        self.truncated: dict[str, Json] = {}
        self._items = 0

    def plain(self, value: Any, depth: int) -> Json:
        self._items += 1
        if depth > MAX_DEPTH or self._items > _MAX_ITEMS:
            return "[cut: nested too deep]" if depth > MAX_DEPTH else "[cut: too many values]"
        kind = type(value)
        if kind is str and value.isascii():
            return value  # by far the most there is
        if kind is dict:
            return {
                key
                if type(key) is str and key.isascii()
                else self.plain(key if isinstance(key, str) else str(key), depth): self.plain(part, depth + 1)
                for key, part in value.items()
            }
        if kind is int and -_MAX_INT <= value < _MAX_INT:
            return value
        if isinstance(value, Enum):
            return self.plain(value.value, depth)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            # A lone surrogate has no UTF-8 form; it is written as the escape a programmer would write.
            return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
        if isinstance(value, int):
            return value if -_MAX_INT <= value < _MAX_INT else _large(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return {
                self.plain(key if isinstance(key, str) else str(key), depth): self.plain(part, depth + 1)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(part, depth + 1) for part in value]
        if isinstance(value, msgspec.Struct):
            return {name: self.plain(getattr(value, name), depth + 1) for name in value.__struct_fields__}
        return self.plain(value.isoformat() if hasattr(value, "isoformat") else repr(value), depth)

    def cut(self, value: Json, path: str = "") -> Any:
        if isinstance(value, str):
            return self._cut_string(value, path)
        if isinstance(value, dict):
            return {self._cut_string(key, f"{path}/…"): self.cut(part, f"{path}/{key[:64]}") for key, part in value.items()}
        if isinstance(value, list):
            return [self.cut(part, f"{path}/{index}") for index, part in enumerate(value)]
        return value

    def _cut_string(self, value: str, path: str) -> str:
        if len(value) <= MAX_STRING // 4 or len(raw := value.encode("utf-8")) <= MAX_STRING:
            return value
        self.truncated[path[:256]] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        return raw[: MAX_STRING - 16].decode("utf-8", "ignore") + "…[truncated]"


def _large(value: int) -> str:
    # Python refuses to print integers of more than 4,300 digits; beyond 64 bits their size is all anybody needs.
    return str(value) if value.bit_length() < 4096 else f"[cut: integer of {value.bit_length()} bits]"


def _shrink(made: Draft) -> None:
    """Replace the largest values by what they were (bytes, SHA-256) until the entry fits."""
    while (over := len(made.body(0)) - (MAX_ENTRY - _ROOM)) > 0:
        for holder, name, raw in _largest_first(made.fields):
            facts = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
            textual = isinstance(holder[name], str) and holder is made.fields
            holder[name] = f"[truncated: {facts['bytes']} bytes, sha256 {facts['sha256']}]" if textual else {"truncated": facts}
            over -= len(raw) - len(encode(holder[name]))
            if over <= 0:
                break


def _largest_first(fields: dict[str, Json]) -> list[tuple[dict[str, Json], str, bytes]]:
    """What can be replaced: the fields of the entry, and the parts of its data where there are large ones among them."""
    data = fields["data"]
    found = [(fields, name, encode(value)) for name, value in fields.items() if name != "data"]
    if isinstance(data, dict) and set(data) != {"truncated"}:
        parts = [(data, name, raw) for name, value in data.items() if len(raw := encode(value)) > _WORTH_CUTTING]
        # Many small parts: none of them is worth cutting alone.
        found += parts or [(fields, "data", encode(data))]
    return sorted(found, key=lambda item: -len(item[2]))


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The kernel's id of this boot: monotonic times are comparable within one. Empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@lru_cache(maxsize=1)
def host() -> str:
    return platform.node()


@lru_cache(maxsize=1)
def program_version() -> str:
    try:
        return version("quarterdeck")
    except PackageNotFoundError:
        return "0"
