"""A clock that moves only when a test says so, and one that stands still while the test is held up."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from services.audit import Event, Journal
from services.audit.writer import Pending


class ManualClock:
    """Starts at 2026-01-01T00:00:00Z. ``advance`` moves wall, monotonic and pace, waking sleepers in order; those that are due at
    the same moment in the order in which they went to sleep."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self._writing: set[asyncio.Future[Any]] = set()

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

    def stands_still_for(self, journal: Journal) -> None:
        """From now on ``advance`` waits for what the journal's thread has to write: a disk's time is none of this clock."""
        submit = journal._submit

        def submitted(event: Event, *, keep: bool) -> Pending:
            pending = submit(event, keep=keep)
            self._writing.add(pending.future)
            pending.future.add_done_callback(self._writing.discard)
            return pending

        journal._submit = submitted  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        """Move ``seconds`` of wall time on, letting everything that becomes due run at its own moment."""
        target = self._elapsed + seconds
        await self.settled()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= target]:
            at, event = min(due, key=itemgetter(0))
            self._elapsed = max(self._elapsed, at)
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] is not event]
            event.set()
            await self.settled()
        self._elapsed = target

    async def settled(self) -> None:
        """Let go on what can without time, until nothing is being written."""
        for _ in range(20):
            await asyncio.sleep(0)
        while self._writing:
            await asyncio.wait(self._writing)
            for _ in range(20):
                await asyncio.sleep(0)


@contextlib.contextmanager
def running_seconds() -> Iterator[Callable[[], float]]:
    """Tells for how many seconds this process ran: those in which none of its threads did do not count, since nothing that it
    waits for took them."""
    ended = threading.Event()
    ran = 0.0

    def tick() -> None:
        nonlocal ran
        last = time.monotonic()
        while not ended.wait(0.01):
            now = time.monotonic()
            ran += min(now - last, 0.1)
            last = now

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield lambda: ran
    finally:
        ended.set()
        thread.join()
