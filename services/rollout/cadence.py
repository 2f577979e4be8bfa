"""How often a source of metrics tells something new, by what it did: what is not due yet is not away."""

from collections import deque
from itertools import pairwise

from services.analysis.sources.ledger import PATIENCE

GAPS = 3
"""The shortest of so many counts: one gap that was an outage makes no slow source."""
LOOKS = 3
"""Looks after which a source that tells something at each is away."""


class Cadence:
    """Told of each look that brought data of every version. Pace seconds; ``speed`` of them pass in one of the source's own."""

    def __init__(self, *, interval: float, speed: float) -> None:
        self._interval = interval
        self._least = max(LOOKS * interval, 2.0 * speed)
        self._most = PATIENCE * speed
        self._told: deque[float] = deque(maxlen=GAPS + 1)

    def told(self, at: float) -> None:
        self._told.append(at)

    @property
    def patience(self) -> float:
        """How long nothing new is no sign of anything: one time that was missed and a look, but no longer than counts wait for
        the slowest unit; of a source that tells something at each look, or of which nothing is known yet, so many looks."""
        looks = round(min(self._gaps(), default=0.0) / self._interval)
        return max(self._least, min((2 * looks + 1) * self._interval, self._most))

    @property
    def silence(self) -> float:
        """The same for a source that answers and says that nothing is wrong: as long as nothing is known of it, it is given the
        longest time."""
        return self.patience if self._gaps() else max(self._least, self._most)

    def _gaps(self) -> list[float]:
        return [after - before for before, after in pairwise(self._told)]
