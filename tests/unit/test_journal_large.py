"""A journal of many and large segments: opened by its end, checked behind the scenes, verified by two processes."""

import asyncio
import threading
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable
from services.audit.keeping import Keeping
from services.audit.tail import WINDOW
from services.audit.verify import verify
from services.audit.verifying.lines import Job
from services.audit.verifying.parts import parts
from services.redaction import Redactor

DAY = 86400.0


def opened(directory: Path, clock: ManualClock) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)


async def filled(directory: Path, segments: int, entries: int) -> None:
    clock = ManualClock()
    journal = opened(directory, clock)
    for _ in range(segments):
        events = [Event(event="deployment.executed", user="jane", data={"n": n, "pad": "x" * 900}) for n in range(entries)]
        await asyncio.gather(*(journal.append(event) for event in events))
        if segments > 1:
            await clock.advance(1.1 * DAY)
    journal.close()


def newest(directory: Path) -> Path:
    return max((directory / "seg").glob("*.jsonl"))


async def test_a_journal_that_was_closed_while_it_was_checked_starts_nothing_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.keeping.FIRST_SECONDS", 0.02)
    checking, closed = threading.Event(), threading.Event()
    monkeypatch.setattr(Keeping, "_check", lambda self: (checking.set(), closed.wait(60)))
    before = set(threading.enumerate())
    journal = opened(tmp_path / "journal", ManualClock())
    assert checking.wait(60)
    journal.close()
    closed.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) - before == set()


async def test_a_long_segment_is_gone_on_with_and_damage_far_from_its_end_is_found_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "journal"
    await filled(directory, 1, 400)
    path = newest(directory)
    good = path.read_bytes()
    assert len(good) > 3 * WINDOW
    journal = opened(directory, ManualClock())
    await journal.append(Event(event="deployment.executed", user="jane"))
    journal.close()
    assert verify(directory).ok
    good = path.read_bytes()
    place = good.index(b'"n":7,')
    path.write_bytes(good[:place] + b'"n":8,' + good[place + 6 :])
    monkeypatch.setattr("services.audit.keeping.FIRST_SECONDS", 0.05)
    opens, check = threading.Event(), Keeping._check
    monkeypatch.setattr(Keeping, "_check", lambda self: (opens.wait(60), check(self)))
    journal = opened(directory, ManualClock())
    assert journal.health.ok
    opens.set()
    for _ in range(1000):
        if not journal.health.ok:
            break
        await asyncio.sleep(0.01)
    assert path.name in journal.health.detail
    with pytest.raises(JournalUnavailable, match="damaged"):
        await journal.append(Event(event="deployment.started", user="jane"))
    assert await journal.append_within(Event(event="deployment.rollback", user="jane"), 60) is not None
    journal.close()
    assert {problem.segment for problem in verify(directory).problems} == {path.name}


@pytest.mark.parametrize("place", [b'"n":3,', b'"n":399,'])
async def test_the_same_is_found_by_two_processes_as_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: bytes
) -> None:
    directory = tmp_path / "journal"
    await filled(directory, 4, 400)
    alone = verify(directory)
    monkeypatch.setattr("services.audit.verifying.parts.WORTH_IT", 0)
    assert verify(directory) == alone
    assert alone.ok
    for path in sorted((directory / "seg").glob("*.jsonl"))[:4]:
        good = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(good.replace(place, b'"n":4,' if len(place) == 6 else b'"n":398,'))
        monkeypatch.setattr("services.audit.verifying.parts.WORTH_IT", 10**9)
        one = verify(directory)
        monkeypatch.setattr("services.audit.verifying.parts.WORTH_IT", 0)
        assert verify(directory) == one
        assert not one.ok
        path.write_bytes(good)


@pytest.mark.timeout(180)
async def test_two_processes_never_wait_for_each_other_however_many_entries_are_signed(tmp_path: Path) -> None:
    """What is asked and what is answered are both longer than a pipe holds."""
    directory = tmp_path / "journal"
    await filled(directory, 12, 3000)
    paths = sorted((directory / "seg").glob("*.jsonl"))[:12]
    lines = {path: path.read_bytes().splitlines() for path in paths}
    firsts = {path: int(path.stem) for path in paths}
    jobs = [
        Job(str(path), path.stat().st_size, firsts[path], list(range(firsts[path], firsts[path] + len(lines[path]))))
        for path in paths
    ]
    found = parts(jobs)
    assert set(found) == {str(path) for path in paths}
    for path in paths:
        made = found[str(path)]
        assert made is not None
        assert made.entries == len(lines[path])
        assert made.hashes == {firsts[path] + at: line[:64].decode() for at, line in enumerate(lines[path])}
