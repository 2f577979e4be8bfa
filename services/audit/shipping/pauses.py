"""When a sink that did not take a batch is tried again."""

from random import Random

from services.audit.sinks.base import Delivery, Trouble

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 15.0
"""So that the end of an outage is noticed, and everything sent, within a minute."""
HOLD_SECONDS = 30.0
"""Between two attempts at what only a person can mend."""
MOST_ASKED = 60.0
"""A sink's own wish to be left alone is kept up to this."""


class Backoff:
    """Full jitter (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/): each pause is anything
    between nothing and a bound that doubles from attempt to attempt. No number of attempts is the last."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def after(self, delivery: Delivery) -> float:
        """Wall seconds to wait before the next attempt."""
        if delivery.trouble is Trouble.HOLD:
            return HOLD_SECONDS
        bound = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        pause = self._random.uniform(0.0, bound)
        return max(pause, min(MOST_ASKED, delivery.retry_after or 0.0))
