"""A disk that fails, for every call at which it may: nothing is acknowledged that is not there, and nothing is lost."""

import errno
import os
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable
from services.audit.place import Disk
from services.audit.verify import verify
from services.redaction import Redactor


class Failing(Disk):
    """Fails the ``at``-th call of ``call`` with ``code``, ``times`` in a row."""

    def __init__(self, call: str, at: int, code: int, times: int = 1) -> None:
        self.call, self.at, self.code, self.times = call, at, code, times
        self.calls = 0
        self.dead: set[str] = set()

    def _count(self, call: str, path: str = "") -> None:
        if call != self.call:
            return
        self.calls += 1
        if self.times == 1:
            # A file whose sync failed must never be synced again as if nothing had been.
            assert path not in self.dead
        if self.at <= self.calls < self.at + self.times:
            if Path(path).name[:1].isdigit():
                self.dead.add(path)
            raise OSError(self.code, os.strerror(self.code))

    def write(self, descriptor: int, content: memoryview) -> int:
        self._count("write")
        return super().write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        self._count("sync", os.readlink(f"/proc/self/fd/{descriptor}"))
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._count("sync_directory")
        super().sync_directory(path)

    def truncate(self, descriptor: int, size: int) -> None:
        self._count("truncate")
        super().truncate(descriptor, size)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["write", "sync", "sync_directory"])
@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("times", [1, 3])
async def test_acknowledged_is_there(tmp_path: Path, call: str, at: int, code: int, times: int) -> None:
    clock = ManualClock()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=clock, disk=Failing(call, at, code, times))
    acknowledged, refusals = {}, []
    for n in range(8):
        if n == 5:
            await clock.advance(25 * 3600)
        try:
            receipt = await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
        except JournalUnavailable as error:
            refusals.append(str(error))
        else:
            acknowledged[n] = receipt
    journal.close()
    assert len(refusals) <= times
    assert all(os.strerror(code) in refusal for refusal in refusals)
    found = verify(tmp_path / "journal")
    assert found.problems == ()
    stored = {entry["data"]["n"]: entry["seq"] for entry in journal.entries(event="deployment.executed")}
    assert stored == {n: receipt.seq for n, receipt in acknowledged.items()}


class Grudging(Disk):
    """Takes at most seven bytes at a time."""

    def write(self, descriptor: int, content: memoryview) -> int:
        return super().write(descriptor, content[:7])


async def test_short_writes_are_continued(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=Grudging())
    for _ in range(3):
        await journal.append(Event(event="x", user="jane"))
    journal.close()
    assert verify(tmp_path / "journal").entries == 4
    assert verify(tmp_path / "journal").ok


class HalfFull(Grudging):
    """Full after some bytes, in the middle of a line."""

    left = 10_000

    def write(self, descriptor: int, content: memoryview) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(descriptor, content)
        self.left -= written
        return written


async def test_a_write_that_fails_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    disk = HalfFull()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    disk.left = 300
    with pytest.raises(JournalUnavailable, match="No space"):
        await journal.append(Event(event="x", user="jane"))
    assert verify(tmp_path / "journal").ok
    assert verify(tmp_path / "journal").entries == 1
    journal.close()


async def test_after_a_failed_sync_the_entry_goes_to_a_new_file(tmp_path: Path) -> None:
    journal = Journal.open(
        tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=Failing("sync", 4, errno.EIO)
    )
    receipts = [await journal.append(Event(event="x", user="jane")) for _ in range(4)]
    journal.close()
    headers = journal.entries(event="journal.segment")
    assert len(headers) == 2
    assert "sync" in headers[1]["data"]["reason"]
    assert len(receipts) == 4
    assert verify(tmp_path / "journal").ok
