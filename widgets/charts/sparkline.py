"""A trend in one line of cells: eight levels, holes where nothing was measured, another sign where the limit is passed."""

from collections.abc import Sequence
from dataclasses import dataclass

from widgets import format as figures
from widgets import glyphs
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Span, Tone


@dataclass(frozen=True, slots=True)
class Trend:
    """Values at equal distances, the newest last; ``None`` where there was none. ``top`` fixes the scale's upper end."""

    values: tuple[float | None, ...]
    limit: float | None = None
    top: float | None = None


def spark(values: Sequence[float | None], width: int, limit: float | None = None, top: float | None = None) -> Line:
    """The newest ``width`` values as cells, the newest at the right edge. The scale begins at zero and reaches ``top``, or else
    the highest value shown. A value over ``limit`` is drawn as a sign of its own in alarm, whatever the scale."""
    signs = glyphs.current()
    shown = [figures.known(value) for value in values[-width:]] if width > 0 else []
    known = [value for value in shown if value is not None]
    highest = top if top is not None else max(known, default=0.0)
    spans: list[Span] = [(" " * (width - len(shown)), Tone.MUTED)]
    for value in shown:
        if value is None:
            sign, tone = signs.gap, Tone.MUTED
        elif limit is not None and value > limit:
            sign, tone = signs.over, Tone.BAD
        else:
            share = value / highest if highest > 0 else 0.0
            sign, tone = signs.levels[max(0, min(7, int(share * 7.999)))], Tone.ACCENT
        if spans[-1][1] == tone:
            spans[-1] = (spans[-1][0] + sign, tone)
        else:
            spans.append((sign, tone))
    return tuple(spans)


class Sparkline(Drawn[Trend]):
    """Shows one trend on one line."""

    DEFAULT_CSS = "Sparkline { height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(Trend(()), id=id, classes=classes)

    def show(self, trend: Trend) -> None:
        self.replace(trend)

    def draw(self, value: Trend, width: int, height: int | None) -> Lines:
        return (spark(value.values, width, value.limit, value.top),)
