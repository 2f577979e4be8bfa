"""Random counts: how many of very many independent requests fall where, drawn at once."""

import math
from collections.abc import Sequence
from random import Random

_SMALL = 30.0
"""Below this expected count the exact distribution is drawn, above it its normal approximation."""


def poisson(random: Random, mean: float) -> int:
    """Events in a time in which ``mean`` are expected."""
    if mean <= 0:
        return 0
    if mean > _SMALL:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, random.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= random.random()
    return count


def binomial(random: Random, trials: int, share: float) -> int:
    """How many of ``trials`` happen that each happen with probability ``share``."""
    if share >= 1:
        return trials
    if trials <= 0 or share <= 0:
        return 0
    if share > 0.5:
        return trials - binomial(random, trials, 1 - share)
    mean = trials * share
    if mean > _SMALL:
        return min(trials, max(0, round(random.gauss(mean, math.sqrt(mean * (1 - share))))))
    if trials <= 64:
        return sum(random.random() < share for _ in range(trials))
    # By inversion: P(k+1) = P(k) · (n-k)/(k+1) · p/(1-p).
    count, left, chance = 0, random.random(), math.exp(trials * math.log1p(-share))
    while left > chance and count < trials:
        left -= chance
        chance *= (trials - count) / (count + 1) * share / (1 - share)
        count += 1
    return count


def clustered(random: Random, mean: float, size: float) -> int:
    """Events of which ``mean`` are expected and which come together in clusters, geometric ones of mean ``size``.

    Geometric sizes add up to the clusters and a negative binomial number, which is a Poisson one of a gamma mean.
    """
    clusters = poisson(random, mean / size)
    return clusters + poisson(random, random.gammavariate(clusters, size - 1.0)) if clusters else 0


def multinomial(random: Random, trials: int, shares: Sequence[float]) -> list[int]:
    """``trials`` spread over classes with these shares (their sum is 1; the last takes what is left)."""
    counts, left, rest = [], trials, 1.0
    for share in shares[:-1]:
        count = binomial(random, left, min(1.0, share / rest)) if left and rest > 1e-12 else 0
        counts.append(count)
        left -= count
        rest -= share
    return [*counts, left]
