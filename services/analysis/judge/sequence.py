"""Confidence sequences: limits that hold at all times at once, so that anybody may look as often as they like."""

import math
from collections.abc import Callable


def share_limits(s: float, f: float, alpha: float = 0.05) -> tuple[float, float]:
    """Limits of θ, the chance that a bad event belongs to the canary, after ``s`` of the canary and ``f`` of the control.

    The Beta(½, ½) mixture of the binomial likelihood ratio: θ is inside while::

        lnΓ(½+s) + lnΓ(½+f) − lnΓ(1+s+f) − 2 lnΓ(½) + lnΓ(1) − s ln θ − f ln(1−θ) ≤ ln(1/α)

    The left side is convex in θ with its least at s/(s+f): two bisections. Tempered sums Σ w s and Σ w f are fine.
    """
    if s + f <= 0:
        return 0.0, 1.0
    lgamma, log, log1p = math.lgamma, math.log, math.log1p
    constant = lgamma(0.5 + s) + lgamma(0.5 + f) - lgamma(1.0 + s + f) - 2.0 * lgamma(0.5) - log(1.0 / alpha)

    def inside(theta: float) -> bool:
        left = s * log(theta) if s > 0 else 0.0
        right = f * log1p(-theta) if f > 0 else 0.0
        return constant - left - right <= 0.0

    middle = s / (s + f)
    low = _edge(inside, middle, 0.0) if s > 0 else 0.0
    high = _edge(inside, middle, 1.0) if f > 0 else 1.0
    return low, high


def ratio_limits(s: float, f: float, n: float, m: float, alpha: float = 0.05) -> tuple[float, float]:
    """Limits of p_canary / p_control: θ / (1 − θ) · M / N. ``s``, ``f`` are Σ w s and Σ w f, ``n``, ``m`` all requests so far.
    The upper one is infinite where the control had no bad event, or nothing was compared."""
    if n <= 0 or m <= 0:
        return 0.0, math.inf
    low, high = share_limits(s, f, alpha)
    return low / (1.0 - low) * m / n if low < 1.0 else math.inf, high / (1.0 - high) * m / n if high < 1.0 else math.inf


def difference_limits(ratio: tuple[float, float], bad: float, m: float) -> tuple[float, float] | None:
    """Limits of p_canary − p_control from those of the ratio and the control's own rate. ``None`` for fewer than 5 bad events of
    the control: its rate is not known well enough then."""
    if bad < 5 or m <= 0:
        return None
    rate = bad / m
    return (ratio[0] - 1.0) * rate, (ratio[1] - 1.0) * rate


def _edge(inside: Callable[[float], bool], within: float, beyond: float) -> float:
    """Where ``inside`` ends between a point within and one beyond, to the last bit."""
    while True:
        middle = (within + beyond) / 2.0
        if middle in (within, beyond):
            return middle
        if inside(middle):
            within = middle
        else:
            beyond = middle
