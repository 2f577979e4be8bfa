"""How much of something there is, of all that it takes: a bar of cells."""

import math
from collections.abc import Sequence

from widgets import glyphs
from widgets.format import known
from widgets.ink import Line, Tone


def gauge(value: float | None, width: int, tone: str = Tone.ACCENT, marks: Sequence[float] = ()) -> Line:
    """``value`` of 100 as a bar of ``width`` cells. Anything above 0 shows, and only 100 fills it. ``marks`` are values to be
    seen in the empty part: from there on something else is the case. An unknown value has no bar."""
    signs = glyphs.current()
    number = known(value)
    if width <= 0:
        return ()
    if number is None:
        return ((signs.gap * width, Tone.MUTED),)
    share = max(0.0, min(100.0, number)) / 100.0
    full = width if share >= 1.0 else min(width - 1, math.ceil(share * width)) if share > 0 else 0
    at = {min(width - 1, round(mark / 100.0 * width)) for mark in marks}
    empty = "".join(signs.axis if cell in at else signs.bar_empty for cell in range(full, width))
    return tuple(span for span in ((signs.bar_full * full, tone), (empty, Tone.MUTED)) if span[0])
