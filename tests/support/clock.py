"""A clock that moves only when a test says so."""

import asyncio
from datetime import UTC, datetime, timedelta
from operator import itemgetter


class ManualClock:
    """Starts at 2026-01-01T00:00:00Z. ``advance`` moves wall, monotonic and pace, waking sleepers in order; those that are due at
    the same moment in the order in which they went to sleep."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def unix(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self._elapsed

    def pace(self) -> float:
        return self._elapsed * self.speed

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self._elapsed + seconds, woken))
        await woken.wait()

    async def pace_sleep(self, seconds: float) -> None:
        await self.sleep(seconds / self.speed)

    async def advance(self, seconds: float) -> None:
        """Move ``seconds`` of wall time on, letting everything that becomes due run at its own moment."""
        target = self._elapsed + seconds
        for _ in range(20):
            await asyncio.sleep(0)
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= target]:
            at, event = min(due, key=itemgetter(0))
            self._elapsed = max(self._elapsed, at)
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] is not event]
            event.set()
            for _ in range(20):
                await asyncio.sleep(0)
        self._elapsed = target
