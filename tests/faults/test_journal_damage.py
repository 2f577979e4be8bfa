"""What is left after a torn write is set right; what is corrupt is never touched."""

import asyncio
import shutil
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable
from services.audit.verify import verify
from services.redaction import Redactor

SEGMENT = "000000000001.jsonl"


def open_journal(directory: Path) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock())


def event(n: int = 0) -> Event:
    return Event(event="deployment.executed", user="jane", data={"n": n})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    async def scenario() -> None:
        journal = open_journal(tmp_path / "journal")
        for n in range(5):
            await journal.append(event(n))
        journal.close()

    asyncio.run(scenario())
    return tmp_path / "journal"


def append_one(directory: Path) -> int:
    async def scenario() -> int:
        journal = open_journal(directory)
        receipt = await journal.append(event(99))
        journal.close()
        return receipt.seq

    return asyncio.run(scenario())


def test_torn_at_every_byte_of_the_last_three_lines(directory: Path) -> None:
    path = directory / "seg" / SEGMENT
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    start = len(good) - sum(len(line) for line in lines[-3:])
    for size in range(start, len(good)):
        path.write_bytes(good[:size])
        # Nothing that was signed is ever torn: here it is as if the power had gone before anything was.
        for name in ("checkpoints", "checkpoint.pub", "checkpoint.key"):
            (directory / name).unlink(missing_ok=True)
        whole = good[:size].count(b"\n")
        torn = not good[:size].endswith(b"\n")
        found = verify(directory)
        assert found.entries == whole
        assert [problem.kind for problem in found.problems] == (["torn-tail"] if torn else []), size
        if size % 7 and size - start > 50 and len(good) - size > 50:
            # Recovery writes and syncs: near the edges of the range at every byte, else at every seventh.
            continue
        assert append_one(directory) == whole + 1 + torn
        assert verify(directory).ok, size
        kept = list((directory / "torn").iterdir())
        assert [copy.read_bytes() for copy in kept] == ([good[good[:size].rfind(b"\n") + 1 : size]] if torn else [])
        for copy in kept:
            copy.unlink()


@pytest.mark.parametrize("tail", [b"\0" * 4096, b'0123\t{"v":1' + b"\0" * 100, b"x"])
def test_what_an_interrupted_write_leaves_is_kept_aside_and_noted(directory: Path, tail: bytes) -> None:
    with (directory / "seg" / SEGMENT).open("ab") as file:
        file.write(tail)
    assert [problem.kind for problem in verify(directory).problems] == ["torn-tail"]
    journal = open_journal(directory)
    journal.close()
    recovered = journal.entries()[-1]
    assert recovered["event"] == "journal.recovered"
    assert recovered["data"]["bytes"] == len(tail)
    assert (directory / recovered["data"]["copy"]).read_bytes() == tail
    assert verify(directory).ok


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good.replace(b'"n":3', b'"n":4'),
        lambda good: good[:-200] + b"\0" * 64 + good[-136:],
        lambda good: good + b"0" * 64 + b"\t{}\n",
        lambda good: good + b"\0" * 100 + b"\n",
        lambda good: b"x" + good[1:],
        lambda good: good.replace(b"journal.segment", b"journal.sEgment"),
    ],
    ids=["edited", "nul-block-inside", "forged", "nuls-and-line-feed", "header-hash", "header-event"],
)
async def test_corruption_is_left_as_it_is_and_only_a_rollback_is_recorded(directory: Path, damage: object) -> None:
    path = directory / "seg" / SEGMENT
    bad = damage(path.read_bytes())  # type: ignore[operator]
    path.write_bytes(bad)
    journal = open_journal(directory)
    assert not journal.health.ok
    with pytest.raises(JournalUnavailable, match=SEGMENT):
        await journal.append(event())
    rollback = await journal.append_within(Event(event="deployment.rollback", user="jane", rollback_triggered=True), 5)
    assert rollback is not None
    journal.close()
    assert path.read_bytes() == bad
    found = verify(directory)
    assert found.problems
    assert {problem.segment for problem in found.problems} == {SEGMENT}

    # It stays so for whoever comes next, until a person has looked.
    again = open_journal(directory)
    assert SEGMENT in again.health.detail
    with pytest.raises(JournalUnavailable, match="damaged"):
        await again.append(event())
    await again.acknowledge("jane", "disk replaced")
    assert again.health.ok
    await again.append(event())
    again.close()
    third = open_journal(directory)
    await third.append(event())
    third.close()
    assert path.read_bytes() == bad
    assert {problem.segment for problem in verify(directory).problems} == {SEGMENT}


async def test_damage_done_while_the_journal_is_open_is_seen_at_the_next_write(directory: Path) -> None:
    journal = open_journal(directory)
    await journal.append(event())
    with (directory / "seg" / SEGMENT).open("ab") as file:
        file.write(b"0" * 64 + b"\t{}\n")
    with pytest.raises(JournalUnavailable, match="damaged"):
        await journal.append(event())
    assert await journal.append_within(event(), 5) is not None
    journal.close()


async def test_entries_cut_away_under_an_open_journal_are_missed(directory: Path) -> None:
    journal = open_journal(directory)
    await journal.append(event())
    path = directory / "seg" / SEGMENT
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(JournalUnavailable, match="lost entries"):
        await journal.append(event())
    journal.close()


async def test_a_home_removed_under_an_open_journal_refuses(directory: Path) -> None:
    journal = open_journal(directory)
    shutil.rmtree(directory)
    with pytest.raises(JournalUnavailable):
        await journal.append(event())
    with pytest.raises(JournalUnavailable, match="lost entries"):
        await journal.append(event())
    journal.close()
