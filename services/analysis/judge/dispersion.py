"""How much noisier than coins the canary's share of bad events is: D, the factor that evidence is tempered by."""

import math
from collections.abc import Sequence

import msgspec

from services.analysis.judge.parameters import Interval

BLOCK = 6
"""Scrapes of a block, about a minute: what swings slowly shows in the sum over a block, not in single scrapes."""
LIMIT = 5.0
"""No scrape counts for more than this many times D: one burst must not silence the test."""


class Noise(msgspec.Struct, frozen=True):
    """What is believed of D before the first interval: D0 = max(φ + c² p̂ n, D_hist), worth ν scrapes and ν_b blocks."""

    phi: float
    c: float
    nu: float
    nu_b: float
    d_hist: float
    rows: float = math.inf
    """How many scrapes D_hist was measured on, where they are too few to know it from: it counts beside the ν that are believed
    without any, and only where it is more than is believed."""

    def at_first(self, rate: float, n: float) -> float:
        """D0 for ``n`` canary requests, of which the share ``rate`` goes wrong."""
        assumed = self.phi + self.c**2 * rate * n
        if math.isinf(self.rows):
            return max(assumed, self.d_hist)
        return max(assumed, (self.nu * assumed + self.rows * self.d_hist) / (self.nu + self.rows))


NO_HISTORY = Noise(1.5, 0.15, 10.0, 4.0, 0.0)


def noise(d_hist: float | None, rows: int | None = None) -> Noise:
    """The constants with a measured history, and those without one; the latter with what was measured on too few ``rows``.

    Noise that only the canary's own intervals show tempers the first of them too little: weighed several times too much, they
    drown what comes after, for health as for a regression.
    """
    if d_hist is None:
        return NO_HISTORY
    if rows is not None:
        return msgspec.structs.replace(NO_HISTORY, d_hist=d_hist, rows=float(rows))
    return Noise(1.0, 0.05, 60.0, 10.0, d_hist)


class Dispersion(msgspec.Struct, frozen=True):
    """What past intervals say about D. ``h_a``/``h_b`` is the Mantel-Haenszel ratio of the rates so far: scores are centred on
    it, so a constant regression is not taken for noise."""

    q: float = 0.0
    k: int = 0
    q_b: float = 0.0
    k_b: int = 0
    z_b: float = 0.0
    i: int = 0
    h_a: float = 0.0
    h_b: float = 0.0
    bad: float = 0.0
    requests: float = 0.0


def predicted(past: Dispersion, believed: Noise, n: float) -> float:
    """D for an interval with ``n`` canary requests, from what came before it only (so tempering keeps the guarantee)::

    D0 = max(φ + c² p̂ n, D_hist)        D = max(1, (ν D0 + q) / (ν + k), (ν_b D0 + q_b) / (ν_b + k_b))
    """
    rate = past.bad / past.requests if past.requests > 0 else 0.0
    d0 = believed.at_first(rate, n)
    scrapes = (believed.nu * d0 + past.q) / (believed.nu + past.k)
    blocks = (believed.nu_b * d0 + past.q_b) / (believed.nu_b + past.k_b)
    return max(1.0, scrapes, blocks)


def updated(past: Dispersion, interval: Interval, d: float) -> Dispersion:
    """What is known after an interval that ``d`` was predicted for. One without requests on either arm teaches nothing."""
    if not interval.compared:
        return past
    n, m, s, f = interval.n, interval.m, interval.s, interval.f
    q, k, q_b, k_b, z_b, i = past.q, past.k, past.q_b, past.k_b, past.z_b, past.i
    if s + f > 0 and past.h_a + past.h_b > 0:
        z = score(interval, (past.h_a + 0.5) / (past.h_b + 0.5))
        q, k, z_b, i = q + min(z * z, LIMIT * d), k + 1, z_b + z, i + 1
        if i == BLOCK:
            q_b, k_b, z_b, i = q_b + min(z_b * z_b / BLOCK, LIMIT * d), k_b + 1, 0.0, 0
    return Dispersion(
        q, k, q_b, k_b, z_b, i, past.h_a + s * m / (n + m), past.h_b + f * n / (n + m), past.bad + s + f, past.requests + n + m
    )


def score(interval: Interval, rho: float) -> float:
    """z: by how many standard deviations of a fair split the canary has more bad events than ``rho`` times the control's rate
    makes expected, given their sum: θ = ρ n / (ρ n + m), z = (s − (s+f) θ) / √((s+f) θ (1−θ)).

    With θ / (1−θ) = x² it is (s/x − f x) / √(s+f), which loses nothing where θ is next to 0 or 1.
    """
    x = math.sqrt(rho * interval.n / interval.m)
    return (interval.s / x - interval.f * x) / math.sqrt(interval.s + interval.f)


def history_dispersion(rows: Sequence[Interval]) -> float:
    """D_hist of an A/A split of the control before the deploy: max(1, D on scrapes, D on the counts of blocks of 6 scrapes).

    1 where fewer than three rows tell anything (see :func:`usable`).
    """
    blocks = [_together(rows[at : at + BLOCK]) for at in range(0, len(rows) - BLOCK + 1, BLOCK)]
    return max(1.0, _spread(usable(rows)), _spread(usable(blocks)))


def usable(rows: Sequence[Interval]) -> list[Interval]:
    """The rows that tell something about dispersion: both arms served, and something bad among them."""
    return [one for one in rows if one.compared and one.s + one.f > 0]


def _spread(rows: Sequence[Interval]) -> float:
    """Scores around the ratio ρ of all rows; D = Σ z² / (k − 1), then thirty times with each z² limited to 5 D."""
    if len(rows) < 3:
        return 1.0
    h_a = sum(one.s * one.m / (one.n + one.m) for one in rows)
    h_b = sum(one.f * one.n / (one.n + one.m) for one in rows)
    squares = [score(one, (h_a + 0.5) / (h_b + 0.5)) ** 2 for one in rows]
    d = sum(squares) / (len(squares) - 1)
    for _ in range(30):
        d = sum(min(square, LIMIT * d) for square in squares) / (len(squares) - 1)
    return d


def _together(rows: Sequence[Interval]) -> Interval:
    return Interval(
        sum(one.n for one in rows), sum(one.m for one in rows), sum(one.s for one in rows), sum(one.f for one in rows)
    )
