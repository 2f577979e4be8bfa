"""A click on a key that may change a cluster arms it; only another click on the same, not at once and not much later, does it.

A click is too easily made for nothing: one that only gives the terminal's window the focus arrives like any other.
"""

from __future__ import annotations

from collections.abc import Hashable

from console.screens.confirming import RESTING
from services.clock import Clock

LASTING = 6.0
"""Seconds for which a key stays armed."""


class Arming:
    """Of one screen: what a click has armed, and since when. A double click arms, and no more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._what: Hashable = None
        self._since = 0.0

    def armed(self, what: Hashable) -> bool:
        """Whether ``what`` waits for another click."""
        return what == self._what and self._clock.monotonic() - self._since < LASTING

    def click(self, what: Hashable) -> bool:
        """Whether this click does it. Else it is armed from now on, and nothing else is."""
        now = self._clock.monotonic()
        if self.armed(what) and now - self._since >= RESTING:
            self._what = None
            return True
        self._what, self._since = what, now
        return False
