"""The two clocks of the house.

*Wall* time stamps, ages, leases, network timeouts and retries. *Pace* is what a rollout measures: step durations, pauses,
trigger windows, scrape intervals. Pace seconds are wall seconds times ``speed``, counted from an ``epoch`` (Unix seconds)
that every process of one sandbox shares; outside the sandbox speed is 1.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Tests drive one by hand."""

    speed: float

    def now(self) -> datetime:
        """Wall time, UTC."""

    def unix(self) -> float:
        """Wall time in Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations within this process. The time a machine slept counts."""

    def pace(self) -> float:
        """Pace seconds; the same in every process of one sandbox, never going back within one process."""

    async def sleep(self, seconds: float) -> None:
        """Sleep wall seconds."""

    async def pace_sleep(self, seconds: float) -> None:
        """Sleep pace seconds."""


_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux the monotonic clock stands still while the machine sleeps: every age, lease and window would come out of a closed
laptop as fresh as it went in. Elsewhere it goes on."""


def _elapsed() -> float:
    return time.clock_gettime(_COUNTS_SLEEP)


class SystemClock:
    """The real clock. Pace is anchored once and then follows the monotonic clock, so a stepped wall clock can't bend it."""

    def __init__(self, speed: float = 1.0, epoch: float = 0.0) -> None:
        self.speed = speed
        self._anchor = (time.time() - epoch) * speed
        self._started = _elapsed()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def unix(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return _elapsed()

    def pace(self) -> float:
        return self._anchor + (_elapsed() - self._started) * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def pace_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)
