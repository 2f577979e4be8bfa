"""How a value came to where it is, up to the limit that ends it, and where its rise began."""

from collections.abc import Sequence

from widgets import glyphs, ink, text
from widgets.charts.sparkline import spark
from widgets.ink import Line, Lines, Span, Tone


def draw_course(values: Sequence[float], width: int, limit: float, begin: int | None = None, words: str = "") -> Lines:
    """The newest ``width`` values as a line of cells whose full height is ``limit``; below, a pointer at the value ``begin``
    (negative: before those given) with ``words``. No second line without a beginning."""
    shown = values[-width:] if width > 0 else ()
    if not shown:
        return ()
    line = spark(shown, len(shown), limit=limit, top=limit)
    if begin is None:
        return (line,)
    return line, _pointer(begin - (len(values) - len(shown)), words, width)


def _pointer(at: int, words: str, width: int) -> Line:
    sign = glyphs.current().pointer
    if at < 0:
        return ink.fit(((f"{words}, before what is shown", Tone.WARN),), width)
    pointer: Span = (sign, Tone.WARN)
    needed = text.width(words) + 1
    if at >= width:
        return ink.fit(((words, Tone.WARN),), width)
    if at + 1 + needed <= width:
        return ink.fit(((" " * at, Tone.TEXT), pointer, (f" {words}", Tone.WARN)), width)
    if needed <= at:
        return ink.fit(((" " * (at - needed), Tone.TEXT), (f"{words} ", Tone.WARN), pointer), width)
    return ink.fit(((words, Tone.WARN),), width)
