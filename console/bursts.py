"""Keys that come faster than any hand: text pasted into a terminal that does not say that it is a paste."""

from collections import deque

MANY = 32
WITHIN = 0.1
"""So many keys within so many seconds no hand presses, nor a key that is held; a slow line may bring as many seconds' keys."""
REST = 0.25
"""Seconds without a key after which the next one is a hand's again."""


class Bursts:
    """Tells a burst of keys by when they came. What goes into a text field is text, however fast it comes."""

    def __init__(self) -> None:
        self._came: deque[tuple[float, bool]] = deque(maxlen=MANY)
        self._last = 0.0
        self.under_way = False

    def takes_in(self, at: float, in_text: bool) -> bool:
        """Whether a key is a hand's: it came at ``at`` (seconds that only grow), ``in_text`` where a text field has the focus."""
        rested, self._last = at - self._last > REST, at
        if self.under_way and not rested:
            return False
        self.under_way = False
        self._came.append((at, in_text))
        if len(self._came) == MANY and at - self._came[0][0] < WITHIN and not all(text for _, text in self._came):
            self._came.clear()
            self.under_way = True
        return not self.under_way
