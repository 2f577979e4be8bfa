"""The journal's figures: a durable entry beside the bare disk, many writers at once, a million entries checked, read and opened.

Run it with ``python tests/bench/journal.py [ENTRIES]``; prints one JSON document. Nothing is asserted.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from figures import Figure, figure

from services.audit import Event, Journal
from services.audit.entry import Draft
from services.audit.line import encode
from services.audit.paging import of_rollout, older
from services.audit.store import Store
from services.audit.ulid import new_ulid
from services.audit.verify import verify
from services.clock import SystemClock
from services.redaction import Redactor

APPENDS = 1500
WRITERS = 10
EACH = 2000
MILLION = 1_000_000
ASKED = 7


def event(n: int) -> Event:
    return Event(
        event="deployment.executed",
        user="jane",
        environment="production",
        service="payment-service",
        version="v2.15.0",
        command="kubectl patch virtualservice payment-service --type=json -p '[…]' -n production --context production",
        change_ticket="CHG-4821",
        phase="intent",
        data={"step": n, "step_name": f"{n} %", "changes": [{"path": "/spec/http/0/route/0/weight", "old": 90, "new": 75}]},
    )


@contextlib.contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
        yield Path(made)


def opened(directory: Path) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())


async def one_by_one(directory: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of an entry and, in turn with it, of as many bytes written and synced: both see the same load."""
    journal = opened(directory / "journal")
    await journal.append(event(0))
    line = b"x" * ((directory / "journal" / "seg" / "000000000001.jsonl").stat().st_size // 2 - 1) + b"\n"
    raw = os.open(directory / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    entries, bare = [], []
    try:
        for n in range(APPENDS):
            made = event(n)
            began = time.perf_counter()
            await journal.append(made)
            entries.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            os.write(raw, line)
            os.fdatasync(raw)
            bare.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(raw)
        journal.close()
    return entries, bare


async def together(directory: Path) -> float:
    """Entries per second from ten writers of one process, each with two hundred entries on their way."""
    journal = opened(directory / "journal")

    async def writer(number: int) -> None:
        for start in range(0, EACH, 200):
            await asyncio.gather(*(journal.append(event(number * EACH + start + n)) for n in range(200)))

    began = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    taken = time.perf_counter() - began
    journal.close()
    return WRITERS * EACH / taken


def fill(directory: Path, entries: int) -> float:
    """A journal of so many entries, through the store; seconds."""
    store = Store(directory, clock=SystemClock(), redactor=Redactor(b"k" * 32), program="bench")
    began = time.perf_counter()
    store.open()
    for start in range(0, entries, 1000):
        store.append([_draft(n) for n in range(start, min(start + 1000, entries))])
    store.sign()  # as a writer does that ends
    store.close()
    return time.perf_counter() - began


def _draft(n: int) -> Draft:
    fields: dict[str, Any] = {
        "event": ("deployment.executed", "deployment.health_check")[n % 2],
        "user": "jane",
        "environment": "production" if n % 5000 else "staging",
        "service": f"service-{n % 200}",
        "version": "v2.15.0",
        "command": "",
        "change_ticket": "CHG-4821",
        "approvers": [],
        "outcome": "ok",
        "rollback_triggered": False,
        "duration_seconds": 1.5,
        "rollout": f"r-{n // 400}",
        "phase": "outcome",
        "ref": "",
        "data": {"step": n % 12, "changes": [{"path": "/spec/http/0/route/0/weight", "old": 90, "new": 75}]},
        "redacted": [],
        "mono": n / 10,
        "boot": "8d2a4f3e-0000-4000-8000-000000000000",
        "prog": {"name": "bench", "version": "1", "host": "here", "pid": 1},
    }
    seconds = 1_790_000_000 + n // 10
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{n % 10}00000Z"
    return Draft(id=new_ulid(seconds), timestamp=stamp, fields=fields, encoded=encode(fields))


def timed(asked: Callable[[], Any], times: int = ASKED) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        asked()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def of_many(directory: Path, entries: int) -> dict[str, Figure]:
    filled = fill(directory, entries)
    size = sum(found.stat().st_size for found in (directory / "seg").iterdir())
    checked, read = [], []
    for _ in range(3):
        checked += timed(lambda: _sound(directory), 1)
        read += timed(lambda: _digests(directory), 1)
    journal = opened(directory)
    journal.close()
    # What the first question pays for the index, and then each.
    first = timed(lambda: journal.entries(rollout=f"r-{entries // 800}"), 1)
    found: dict[str, Figure] = {
        "fill": {"entries": entries, "bytes": size, "seconds": round(filled, 2)},
        "verify": figure(
            checked,
            "ms",
            target=2000.0 * entries / MILLION,
            against=("digests_of_the_files", read),
            what="every link, every entry read",
        ),
        "digests_of_the_files": figure(read, "ms", what="the same bytes through SHA-256 once, file by file"),
        "open": figure(timed(lambda: opened(directory).close()), "ms", target=5.0),
        "first_question": figure(first, "ms", what="makes the index where there is none"),
    }
    asked: dict[str, Callable[[], Any]] = {
        "rollout": lambda: journal.entries(rollout=f"r-{entries // 800}"),
        "rare": lambda: journal.entries(environment="staging", limit=100),
        "absent": lambda: journal.entries(service="nobody"),
        "newest": lambda: journal.entries(limit=50),
        "receipt": lambda: journal.receipt(entries // 2),
        "page": lambda: older(directory, entries // 2, limit=500),
        "story": lambda: of_rollout(directory, "r-3", most=20_000),
    }
    for name, ask in asked.items():
        found[f"ask_{name}"] = figure(timed(ask), "ms", target=10.0)
    return found


def _digests(directory: Path) -> list[str]:
    found = []
    for path in (directory / "seg").iterdir():
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _sound(directory: Path) -> None:
    if not (found := verify(directory)).ok:
        raise SystemExit(f"the bench's own journal does not hold: {found.problems[:3]}")


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else MILLION
    with place() as directory:
        appended, bare = asyncio.run(one_by_one(directory))
    with place() as directory:
        rate = asyncio.run(together(directory))
    figures: dict[str, Figure] = {
        "append": figure(appended, "ms", against=("write_and_fdatasync", bare), ratio_target=1.7, what="one entry, durable"),
        "write_and_fdatasync": figure(bare, "ms", what="as many bytes with os.write and os.fdatasync"),
        "ten_writers": {"entries_per_second": round(rate), "target": 20_000, "met": rate >= 20_000},
    }
    with place() as directory:
        figures |= of_many(directory / "journal", entries)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
