"""A journal that others have written to: opening never fails, verify never crashes, and nothing that is wrong is gone on from."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock

from console.cli import main
from services.audit import Event, Journal
from services.audit.entry import MAX_ENTRY, Moment, draft
from services.audit.line import GENESIS, chain, encode, line
from services.audit.verify import verify
from services.redaction import Redactor

HEADER: dict[str, Any] = {
    "v": 1, "seq": 1, "event": "journal.segment", "timestamp": "2026-01-01T00:00:00Z",
    "data": {"journal_id": "a", "segment": "000000000001.jsonl", "prev_hash": GENESIS},
}  # fmt: skip


def written(directory: Path, *bodies: dict[str, Any] | bytes, first: int = 1) -> Path:
    """A journal whose lines chain as they should, whatever they say."""
    (directory / "seg").mkdir(parents=True, mode=0o700)
    (directory / "journal.id").write_text("a\n")
    previous, content = GENESIS, b""
    for body in bodies:
        raw = body if isinstance(body, bytes) else encode(body)
        previous = chain(previous, raw)
        content += line(previous, raw)
    (directory / "seg" / f"{first:012d}.jsonl").write_bytes(content)
    return directory


def opened(directory: Path, clock: ManualClock | None = None) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock or ManualClock())


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "v": "x"},
        {**HEADER, "v": True},
        {**HEADER, "timestamp": "yesterday"},
        {**HEADER, "timestamp": 7},
        {name: value for name, value in HEADER.items() if name != "timestamp"},
        {**HEADER, "data": {}},
        {**HEADER, "data": {"prev_hash": "€"}},
        {**HEADER, "data": {"prev_hash": 7}},
        {**HEADER, "data": {**HEADER["data"], "damage": "x"}},
    ],
)
async def test_a_header_that_is_none_is_damage_and_no_crash(tmp_path: Path, header: dict[str, Any]) -> None:
    journal = opened(written(tmp_path / "journal", header))
    assert not journal.health.ok
    assert "damaged" in journal.health.detail
    assert await journal.append_within(Event(event="deployment.rollback", user="jane"), 60.0) is not None
    await journal.acknowledge("jane", "looked at")
    assert (await journal.append(Event(event="deployment.started", user="jane"))).seq > 2
    journal.close()
    verify(tmp_path / "journal")


@pytest.mark.parametrize("body", [b'{"journal. no json', b'["journal.sealed"]', b'{"event":["journal.sealed"]}', b"{}"])
async def test_a_line_that_chains_and_is_no_entry_is_gone_on_after(tmp_path: Path, body: bytes) -> None:
    journal = opened(written(tmp_path / "journal", HEADER, body))
    assert journal.health.ok
    assert (await journal.append(Event(event="deployment.started", user="jane"))).seq == 3
    journal.close()
    assert not verify(tmp_path / "journal").ok


@pytest.mark.parametrize("stated", ["€", "\ud800", 7, ["x"], "0" * 63])
def test_verify_reads_whatever_a_segment_says_of_the_one_before(tmp_path: Path, stated: Any) -> None:
    lone = {**HEADER, "data": {**HEADER["data"], "segment": "000000000005.jsonl", "prev_hash": stated}}
    raw = (
        encode(lone)
        if stated != "\ud800"
        else encode({**lone, "data": {}}).replace(b'"data":{}', b'"data":{"prev_hash":"\\ud800"}')
    )
    found = verify(written(tmp_path / "journal", raw, first=5))
    assert not found.ok
    assert "missing-segment" in {problem.kind for problem in found.problems}


def whole(directory: Path) -> Path:
    """A journal of one entry that holds."""
    written(directory, HEADER)
    (directory / "cursors").mkdir()
    assert verify(directory).ok
    return directory


@pytest.mark.parametrize(
    "cursor",
    [
        b'{"journal_id":"a","acked_seq":[1],"acked_hash":{}}',
        b'{"journal_id":"a","acked_seq":1,"acked_hash":"short"}',
        b'{"journal_id":"a","witness":{"seq":{},"hash":[]}}',
        b'{"journal_id":"a","acked_seq":-1,"acked_hash":""}',
        b"[" * 100_000,
    ],
)
def test_a_cursor_that_says_nothing_of_use_is_named(tmp_path: Path, cursor: bytes) -> None:
    directory = whole(tmp_path / "journal")
    (directory / "cursors" / "es.json").write_bytes(cursor)
    (problem,) = verify(directory).problems
    assert problem.kind == "unreadable"
    assert "es.json" in problem.detail


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("seg/000000000002.jsonl", "unreadable"),
        ("seg/000000000002.gone", "unreadable"),
        ("seg/000000000002.jsonl.gz", "unreadable"),
        ("checkpoints", "unreadable"),
        ("emergency.seg", "unreadable"),
        ("cursors/es.json", "unreadable"),
        ("journal.id", "unreadable"),
        ("checkpoint.pub", "unreadable"),
        ("lock", None),
    ],
)
@pytest.mark.parametrize("kind_of_file", ["pipe", "link"])
@pytest.mark.timeout(20)
def test_what_is_no_file_is_neither_waited_for_nor_followed(
    tmp_path: Path, name: str, kind: str | None, kind_of_file: str
) -> None:
    directory = whole(tmp_path / "journal")
    path = directory / name
    path.unlink(missing_ok=True)
    if kind_of_file == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert {problem.kind for problem in verify(directory).problems} == ({kind} if kind else set())


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_hostile_names_and_contents_say_is_told_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    directory = whole(tmp_path / "journal")
    (directory / "cursors" / "e\x1b[31m.json").write_text('{"journal_id":"\\ud800\\u001b[31m"}')
    with open(os.fsencode(directory / "seg") + b"/\xff\x1b[31m", "wb"):
        pass
    with (directory / "seg" / "000000000001.jsonl").open("ab") as file:
        file.write(b"0" * 65 + encode({"seq": "x" * 100_000}) + b"\n")
    assert main(["journal", "verify", "--home", str(tmp_path), "--output", form]) == 1
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "Unexpected" not in shown.out + shown.err
    assert len(shown.out) < 5_000


async def test_a_torn_end_of_yesterday_is_set_right_and_gone_on_from(tmp_path: Path) -> None:
    """The note of it begins a new segment; what is written next belongs into that one."""
    clock = ManualClock()
    journal = opened(tmp_path / "journal", clock)
    await journal.append(Event(event="deployment.started", user="jane"))
    journal.close()
    (segment,) = (tmp_path / "journal" / "seg").iterdir()
    with segment.open("ab") as file:
        file.write(b"torn")
    await clock.advance(2 * 24 * 3600)
    journal = opened(tmp_path / "journal", clock)
    assert journal.health.ok
    for expected in range(3):
        receipt = await journal.append(Event(event="deployment.completed", user="jane", data={"n": expected}))
        assert receipt.seq == journal.entries()[-1]["seq"]
    journal.close()
    found = verify(tmp_path / "journal")
    assert found.ok, found.problems
    assert found.segments == 2
    assert sum(entry["event"] == "journal.recovered" for entry in journal.entries()) == 1


def test_an_entry_of_thousands_of_large_parts_is_cut_at_once() -> None:
    began = time.process_time()
    event = Event(event="x", user="jane", data={f"k{number}": "some words " * 200 for number in range(3000)})
    made = draft(event, Moment.of(ManualClock()), redactor=Redactor(b"k" * 32), program="test")
    assert len(made.body(1)) <= MAX_ENTRY
    assert time.process_time() - began < 2.0
