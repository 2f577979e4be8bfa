"""Tail probabilities of the binomial distribution, in pure Python."""

import math

_TINY = 1e-300
_ITERATIONS = 100_000


def binomial_tail(trials: float, probability: float, successes: float) -> float:
    """P(Bin(trials, probability) ≥ successes), by P = I_p(successes, trials − successes + 1), the regularised incomplete beta
    function; so counts need not be whole numbers (windows cut scrapes in parts)."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    return regularised_beta(probability, successes, trials - successes + 1.0)


def regularised_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8), evaluated with Lentz's method."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(x, a, b) / a)
    return max(0.0, 1.0 - front * _fraction(1.0 - x, b, a) / b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    d = 1.0 / d
    value = d
    for m in range(1, _ITERATIONS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        value *= d * c
        if abs(d * c - 1.0) < 1e-13:
            return value
    return value


def _away_from_zero(value: float) -> float:
    return _TINY if abs(value) < _TINY else value
