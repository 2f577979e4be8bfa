"""Things to do later, in pace seconds."""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from services.clock import Clock


class Schedule:
    """Actions ordered by when they are due. ``run`` performs them in a live process; ``run_due`` by hand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._woken = asyncio.Event()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do ``action`` in that many pace seconds."""
        heapq.heappush(self._due, (self._clock.pace() + seconds, next(self._order), action))
        if self._due[0][2] is action:
            self._woken.set()

    def run_due(self) -> None:
        """Do everything that is due now, what becomes due by it included."""
        while self._due and self._due[0][0] <= self._clock.pace():
            heapq.heappop(self._due)[2]()

    async def run(self) -> None:
        while True:
            self.run_due()
            self._woken.clear()
            wait = max(0.0, self._due[0][0] - self._clock.pace()) / self._clock.speed if self._due else None
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue
