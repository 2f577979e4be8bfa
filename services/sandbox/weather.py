"""What moves a service's errors besides its versions: the noise that real error counts have, and incidents that hit all its pods.

The noise is a function of its seed and of pace time in cells of ten seconds: who looks, and when, changes nothing in it.
"""

import math
from random import Random
from typing import NamedTuple

import msgspec

CELL_SECONDS = 10.0
"""Noise keeps for so long, in pace seconds."""
_KEPT = 4
"""Cells that are remembered; nobody asks for older ones."""


class Noise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``drift``: standard deviation of the log of a factor on the error rate of all pods, an AR(1) process that forgets within
    ``drift_seconds``. ``own``: coefficient of variation of a gamma factor of each pod's own. ``cluster``: how many failures come
    together in the mean, geometric, as where clients try again."""

    drift: float = 0.0
    drift_seconds: float = 60.0
    own: float = 0.0
    cluster: float = 1.0


class Incident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of ``errors`` more on every pod of a service, whatever its version, from ``after`` pace seconds after a new
    version's first requests on, for ``seconds``."""

    errors: float
    after: float
    seconds: float


class Moment(NamedTuple):
    """What the errors of one pod are subject to for a while: a factor on the workload's own error rate, a share on top of it, how
    many come together; and whether the faults of the pod's version have begun."""

    factor: float = 1.0
    added: float = 0.0
    cluster: float = 1.0
    faulty: bool = True


CALM = Moment()


class Weather:
    """The noise of one service."""

    def __init__(self, noise: Noise, seed: str) -> None:
        self.noise = noise
        self._seed = seed
        self._draws = Random(seed)
        self._levels: dict[int, float] = {}
        """By cell: the log of the factor of all pods."""

    def factor(self, pod: str, pace: float) -> float:
        """What the error rate of a pod is multiplied with at a pace second; 1 in the mean."""
        cell = math.floor(pace / CELL_SECONDS)
        return self._shared(cell) * self._own(pod, cell)

    def _own(self, pod: str, cell: int) -> float:
        if not self.noise.own:
            return 1.0
        variance = self.noise.own**2
        return Random(f"{self._seed}/{pod}/{cell}").gammavariate(1.0 / variance, variance)

    def _shared(self, cell: int) -> float:
        deviation = self.noise.drift
        if not deviation:
            return 1.0
        if not self._levels:
            self._levels[min(0, cell)] = self._draws.gauss(0.0, deviation)
        kept = math.exp(-CELL_SECONDS / self.noise.drift_seconds)
        while (last := max(self._levels)) < cell:
            fresh = self._draws.gauss(0.0, deviation)
            self._levels[last + 1] = kept * self._levels[last] + math.sqrt(1.0 - kept * kept) * fresh
            self._levels.pop(last - _KEPT, None)
        level = self._levels.get(cell, self._levels[min(self._levels)])
        return math.exp(level - deviation * deviation / 2.0)
