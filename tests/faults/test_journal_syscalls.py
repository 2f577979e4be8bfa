"""Killed, or refused by the kernel, at the k-th system call of each kind: for every k nothing promised is lost.

Figures: ``QUARTERDECK_FULL=1 python -m pytest -s tests/faults/test_journal_syscalls.py``. Needs strace.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journal_writers import FULL, Writers, receipts, stored

from services.audit.verify import verify

CALLS = ("write", "fdatasync", "fsync", "rename", "ftruncate", "openat", "unlink")
FAULTS = ("signal=KILL", "error=EIO", "error=ENOSPC")
ENTRIES, ROTATE = 5, 3
STEP = 1 if FULL else 9
MOST = 400


def strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def injected(writers: Writers, directory: Path, told: Path, call: str, fault: str, at: int) -> bool:
    """One writer with one fault; whether it came to that."""
    log = told.with_suffix(".strace")
    process = writers.start(directory, told, entries=ENTRIES, rotate=ROTATE, stopped=True)
    # Only a process that has stopped can be told to go on.
    while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)
    words = ["strace", "-f", "-p", str(process), "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={at}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        os.kill(process, signal.SIGCONT)
        status = writers.wait(process)
    return status == signal.SIGKILL if "KILL" in fault else "INJECTED" in log.read_text(errors="replace")


@pytest.mark.skipif(not strace_works(), reason="strace is not installed, or may not trace here")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_at_any_call_loses_nothing_that_was_promised(tmp_path: Path, writers: Writers, call: str, fault: str) -> None:
    sample = tmp_path / "sample"
    assert writers.wait(writers.start(sample, tmp_path / "before", entries=3)) == 0
    # The last writer was interrupted, so that what sets it right is hit as well.
    with (sample / "seg" / "000000000001.jsonl").open("ab") as file:
        file.write(b"0123456789abcdef")
    before = receipts(tmp_path / "before")
    tried, lost, damaged, at = 0, 0, 0, 1
    while at < MOST:
        directory, told = tmp_path / f"journal-{at}", tmp_path / f"told-{at}"
        shutil.copytree(sample, directory)
        hit = injected(writers, directory, told, call, fault, at)
        tried += hit
        damaged += any(problem.kind not in ("torn-tail", "emergency") for problem in verify(directory).problems)
        assert writers.wait(writers.start(directory, told, entries=1)) == 0
        have = stored(directory)
        lost += sum(have.get(seq) != digest for seq, digest in {**before, **receipts(told)}.items())
        end = verify(directory)
        assert end.problems == (), (call, fault, at)
        if not hit:
            break
        shutil.rmtree(directory)
        at += STEP
    print(json.dumps({"call": call, "fault": fault, "tried": tried, "lost": lost, "false_damage": damaged}))
    assert (lost, damaged) == (0, 0)
    assert tried or call in ("unlink", "ftruncate"), "the fault never happened"
