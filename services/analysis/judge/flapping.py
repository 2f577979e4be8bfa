"""Health probes that fail now and then: evidence where three failures in a row never come."""

import math

import msgspec

from services.analysis.judge.evidence import START_MASS, Onsets, log_add

CONSECUTIVE = 3
_ONSETS = Onsets(START_MASS, 360)


class Rates(msgspec.Struct, frozen=True):
    """A healthy pod fails at most the share ``tolerated`` of its probes; a flapping one is taken to fail the share ``expected``.
    At most the share ``alpha`` of healthy endpoints is ever called flapping."""

    tolerated: float = 0.02
    expected: float = 0.4
    alpha: float = 0.001

    @property
    def abort_at(self) -> float:
        return math.log(1.0 / self.alpha)


RATES = Rates()


class Probes(msgspec.Struct, frozen=True):
    """The probes of one endpoint so far. ``log_wealth`` is the part that bets already; it means nothing before the first."""

    probes: int = 0
    log_wealth: float = 0.0
    log_e: float = 0.0
    consecutive_failures: int = 0

    @property
    def unhealthy(self) -> bool:
        return self.consecutive_failures >= CONSECUTIVE or self.log_e >= RATES.abort_at


def probed(past: Probes, *, ok: bool, rates: Rates = RATES) -> Probes:
    """After one more probe. The likelihood ratio of 40 % against 2 % failures, +2.996 each failure and −0.491 each success, with
    the same mass over the time of onset as regressions have: at most 1 in 1,000 healthy endpoints ever reaches ln 1000."""
    failed = math.log(rates.expected / rates.tolerated)
    passed = math.log((1.0 - rates.expected) / (1.0 - rates.tolerated))
    born = _ONSETS.born(past.probes)
    fresh = math.log(born) if born > 0 else -math.inf
    wealth = (log_add(past.log_wealth, fresh) if past.probes else fresh) + (passed if ok else failed)
    waiting = _ONSETS.waiting(past.probes + 1)
    total = log_add(wealth, math.log(waiting)) if waiting > 0 else wealth
    return Probes(past.probes + 1, wealth, total, 0 if ok else past.consecutive_failures + 1)
