"""Labelled canaries through the whole of ``analyse --replay``: healthy ones left alone, regressions found in time."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_labelled_canaries_of_every_kind_are_judged_right() -> None:
    """Two sets of forty; the bench without arguments prints ten of them, with their kinds."""
    words = [sys.executable, "tests/bench/judge_labelled.py", "--sets", "2", "--seed", "2000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1].startswith("2 of 2 sets: at most 1 false abort, none before the onset, 18 of 20 found")
