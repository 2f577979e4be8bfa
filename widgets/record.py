"""A document as fields: their names aligned, their values beside them, wrapped under themselves. Nothing is cut."""

from dataclasses import dataclass

from widgets import text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone

_WIDEST = 20
_NARROW = 44
"""Below this many cells a long value stands under its name."""


@dataclass(frozen=True, slots=True)
class Field:
    """``indent`` is how deep it lies; without a ``name`` it is a line of its own."""

    name: str
    value: str
    tone: str = Tone.TEXT
    indent: int = 0


def draw_fields(fields: tuple[Field, ...], width: int) -> Lines:
    """The fields on lines of at most ``width`` cells."""
    widest = max((text.width(field.name) for field in fields if field.value and not field.indent), default=0)
    column = min(_WIDEST, widest) + 2
    lines: list[Line] = []
    for field in fields:
        lines += _field(field, column, width)
    return tuple(lines)


def _field(field: Field, column: int, width: int) -> list[Line]:
    indent = " " * min(2 * field.indent, max(0, width // 3))
    if not field.name:
        parts = text.wrap(field.value, max(8, width - len(indent)))
        return [((indent, Tone.MUTED), (part, field.tone)) for part in parts]
    name = f"{indent}{text.sanitize(field.name)}"
    if not field.value:
        return [((text.cut(name, width), Tone.MUTED),)]
    room = width - column
    # below the top the names are of any length: the value follows its name at once
    start = column if not field.indent else min(text.width(name) + 2, width // 2)
    if (room < _NARROW // 2 or text.width(name) >= start) and not field.indent:
        below = [((f"{indent}  ", Tone.MUTED), (part, field.tone)) for part in _wrapped(field.value, max(8, width - 2))]
        return [((text.cut(name, width), Tone.MUTED),), *below]
    first, *more = _wrapped(field.value, max(8, width - start))
    lines: list[Line] = [((text.pad(name, start), Tone.MUTED), (first, field.tone))]
    return [*lines, *(((" " * start, Tone.MUTED), (part, field.tone)) for part in more)]


def _wrapped(value: str, width: int) -> list[str]:
    """At blanks where there are some, so that it can be read; every character that is no blank is kept."""
    return [part for words in value.splitlines() or [""] for part in text.wrap(words, width)]


class Record(Drawn[tuple[Field, ...]]):
    """Shows fields."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__((), id=id)

    def show(self, *fields: Field) -> None:
        self.replace(fields)

    def draw(self, value: tuple[Field, ...], width: int, height: int | None) -> Lines:
        return draw_fields(value, width)
