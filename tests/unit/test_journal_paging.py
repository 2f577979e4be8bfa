"""Any page of the journal, from any place in it."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock

from services.audit import Event, Journal
from services.audit.paging import NEWEST, newer, of_rollout, older
from services.redaction import Redactor


async def journal_of(directory: Path, entries: int = 60) -> Journal:
    """Two segments; every third entry of one rollout, some of them long."""
    clock = ManualClock()
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    for n in range(entries):
        await journal.append(
            Event(
                event="deployment.health_check",
                user="jane",
                service=f"service-{n % 3}",
                rollout=f"r{n % 3}",
                data={"n": n, "text": "long " * (2500 if n % 7 == 0 else 3)},
            )
        )
        await clock.advance(60)
        if n == entries // 2:
            await clock.advance(25 * 3600)
    journal.close()
    return journal


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("paging") / "journal"
    asyncio.run(journal_of(place))
    return place


def seqs(entries: object) -> list[int]:
    return [entry["seq"] for entry in entries]  # type: ignore[attr-defined]


def made(place: Path, count: int, seed: int = 0) -> list[int]:
    """A journal of plain lines, written by hand: with gaps and lines that are no entries."""
    place.joinpath("seg").mkdir(parents=True)
    numbers, number = [], 0
    for _ in range(3):
        first = number + 1
        lines = []
        for index in range(count):
            number += 1 + (index * 7 + seed) % 3 // 2
            numbers.append(number)
            body = json.dumps({"seq": number, "pad": "x" * ((index * 7919) % 3000)})
            lines.append(f"{'0' * 64}\t{body}\n")
            if index % 11 == 5:
                lines.append("damaged\n")
        place.joinpath("seg", f"{first:012d}.jsonl").write_text("".join(lines))
    return numbers


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    place = tmp_path_factory.mktemp("plain")
    return place, made(place, 150)


@given(before=st.integers(0, 800), limit=st.integers(1, 40))
def test_an_older_page_is_what_stands_before_the_place(plain: tuple[Path, list[int]], before: int, limit: int) -> None:
    place, numbers = plain
    page = older(place, before, limit=limit)
    below = [number for number in numbers if number < before]
    assert seqs(page.entries) == below[-limit:]
    assert page.end == (len(below) <= limit)


@given(after=st.integers(0, 800), limit=st.integers(1, 40))
def test_a_newer_page_is_what_stands_behind_the_place(plain: tuple[Path, list[int]], after: int, limit: int) -> None:
    place, numbers = plain
    page = newer(place, after, limit=limit)
    above = [number for number in numbers if number > after]
    assert seqs(page.entries) == above[:limit]
    assert page.end == (len(above) <= limit)


@given(limit=st.integers(1, 200), lines=st.integers(1, 50))
def test_page_by_page_everything_wanted_is_found_once(plain: tuple[Path, list[int]], limit: int, lines: int) -> None:
    place, numbers = plain

    def wanted(entry: dict[str, object]) -> bool:
        return int(str(entry["seq"])) % 5 == 0

    found: list[int] = []
    place_at, end = NEWEST, False
    while not end:
        page = older(place, place_at, limit=limit, wanted=wanted, lines=lines)
        found = [*seqs(page.entries), *found]
        assert page.end or page.first < place_at
        place_at, end = page.first, page.end
    assert found == [number for number in numbers if number % 5 == 0]


def test_pages_go_over_the_borders_of_segments(directory: Path) -> None:
    everything = seqs(older(directory, NEWEST, limit=1000).entries)
    assert everything == list(range(1, 64))
    assert len(list(directory.glob("seg/*.jsonl"))) == 2
    assert seqs(newer(directory, 20, limit=30).entries) == list(range(21, 51))
    assert seqs(older(directory, 40, limit=30).entries) == list(range(10, 40))


def test_the_entries_of_one_rollout(directory: Path) -> None:
    found, complete = of_rollout(directory, "r1", most=1000)
    assert [entry["data"]["n"] for entry in found] == list(range(1, 60, 3))  # type: ignore[index,call-overload]
    assert complete
    some, complete = of_rollout(directory, "r1", most=5)
    assert (list(some), complete) == (list(found[-5:]), False)
    late, _ = of_rollout(directory, "r1", since=str(found[15]["timestamp"]), most=1000)
    assert list(late) == list(found[15:])


def test_a_line_that_is_being_written_is_not_read_yet(directory: Path, tmp_path: Path) -> None:
    place = tmp_path / "journal"
    made(place, 5)
    last = sorted(place.glob("seg/*.jsonl"))[-1]
    with last.open("a") as file:
        file.write("0" * 64 + '\t{"seq": 99')
    assert 99 not in seqs(newer(place, 0, limit=100).entries)
    assert 99 not in seqs(older(place, NEWEST, limit=100).entries)


def test_where_there_is_no_journal_there_is_nothing(tmp_path: Path) -> None:
    assert older(tmp_path, NEWEST, limit=10).end
    assert newer(tmp_path, 0, limit=10).entries == ()
