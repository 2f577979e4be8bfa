"""A ratio on a logarithmic axis: where it is, between which limits, and where what is tolerated ends."""

import math
from dataclasses import dataclass
from itertools import groupby

from widgets import glyphs, ink
from widgets.format import known
from widgets.ink import Line, Tone

_REACHES = (10.0, 100.0, 1000.0)
"""The axis goes from one of these down to its inverse: as long as possible the same, so that it does not jump about."""
_LEAST = 24


@dataclass(frozen=True, slots=True)
class Ratio:
    """``value`` times as much, with limits; ``None``: no value where there is nothing to compare with, no upper limit. Up to
    ``tolerated`` times as much is put up with."""

    value: float | None
    low: float
    high: float | None
    tolerated: float


def tone_of(ratio: Ratio) -> str:
    """Bad where even the lower limit is more than what is tolerated, good where even the upper one is less."""
    if ratio.low > ratio.tolerated:
        return Tone.BAD
    if ratio.high is not None and ratio.high <= ratio.tolerated:
        return Tone.GOOD
    return Tone.WARN if ratio.value is not None and ratio.value > ratio.tolerated else Tone.TEXT


def draw_ratio(ratio: Ratio, width: int) -> Line:
    """The axis with its ends named, the limits as a bar, the value on it, a line at 1 and a mark at what is tolerated. What lies
    beyond an end runs up to it. Nothing where there is no room for it."""
    value, high = known(ratio.value), known(ratio.high)
    low = known(ratio.low) or 0.0
    furthest = max(abs(math.log10(each)) for each in (1.0, ratio.tolerated, value) if each and each > 0)
    reach = next((each for each in _REACHES if math.log10(each) > furthest), _REACHES[-1])
    left, right = f"{1 / reach:g} ", f" {reach:g}"
    room = width - len(left) - len(right)
    if room + len(left) + len(right) < _LEAST:
        return ()

    def cell(number: float) -> int:
        share = (math.log10(number) / math.log10(reach) + 1.0) / 2.0 if number > 0 else 0.0
        return max(0, min(room - 1, round(share * (room - 1))))

    signs = glyphs.current()
    start, end = cell(low), cell(high) if high is not None else room - 1
    drawn = [(signs.span, tone_of(ratio)) if start <= each <= end else (signs.line, Tone.MUTED) for each in range(room)]
    drawn[cell(1.0)] = (signs.axis, drawn[cell(1.0)][1])
    drawn[cell(ratio.tolerated)] = (signs.mark, Tone.ACCENT)
    if value is not None:
        drawn[cell(value)] = (signs.point, Tone.STRONG)
    runs = tuple(("".join(sign for sign, _ in run), tone) for tone, run in groupby(drawn, key=lambda each: each[1]))
    return ink.fit(((left, Tone.MUTED), *runs, (right, Tone.MUTED)), width)
