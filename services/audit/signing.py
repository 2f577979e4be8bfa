"""When the next checkpoint is due: so much and no more of a journal is ever unsigned, whoever was interrupted."""

from services.clock import Clock

SIGN_ENTRIES = 100
"""Entries after which the next checkpoint is signed at the latest."""
SIGN_SECONDS = 10.0
"""Seconds that an entry is unsigned at most. What a killed process left unsigned for longer is signed before anything follows."""


class Unsigned:
    """What no checkpoint covers, as this process knows it. Times are monotonic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._covered = 0
        self._last = 0
        self._since = 0.0
        self._failed = False

    @property
    def count(self) -> int:
        return self._last - self._covered

    @property
    def seconds(self) -> float:
        """How long the oldest of them may still wait."""
        return max(0.0, SIGN_SECONDS - (self._clock.monotonic() - self._since))

    @property
    def due(self) -> bool:
        return self.count > 0 and (self.seconds <= 0 or (self.count >= SIGN_ENTRIES and not self._failed))

    def wrote(self, last: int) -> None:
        """The journal goes up to ``last`` now."""
        if not self.count:
            self._since = self._clock.monotonic()
        self._last = last

    def found(self, covered: int, last: int, age: float) -> None:
        """What the files say: up to ``covered`` it is signed, the oldest entry behind that is ``age`` seconds old."""
        self._covered, self._last, self._since = min(covered, last), last, self._clock.monotonic() - max(0.0, age)

    def signed(self, last: int) -> None:
        self._covered = self._last = last
        self._failed = False

    def failed(self) -> None:
        """It could not be signed: that is tried again after a while, not with each entry."""
        self._failed, self._since = True, self._clock.monotonic()
