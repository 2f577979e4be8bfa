"""A disk that is really full, and one that becomes read-only: nothing begins, a rollback is recorded as soon as it can be."""

import os
from pathlib import Path

import pytest
from support.clock import ManualClock, running_seconds
from support.mounts import image, mounted, remount, why_not

from services.audit import Event, Journal, JournalUnavailable
from services.audit.levels import Level
from services.audit.verify import verify
from services.redaction import Redactor


def opened(directory: Path) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock())


def fill(place: Path) -> Path:
    """Take all of the room there is."""
    path = place / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return path


def rollback(n: int) -> Event:
    return Event(event="deployment.rollback", user="jane", rollback_triggered=True, data={"n": n, "pad": "x" * 500})


def started(n: int = 0) -> Event:
    return Event(event="deployment.started", user="jane", data={"n": n})


@pytest.mark.skipif(bool(why_not("tmpfs")), reason=why_not("tmpfs"))
@pytest.mark.parametrize("rollbacks", [3, 1200])
async def test_a_full_disk_refuses_a_start_and_takes_every_rollback(tmp_path: Path, rollbacks: int) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=120m", "tmpfs") as place:
        journal = opened(place / "journal")
        await journal.append(started())
        filling = fill(place)
        with pytest.raises(JournalUnavailable, match="0 MiB free"):
            await journal.append(started(1))
        longest, kept = 0.0, 0
        with running_seconds() as ran:
            for n in range(rollbacks):
                began = ran()
                # with all the patience there is: what is not taken is refused at once
                kept += await journal.append_within(rollback(n), 10) is None
                longest = max(longest, ran() - began)
        # The room kept free takes some hundreds, the emergency segment as many again, memory the rest: none waits for the disk.
        assert longest < 2.0, "the bound is 0.25 s; a busy machine is given more"
        assert (kept > 0) == (rollbacks > 1000)
        assert not journal.health.ok
        filling.unlink()
        assert await journal.append_within(rollback(rollbacks), 10) is not None
        journal.close()
        again = opened(place / "journal")
        await again.append(started(2))
        again.close()
        found = again.entries(event="deployment.rollback")
        numbers = [entry["data"]["n"] for entry in found]  # type: ignore[index, call-overload]
        assert sorted(numbers) == list(range(rollbacks + 1))
        assert sum(bool(entry.get("late")) for entry in found) == kept
        assert verify(place / "journal").ok


@pytest.mark.skipif(bool(why_not("loop")), reason=why_not("loop"))
async def test_a_disk_that_becomes_read_only_degrades_the_journal_until_it_is_not(tmp_path: Path) -> None:
    image(tmp_path / "image", 160)
    with mounted(tmp_path / "disk", "-o", "loop", tmp_path / "image") as place:
        journal = opened(place / "journal")
        await journal.append(started())
        journal.close()
        journal = opened(place / "journal")
        journal.close()
        remount(place, "ro")
        journal = opened(place / "journal")
        with pytest.raises(JournalUnavailable, match="Read-only"):
            await journal.append(started(1))
        assert await journal.append_within(rollback(0), 5) is None
        assert (journal.health.level, journal.health.pending) == (Level.DEGRADED, 1)
        remount(place, "rw")
        assert await journal.append_within(rollback(1), 5) is not None
        journal.close()
        entries = journal.entries(event="deployment.rollback")
        assert [(entry["data"]["n"], bool(entry.get("late"))) for entry in entries] == [(0, True), (1, False)]  # type: ignore[index, call-overload]
        assert verify(place / "journal").ok
        assert os.statvfs(place).f_bavail
