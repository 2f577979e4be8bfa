"""Writers that are killed at random moments, alone and side by side: nothing promised is lost, nothing is called damaged.

Figures: ``QUARTERDECK_FULL=1 python -m pytest -s tests/faults/test_journal_killed.py``.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journal_writers import FULL, Writers, receipts, stored
from support.processes import eventually

from services.audit import reading
from services.audit.verify import verify

KILLS = 1000 if FULL else 60
SECONDS = 600.0 if FULL else 4.0


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


@pytest.mark.timeout(1200)
def test_killed_at_random_moments_nothing_promised_is_lost(tmp_path: Path, writers: Writers) -> None:
    chance = random.Random(20260101)
    directory, told = tmp_path / "journal", tmp_path / "told"
    damaged: list[object] = []
    torn = 0
    for round_ in range(KILLS):
        process = writers.start(directory, told, name=f"writer-{round_}", rotate=chance.randrange(40))
        if round_ % 2:
            # While it opens the journal; else while it writes, however busy the machine is.
            time.sleep(chance.uniform(0.0, 0.05))
        else:
            size = told.stat().st_size if told.exists() else 0
            while not told.exists() or told.stat().st_size == size:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.02))
        os.kill(process, signal.SIGKILL)
        writers.wait(process)
        if round_ % 10 == 0 and directory.exists():
            found = verify(directory).problems
            torn += any(problem.kind == "torn-tail" for problem in found)
            damaged += [problem for problem in found if problem.kind not in ("torn-tail", "missing-segment", "missing-journal")]
    last = writers.start(directory, told, name="last", entries=1)
    assert writers.wait(last) == 0
    promised, have = receipts(told), stored(directory)
    lost = {seq for seq, digest in promised.items() if have.get(seq) != digest}
    end = verify(directory)
    print(
        json.dumps(
            {"kills": KILLS, "promised": len(promised), "lost": len(lost), "torn_seen": torn, "false_damage": len(damaged)}
        )
    )
    assert len(promised) >= KILLS / 2
    assert (lost, damaged, end.problems) == (set(), [], ())


@pytest.mark.timeout(1200)
def test_two_consoles_and_a_headless_run_under_random_kills_make_one_unbroken_chain(tmp_path: Path, writers: Writers) -> None:
    chance = random.Random(20260102)
    directory = tmp_path / "journal"
    names = ("console-1", "console-2", "headless")
    running = {name: writers.start(directory, tmp_path / name, name=name) for name in names}
    kills = 0
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        time.sleep(chance.uniform(0.01, 0.3))
        name = chance.choice(names)
        os.kill(running[name], signal.SIGKILL)
        writers.wait(running[name])
        kills += 1
        running[name] = writers.start(directory, tmp_path / name, name=name, rotate=chance.randrange(2000))
    eventually("each of them was promised something", lambda: all(receipts(tmp_path / name) for name in names), 60.0)
    for process in running.values():
        os.kill(process, signal.SIGKILL)
        writers.wait(process)
    assert writers.wait(writers.start(directory, tmp_path / "last", entries=1)) == 0
    found, have = verify(directory), stored(directory)
    promised = [(name, receipts(tmp_path / name)) for name in names]
    lost = [(name, seq) for name, told in promised for seq, digest in told.items() if have.get(seq) != digest]
    print(
        json.dumps({"seconds": SECONDS, "kills": kills, "entries": found.entries, "segments": found.segments, "lost": len(lost)})
    )
    assert (found.problems, lost) == ((), [])
    assert sorted(have) == list(range(1, len(have) + 1))
    for name, told in promised:
        assert told, name
    assert reading.entries(directory, limit=1)
