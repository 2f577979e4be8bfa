"""What happened one after the other: over the list a ribbon to scale, in the list each moment with its time.

Where nothing happened for long, the ribbon is compressed and says so by its line; the list has the time that passed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Span, Tone
from widgets.lined import Lined

GAP = 5.0
"""Wall seconds without anything that get a line of their own in the list."""
_EVEN = 3.0
"""Times the usual distance between two moments from which on a distance is compressed on the ribbon."""
_TIME, _OFFSET = 8, 8
_NARROW = 60


@dataclass(frozen=True, slots=True)
class Mark:
    """One moment: ``at`` and ``until`` in Unix seconds (``None``: an instant). ``right`` stands at the right edge."""

    at: float
    sign: Span
    words: Line
    until: float | None = None
    right: Span = ("", Tone.MUTED)
    details: tuple[str, ...] = ()
    who: str = ""
    bar: str = ""
    """The tone of its bar on the ribbon; empty: it has none."""


@dataclass(frozen=True, slots=True)
class Ribbon:
    marks: tuple[Mark, ...] = ()


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


class _Scale:
    """From moments to cells. Long distances are compressed: each keeps its order and some of its length."""

    def __init__(self, moments: Sequence[float], width: int) -> None:
        self._moments = sorted(set(moments))
        steps = [later - sooner for sooner, later in zip(self._moments, self._moments[1:], strict=False)]
        usual = sorted(step for step in steps if step > 0)
        limit = max(1.0, _EVEN * usual[len(usual) // 2]) if usual else 1.0
        sizes = [step if step <= limit else limit * (1 + math.log(step / limit)) for step in steps]
        pairs = zip(self._moments, self._moments[1:], strict=False)
        self.compressed = [pair for pair, step in zip(pairs, steps, strict=True) if step > limit]
        total, gone = sum(sizes) or 1.0, 0.0
        self._places = [0.0]
        for size in sizes:
            gone += size
            self._places.append(gone / total * (width - 1))

    def cell(self, at: float) -> int:
        return round(self._places[self._moments.index(at)])


def draw_ribbon(marks: Sequence[Mark], width: int) -> Lines:
    """Bars for what took time, signs for what was a moment, and the times below."""
    if not marks or width < 20:
        return ()
    signs = glyphs.current()
    moments = [each for mark in marks for each in (mark.at, mark.until) if each is not None]
    scale = _Scale(moments, width)
    bars: list[Span] = [(signs.line, Tone.MUTED.value)] * width
    for sooner, later in scale.compressed:
        first, last = scale.cell(sooner), scale.cell(later)
        bars[first:last] = [(signs.limit, Tone.MUTED.value)] * (last - first)
    odd = False
    for mark in marks:
        if mark.bar and mark.until is not None:
            first, last = scale.cell(mark.at), scale.cell(mark.until)
            bars[first : last + 1] = [(signs.bar_full if odd else signs.levels[4], mark.bar)] * max(1, last - first + 1)
            odd = not odd
    for mark in marks:
        if not mark.bar:
            bars[scale.cell(mark.at)] = mark.sign
    return (_merged(bars[:width]), _times(scale, moments, width))


def _merged(spans: Sequence[Span]) -> Line:
    found: list[Span] = []
    for words, tone in spans:
        if found and found[-1][1] == tone:
            found[-1] = (found[-1][0] + words, tone)
        else:
            found.append((words, tone))
    return tuple(found)


def _times(scale: _Scale, moments: Sequence[float], width: int) -> Line:
    """Clock times under their cells, as many as have room; the last one always has."""
    last = max(moments)
    labels: list[tuple[int, str]] = []
    free, end = 0, width - _TIME
    for at in sorted(set(moments)):
        cell = scale.cell(at)
        if at != last and cell >= free and cell + _TIME + 2 <= end:
            labels.append((cell, clock(at)))
            free = cell + _TIME + 3
    labels.append((max(free and free - 1, end), clock(last)))
    line = ""
    for cell, words in labels:
        line = f"{line:<{cell}}{words}"
    return ((line[:width], Tone.MUTED),)


def draw_marks(marks: Sequence[Mark], width: int) -> Lines:
    """The moments as lines: time, time since the first, sign, words; what explains them below."""
    lines: list[Line] = []
    if not marks:
        return ()
    began = marks[0].at
    before: Mark | None = None
    reached = began
    for mark in marks:
        if before is None or _day(before.at) != _day(mark.at):
            lines.append(((datetime.fromtimestamp(mark.at, UTC).strftime("%Y-%m-%d UTC"), Tone.MUTED),))
        if mark.at - reached >= GAP:
            lines.append(_pause(mark.at - reached, width))
        lines += _mark(mark, mark.at - began, width)
        reached = max(reached, mark.at, mark.until or mark.at)
        before = mark
    return tuple(ink.fit(line, width) for line in lines)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d")


def _pause(seconds: float, width: int) -> Line:
    indent = " " * _indent(width)
    return ((f"{indent}{glyphs.current().axis} ", Tone.MUTED), (f"{figures.seconds(seconds)} nothing on record", Tone.MUTED))


def _indent(width: int) -> int:
    return _TIME + 1 + (_OFFSET + 1 if width >= _NARROW else 0)


def _mark(mark: Mark, offset: float, width: int) -> list[Line]:
    since = f"{f'+{figures.seconds(offset)}':>{_OFFSET}} " if width >= _NARROW else ""
    who = f"  {mark.who}" if mark.who else ""
    right: Line = ((mark.right[0], mark.right[1]), (who, Tone.MUTED.value)) if who or mark.right[0] else ()
    head: Line = ((f"{clock(mark.at)} {since}", Tone.MUTED), (f"{mark.sign[0]} ", mark.sign[1]))
    indent = " " * (_indent(width) + 2)
    room = max(10, width - len(indent))
    tail = ink.cells(right) + 1 if right else 0
    words = ink.plain(mark.words)
    tone = mark.words[0][1] if mark.words else Tone.TEXT
    if text.width(words) + tail <= room:
        lines = [ink.spread((*head, *mark.words), right, width)]
    else:
        # who and how long stand on the first line, whatever has to go below it
        first, *more = text.wrap(words, max(10, room - tail)) or [""]
        rest = " ".join(more)
        lines = [ink.spread((*head, (first, tone)), right, width)]
        lines += [((indent, Tone.MUTED), (part, tone)) for part in (text.wrap(rest, room) if rest else [])]
    for detail in mark.details:
        first, *more = text.wrap(detail, max(8, room - 2)) or [""]
        lines.append(((f"{indent}{glyphs.current().bullet} ", Tone.MUTED), (first, Tone.MUTED)))
        lines += [((f"{indent}  {part}", Tone.MUTED),) for part in more]
    return lines


class RibbonBar(Drawn[Ribbon]):
    """Shows the ribbon of a time line."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Ribbon(), id=id)

    def show(self, marks: Sequence[Mark]) -> None:
        self.replace(Ribbon(tuple(marks)))

    def draw(self, value: Ribbon, width: int, height: int | None) -> Lines:
        return draw_ribbon(value.marks, width)


class Timeline(Lined):
    """Shows the moments of a time line; scrolls."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._marks: tuple[Mark, ...] = ()
        self._empty = ""

    def show(self, marks: Sequence[Mark], empty: str = "") -> None:
        """Show ``marks``, which are in their order; ``empty`` is said where there are none."""
        if (tuple(marks), empty) != (self._marks, self._empty):
            self._marks, self._empty = tuple(marks), empty
            self._redraw()

    def on_mount(self) -> None:
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()
        super().on_resize()

    def _redraw(self) -> None:
        # a cell for the scrollbar, whether it is there or not: lines must not wrap anew because it came
        width = max(20, self.size.width - 1)
        self.put(draw_marks(self._marks, width) or (((self._empty, Tone.MUTED),),))
