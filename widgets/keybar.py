"""The keys that work now, on one or two lines at the foot of the screen; disabled ones stay visible, with their reason.

Drawn cell by cell in one widget, with nothing mounted or unmounted as focus moves: the stock footer leaks on every focus change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from textual import events
from textual.message import Message

from widgets import ink
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone

_GAP = 2
_DEAR = 45


@dataclass(frozen=True, slots=True)
class Key:
    """``key`` as it is pressed, ``label`` what it does; ``reason`` why it does not work now. The highest ``priority`` number is
    left out first where there is no room; 0 is left out last."""

    key: str
    label: str
    enabled: bool = True
    reason: str = ""
    priority: int = 0
    id: str = ""
    whole: str = ""
    """A longer label, where there is room for it: it gives way before keys of priority 45 and less do."""


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: tuple[Key, ...]
    lines: int


def key_line(key: Key, reasons: bool = True) -> Line:
    """One key with its label. What does not work stands in parentheses, so that it shows without colour too."""
    if key.enabled:
        return ((key.key, Tone.ACCENT), (f" {key.label}", Tone.TEXT))
    reason = f": {key.reason}" if reasons and key.reason else ""
    return ((f"({key.key} {key.label}{reason})", Tone.MUTED),)


def arrange_keys(keys: Sequence[Key], width: int, lines: int) -> tuple[tuple[Key, ...], ...]:
    """Which keys go on which line, with their labels as they fit. Keeps their order; leaves out by priority until all fit."""
    long = [replace(key, label=key.whole) if key.whole else key for key in keys]
    if long != list(keys) and all(ink.cells(key_line(key, reasons=False)) <= width for key in long):
        placed, least = _fitting(long, width, lines)
        if least > _DEAR:
            return placed
    return _fitting(keys, width, lines)[0]


def _fitting(keys: Sequence[Key], width: int, lines: int) -> tuple[tuple[tuple[Key, ...], ...], float]:
    """The keys that fit, on their lines, and the dearest priority that had to be left out (infinite where none had to)."""
    kept, least = list(keys), math.inf
    while True:
        placed = _flow(kept, width)
        if len(placed) <= lines or not kept:
            return placed, least
        worst = max(reversed(kept), key=lambda key: key.priority)
        kept.remove(worst)
        least = min(least, worst.priority)


def _flow(keys: Sequence[Key], width: int) -> tuple[tuple[Key, ...], ...]:
    placed: list[tuple[Key, ...]] = []
    line: list[Key] = []
    used = 0
    for key in keys:
        needed = ink.cells(key_line(key, reasons=False))
        if line and used + _GAP + needed > width:
            placed.append(tuple(line))
            line, used = [], 0
        used += needed + (_GAP if line else 0)
        line.append(key)
    return (*placed, tuple(line)) if line else tuple(placed)


def draw_keys(keys: Sequence[Key], width: int, lines: int) -> Lines:
    """The key bar as lines. Reasons are added as long as the line has room for them."""
    drawn: list[Line] = []
    for placed in arrange_keys(keys, width, lines):
        drawn.append(tuple(span for item, gap in _with_reasons(placed, width) for span in (*item, (" " * gap, Tone.TEXT.value))))
    return tuple(drawn)


def _with_reasons(keys: Sequence[Key], width: int) -> list[tuple[Line, int]]:
    items = [key_line(key, reasons=False) for key in keys]
    spare = width - sum(ink.cells(item) for item in items) - _GAP * (len(items) - 1)
    for index, key in enumerate(keys):
        longer = key_line(key)
        extra = ink.cells(longer) - ink.cells(items[index])
        if extra <= spare:
            items[index] = longer
            spare -= extra
    return [(item, _GAP if index < len(items) - 1 else 0) for index, item in enumerate(items)]


class KeyBar(Drawn[_Keys]):
    """Shows the keys it is given. A click on one that works is told as :class:`Clicked`."""

    DEFAULT_CSS = "KeyBar { height: auto; background: $panel; padding: 0 1; }"

    @dataclass
    class Clicked(Message):
        bar: "KeyBar"
        key: Key

        @property
        def control(self) -> "KeyBar":
            return self.bar

    def __init__(self, keys: Sequence[Key] = (), *, lines: int = 1, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Keys(tuple(keys), lines), id=id, classes=classes)

    def show(self, keys: Sequence[Key], *, lines: int | None = None) -> None:
        """Show these keys, on at most ``lines`` lines (as before where not given)."""
        self.replace(_Keys(tuple(keys), self.value.lines if lines is None else lines))

    def draw(self, value: _Keys, width: int, height: int | None) -> Lines:
        return draw_keys(value.keys, width, value.lines) or ((),)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        placed = arrange_keys(self.value.keys, self.content_size.width, self.value.lines)
        if offset.y >= len(placed):
            return
        start = 0
        for key, (item, gap) in zip(placed[offset.y], _with_reasons(placed[offset.y], self.content_size.width), strict=True):
            if start <= offset.x < start + ink.cells(item) and key.enabled:
                self.post_message(self.Clicked(self, key))
                return
            start += ink.cells(item) + gap
