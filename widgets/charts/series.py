"""Lines over time: the new version against the running one, with the limit, axes and a legend.

The first series is drawn solid and in front, the others dotted: they differ without colour too. In Unicode a cell holds 2 × 4
dots (braille); in ASCII each series has a letter.
"""

import itertools
from dataclasses import dataclass
from statistics import median

from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.charts.scale import top_of
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Span, Tone

_GUTTER = 8
_ASCII_MARKS = "*o+x"
_NATURAL_HEIGHT = 8
# dot positions inside a braille cell, by column and row (Unicode 10.0, chapter 21.1)
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800
_GAP_FACTOR = 3.5  # points this many usual distances apart are not joined: nothing was measured between them


@dataclass(frozen=True, slots=True)
class Series:
    """``points`` are ``(second, value)``, oldest first; a value of ``None`` is a look that brought nothing."""

    name: str
    points: tuple[tuple[float, float | None], ...]
    tone: str = Tone.CANARY


@dataclass(frozen=True, slots=True)
class Chart:
    """``unit`` as in ``format.reading``; ``now`` and ``span`` (seconds) fix the time axis, else the points do. ``mark`` is a
    second at which something began."""

    title: str
    series: tuple[Series, ...]
    unit: str = "share"
    limit: float | None = None
    now: float | None = None
    span: float | None = None
    mark: float | None = None


class _Canvas:
    """Dots of one series: a bit mask for each cell."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.masks = [[0] * width for _ in range(height)]

    def dot(self, x: int, y: int) -> None:
        """Set the dot ``x`` from the left and ``y`` from the bottom."""
        row = self.height - 1 - y // 4
        if 0 <= row < self.height and 0 <= x < self.width * 2:
            self.masks[row][x // 2] |= _DOTS[x % 2][3 - y % 4]

    def line(self, x0: int, y0: int, x1: int, y1: int, *, every: int) -> None:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x = x0 + (x1 - x0) * step // steps
            if x % every == 0:
                self.dot(x, round(y0 + (y1 - y0) * step / steps))


def _plot(series: Series, width: int, height: int, start: float, end: float, top: float, dotted: bool) -> _Canvas:
    canvas = _Canvas(width, height)
    across, up = width * 2 - 1, height * 4 - 1
    points = [point for point in series.points if start <= point[0] <= end]
    distances = [later[0] - earlier[0] for earlier, later in itertools.pairwise(points)]
    longest = median(distances) * _GAP_FACTOR if distances else 0.0
    before: tuple[float, int, int] | None = None
    for at, raw in points:
        value = figures.known(raw)
        if value is None:
            before = None
            continue
        x = round((at - start) / (end - start) * across)
        y = round(max(0.0, min(1.0, value / top if top > 0 else 0.0)) * up)
        if before is not None and at - before[0] <= longest:
            canvas.line(before[1], before[2], x, y, every=2 if dotted else 1)
        else:
            canvas.dot(x, y)
        before = (at, x, y)
    return canvas


def _sample(index: int) -> str:
    if glyphs.current() is glyphs.ASCII:
        return _ASCII_MARKS[index % len(_ASCII_MARKS)] * 2
    return "⠒⠒" if index == 0 else "⠂⠂"


def _legend(chart: Chart, top: float, width: int) -> Line:
    """Everything, or what there is room for: the limit has its line, and the figures stand elsewhere too."""
    whole = _parts(chart, top)
    without_limit = whole[: 1 + len(chart.series)]
    names = [(part[0],) for part in without_limit]
    for parts in (whole, without_limit, names):
        line = ink.joined(parts, ("  ", Tone.TEXT.value))
        if ink.cells(line) <= width:
            return line
    return ink.fit(line, width)


def _parts(chart: Chart, top: float) -> list[Line]:
    parts: list[Line] = [((chart.title, Tone.STRONG),)]
    for index, series in enumerate(chart.series):
        last = next((value for _, value in reversed(series.points[-1:])), None)
        parts.append(((f"{_sample(index)} {series.name} ", series.tone), (figures.reading(last, chart.unit), Tone.STRONG)))
    if chart.limit is not None:
        sign = glyphs.current().limit * 2
        above = " (above)" if chart.limit > top else ""
        parts.append(((f"{sign} limit {figures.reading(chart.limit, chart.unit)}{above}", Tone.BAD),))
    return parts


def draw_chart(chart: Chart, width: int, height: int) -> Lines:
    """The chart on ``height`` lines: legend, plot, time axis."""
    values = [
        value for series in chart.series for _, value in series.points if figures.known(value) is not None and value is not None
    ]
    times = [at for series in chart.series for at, _ in series.points]
    top = top_of(values, chart.limit)
    legend = _legend(chart, top, width)
    columns, rows = width - _GUTTER - 1, height - 2
    if rows < 1 or columns < 4:
        return (legend,)
    if not times:
        return (legend, *(((),) * (rows // 2)), ink.fit((("no data yet", Tone.MUTED),), width), *(((),) * (rows - rows // 2)))
    end = chart.now if chart.now is not None else max(times)
    start = end - chart.span if chart.span is not None else min(times)
    if end <= start:
        end = start + 1.0
    canvases = [_plot(series, columns, rows, start, end, top, dotted=index > 0) for index, series in enumerate(chart.series)]
    limit_row = None
    if chart.limit is not None and top > 0 and 0 <= chart.limit <= top:
        limit_row = rows - 1 - min(rows * 4 - 1, round(chart.limit / top * (rows * 4 - 1))) // 4
    mark = None
    if chart.mark is not None and start <= chart.mark <= end:
        mark = round((chart.mark - start) / (end - start) * (columns - 1))
    lines = [
        (*_label(chart, top, row, rows, limit_row), *_row(chart, canvases, row, columns, limit_row, mark)) for row in range(rows)
    ]
    return (legend, *lines, ink.fit(_time_axis(end - start, columns), width))


def _label(chart: Chart, top: float, row: int, rows: int, limit_row: int | None) -> Line:
    signs = glyphs.current()
    if row == limit_row:
        words, tone = figures.reading(chart.limit, chart.unit), Tone.BAD
    elif row == 0:
        words, tone = figures.reading(top, chart.unit), Tone.MUTED
    elif row == rows - 1:
        words, tone = "0", Tone.MUTED
    elif rows >= 7 and row == rows // 2:
        words, tone = figures.reading(top * (rows - 1 - row) / (rows - 1), chart.unit), Tone.MUTED
    else:
        return ((" " * _GUTTER + signs.axis, Tone.MUTED),)
    return ((text.pad(words, _GUTTER - 1, "right") + " ", tone), (signs.tick, Tone.MUTED))


def _row(chart: Chart, canvases: list[_Canvas], row: int, columns: int, limit_row: int | None, mark: int | None) -> Line:
    plain = glyphs.current() is glyphs.ASCII
    spans: list[Span] = []
    for column in range(columns):
        sign, tone = " ", Tone.TEXT.value
        for index, canvas in enumerate(canvases):
            if mask := canvas.masks[row][column]:
                sign = _ASCII_MARKS[index % len(_ASCII_MARKS)] if plain else chr(_BRAILLE + mask)
                tone = str(chart.series[index].tone)
                break
        else:
            if column == mark:
                sign, tone = glyphs.current().axis, Tone.WARN.value
            elif row == limit_row:
                sign, tone = glyphs.current().limit, Tone.BAD.value
        if spans and spans[-1][1] == tone:
            spans[-1] = (spans[-1][0] + sign, tone)
        else:
            spans.append((sign, tone))
    return tuple(spans)


def _time_axis(span: float, columns: int) -> Line:
    signs = glyphs.current()
    first, last = f"{figures.age(span)} ago ", " now"
    rule = signs.line * max(0, columns - len(first) - len(last))
    return ((" " * _GUTTER + signs.corner, Tone.MUTED), (first + rule + last, Tone.MUTED))


class SeriesChart(Drawn["Chart | None"]):
    """Shows one chart, as high as the widget; eight lines with ``height: auto``."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(None, id=id, classes=classes)

    def show(self, chart: Chart | None) -> None:
        self.replace(chart)

    def draw(self, value: Chart | None, width: int, height: int | None) -> Lines:
        if value is None:
            return ((("no data yet", Tone.MUTED),),)
        return draw_chart(value, width, _NATURAL_HEIGHT if height is None else height)
