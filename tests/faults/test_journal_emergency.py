"""What must be recorded while the journal can't be written: in time, once, and also where the process dies before it can be."""

import asyncio
import contextlib
import errno
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock, running_seconds

from services.audit import Event, Journal, JournalUnavailable
from services.audit.emergency import EMERGENCY, SIZE, Emergency, Held
from services.audit.entry import Moment, draft
from services.audit.levels import MIB, Level, Room
from services.audit.place import Disk
from services.audit.verify import verify
from services.redaction import Redactor


def opened(directory: Path, disk: Disk | None = None) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)


def started(n: int = 0) -> Event:
    return Event(event="deployment.started", user="jane", data={"n": n})


def rollback(n: int = 0) -> Event:
    return Event(event="deployment.rollback", user="jane", rollback_triggered=True, data={"n": n})


def stored(directory: Path) -> list[tuple[int, bool]]:
    journal = opened(directory)
    journal.close()
    return [(entry["data"]["n"], bool(entry.get("late"))) for entry in journal.entries(event="deployment.rollback")]  # type: ignore[index, call-overload]


async def saved(emergency: Emergency) -> Held:
    """What waits there, once something does and whoever saves it has let go of the file."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(JournalUnavailable):
                if (held := emergency.read()).drafts:
                    return held
            await asyncio.sleep(0.01)


class Broken(Disk):
    """Everything fails but the emergency segment, where there is one."""

    broken = False

    def sync(self, descriptor: int) -> None:
        if self.broken and not os.readlink(f"/proc/self/fd/{descriptor}").endswith(EMERGENCY):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


async def test_it_survives_the_process(tmp_path: Path) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    await journal.append(started())
    disk.broken = True
    for n in range(3):
        assert await journal.append_within(rollback(n), 5) is None
    assert (journal.health.level, journal.health.waiting, journal.health.pending) == (Level.DEGRADED, 3, 0)
    with pytest.raises(JournalUnavailable):
        await journal.append(started(1))
    # The process is gone now; the next one finds a disk that works again.
    assert stored(tmp_path / "journal") == [(0, True), (1, True), (2, True)]
    again = opened(tmp_path / "journal")
    again.close()
    (note,) = again.entries(event="journal.emergency")
    assert note["data"]["merged"] == note["data"]["count"] == 3  # type: ignore[index, call-overload]
    assert stored(tmp_path / "journal") == [(0, True), (1, True), (2, True)]
    assert (tmp_path / "journal" / EMERGENCY).read_bytes() == bytes(SIZE)
    assert verify(tmp_path / "journal").ok


async def test_when_the_disk_is_back_it_is_taken_up_without_a_new_start(tmp_path: Path) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    disk.broken = True
    assert await journal.append_within(rollback(), 5) is None
    disk.broken = False
    assert await journal.append_within(rollback(1), 5) is not None
    assert (journal.health.ok, journal.health.waiting) == (True, 0)
    journal.close()
    assert stored(tmp_path / "journal") == [(0, True), (1, False)]
    assert verify(tmp_path / "journal").ok


class Stuck(Disk):
    """A sync of the journal itself does not come back before it is let go."""

    def __init__(self) -> None:
        self.stuck = False
        self.go = threading.Event()

    def sync(self, descriptor: int) -> None:
        if self.stuck and "/seg/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            self.go.wait(20)
        super().sync(descriptor)


async def test_a_disk_that_hangs_holds_a_rollback_up_for_a_quarter_of_a_second_and_it_is_recorded_once(tmp_path: Path) -> None:
    disk = Stuck()
    journal = opened(tmp_path / "journal", disk)
    await journal.append(started())
    disk.stuck = True
    with running_seconds() as ran:
        assert await journal.append_within(rollback()) is None
        assert ran() < 2.0, "the bound is 0.25 s; a busy machine is given more"
    emergency = Emergency(tmp_path / "journal", disk=Disk())
    assert [made.fields["data"] for made in (await saved(emergency)).drafts] == [{"n": 0}]
    disk.go.set()
    assert await journal.append_within(rollback(1), 10) is not None
    journal.close()
    assert [n for n, _ in stored(tmp_path / "journal")] == [0, 1]
    assert emergency.empty()
    assert verify(tmp_path / "journal").ok


class Looking(Disk):
    """A look at the room does not come back before it is let go."""

    def __init__(self) -> None:
        self.stuck = False
        self.go = threading.Event()

    def room(self, path: str) -> Room | None:
        if self.stuck:
            self.go.wait(20)
        return super().room(path)


@pytest.mark.parametrize("ahead", [0.0, 7200.0], ids=["", "and-its-clock-is-behind"])
async def test_what_another_process_took_up_from_the_emergency_segment_is_not_written_again(tmp_path: Path, ahead: float) -> None:
    disk, clock = Looking(), ManualClock()
    await clock.advance(ahead)
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=clock, disk=disk)
    await journal.append(started(1))
    disk.stuck = True
    starting = asyncio.ensure_future(journal.append(started(2)))
    await asyncio.sleep(0)
    assert await journal.append_within(rollback()) is None
    await saved(Emergency(tmp_path / "journal", disk=Disk()))
    assert stored(tmp_path / "journal") == [(0, True)], "the other process has it"
    other = opened(tmp_path / "journal")
    await other.append(started(3))
    other.close()
    disk.stuck = False
    disk.go.set()
    assert (await starting).seq > 2
    assert await journal.append_within(rollback(1), 10) is not None
    journal.close()
    assert stored(tmp_path / "journal") == [(0, True), (1, False)]
    assert verify(tmp_path / "journal").ok


async def test_what_neither_file_took_before_the_end_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.writer.CLOSE_SECONDS", 0.1)
    disk = Stuck()
    journal = opened(tmp_path / "journal", disk)
    await journal.append(started())
    (tmp_path / "journal" / EMERGENCY).unlink()
    disk.stuck = True
    for n in range(3):
        assert await journal.append_within(rollback(n), 0.05) is None
    journal.close()
    told = [record.getMessage() for record in caplog.records if "perhaps not written" in record.getMessage()]
    assert [f'"n":{n}' in each for n, each in enumerate(told)] == [True] * 3
    disk.go.set()


async def test_what_does_not_fit_any_more_stays_in_memory(tmp_path: Path) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    disk.broken = True
    for n in range(90):
        await journal.append_within(Event(event="deployment.rollback", user="jane", data={"n": n, "pad": "x" * 12_000}), 5)
    health = journal.health
    assert health.waiting > 60
    assert health.pending > 0
    assert health.waiting + health.pending == 90
    disk.broken = False
    assert await journal.append_within(rollback(90), 5) is not None
    journal.close()
    assert sorted(n for n, _ in stored(tmp_path / "journal")) == list(range(91))
    assert verify(tmp_path / "journal").ok


async def test_a_line_that_was_cut_off_is_kept_aside_and_the_others_are_taken(tmp_path: Path) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    disk.broken = True
    for n in range(2):
        await journal.append_within(rollback(n), 5)
    path = tmp_path / "journal" / EMERGENCY
    content = path.read_bytes()
    end = content.rstrip(b"\0").rfind(b"\n", 0, -1) + 40
    path.write_bytes(content[:end].ljust(SIZE, b"\0"))
    assert stored(tmp_path / "journal") == [(0, True)]
    again = opened(tmp_path / "journal")
    again.close()
    (note,) = again.entries(event="journal.emergency")
    data: Any = note["data"]
    assert (data["merged"], data["unreadable"]["bytes"]) == (1, 39)
    assert (tmp_path / "journal" / data["unreadable"]["copy"]).stat().st_size == 39


async def test_a_line_that_is_no_entry_of_ours_stops_nothing(tmp_path: Path) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    disk.broken = True
    await journal.append_within(rollback(), 5)
    path = tmp_path / "journal" / EMERGENCY
    lines = path.read_bytes().rstrip(b"\0")
    body = b'{"v":1,"what":"is this"}'
    digest = hashlib.sha256(b"audit-v1\0" + lines[:64] + body).hexdigest().encode()
    path.write_bytes((lines + digest + b"\t" + body + b"\n").ljust(SIZE, b"\0"))
    assert stored(tmp_path / "journal") == [(0, True)]
    again = opened(tmp_path / "journal")
    await again.append(started())
    again.close()
    (note,) = again.entries(event="journal.emergency")
    data: Any = note["data"]
    assert body in (tmp_path / "journal" / data["unreadable"]["copy"]).read_bytes()
    assert verify(tmp_path / "journal").ok


@pytest.mark.parametrize("place", [0, 300], ids=["the-first-byte", "within-the-first-line"])
async def test_what_was_saved_and_is_damaged_is_not_written_over_unread(tmp_path: Path, place: int) -> None:
    directory, disk = tmp_path / "journal", Broken()
    journal = opened(directory, disk)
    disk.broken = True
    for n in range(3):
        await journal.append_within(rollback(n), 5)
    path = directory / EMERGENCY
    content = path.read_bytes()
    path.write_bytes(content[:place] + b"\0" + content[place + 1 :])
    assert not Emergency(directory, disk=Disk()).empty()
    disk.broken = False
    # By another process, whose journal is fine: what it saves now does not end what was there before.
    made = draft(rollback(9), Moment.of(ManualClock()), redactor=Redactor(b"k" * 32), program="test")
    Emergency(directory, disk=Disk()).put([made])
    journal.close()
    kept = b"".join(found.read_bytes() for found in (directory / "torn").iterdir())
    assert all(b'"n":%d' % n in kept for n in range(1 if place else 0, 3))
    assert stored(directory)[-1] == (9, True)
    assert verify(directory).ok


START = b'{"v":1,"seq":2,"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","timestamp":"2026-01-01T00:00:00.000000Z",'


@pytest.mark.parametrize(
    "forged",
    [
        START + b'"late":true}',
        START + b'"event":"x","seq":7,"late":true}',
        START + b'"event":[],"late":true}',
    ],
    ids=["no-event", "another-number", "no-name"],
)
async def test_a_forged_line_neither_stops_the_journal_nor_breaks_its_chain(tmp_path: Path, forged: bytes) -> None:
    disk = Broken()
    journal = opened(tmp_path / "journal", disk)
    disk.broken = True
    await journal.append_within(rollback(), 5)
    path = tmp_path / "journal" / EMERGENCY
    lines = path.read_bytes().rstrip(b"\0")
    digest = hashlib.sha256(b"audit-v1\0" + lines[:64] + forged).hexdigest().encode()
    path.write_bytes((lines + digest + b"\t" + forged + b"\n").ljust(SIZE, b"\0"))
    disk.broken = False
    await journal.append(started())
    journal.close()
    assert stored(tmp_path / "journal") == [(0, True)]
    assert Emergency(tmp_path / "journal", disk=Disk()).empty()
    assert verify(tmp_path / "journal").ok


class Twice(Disk):
    """The next two syncs of segments fail."""

    left = 0

    def sync(self, descriptor: int) -> None:
        if self.left and os.readlink(f"/proc/self/fd/{descriptor}").endswith(".jsonl"):
            self.left -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


async def test_what_was_refused_because_no_sync_held_is_not_found_in_the_journal_later(tmp_path: Path) -> None:
    disk = Twice()
    journal = opened(tmp_path / "journal", disk)
    await journal.append(started(1))
    disk.left = 2
    with pytest.raises(JournalUnavailable):
        await journal.append(started(2))
    journal.close()
    again = opened(tmp_path / "journal")
    await again.append(started(3))
    again.close()
    assert [entry["data"]["n"] for entry in again.entries(event="deployment.started")] == [1, 3]  # type: ignore[index, call-overload]
    assert verify(tmp_path / "journal").ok


class Filling(Disk):
    free = 10_000 * MIB

    def room(self, path: str) -> Room:
        return Room(self.free, 100_000 * MIB)


@pytest.mark.parametrize(
    ("free", "level", "refused"),
    [(10_000, Level.OK, False), (4_999, Level.LOW, False), (999, Level.CRITICAL, True), (10, Level.CRITICAL, True)],
)
async def test_the_less_room_the_less_is_begun_and_never_less_rolled_back(
    tmp_path: Path, free: int, level: Level, refused: bool
) -> None:
    disk = Filling()
    journal = opened(tmp_path / "journal", disk)
    disk.free = free * MIB
    step = {"phase": "intent", "rollout": "r-1"}
    running = Event(event="deployment.executed", user="jane", data={"step_name": "10 %"}, **step)  # type: ignore[arg-type]
    promoting = Event(event="deployment.executed", user="jane", data={"step_name": "promote stable to v2"}, **step)  # type: ignore[arg-type]
    for event in (started(), promoting):
        if refused:
            with pytest.raises(JournalUnavailable, match=f"{free} MiB free"):
                await journal.append(event)
        else:
            await journal.append(event)
    await journal.append(running)
    assert await journal.append_within(rollback(), 5) is not None
    assert (journal.health.level, journal.health.ok) == (level, not refused)
    assert journal.health.free == free * MIB
    assert (f"{free} MiB" in journal.health.detail) == (level is not Level.OK)
    journal.close()
