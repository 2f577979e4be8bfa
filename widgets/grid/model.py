"""Rows of a grid: pure values, kept by key, filtered, sorted and compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from widgets import ink
from widgets.ink import Line, Span, Tone

Cell = str | Span | Line


@dataclass(frozen=True)
class Row:
    """One object. ``key`` names it for good; ``sort`` holds a value for each column to sort by (else the cell's text)."""

    key: str
    cells: tuple[Cell, ...]
    sort: tuple[Any, ...] = ()

    @cached_property
    def search(self) -> str:
        """What a filter looks at: the key and every cell's text."""
        return "\n".join((self.key, *(ink.plain(as_line(cell)) for cell in self.cells))).casefold()

    def sort_value(self, index: int) -> Any:
        """The value that decides the row's place when sorted by column ``index``."""
        if index < len(self.sort):
            return self.sort[index]
        return ink.plain(as_line(self.cells[index])).casefold() if index < len(self.cells) else None


def as_line(cell: Cell) -> Line:
    """A cell in any of its three forms as a line: plain text, ``(text, tone)``, or a line."""
    if isinstance(cell, str):
        return ((cell, Tone.TEXT.value),)
    if len(cell) == 2 and isinstance(cell[0], str) and isinstance(cell[1], str):
        return ((cell[0], cell[1]),)
    return tuple(span for span in cell if not isinstance(span, str))


def by_key(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by their key, in order.

    Raises:
        ValueError: two rows have the same key: a selection could not tell them apart.
    """
    found: dict[str, Row] = {}
    for row in rows:
        if row.key in found:
            raise ValueError(f"two rows of one grid have the key {row.key!r}")
        found[row.key] = row
    return found


def _rank(value: Any) -> tuple[int, Any]:
    """Values of different kinds side by side: numbers, then text, then what is not known."""
    if value is None:
        return (2, 0)
    if isinstance(value, (int, float)):
        return (2, 0) if value != value else (0, value)
    return (1, str(value))


def arrange(rows: Mapping[str, Row], *, search: str = "", sort: int | None = None, reverse: bool = False) -> tuple[str, ...]:
    """The keys that are shown, in order. Every word of ``search`` must occur. Unknown values come last either way round, and
    equal ones keep the order they were given in."""
    words = search.casefold().split()
    shown = [row for row in rows.values() if all(word in row.search for word in words)]
    if sort is not None:
        ranks = {row.key: _rank(row.sort_value(sort)) for row in shown}
        unknown = [row for row in shown if ranks[row.key][0] == 2]
        known = [row for row in shown if ranks[row.key][0] != 2]
        known.sort(key=lambda row: ranks[row.key], reverse=reverse)
        shown = [*known, *unknown]
    return tuple(row.key for row in shown)


@dataclass(frozen=True, slots=True)
class Diff:
    """What became different between two pictures: the keys whose row is another one, and whether lines moved."""

    changed: frozenset[str]
    moved: bool

    def __bool__(self) -> bool:
        return self.moved or bool(self.changed)


def diff(old: Mapping[str, Row], old_shown: Sequence[str], new: Mapping[str, Row], new_shown: Sequence[str]) -> Diff:
    """Compare two pictures of a grid; only rows that are shown count."""
    if old_shown != new_shown:
        return Diff(frozenset(), True)
    return Diff(frozenset(key for key in new_shown if old[key] is not new[key] and old[key] != new[key]), False)
