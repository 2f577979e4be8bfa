"""The line at the top: where one is on the left, and on the right whether anything needs a person."""

from collections.abc import Sequence
from dataclasses import dataclass

from widgets import glyphs, ink
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the line. The highest ``priority`` number is left out first, of several the last; 0 stays."""

    text: str
    tone: str = Tone.TEXT
    priority: int = 0


@dataclass(frozen=True, slots=True)
class _Parts:
    left: tuple[Part, ...]
    right: tuple[Part, ...]


def _line(parts: Sequence[Part]) -> Line:
    return ink.joined(
        (((part.text, part.tone),) for part in parts if part.text), (f" {glyphs.current().bullet} ", Tone.MUTED.value)
    )


def draw_status(left: Sequence[Part], right: Sequence[Part], width: int) -> Line:
    """The status line for ``width`` cells."""
    kept_left, kept_right = list(left), list(right)
    while ink.cells(_line(kept_left)) + ink.cells(_line(kept_right)) + 2 > width:
        worst = max((*reversed(kept_right), *reversed(kept_left)), key=lambda part: part.priority, default=None)
        if worst is None or worst.priority == 0:
            break
        (kept_left if worst in kept_left else kept_right).remove(worst)
    return ink.spread(_line(kept_left), _line(kept_right), width)


class StatusBar(Drawn[_Parts]):
    """Shows the parts it is given; leaves out by priority on narrow terminals."""

    DEFAULT_CSS = "StatusBar { height: 1; background: $panel; padding: 0 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Parts((), ()), id=id, classes=classes)

    def show(self, left: Sequence[Part], right: Sequence[Part] = ()) -> None:
        self.replace(_Parts(tuple(left), tuple(right)))

    def draw(self, value: _Parts, width: int, height: int | None) -> Lines:
        return (draw_status(value.left, value.right, width),)
