"""A recorded canary: a JSON file of counts an interval, checked cell by cell. What is wrong is named by row and column."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.analysis.judge import ERRORS, LATENCY, Interval
from services.model.errors import Rejected

COLUMNS = ("canary_requests", "canary_errors", "canary_slow", "control_requests", "control_errors", "control_slow")
"""What every row must have, in any order. ``slow`` counts requests slower than the P99 before the deploy."""
MOST = 2.0**53
"""Counts above this are not exact, and no counter of requests gets there."""
INTERVALS = (0.001, 86_400.0)
"""Seconds an interval may have."""
_SHOWN = 60

Counts = Mapping[str, Interval]
"""One interval: the counts of each metric, by its name."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """``rows`` from the canary's first share of the requests on, one an interval. ``pre_rows``: an A/A split of the control
    before the deploy. ``slow_threshold`` is for information only: a number, or a text with its unit."""

    interval_s: float
    rows: tuple[Counts, ...]
    pre_rows: tuple[Counts, ...] | None = None
    slow_threshold: str = ""


def parse(body: bytes, name: str) -> Recording:
    """The recording in ``body``; ``name`` is the file's, for messages. Raises :class:`Rejected` with the row and the column.

    Keys and columns that are not known are ignored.
    """
    if not body.strip():
        raise Rejected(name, "", "is empty: there is nothing to judge", _FORM)
    try:
        document = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Rejected(name, _cut(body[:_SHOWN].decode("utf-8", "replace")), f"is not JSON ({error})", _FORM) from None
    if not isinstance(document, dict):
        raise Rejected(name, _cut(document), "is not an object", _FORM)
    for key in ("interval_s", "columns", "rows"):
        if key not in document:
            raise Rejected(f"{name}: {key}", "", "is missing", _FORM)
    interval_s = _number("interval_s", document["interval_s"])
    if not INTERVALS[0] <= interval_s <= INTERVALS[1]:
        raise Rejected("interval_s", _cut(document["interval_s"]), "is no length of an interval", "seconds, 0.001 to 86400")
    columns = _columns(document["columns"])
    rows = _rows("rows", document["rows"], columns)
    if not rows:
        raise Rejected("rows", "[]", "has no rows at all: there is nothing to judge", "one row for each interval")
    before = document.get("pre_rows")
    threshold = document.get("slow_threshold")
    return Recording(
        interval_s=interval_s,
        rows=rows,
        pre_rows=None if before is None else _rows("pre_rows", before, columns),
        slow_threshold=_cut(threshold, quoted=False) if isinstance(threshold, int | float | str) else "",
    )


_FORM = '{"interval_s": 10, "columns": [..], "rows": [[..]..], "pre_rows": null or [[..]..], "slow_threshold": ..}'


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the document. Which of two values under one key is meant, nobody can know."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Rejected(_cut(key, quoted=False), "", "is there more than once", "each key once")
        found[key] = value
    return found


def _columns(value: object) -> dict[str, int]:
    """The place of each column that is needed."""
    accepted = f"each of {', '.join(COLUMNS)}, in any order"
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Rejected("columns", _cut(value), "is not a list of names", accepted)
    rules = (
        ("has no", [column for column in COLUMNS if column not in value], ""),
        ("has the", [column for column in COLUMNS if value.count(column) > 1], " more than once"),
    )
    for what, columns, how in rules:
        if columns:
            rule = f"{what} column{'s' if len(columns) > 1 else ''} {', '.join(columns)}{how}"
            raise Rejected("columns", _cut(", ".join(value), quoted=False), rule, accepted)
    return {name: place for place, name in enumerate(value)}


def _rows(key: str, value: object, columns: Mapping[str, int]) -> tuple[Counts, ...]:
    if not isinstance(value, list):
        raise Rejected(key, _cut(value), "is not a list of rows", "one list of counts for each interval")
    return tuple(_row(f"{key}[{index}] (row {index + 1})", row, columns) for index, row in enumerate(value))


def _row(where: str, row: object, columns: Mapping[str, int]) -> Counts:
    names = sorted(columns, key=columns.__getitem__)
    accepted = f"{len(names)} cells, one for each column"
    if not isinstance(row, list):
        raise Rejected(where, _cut(row), "is not a list of counts", accepted)
    if len(row) < len(names):
        raise Rejected(f"{where}, column {names[len(row)]}", "", f"is missing: the row has {len(row)} cells", accepted)
    if len(row) > len(names):
        raise Rejected(f"{where}, after column {names[-1]}", _cut(row[len(names)]), f"one of {len(row)} cells too many", accepted)
    count = {column: _count(f"{where}, column {column}", row[columns[column]]) for column in COLUMNS}
    for arm in ("canary", "control"):
        for bad in ("errors", "slow"):
            if count[f"{arm}_{bad}"] > count[f"{arm}_requests"]:
                requests = f"{count[f'{arm}_requests']:.15g}"
                rule = f"is more than {arm}_requests, {requests}"
                raise Rejected(f"{where}, column {arm}_{bad}", f"{count[f'{arm}_{bad}']:.15g}", rule, f"0 to {requests}")
    n, m = count["canary_requests"], count["control_requests"]
    return {
        ERRORS.name: Interval(n, m, count["canary_errors"], count["control_errors"]),
        LATENCY.name: Interval(n, m, count["canary_slow"], count["control_slow"]),
    }


def _count(where: str, value: object) -> float:
    number = _number(where, value)
    if number < 0.0:
        raise Rejected(where, _cut(value), "is negative", "a count, 0 or more")
    if number > MOST:
        raise Rejected(where, _cut(value), "is more than can be counted", f"a count up to {MOST:.0f}")
    return number


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(where, _cut(value), "is not a number", "a number")
    if isinstance(value, int) and abs(value) > MOST:
        raise Rejected(where, _cut(value), "is more than can be counted", f"a number up to {MOST:.0f}")
    if not math.isfinite(value):
        raise Rejected(where, _cut(value), "is not a finite number", "a finite number")
    return float(value)


def _cut(value: Any, *, quoted: bool = True) -> str:
    """The beginning of ``value``: files may be hostile, and long."""
    if isinstance(value, str) and not quoted:
        text = value
    elif isinstance(value, Sequence | Mapping) and not isinstance(value, str):
        text = f"{type(value).__name__} of {len(value)}"
    else:
        text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
