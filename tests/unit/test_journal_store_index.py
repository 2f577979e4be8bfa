"""The index: it answers what reading all of the journal answers, whatever happened to it or to the journal."""

import asyncio
import os
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import ManualClock

from services.audit import Event, Journal, reading
from services.audit.paging import of_rollout
from services.redaction import Redactor

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("payment", "cart", 'we"ird\\\n', "")


def write(directory: Path, start: int, count: int) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        await clock.advance(start * 3600.0)
        journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
        for n in range(start, start + count):
            await clock.advance(3600)
            event = Event(
                event=("deployment.executed", "deployment.health_check")[n % 2],
                user="jane",
                service=NAMES[n % 4],
                environment=("production", "staging", "")[n % 3],
                rollout=f"r{n // 10}",
                data={"n": n},
            )
            await journal.append(event)
        journal.close()

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample") / "journal"
    write(directory, 0, 60)
    return directory


def plainly(directory: Path, since: datetime | None = None, limit: int | None = None, **exact: str | None) -> list[Any]:
    found = [
        entry
        for entry in reading.entries(directory)
        if all(entry[name] == value for name, value in exact.items() if value is not None)
        and (since is None or datetime.fromisoformat(entry["timestamp"]) >= since)
    ]
    return found if limit is None else found[max(0, len(found) - limit) :]


@settings(deadline=None, max_examples=60)
@given(
    service=st.sampled_from([None, *NAMES, "nobody"]),
    environment=st.sampled_from([None, "production", "staging", ""]),
    event=st.sampled_from([None, "deployment.executed", "journal.segment", "x"]),
    rollout=st.sampled_from([None, "r0", "r3", "r99"]),
    since=st.one_of(st.none(), st.floats(-10, 80).map(lambda hours: START + timedelta(hours=hours))),
    limit=st.sampled_from([None, 0, 1, 7, 1000]),
)
def test_any_question_is_answered_as_by_reading_it_all(sample: Path, since: Any, limit: Any, **exact: Any) -> None:
    assert reading.entries(sample, since=since, limit=limit, **exact) == plainly(sample, since, limit, **exact)
    assert not exact.get("rollout") or (sample / "index.db").exists()


def test_it_follows_the_journal_and_is_private(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    for path in directory.glob("index.db*"):
        path.unlink()
    assert len(reading.entries(directory, rollout="r6")) == 0
    write(directory, 60, 5)
    assert [entry["data"]["n"] for entry in reading.entries(directory, rollout="r6")] == list(range(60, 65))
    assert [path.stat().st_mode & 0o077 for path in directory.glob("index.db*")] == [0] * len(list(directory.glob("index.db*")))
    entries, whole = of_rollout(directory, "r6", most=3)
    assert ([entry["data"]["n"] for entry in entries], whole) == ([62, 63, 64], False)


def cut(directory: Path) -> None:
    """A power cut took the last lines with it, others were written in their place."""
    path = max(directory.glob("seg/*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    write(directory, 70, 3)


def garbage(directory: Path) -> None:
    (directory / "index.db").write_bytes(b"no database at all" * 500)
    for path in directory.glob("index.db-*"):
        path.unlink()


def another_version(directory: Path) -> None:
    database = sqlite3.connect(directory / "index.db")
    database.execute("PRAGMA user_version = 99")
    database.close()


def another_journal(directory: Path) -> None:
    (directory / "journal.id").write_text("11111111-2222-3333-4444-555555555555\n")


def gone(directory: Path) -> None:
    for path in directory.glob("index.db*"):
        path.unlink()


def held(directory: Path) -> None:
    """What can't be opened as a file is not used."""
    gone(directory)
    (directory / "index.db").mkdir()


@pytest.mark.parametrize("happened", [cut, garbage, another_version, another_journal, gone, held])
def test_whatever_happened_the_answer_is_that_of_the_journal(sample: Path, tmp_path: Path, happened: Any) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    assert len(reading.entries(directory, rollout="r5")) == 10
    happened(directory)
    for rollout in ("r0", "r5", "r7"):
        assert reading.entries(directory, rollout=rollout) == plainly(directory, rollout=rollout)
    assert reading.entries(directory, service="cart", limit=4) == plainly(directory, service="cart", limit=4)


def test_a_segment_that_was_removed_is_not_asked_for(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    reading.entries(directory, rollout="r0")
    os.unlink(min(directory.glob("seg/*.jsonl")))
    assert reading.entries(directory, rollout="r0") == []
    assert len(reading.entries(directory, rollout="r5")) == 10
