"""Rows of a grid: pure values, kept by key, filtered and compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from widgets import ink
from widgets.ink import Line, Span, Tone

Cell = str | Span | Line


@dataclass(frozen=True)
class Row:
    """One object. ``key`` names it for good."""

    key: str
    cells: tuple[Cell, ...]

    @cached_property
    def search(self) -> str:
        """What a filter looks at: the key and every cell's text."""
        return "\n".join((self.key, *(ink.plain(as_line(cell)) for cell in self.cells))).casefold()


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


def arrange(rows: Mapping[str, Row], search: str = "") -> tuple[str, ...]:
    """The keys that are shown, in the order the rows were given in. Every word of ``search`` must occur."""
    words = search.casefold().split()
    return tuple(row.key for row in rows.values() if all(word in row.search for word in words))


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
