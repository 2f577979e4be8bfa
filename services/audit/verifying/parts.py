"""Segments read by two processes side by side. Whatever goes wrong with that, they are read one after the other instead."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.audit.verifying import lines
from services.audit.verifying.lines import Job, Part, part

WORTH_IT = 16 * 1024 * 1024
"""Bytes: a second process needs some 0.1 s to begin."""
_part = msgspec.json.Decoder(Part | None)


def parts(jobs: Sequence[Job]) -> dict[str, Part | None]:
    """What could be read of the segments, by path; nothing where they are too few for it to be worth it."""
    if sum(job.size for job in jobs) < WORTH_IT or len(jobs) < 2:
        return {}
    try:
        other = subprocess.Popen(
            [sys.executable, "-I", str(Path(lines.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return {}
    with other:
        mine, theirs = _shared(jobs)
        found = {job.path: None for job in jobs} | _asked(other, mine, theirs)
    return found if other.returncode == 0 else {path: made for path, made in found.items() if made is not None}


def _asked(other: "subprocess.Popen[bytes]", mine: Sequence[Job], theirs: Sequence[Job]) -> dict[str, Part | None]:
    wanted = b"".join(msgspec.json.encode(job) + b"\n" for job in theirs)
    answers: list[bytes] = []
    # Both ends at once: a pipe holds 64 KiB, and who writes into a full one waits for a reader that may do the same.
    asking = threading.Thread(target=lambda: answers.append(other.communicate(wanted)[0]), daemon=True)
    asking.start()
    found = {job.path: part(job) for job in mine}
    asking.join()
    for job, answer in zip(theirs, b"".join(answers).split(b"\n"), strict=False):
        try:
            found[job.path] = _part.decode(answer)
        except msgspec.MsgspecError:
            break
    return found


def _shared(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Two halves of about the same size."""
    halves: tuple[list[Job], list[Job]] = ([], [])
    sizes = [0, 0]
    for job in sorted(jobs, key=lambda job: -job.size):
        at = sizes.index(min(sizes))
        halves[at].append(job)
        sizes[at] += job.size
    return halves
