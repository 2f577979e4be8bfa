"""A shipper that is killed at any moment, against an Elasticsearch that misbehaves at random: nothing lost, nothing twice.

Most kills fall while a request is on its way, or shortly behind its answer, when its cursor is not saved yet; one in ten falls
while the process starts.

``QUARTERDECK_SHIPPER_KILLS=1000`` runs it at full size.
"""

import asyncio
import contextlib
import os
import random
import sys
from pathlib import Path

import pytest
from support.elastic import (
    EMPTY,
    GARBAGE,
    PARTLY,
    REFUSED_BEFORE,
    RESET_MID_RESPONSE,
    RESPONSE_LOST,
    Elastic,
    Fault,
    answered,
    elastic,
)
from support.fake_api import eventually

from services.audit import Event, Journal
from services.audit.line import HASH_LENGTH
from services.audit.segments import opened, segments
from services.audit.shipping import cursor as cursors
from services.audit.shipping import status
from services.audit.verify import verify
from services.clock import SystemClock
from services.redaction import Redactor

PROCESS = Path(__file__).with_name("shipper_process.py")
KILLS = int(os.environ.get("QUARTERDECK_SHIPPER_KILLS", "10"))
ENTRIES = 600
"""Before the first kill: more than one batch."""
EACH = 7
"""Entries more for each kill."""
STARTING = 0.1
"""The share of kills while the process starts."""
LATER = 0.15
"""The share of kills at any moment of the second and a half behind the first request: answered, and the cursor saved or not."""
ANSWERED = 0.25
"""Seconds that an answer takes at most where the server is busy."""
FAULTS = (
    REFUSED_BEFORE,
    RESPONSE_LOST,
    RESET_MID_RESPONSE,
    GARBAGE,
    EMPTY,
    PARTLY,
    answered(429, Retry_After="1"),
    answered(503),
    answered(500, store=True),
    answered(413),
    Fault(store=True, seconds=2.5),
)


def event(n: int) -> Event:
    return Event(event="deployment.executed", user="jane", service="payment-service", data={"n": n, "pad": "x" * (n * 37 % 300)})


async def started(directory: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, str(PROCESS), str(directory), url, stdout=-1)


async def ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"


class Misbehaving:
    """Three requests in ten meet a fault, six are answered as slowly as by a busy server, one is answered at once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.slow: asyncio.Queue[float] = asyncio.Queue()
        """Seconds that each slow answer takes, as its request comes."""

    def __call__(self) -> Fault | None:
        drawn = self._chance.random()
        if drawn < 0.3:
            return self._chance.choice(FAULTS)
        if drawn > 0.9:
            return None
        seconds = self._chance.uniform(0, ANSWERED)
        self.slow.put_nowait(seconds)
        return Fault(store=self._chance.random() < 0.7, seconds=seconds)

    async def moment(self) -> None:
        """Any moment of an exchange of which the answer is slow; where all entries were taken before, three seconds later."""
        while not self.slow.empty():
            self.slow.get_nowait()
        with contextlib.suppress(TimeoutError):
            seconds = await asyncio.wait_for(self.slow.get(), 3.0)
            await asyncio.sleep(self._chance.uniform(0, seconds))


def stored(directory: Path) -> dict[int, str]:
    """Number and hash of every entry of the journal."""
    hashes: list[str] = []
    for segment in segments(directory):
        with opened(segment) as file:
            hashes += [line[:HASH_LENGTH].decode() for line in file]
    return {seq: hash_ for seq, hash_ in enumerate(hashes, 1)}


def delivered(server: Elastic, directory: Path) -> bool:
    return len(server.documents) >= len(stored(directory))


def saved(server: Elastic, directory: Path) -> bool:
    """The cursor says so too: it is saved within a second or two."""
    found = cursors.read(directory, "elasticsearch")
    return found is not None and found.acked_seq >= len(server.documents)


def rests(directory: Path, pid: int) -> bool:
    """Whether the shipper of this process says that nothing waits, and of no sink that it is late."""
    said = status.read(directory)
    if said is None or said.pid != pid:
        return False
    return not said.late and not any(sink.backlog for sink in said.sinks)


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_killed_at_any_moment_no_entry_is_lost_or_there_twice(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    directory = tmp_path / "journal"
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())
    await asyncio.gather(*(journal.append(event(n)) for n in range(ENTRIES)))
    async with elastic() as server:
        server.choose = misbehaving = Misbehaving(chance)
        on_their_way = 0
        for round_ in range(KILLS):
            sent = server.requests
            await asyncio.gather(*(journal.append(event(ENTRIES + round_ * EACH + n)) for n in range(EACH)))
            process = await started(directory, server.url)
            try:
                if (kind := chance.random()) < STARTING:
                    await asyncio.sleep(chance.uniform(0, 1.0))
                elif kind < STARTING + LATER:
                    await eventually(lambda: server.requests > sent, 60.0)  # noqa: B023 - awaited here
                    await asyncio.sleep(chance.uniform(0, 1.5))
                else:
                    await ready(process)
                    await misbehaving.moment()
                on_their_way += server.under_way > 0
            finally:
                process.kill()
                await process.wait()
            await eventually(lambda: server.under_way == 0, 30.0)
        server.choose = lambda: None
        last = await started(directory, server.url)
        await ready(last)
        # one that was late records that, and that it is no longer: it writes nothing more once it has said that nothing waits
        await eventually(lambda: rests(directory, last.pid) and delivered(server, directory) and saved(server, directory), 120.0)
        last.terminate()
        await last.wait()
        journal.close()
        expected = stored(directory)
        there = {source["event"]["sequence"]: source["event"]["hash"] for source in server.sources}
        assert len(server.documents) == len(there), "no entry is there twice"
        assert there == expected, "no entry is missing or another one"
        assert verify(directory).ok
        assert on_their_way > KILLS * 0.3, "the kills have to meet what is on its way"
    told = f"{KILLS} kills, {on_their_way} of them with a request on its way, {len(expected)} entries, {server.requests} requests"
    sys.stderr.write(f"{told}: 0 lost, 0 twice\n")


@pytest.mark.parametrize(
    "fault",
    [*FAULTS, answered(401), answered(404)],
    ids=["refused", "lost", "mid-response", "garbage", "empty", "partly", "429", "503", "500", "413", "late", "401", "404"],
)
async def test_every_fault_by_itself_ends_with_every_entry_there_once(fault: Fault, tmp_path: Path) -> None:
    from support.shipping import QuickClock, shipping

    async with elastic() as server:
        server.faults.extend([fault] * 3)
        async with shipping(tmp_path, server, entries=1100, clock=QuickClock(40.0)) as place:
            await place.drained()
            # that it was late, and is no longer, are entries too
            await place.until(lambda: sorted(set(server.sequences)) == list(range(1, place.last + 1)))
        assert len(server.sequences) == len(set(server.sequences))
        assert place.status.dead_letters == 0
