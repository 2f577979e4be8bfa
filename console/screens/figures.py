"""What a service's requests were like lately, in the cells of a row."""

from services.model.fleet import ServiceFigures
from widgets import glyphs
from widgets.charts.sparkline import spark
from widgets.format import age, milliseconds, percent
from widgets.ink import Line, Tone

FRESH = 45.0
"""Wall seconds up to which figures are those of now. Older ones are grey, and say how old they are where there is room."""
GONE = 300.0
"""…and from which on they are none."""
_DIGITS = 6
"""Cells of a latency; its trend begins beside it, one below the other in all rows."""
TREND = 8


def errors_cell(figures: ServiceFigures | None, limit: float) -> Line:
    """The share of failed requests; loud above ``limit``. What is not known is never a zero."""
    if figures is None or figures.errors is None or figures.age >= GONE:
        return ((glyphs.current().none, Tone.MUTED),)
    words = percent(figures.errors).replace("<0.", "<.")  # in the room of its column
    if figures.age >= FRESH:
        return ((words, Tone.MUTED),)
    over = figures.errors > limit
    return ((f"{words}{glyphs.current().warning}", Tone.BAD) if over else (words, Tone.TEXT),)


def latency_cell(figures: ServiceFigures | None, digits: int = _DIGITS) -> Line:
    """The P99 in ``digits`` cells, and how it was from look to look."""
    if figures is None or figures.p99 is None or figures.age >= GONE:
        return ((glyphs.current().none.rjust(digits), Tone.MUTED),)
    tone = Tone.MUTED if figures.age >= FRESH else Tone.TEXT
    # the trend is there to be compared with itself: colour is for what means something
    trend = tuple((signs, Tone.MUTED.value) for signs, _ in spark(figures.trend, TREND, top=_top(figures.trend)))
    return ((milliseconds(figures.p99).rjust(digits), tone), (" ", Tone.MUTED), *trend)


def _top(trend: tuple[float | None, ...]) -> float | None:
    """What the highest sign stands for: twice and a half the middle of what there is, so that what stays as it is stays low."""
    known = sorted(value for value in trend if value is not None)
    return max(known[-1], 2.5 * known[(len(known) - 1) // 2]) if known else None


def reason_words(figures: ServiceFigures | None) -> str:
    """Why figures are missing, or how old they are, where that has to be said."""
    if figures is None:
        return ""
    if figures.errors is None or figures.p99 is None:
        return figures.problem
    return f"errors and P99 {age(figures.age)} old" if figures.age >= FRESH else ""
