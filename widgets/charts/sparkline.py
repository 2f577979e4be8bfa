"""A trend in one line of cells: eight levels, holes where nothing was measured, another sign where the limit is passed."""

from collections.abc import Sequence

from widgets import format as figures
from widgets import glyphs
from widgets.ink import Line, Span, Tone


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
