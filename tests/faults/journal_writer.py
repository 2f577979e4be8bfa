"""A process that appends for as long as it lives and prints each receipt: ``journal_writer.py DIRECTORY NAME [COUNT]``."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from services.audit import Event, Journal, JournalUnavailable, Receipt
from services.clock import SystemClock
from services.redaction import Redactor


async def patiently(journal: Journal, event: Event) -> Receipt:
    """Asked again where another process holds the journal for longer than one waits for it: nothing was written then."""
    while True:
        try:
            return await journal.append(event)
        except JournalUnavailable as refused:
            if "held by another process" not in str(refused):
                raise
            await asyncio.sleep(0.01)


async def main(directory: Path, name: str, count: int) -> None:
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())
    for n in range(count):
        receipt = await patiently(
            journal, Event(event="deployment.executed", user=name, data={"n": n, "pad": "x" * (n * 37 % 900)})
        )
        sys.stdout.write(f"{n} {receipt.seq} {receipt.hash}\n")
        sys.stdout.flush()
    journal.close()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10**9))
