"""What sets a hard trigger off, and the data that it asks for before it may (R5.5)."""

import msgspec

from services.analysis.judge.flapping import RATES
from services.analysis.probes import rates
from services.analysis.tails import binomial_tail
from services.analysis.windows import TRAILING
from services.model.rollout import Baseline
from services.settings import Settings

SLOW_SHARE = 0.01
"""P99 over a limit says the same as: more than this share of requests is slower than the limit."""


SAMPLE_SECONDS = 10.0
"""Samples of CPU and memory count as so far apart: more of them in that time are not more of a load."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``error_rate``, ``cpu`` and ``memory`` are shares (0–1), ``latency_increase`` the share by which P99 may exceed the
    baseline; ``error_seconds`` and ``warm_up`` pace seconds; ``health_failures`` probes in a row.

    The rest is the data that a limit asks for: ``min_requests`` (``min_slow_requests`` for P99), or a tail probability of at most
    ``rare``; the tail alone where the baseline's error rate is above ``strict_above``, since the plain form would fire by chance.
    ``samples`` in a row of CPU or memory. ``window`` pace seconds are looked at. A pod whose probes fail now and then is
    ``tolerated`` up to that share of them; evidence of more fires at ``flapping_at`` (nats). Error counts vary ``noise`` times
    as much as independent ones would, those of slow requests ``slow_noise`` times.
    """

    error_rate: float = 0.05
    error_seconds: float = 300.0
    latency_increase: float = 0.5
    health_failures: int = 3
    cpu: float = 0.9
    memory: float = 0.9
    warm_up: float = 30.0
    min_errors: int = 5
    min_requests: int = 50
    min_slow_requests: int = 1000
    rare: float = 0.001
    strict_above: float = 0.02
    samples: int = 3
    window: float = TRAILING
    tolerated: float = RATES.tolerated
    flapping_at: float = RATES.abort_at
    noise: float = 1.0
    slow_noise: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        limits = settings.triggers
        return cls(
            error_rate=limits.error_rate,
            error_seconds=limits.error_seconds,
            latency_increase=limits.latency_increase,
            health_failures=settings.probes.failures,
            cpu=limits.cpu,
            memory=limits.memory,
            warm_up=settings.metrics.warm_up,
            min_errors=limits.min_errors,
            min_requests=limits.min_requests,
            min_slow_requests=limits.min_slow_requests,
            rare=limits.rare,
            strict_above=limits.strict_above,
            samples=limits.samples,
            window=limits.window,
            tolerated=settings.probes.tolerated,
            flapping_at=rates(settings.probes).abort_at,
        )


def exceeds(limits: Limits, *, requests: float, errors: float, baseline: Baseline | None) -> bool:
    """Whether these counts are over the error rate's limit by more than chance: over it, at least ``min_errors``, and at least
    ``min_requests`` or a tail P(Bin(requests, limit) ≥ errors) ≤ ``rare``. Strict form, where the baseline fails more than
    ``strict_above`` already: the tail alone."""
    if errors < limits.min_errors or errors <= limits.error_rate * requests:
        return False
    enough = not strict(limits, baseline) and requests >= limits.min_requests
    return enough or binomial_tail(requests, limits.error_rate, errors) <= limits.rare


def strict(limits: Limits, baseline: Baseline | None) -> bool:
    return baseline is not None and baseline.error_rate is not None and baseline.error_rate > limits.strict_above


def too_slow(limits: Limits, requests: float, slow: float) -> bool:
    return slow > SLOW_SHARE * requests and (
        requests >= limits.min_slow_requests or binomial_tail(requests, SLOW_SHARE, slow) <= limits.rare
    )
