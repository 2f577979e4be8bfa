"""Axes: round upper ends, and where a value lies."""

import math
from collections.abc import Sequence

_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
LIMIT_REACH = 3.0
"""A limit up to this many times the highest value is drawn; one further away would press the lines flat, and is only named."""


def round_up(value: float) -> float:
    """The next round number: 0.0021 → 0.0025, 48 → 50. 1 for nothing at all."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next((step * size for step in _STEPS if step * size >= value * 0.999999), 10 * size)


def top_of(values: Sequence[float], limit: float | None) -> float:
    """The upper end of an axis from zero that holds all ``values``, and ``limit`` where it is near enough to matter."""
    highest = max(values, default=0.0)
    if limit is not None and limit > 0 and (highest <= 0 or limit <= highest * LIMIT_REACH):
        highest = max(highest, limit * 1.05)
    return round_up(highest)
