"""Columns of a grid: what they ask for, and who gets how many cells on a terminal of a given width."""

from collections.abc import Sequence
from dataclasses import dataclass

from widgets.text import Align

GAP = 2
"""Blank cells between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """``width`` is what it needs at least; ``flex`` its part of the room left over (0: none). Where there is too little room the
    columns with the highest ``priority`` go first; 0 is never dropped. Before one of priority 3 or less goes, those with
    ``least`` make do with that, and leave out the beginnings in ``implied``: a person knows them."""

    id: str
    title: str
    width: int = 8
    flex: int = 0
    align: Align = "left"
    priority: int = 0
    least: int = 0
    implied: tuple[str, ...] = ()


_DEAR = 3
"""Columns of this priority and below are not dropped where others can make do with less."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A column that is shown: its index among the cells of a row, and its cells."""

    index: int
    column: Column
    width: int


def place(columns: Sequence[Column], room: int) -> tuple[Placed, ...]:
    """The columns that fit into ``room`` cells, left to right, with the widths they get; together never wider than ``room``."""
    kept = list(enumerate(columns))
    while len(kept) > 1 and _needed(kept) > room:
        worst = max(kept, key=lambda item: (item[1].priority, item[0]))
        if worst[1].priority == 0 or (worst[1].priority <= _DEAR and _needed(kept, least=True) <= room):
            break
        kept.remove(worst)
    widths = {index: column.width for index, column in kept}
    spare = room - _needed(kept)
    flexible = [(index, column.flex) for index, column in kept if column.flex]
    for position, (index, flex) in enumerate(flexible):
        if spare > 0:
            part = spare * flex // sum(weight for _, weight in flexible[position:])
            widths[index] += part
            spare -= part
    # what is missing is shared from the right: first by columns that make do with less, then by those that may not be dropped
    giving = [(index, column.least) for index, column in reversed(kept) if column.least]
    for index, least in (*giving, *((index, 3) for index, _ in reversed(kept))):
        if spare >= 0:
            break
        taken = min(-spare, widths[index] - min(widths[index], least))
        widths[index] -= taken
        spare += taken
    shown: list[Placed] = []
    used = 0
    for index, column in kept:
        width = min(widths[index], room - used)
        if width <= 0:
            break
        shown.append(Placed(index, column, width))
        used += width + GAP
    return tuple(shown)


def _needed(kept: Sequence[tuple[int, Column]], *, least: bool = False) -> int:
    return sum(column.least or column.width if least else column.width for _, column in kept) + GAP * max(0, len(kept) - 1)
