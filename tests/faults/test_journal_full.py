"""A full disk: nothing begins, what must be recorded still is, and nothing begins again before there is room for its end."""

import errno
import os
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable
from services.audit.place import RESERVE, RESERVED, Disk
from services.audit.verify import verify
from services.redaction import Redactor


class Full(Disk):
    """Has no room but what the reserve gives back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.full = False
        self.left = RESERVED

    def _take(self, size: int) -> None:
        if not self.full:
            return
        if (self.directory / RESERVE).exists() or size > self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= size

    def write(self, descriptor: int, content: memoryview) -> int:
        self._take(len(content))
        return super().write(descriptor, content)

    def reserve(self, descriptor: int, size: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().reserve(descriptor, size)


def started(n: int = 0) -> Event:
    return Event(event="deployment.started", user="jane", data={"n": n})


def rollback(n: int = 0) -> Event:
    return Event(event="deployment.rollback", user="jane", rollback_triggered=True, data={"n": n})


@pytest.mark.parametrize("refused_before", [False, True])
async def test_a_rollback_is_on_the_full_disk_and_a_start_is_refused(tmp_path: Path, refused_before: bool) -> None:
    directory = tmp_path / "journal"
    disk = Full(directory)
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    await journal.append(started())
    assert (directory / RESERVE).stat().st_blocks * 512 >= RESERVED
    disk.full = True
    if refused_before:
        with pytest.raises(JournalUnavailable, match="No space"):
            await journal.append(started(1))
    receipts = [await journal.append_within(rollback(n), 5) for n in range(3)]
    assert None not in receipts
    with pytest.raises(JournalUnavailable, match="No space"):
        await journal.append(started(2))
    assert await journal.append_within(rollback(3), 5) is not None
    disk.full = False
    # The next look finds room again; then all of it is kept once more.
    assert await journal.append_within(rollback(4), 5) is not None
    await journal.append(started(3))
    assert (directory / RESERVE).exists()
    journal.close()
    found = journal.entries(event="deployment.rollback")
    assert [entry["data"]["n"] for entry in found] == [0, 1, 2, 3, 4]
    assert not any(entry.get("late") for entry in found)
    assert [entry["data"]["n"] for entry in journal.entries(event="deployment.started")] == [0, 3]
    assert verify(directory).ok


async def test_without_room_to_keep_nothing_begins(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    disk = Full(directory)
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    (directory / RESERVE).unlink(missing_ok=True)
    disk.full = True
    with pytest.raises(JournalUnavailable, match="No space"):
        await journal.append(started())
    journal.close()
    assert journal.entries(event="deployment.started") == []
