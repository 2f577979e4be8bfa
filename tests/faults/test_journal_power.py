"""The power goes: what was promised is on the disk. And the same test fails a writer that does not sync.

A cut is a copy of the image that a loop device lies on, taken while the writer is stopped: what only the file system's cache
holds is not in it. The copy is mounted, as after a restart. Figures: ``QUARTERDECK_FULL=1 python -m pytest -s
tests/faults/test_journal_power.py``.
"""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.journal_writers import FULL, Writers, receipts, stored
from support.mounts import image, mounted, why_not
from support.processes import stopped

from services.audit.verify import verify

CUTS = 200 if FULL else 6
MUTANT_CUTS = 20 if FULL else 3
pytestmark = [pytest.mark.skipif(bool(why_not("loop")), reason=why_not("loop")), pytest.mark.timeout(1500)]


class Found(NamedTuple):
    promised: int
    lost: int
    false_damage: list[object]


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def cut(tmp_path: Path, writers: Writers, cuts: int, *, forgetful: bool) -> Found:
    """So many cuts of one disk under one writer; what was promised at the moment of each is looked for behind it."""
    chance = random.Random(20260103)
    disk, copy, told = tmp_path / "disk.image", tmp_path / "copy.image", tmp_path / "told"
    image(disk, 48)
    promised_in_all, lost, damage = 0, 0, list[object]()
    # Longer than the test: what is not asked for is not written back by itself in this time.
    with mounted(tmp_path / "disk", "-o", "loop,commit=300", disk) as place:
        process = writers.start(place / "journal", told, forgetful=forgetful)
        try:
            while not receipts(told):
                time.sleep(0.01)
            for _ in range(cuts):
                time.sleep(chance.uniform(0.0, 0.15))
                stopped(process)  # a sync that is under way would go on beneath the copy
                promised = receipts(told)
                shutil.copyfile(disk, copy)
                os.kill(process, signal.SIGCONT)
                with mounted(tmp_path / "copy", "-o", "loop", copy) as after:
                    have = stored(after / "journal") if (after / "journal" / "seg").exists() else {}
                    found = verify(after / "journal").problems
                promised_in_all += len(promised)
                lost += sum(have.get(seq) != digest for seq, digest in promised.items())
                damage += [problem for problem in found if problem.kind != "torn-tail"]
        finally:
            os.kill(process, signal.SIGKILL)
            writers.wait(process)
    return Found(promised_in_all, lost, damage)


def test_a_power_cut_loses_nothing_that_was_promised(tmp_path: Path, writers: Writers) -> None:
    found = cut(tmp_path, writers, CUTS, forgetful=False)
    print(json.dumps({"cuts": CUTS, "promised": found.promised, "lost": found.lost, "false_damage": len(found.false_damage)}))
    assert found.promised > 0
    assert (found.lost, found.false_damage) == (0, [])


def test_a_writer_that_does_not_sync_fails_the_same_test(tmp_path: Path, writers: Writers) -> None:
    found = cut(tmp_path, writers, MUTANT_CUTS, forgetful=True)
    print(json.dumps({"mutant": "no fsync", "cuts": MUTANT_CUTS, "promised": found.promised, "lost": found.lost}))
    assert found.lost > 0
