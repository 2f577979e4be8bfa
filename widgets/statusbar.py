"""The line at the top: where one is on the left, and on the right whether anything needs a person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from widgets import glyphs, ink
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the line. The highest ``priority`` number is left out first, of several the last; 0 stays.

    ``short``, where there is one, takes the place of ``text`` before anything of priority 5 or less is left out."""

    text: str
    tone: str = Tone.TEXT
    priority: int = 0
    short: str = ""


_DEAR = 5
"""Parts of this priority and below are shortened before they are left out."""


@dataclass(frozen=True, slots=True)
class _Parts:
    left: tuple[Part, ...]
    right: tuple[Part, ...]


def _line(parts: Sequence[Part]) -> Line:
    return ink.joined(
        (((part.text, part.tone),) for part in parts if part.text), (f" {glyphs.current().bullet} ", Tone.MUTED.value)
    )


def draw_status(left: Sequence[Part], right: Sequence[Part], width: int) -> Line:
    """The status line for ``width`` cells. Where there is room for one part only, it is the first on the left."""
    kept_left, kept_right = list(left), list(right)
    while _needed(kept_left, kept_right) > width:
        worst = max((*reversed(kept_right), *reversed(kept_left)), key=lambda part: part.priority, default=None)
        long = [index for index, part in enumerate(kept_left) if part.short and part.short != part.text]
        if long and (worst is None or worst.priority <= _DEAR):
            kept_left[long[-1]] = replace(kept_left[long[-1]], text=kept_left[long[-1]].short)
        elif worst is None or worst.priority == 0:
            break
        else:
            (kept_left if worst in kept_left else kept_right).remove(worst)
    if kept_left and _needed(kept_left, kept_right) > width:
        return ink.fill(_line(kept_left[:1]), width)
    return ink.spread(_line(kept_left), _line(kept_right), width)


def _needed(left: Sequence[Part], right: Sequence[Part]) -> int:
    """Cells that both halves take with the gap between them; a half that is empty needs none."""
    return ink.cells(_line(left)) + ink.cells(_line(right)) + 2 * bool(right)


class StatusBar(Drawn[_Parts]):
    """Shows the parts it is given; leaves out by priority on narrow terminals."""

    DEFAULT_CSS = "StatusBar { height: 1; background: $panel; padding: 0 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Parts((), ()), id=id, classes=classes)

    def show(self, left: Sequence[Part], right: Sequence[Part] = ()) -> None:
        self.replace(_Parts(tuple(left), tuple(right)))

    def draw(self, value: _Parts, width: int, height: int | None) -> Lines:
        return (draw_status(value.left, value.right, width),)
