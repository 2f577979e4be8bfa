"""Entries as other programs take them: one JSON document a line, or a table for a spreadsheet.

A spreadsheet takes a cell that begins with one of a few signs for a formula, and runs it. What an entry holds is anybody's text:
such a cell gets an apostrophe before it (OWASP, CSV Injection).
"""

import csv
import io
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

COLUMNS = (
    "seq", "timestamp", "event", "phase", "outcome", "user", "environment", "service", "version", "command", "change_ticket",
    "approvers", "rollback_triggered", "duration_seconds", "rollout", "id", "ref", "data",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_INERT = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")
"""Control characters but tab and line ends: a terminal that shows the file must not act on it."""


class Form(StrEnum):
    JSONL = "jsonl"
    """As stored, a line each."""
    CSV = "csv"
    """The fields of every entry, and ``data`` as JSON. RFC 4180, UTF-8."""


def head(form: Form) -> bytes:
    """What stands before the first entry."""
    return _rows([COLUMNS]) if form is Form.CSV else b""


def lines(entries: Iterable[Mapping[str, Any]], form: Form) -> bytes:
    """``entries`` in their order, each with its line end."""
    if form is Form.CSV:
        return _rows([_cell(entry.get(name)) for name in COLUMNS] for entry in entries)
    return b"".join(_line(entry) for entry in entries)


def _line(entry: Mapping[str, Any]) -> bytes:
    raw = msgspec.json.encode(entry)
    if raw.isascii() and b"\x7f" not in raw:
        return raw + b"\n"
    text = raw.decode()
    escaped = (f"\\u{ord(each):04x}" if "\x7f" <= each <= "\x9f" or each in "\u2028\u2029" else each for each in text)
    return "".join(escaped).encode() + b"\n"


def _rows(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)  # a number with a sign is no formula
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = text.translate(_INERT)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
