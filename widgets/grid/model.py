"""Rows of a grid: pure values, kept by key, filtered and compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from widgets import ink
from widgets.grid.terms import Filter
from widgets.ink import Line, Span, Tone

Cell = str | Span | Line

SEARCHED = 4096
"""Characters of a row at which a pattern looks: somebody else's text may be of any length."""
_FAULTS = frozenset({Tone.BAD.value, Tone.WARN.value, Tone.ALARM.value})


@dataclass(frozen=True)
class Row:
    """One object. ``key`` names it for good."""

    key: str
    cells: tuple[Cell, ...]
    unsure: bool = False
    """What it shows may be wrong by now: nobody can say that nothing is wrong with the object."""

    @cached_property
    def text(self) -> str:
        """What a pattern looks at: the key and every cell's text, a line each."""
        return "\n".join((self.key, *(ink.plain(as_line(cell)) for cell in self.cells)))[:SEARCHED]

    @cached_property
    def search(self) -> str:
        """What the words of a filter are looked for in."""
        return "\n".join((self.key, *(ink.plain(as_line(cell)) for cell in self.cells))).casefold()

    @cached_property
    def faulty(self) -> bool:
        """Whether anything in it is told as bad or as worth a look, or nobody can say that nothing is."""
        return self.unsure or any(tone in _FAULTS for cell in self.cells for _, tone in as_line(cell))


def as_line(cell: Cell) -> Line:
    """A cell in any of its three forms as a line: plain text, ``(text, tone)``, or a line."""
    if isinstance(cell, str):
        return ((cell, Tone.TEXT.value),)
    if len(cell) == 2 and isinstance(cell[0], str) and isinstance(cell[1], str):
        return ((cell[0], cell[1]),)
    return tuple(span for span in cell if not isinstance(span, str))


def without(line: Line, beginnings: Sequence[str]) -> Line:
    """A line without whichever of ``beginnings`` it begins with."""
    if not line:
        return line
    (text, tone), *others = line
    found = next((beginning for beginning in beginnings if text.startswith(beginning)), "")
    return ((text[len(found) :], tone), *others)


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


def arrange(rows: Iterable[Row], wanted: Filter, *, faults: bool = False) -> list[Row]:
    """The rows in which every word of ``wanted`` holds, in the order they were given in; with ``faults`` only faulty ones.
    Patterns are not looked at: they take time, see :mod:`widgets.grid.view`."""
    if not wanted.words and not faults:
        return list(rows)
    return [row for row in rows if (row.faulty or not faults) and wanted.has_words(row.search)]


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
