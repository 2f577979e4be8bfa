"""Before a deploy: how long the judge needs to see a regression at this traffic, and what a step of this length can't show."""

import math
from collections.abc import Iterator

from services.analysis.judge.evidence import REGRESSION_GRID, START_MASS
from services.analysis.judge.parameters import ERRORS, Metric, Null, Parameters

Z_90 = 1.2816
"""The 90th percentile of the standard normal distribution."""
_DEFAULT = Parameters(metrics=(ERRORS,))


def plan(
    rps: float, share: float, p0: float, p1: float, D: float = 1.0, *, metric: Metric = ERRORS, parameters: Parameters = _DEFAULT
) -> tuple[float, float] | None:
    """Seconds of exposure until an abort: the median, and what nine in ten stay below. ``None``: never, the tolerance allows it.

    ``rps`` requests a second of the canary, ``share`` its part of all traffic, ``p0`` and ``p1`` the bad shares of control and
    canary, ``D`` the dispersion. With growth g and variance v a second of ln E for each null and each R, and the barrier
    b = ln(1/(α weight)) + ln(7 / v_1) (a random walk with drift that meets it: median b/g, and T with g T − 1.2816 √(v T) = b)::

        g = [n p1 ln A + m p0 ln B − n d (A − 1)] / D        v = [n p1 ln² A + m p0 ln² B] / D²

    Both for the R with the least T, each the larger of the two nulls', rounded up to a scrape, no fewer than an abort needs, plus
    the warm-up. Raises ``ValueError`` for rates and shares that can't be.
    """
    if not (rps >= 0.0 and 0.0 < share <= 1.0 and 0.0 <= p0 <= 1.0 and 0.0 <= p1 <= 1.0 and D >= 1.0):
        raise ValueError(f"no such canary: {rps:g} a second, share {share:g}, bad {p0:g} and {p1:g}, dispersion {D:g}")
    if rps == 0.0:
        return None
    n, m = rps, rps * (1.0 - share) / share
    barrier = parameters.abort_at - math.log(metric.weight) + math.log(len(REGRESSION_GRID) / START_MASS)
    halves, nineties = [], []
    for null in (Null(metric.r, 0.0), Null(1.0, metric.d)):
        walks = [(growth, variance) for growth, variance in _walks(null, n, m, p0, p1, D) if growth > 0]
        if not walks:
            return None
        nine, half = min((_ninety(growth, variance, barrier), barrier / growth) for growth, variance in walks)
        halves.append(half)
        nineties.append(nine)

    def exposure(seconds: float) -> float:
        scrapes = max(math.ceil(seconds / parameters.interval_s), parameters.scrapes_to_abort)
        return scrapes * parameters.interval_s + metric.skip

    return exposure(max(halves)), exposure(max(nineties))


def visible(
    rps: float, share: float, p0: float, seconds: float, D: float = 1.0, *, surely: bool = True, metric: Metric = ERRORS,
    parameters: Parameters = _DEFAULT,
) -> float | None:  # fmt: skip
    """The smallest bad share of the canary that is seen within ``seconds``: nine times in ten if ``surely``, else with even odds.
    ``None`` where even a canary that fails every request is not."""

    def seen(p1: float) -> bool:
        times = plan(rps, share, p0, p1, D, metric=metric, parameters=parameters)
        return times is not None and times[1 if surely else 0] <= seconds

    if not seen(1.0):
        return None
    low, high = p0, 1.0
    while high - low > 1e-6 * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _walks(null: Null, n: float, m: float, p0: float, p1: float, D: float) -> Iterator[tuple[float, float]]:
    for R in REGRESSION_GRID:
        spread = R * null.r * n + m
        log_b = math.log((null.r * n + m) / spread)
        log_a = math.log(R) + log_b
        growth = (n * p1 * log_a + m * p0 * log_b - n * null.d * m * (R - 1.0) / spread) / D
        yield growth, (n * p1 * log_a**2 + m * p0 * log_b**2) / D**2


def _ninety(growth: float, variance: float, barrier: float) -> float:
    root = Z_90 * math.sqrt(variance)
    return ((root + math.sqrt(root * root + 4.0 * growth * barrier)) / (2.0 * growth)) ** 2
