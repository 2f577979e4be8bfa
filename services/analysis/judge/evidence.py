"""Evidence in logs: the e-value of one interval, and mixtures of them over how bad and since when."""

import math
from collections.abc import Sequence

import msgspec

from services.analysis.judge.parameters import Interval, Null

REGRESSION_GRID = (1.3, 1.7, 2.5, 4.0, 8.0, 20.0, 80.0)
"""How many times worse than the tolerance a regression is taken to be."""
HEALTH_GRID = (0.1, 0.25, 0.45, 0.67, 0.85)
"""How many times better than the limit of the acceptable a healthy canary is taken to be."""
START_MASS = 0.5
"""Share of the wealth that bets on a regression from the first interval on; the rest is spread over later onsets."""


class Onsets(msgspec.Struct, frozen=True):
    """When a change may begin: ``start`` of all mass at the first interval used, the rest evenly over the ``later`` next ones."""

    start: float
    later: int

    def born(self, used: int) -> float:
        """The mass that begins to bet at the interval that follows ``used`` others."""
        if used == 0:
            return self.start
        return (1.0 - self.start) / self.later if used <= self.later else 0.0

    def waiting(self, used: int) -> float:
        """The mass that has not begun to bet after ``used`` intervals, ``used`` ≥ 1."""
        if not self.later:
            return 1.0 - self.start
        return (1.0 - self.start) * max(0, self.later + 1 - used) / self.later


AT_ONCE = Onsets(1.0, 0)
"""Health is a claim about the whole time: all mass at the start."""


class Mixture(msgspec.Struct, frozen=True):
    """An e-process: ln E_t of one null, averaged over a grid of ratios and over the time since when."""

    log_wealth: tuple[float, ...] = ()
    """ln M_R for each ratio of the grid; nothing before the first interval."""
    used: int = 0
    log_e: float = 0.0


def log_e(R: float, null: Null, interval: Interval) -> float:
    """ln e of one interval for the alternative ``R`` times worse than the null (r, d).

    With A = R (r n + m) / (R r n + m) and B = (r n + m) / (R r n + m)::

        ln e = s ln A + f ln B − n d (A − 1)

    Only counts enter; given a bad event, which arm it belongs to is a coin whose bias under the null is known whatever the rate
    is (Lindon & Malek, arXiv 2011.03567), so what moves both arms cancels. For independent binomials E[e] ≤ 1 under the null for
    every control rate: n r (A − 1) = m (1 − B) makes the exponent of the bound vanish. 0 where an arm had no requests.
    """
    return log_es((R,), null, interval)[0] if interval.compared else 0.0


def log_es(grid: Sequence[float], null: Null, interval: Interval) -> list[float]:
    """:func:`log_e` for every ratio of the grid, of an interval that both arms were served in: ln A = ln R + ln B, and
    A − 1 = m (R − 1) / (R r n + m)."""
    n, m, s = interval.n, interval.m, interval.s
    bad, rn, drift, log = s + interval.f, null.r * n, n * null.d * m, math.log
    total = rn + m
    if not drift:
        return [s * log(R) + bad * log(total / (R * rn + m)) for R in grid]
    return [s * log(R) + bad * log(total / (spread := R * rn + m)) - drift * (R - 1.0) / spread for R in grid]


def advance(
    mixture: Mixture,
    grid: Sequence[float],
    null: Null,
    onsets: Onsets,
    interval: Interval,
    *,
    w: float = 1.0,
    cap: float = math.inf,
) -> Mixture:
    """The mixture after one more interval that both arms were served in. O(size of the grid), whatever came before.

    For each R: M_R ← (M_R + v_t / |grid|) · e_R^w, and E = Σ M_R + (1 − Σ v): a mixture over when the change began (the
    e-detector of Shin, Ramdas & Rinaldo with a total mass of 1), so that healthy minutes do not bury a later
    fault. ``w`` = 1/D tempers for dispersion (E[e^w] ≤ 1 by Jensen's inequality). Where ln E would grow by more than ``cap``, all
    M_R are scaled down until it grows by ``cap``: wealth thrown away keeps the guarantee.
    """
    if not interval.compared:
        return mixture
    gains = log_es(grid, null, interval)
    born = onsets.born(mixture.used)
    old = mixture.log_wealth
    if born > 0.0:
        fresh = math.log(born / len(grid))
        old = tuple([log_add(one, fresh) for one in old]) if old else (fresh,) * len(grid)
    wealth = [one + w * gain for one, gain in zip(old, gains, strict=True)]
    used = mixture.used + 1
    waiting = onsets.waiting(used)
    betting = log_sum(wealth)
    total = log_add(betting, math.log(waiting)) if waiting > 0.0 else betting
    limit = mixture.log_e + cap
    if total > limit:
        allowed = limit + math.log1p(-waiting * math.exp(-limit)) if waiting > 0.0 else limit
        wealth = [one + (allowed - betting) for one in wealth]
        total = limit
    return Mixture(tuple(wealth), used, total)


def log_add(a: float, b: float) -> float:
    """ln(e^a + e^b), without overflow; one of them finite."""
    return a + _log1p(_exp(b - a)) if a > b else b + _log1p(_exp(a - b))


def log_sum(logs: Sequence[float]) -> float:
    """ln Σ exp(x), without overflow."""
    top = max(logs)
    return top + math.log(sum([_exp(one - top) for one in logs]))


_exp, _log1p = math.exp, math.log1p
