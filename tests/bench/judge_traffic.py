"""Simulated canaries: counts of both arms an interval, with the kinds of noise that real error counts have; exact draws."""

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from services.analysis.judge import Interval

INTERVAL_S = 10.0
_A_MINUTE = math.exp(-INTERVAL_S / 60.0)
"""How much of itself noise with τ = 60 s keeps from one interval to the next."""


class Moment(NamedTuple):
    """One interval of a noise: what multiplies all traffic, what multiplies each arm's rate, and what fails besides."""

    traffic: float = 1.0
    canary: float = 1.0
    control: float = 1.0
    canary_burst: float = 0.0
    control_burst: float = 0.0


Noise = Callable[[Random, float], Iterator[Moment]]
"""From a source of randomness and the canary's share: endless moments."""


def ideal(draws: Random, share: float) -> Iterator[Moment]:
    while True:
        yield Moment()


def shared_drift(draws: Random, share: float) -> Iterator[Moment]:
    """Traffic ±30 % over the hour, and log-AR(1) noise (sd 0.5, τ 60 s) of the error rate, on both arms."""
    phase, level, at = draws.random() * 2 * math.pi, _level(draws, 0.5), 0.0
    while True:
        level = _next(draws, level, 0.5)
        traffic = 1.0 + 0.3 * math.sin(phase + 2 * math.pi * at / 3600.0)
        yield Moment(traffic, level_of(level, 0.5), level_of(level, 0.5))
        at += INTERVAL_S


def shared_bursts(draws: Random, share: float) -> Iterator[Moment]:
    """Errors of both arms ×10 to ×30 for 20 to 60 s, one such incident in ten minutes; two at once multiply."""
    running: list[tuple[int, float]] = []
    while True:
        if draws.random() < INTERVAL_S / 600.0:
            running.append((draws.randint(2, 6), math.exp(draws.uniform(math.log(10.0), math.log(30.0)))))
        here = math.prod(factor for _, factor in running)
        running = [(left - 1, factor) for left, factor in running if left > 1]
        yield Moment(1.0, here, here)


def own_gamma(cv: float) -> Noise:
    """Each arm's own rate wobbles from interval to interval, the larger one less: its pods average."""

    def moments(draws: Random, share: float) -> Iterator[Moment]:
        smaller = cv * math.sqrt(share / (1.0 - share))
        while True:
            yield Moment(1.0, _gamma(draws, cv), _gamma(draws, smaller))

    return moments


def own_drift(control_sd: float) -> Noise:
    """The canary has log-AR(1) noise of its own, sd 0.3, τ 60 s; the control one of ``control_sd``."""

    def moments(draws: Random, share: float) -> Iterator[Moment]:
        canary, control = _level(draws, 0.3), _level(draws, control_sd)
        while True:
            canary, control = _next(draws, canary, 0.3), _next(draws, control, control_sd)
            yield Moment(1.0, level_of(canary, 0.3), level_of(control, control_sd))

    return moments


def own_bursts(draws: Random, share: float) -> Iterator[Moment]:
    """20 % of a pod group's requests fail for one interval, once in twenty minutes and group; the canary is one group."""
    groups = max(1, round((1.0 - share) / share))
    chance = INTERVAL_S / 1200.0
    while True:
        hit = sum(draws.random() < chance for _ in range(groups))
        yield Moment(canary_burst=0.2 if draws.random() < chance else 0.0, control_burst=0.2 * hit / groups)


def other_pods(draws: Random, share: float) -> Iterator[Moment]:
    """The canary's pods differ for good, by a factor with sd 10 %."""
    factor = math.exp(draws.gauss(0.0, 0.1))
    while True:
        yield Moment(1.0, factor, 1.0)


NOISES: dict[str, Noise] = {
    "ideal": ideal,
    "shared drift": shared_drift,
    "shared bursts": shared_bursts,
    "retry clusters": ideal,
    "own gamma 0.3": own_gamma(0.3),
    "own gamma 0.6": own_gamma(0.6),
    "own drift": own_drift(0.0),
    "own bursts": own_bursts,
    "other pods": other_pods,
    "drift of both": own_drift(0.3),
}
"""The last is harsher than any of the published table: its control is as unsteady as one pod."""
CLUSTERED = "retry clusters"
_CLUSTER = 3.0
"""The mean number of failures that come together in a cluster, geometric."""


def canary(
    draws: Random, *, noise: str, rps: float, base: float, bad: float | None = None, onset: int = 0, rows: int, share: float = 0.1
) -> Iterator[Interval]:
    """``rows`` intervals of a canary at ``rps`` requests a second. Its rate is ``bad`` from interval ``onset`` on, else ``base``,
    which is the control's."""
    moments = NOISES[noise](draws, share)
    n, m = rps * INTERVAL_S, rps * INTERVAL_S * (1.0 - share) / share
    clustered = noise == CLUSTERED
    for number in range(rows):
        now = next(moments)
        rate = bad if bad is not None and number >= onset else base
        s, ok = arm(draws, n * now.traffic, min(0.95, rate * now.canary + now.canary_burst), clustered=clustered)
        f, fine = arm(draws, m * now.traffic, min(0.95, base * now.control + now.control_burst), clustered=clustered)
        yield Interval(s + ok, f + fine, s, f)


def arm(draws: Random, requests: float, rate: float, *, clustered: bool = False) -> tuple[int, int]:
    """Bad and good ones of a Poisson number of requests. Thinning: the two are independent Poisson numbers themselves."""
    bad = _clustered(draws, requests * rate) if clustered else poisson(draws, requests * rate)
    return bad, poisson(draws, requests * (1.0 - rate))


def poisson(draws: Random, mean: float) -> int:
    """A Poisson number: by multiplication below 10, else by transformed rejection (Hörmann 1993, PTRS)."""
    if mean < 10.0:
        count, product, limit = 0, draws.random(), math.exp(-mean)
        while product > limit:
            count += 1
            product *= draws.random()
        return count
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    squeeze, inverse, log_mean = 0.9277 - 3.6224 / (b - 2.0), 1.1239 + 1.1328 / (b - 3.4), math.log(mean)
    while True:
        u, v = draws.random() - 0.5, draws.random()
        within = 0.5 - abs(u)
        if within <= 0.0:
            continue
        count = math.floor((2.0 * a / within + b) * u + mean + 0.43)
        if within >= 0.07 and v <= squeeze:
            return count
        if count < 0 or (within < 0.013 and v > within):
            continue
        if math.log(v * inverse / (a / (within * within) + b)) <= count * log_mean - mean - math.lgamma(count + 1.0):
            return count


def level_of(level: float, sd: float) -> float:
    """A log-normal factor of mean 1."""
    return math.exp(level - sd * sd / 2.0)


def _clustered(draws: Random, mean: float) -> int:
    """Clusters of geometric sizes: their sum is the clusters and a negative binomial number, a Poisson one of a gamma mean."""
    clusters = poisson(draws, mean / _CLUSTER)
    return clusters + poisson(draws, draws.gammavariate(clusters, _CLUSTER - 1.0)) if clusters else 0


def _gamma(draws: Random, cv: float) -> float:
    return draws.gammavariate(1.0 / cv**2, cv**2)


def _level(draws: Random, sd: float) -> float:
    return draws.gauss(0.0, sd)


def _next(draws: Random, level: float, sd: float) -> float:
    return _A_MINUTE * level + math.sqrt(1.0 - _A_MINUTE**2) * draws.gauss(0.0, sd)
