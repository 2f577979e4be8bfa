"""How long an entry takes from the journal to the receipt, and how soon everything is there again after an outage.

Run it with ``python tests/bench/shipping.py [SECONDS]``; prints one JSON document. Nothing is asserted. The shipper is a process
of its own; the Elasticsearch it ships to is the tests', in this one.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from figures import Figure, figure, quantile
from support.elastic import Elastic

from services.audit import Event, Journal
from services.audit.shipping import status
from services.clock import SystemClock
from services.redaction import Redactor

PROCESS = Path(__file__).parents[1] / "faults" / "shipper_process.py"
SECONDS = 60.0
"""Of entries at random moments."""
OUTAGE_ENTRIES = 10_000
OUTAGE_SECONDS = 3600.0
"""How old the oldest entry is when the outage ends."""
DOWN_SECONDS = 45.0
"""For which the shipper really finds nobody, so that its pauses are as long as they get."""
OUTAGES = 3
P50, P99, CAUGHT_UP = 1.5, 5.0, 30.0
LATE = status.LATE_SECONDS


class Earlier(SystemClock):
    """A clock that is ``by`` seconds slow: what it stamps is that old."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self._by = by

    def now(self) -> Any:
        from datetime import timedelta

        return super().now() - timedelta(seconds=self._by)

    def unix(self) -> float:
        return super().unix() - self._by


class Receiver(Elastic):
    """Notes when each entry came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[int, float] = {}
        self.items = self._note

    def _note(self, index: str, id_: str, source: Any) -> None:
        self.came.setdefault(source["event"]["sequence"], time.monotonic())


def event(n: int) -> Event:
    return Event(
        event="deployment.executed",
        user="jane",
        environment="production",
        service="payment-service",
        version="v2.15.0",
        command="kubectl patch virtualservice payment-service --type=json -p '[…]' -n production --context production",
        data={"step": n, "changes": [{"path": "/spec/http/0/route/0/weight", "old": 90, "new": 75}]},
    )


async def shipper(directory: Path, url: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROCESS), str(directory), url, stdout=-1)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def healthy(seconds: float) -> dict[str, Figure]:
    """Entries one by one and in bursts at random moments: from the receipt of the journal to the arrival at the sink."""
    chance = random.Random(20260101)
    server = Receiver()
    await server.start()
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
        directory = Path(made) / "journal"
        journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())
        await journal.append(event(0))
        process = await shipper(directory, server.url)
        await until(lambda: 1 in server.came, 60)
        written: dict[int, float] = {}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for receipt in await asyncio.gather(*(journal.append(event(n)) for n in range(chance.choice((1, 1, 1, 5, 40))))):
                written[receipt.seq] = time.monotonic()
            await asyncio.sleep(chance.uniform(0.05, 1.5))
        await until(lambda: len(server.came) > len(written), 60)
        process.terminate()
        await process.wait()
        journal.close()
    await server.stop()
    taken = [server.came[seq] - at for seq, at in written.items()]
    found = figure(taken, "s", target=P50, what="entry durable in the journal → stored at the sink, healthy")
    p99 = quantile(taken, 0.99)
    return {"append_to_receipt": found | {"p99": round(p99, 4), "target_p99": P99, "met_p99": p99 <= P99}}


async def outage() -> tuple[float, float]:
    """Seconds from the end of an outage to a lag below a minute, and to the last entry there."""
    server = Receiver()
    await server.start()
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
        directory = Path(made) / "journal"
        journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=Earlier(OUTAGE_SECONDS))
        for start in range(0, OUTAGE_ENTRIES, 1000):
            await asyncio.gather(*(journal.append(event(n)) for n in range(start, start + 1000)))
        journal.close()
        process = await shipper(directory, f"http://127.0.0.1:{port}")
        await asyncio.sleep(DOWN_SECONDS)
        await server.start(port)
        began = time.monotonic()
        below = None
        while len(server.came) <= OUTAGE_ENTRIES:
            await asyncio.sleep(0.05)
            said = status.read(directory)
            if below is None and said is not None and said.sinks and said.sinks[0].lag_seconds < LATE:
                below = time.monotonic() - began
            if time.monotonic() - began > 120:
                raise TimeoutError(f"only {len(server.came)} entries after 120 s")
        whole = time.monotonic() - began
        while below is None:
            await asyncio.sleep(0.05)
            said = status.read(directory)
            below = time.monotonic() - began if said is not None and said.sinks[0].lag_seconds < LATE else None
        process.terminate()
        await process.wait()
    there = server.sequences
    await server.stop()
    # Beside them the header of the segment, and that shipping was late and has caught up.
    if sorted(there) != list(range(1, len(there) + 1)) or len(there) <= OUTAGE_ENTRIES:
        raise RuntimeError(f"of {OUTAGE_ENTRIES + 1} entries {len(set(there))} are there, in {len(there)} documents")
    return below, whole


async def until(there: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not there():  # noqa: ASYNC110 - what is waited for is any state of a real server
            await asyncio.sleep(0.02)


async def measure(seconds: float) -> dict[str, Figure]:
    figures = await healthy(seconds)
    found = [await outage() for _ in range(OUTAGES)]
    what = f"end of an outage of an hour with {OUTAGE_ENTRIES} entries → lag below {LATE:.0f} s"
    figures["caught_up"] = figure([below for below, _ in found], "s", target=CAUGHT_UP, what=what)
    figures["outage_delivered"] = figure([whole for _, whole in found], "s", what="the same → the last entry there, once")
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)), indent=2))
