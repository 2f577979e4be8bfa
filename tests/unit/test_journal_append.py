"""Appending: what is stored, what is promised, what is refused."""

import asyncio
import errno
import hashlib
import json
import re
import stat
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable
from services.audit import place as place_module
from services.audit.ulid import new_ulid
from services.audit.verify import verify
from services.redaction import Redactor

R61 = {
    "timestamp", "event", "user", "environment", "service", "version", "command", "change_ticket", "approvers", "outcome",
    "rollback_triggered", "duration_seconds",
}  # fmt: skip


def open_journal(directory: Path, clock: ManualClock | None = None, redactor: Redactor | None = None) -> Journal:
    return Journal.open(directory, redactor=redactor or Redactor(b"k" * 32), clock=clock or ManualClock())


def started(**more: object) -> Event:
    return Event(event="deployment.started", user="jane", environment="production", service="payment-service", **more)  # type: ignore[arg-type]


async def test_an_entry_has_the_fields_of_the_audit_rule_and_its_place(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    receipt = await journal.append(
        started(version="v2.15.0", change_ticket="CHG-1", approvers=("ann", "bob"), duration_seconds=1.5)
    )
    journal.close()
    header, entry = journal.entries()
    assert header["event"] == "journal.segment"
    assert header["data"]["journal_id"] == (tmp_path / "journal" / "journal.id").read_text().strip() == journal.id
    assert set(entry) >= R61 | {"v", "seq", "id", "mono", "boot", "phase", "ref", "data", "redacted", "prog", "rollout"}
    assert entry["approvers"] == ["ann", "bob"]
    assert entry["timestamp"] == "2026-01-01T00:00:00.000000Z"
    assert (entry["seq"], entry["id"]) == (receipt.seq, receipt.id) == (2, receipt.id)
    assert len(receipt.id) == 26


async def test_the_bytes_are_those_of_the_documented_format(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    receipts = [await journal.append(started(data={"n": n})) for n in range(3)]
    journal.close()
    content = (tmp_path / "journal" / "seg" / "000000000001.jsonl").read_bytes()
    previous = "0" * 64
    hashes = []
    for line in content.splitlines():
        stated, body = line.split(b"\t", 1)
        previous = hashlib.sha256(b"audit-v1\0" + previous.encode() + body).hexdigest()
        assert stated.decode() == previous
        hashes.append(previous)
        json.loads(body)
    assert hashes[1:] == [receipt.hash for receipt in receipts]
    assert content.endswith(b"\n")


async def test_directories_and_files_are_private(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    await journal.append(started())
    journal.close()
    for path in [tmp_path / "journal", *(tmp_path / "journal").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_secrets_are_out_before_anything_is_written(tmp_path: Path) -> None:
    redactor = Redactor(b"k" * 32)
    redactor.register("correct-horse-battery")
    journal = open_journal(tmp_path / "journal", redactor=redactor)
    await journal.append(started(command="curl -u me:correct-horse-battery", data={"password": "hunter2", "note": "fine"}))
    journal.close()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "journal" / "seg").iterdir())
    assert b"correct-horse" not in stored
    assert b"hunter2" not in stored
    entry = journal.entries()[-1]
    assert entry["redacted"] == ["key-name", "registered"]
    assert entry["data"]["note"] == "fine"


class Colour(StrEnum):
    RED = "red"


class Point(msgspec.Struct):
    x: int


async def test_strange_values_are_stored_in_a_valid_bounded_form(tmp_path: Path) -> None:
    deep: list[object] = []
    inner = deep
    for _ in range(5000):
        inner.append([])
        inner = inner[0]  # type: ignore[assignment]
    journal = open_journal(tmp_path / "journal")
    await journal.append(
        started(
            command="a\0b\ud800c\u2028d\ne",
            data={
                "inf": float("inf"), "nan": float("nan"), "big": 10**400, "huge": 1 << 100_000, "deep": deep, "enum": Colour.RED,
                "struct": Point(1), "when": datetime(2026, 1, 1, tzinfo=UTC), "bytes": b"\xff", 7: "number key", "\udfff": 1,
                "set": {1},
            },
        )
    )  # fmt: skip
    journal.close()
    entry = journal.entries()[-1]
    assert entry["command"] == "a\0b\\ud800c\u2028d\ne"
    data = entry["data"]
    assert (data["inf"], data["nan"], data["enum"], data["struct"], data["7"]) == ("inf", "nan", "red", {"x": 1}, "number key")
    assert data["when"] == "2026-01-01T00:00:00+00:00"
    assert verify(tmp_path / "journal").ok


async def test_what_is_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    await journal.append(started(command="é" * 20_000, data={"log": "x" * 300_000, "small": "kept"}))
    await journal.append(started(data={f"k{n}": "y" * 15_000 for n in range(10)}))
    await journal.append(started(data={f"k{n}": n for n in range(15_000)}))
    await journal.append(
        started(
            command="c" * 16_000, rollout="r" * 16_000, change_ticket="t" * 16_000, version="v" * 16_000, outcome="o" * 16_000
        )
    )
    journal.close()
    lines = (tmp_path / "journal" / "seg" / "000000000001.jsonl").read_bytes().splitlines()
    assert all(len(line) <= 64 * 1024 + 65 for line in lines)
    first = journal.entries()[1]
    assert first["truncated"]["/command"]["bytes"] == 40_000
    assert len(first["command"].encode()) <= 16 * 1024
    assert first["data"]["small"] == "kept"
    assert verify(tmp_path / "journal").ok


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters()), data=st.dictionaries(st.text(st.characters()), json_values, max_size=5))
def test_any_event_can_be_stored(tmp_path_factory: pytest.TempPathFactory, text: str, data: dict[str, object]) -> None:
    directory = tmp_path_factory.mktemp("any") / "journal"

    async def scenario() -> None:
        journal = open_journal(directory)
        await journal.append(started(command=text, data=data))
        journal.close()

    asyncio.run(scenario())
    assert verify(directory).ok
    assert verify(directory).entries == 2


async def test_many_at_once_come_out_in_order_and_whole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    receipts = await asyncio.gather(*(journal.append(started(data={"n": n})) for n in range(2500)))
    journal.close()
    assert [receipt.seq for receipt in receipts] == list(range(2, 2502))
    assert verify(tmp_path / "journal").ok


async def test_a_new_segment_begins_after_a_day_and_links_to_the_sealed_one(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = open_journal(tmp_path / "journal", clock)
    await journal.append(started())
    await clock.advance(25 * 3600)
    receipt = await journal.append(started())
    journal.close()
    names = sorted(path.name for path in (tmp_path / "journal" / "seg").iterdir())
    assert names == ["000000000001.jsonl", "000000000004.jsonl"]
    assert receipt.seq == 5
    assert [entry["event"] for entry in journal.entries()][2:4] == ["journal.sealed", "journal.segment"]
    assert stat.S_IMODE((tmp_path / "journal" / "seg" / names[0]).stat().st_mode) == 0o400
    found = verify(tmp_path / "journal")
    assert (found.ok, found.segments, found.entries) == (True, 2, 5)


async def test_a_second_journal_on_the_same_directory_goes_on_from_the_first(tmp_path: Path) -> None:
    clock = ManualClock()
    one, two = open_journal(tmp_path / "journal", clock), open_journal(tmp_path / "journal", clock)
    for n in range(6):
        assert (await (one if n % 2 else two).append(started())).seq == n + 2
    await clock.advance(25 * 3600)
    assert (await one.append(started())).seq == 10
    assert (await two.append(started())).seq == 11
    one.close()
    two.close()
    assert verify(tmp_path / "journal").ok
    assert one.id == two.id


async def test_a_journal_of_a_newer_program_is_read_but_not_written(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = open_journal(directory)
    await journal.append(started())
    journal.close()
    path = directory / "seg" / "000000000001.jsonl"
    body = path.read_bytes().splitlines()[0][65:].replace(b'"v":1', b'"v":2', 1)
    path.write_bytes(hashlib.sha256(b"audit-v1\0" + b"0" * 64 + body).hexdigest().encode() + b"\t" + body + b"\n")
    newer = open_journal(directory)
    assert not newer.health.ok
    with pytest.raises(JournalUnavailable, match="newer"):
        await newer.append(started())
    assert len(newer.entries()) == 1
    newer.close()


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_module, "file_system", lambda path: "nfs4")
    journal = open_journal(tmp_path / "journal")
    assert "network file system" in journal.health.detail
    with pytest.raises(JournalUnavailable, match="network file system"):
        await journal.append(started())
    journal.close()


async def test_a_home_that_cannot_be_made_refuses_and_a_rollback_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = open_journal(tmp_path / "file" / "journal")
    with pytest.raises(JournalUnavailable):
        await journal.append(started())
    assert await journal.append_within(started(rollback_triggered=True), 30) is None
    assert journal.health.pending == 1
    journal.close()


class FullDisk(place_module.Disk):
    full = False

    def write(self, descriptor: int, content: memoryview) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(descriptor, content)


async def test_what_a_rollback_could_not_record_is_written_late_when_the_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.writer.PROBE_SECONDS", 0.02)
    disk = FullDisk()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    disk.full = True
    with pytest.raises(JournalUnavailable, match="No space left"):
        await journal.append(started())
    # in its own time: what the writer's thread has not seen yet is not counted either
    assert await journal.append_within(Event(event="deployment.rollback", user="jane", rollback_triggered=True), 30) is None
    assert (journal.health.ok, journal.health.pending) == (False, 1)
    disk.full = False
    # The journal looks again by itself; nobody has to append for it to come back.
    for _ in range(3000):
        if journal.health.ok:
            break
        await asyncio.sleep(0.01)
    assert (await journal.append(started())).seq == 4
    journal.close()
    events = [(entry["event"], entry.get("late", False)) for entry in journal.entries()][1:]
    assert events == [("journal.degraded", False), ("deployment.rollback", True), ("deployment.started", False)]
    assert journal.entries(event="journal.degraded")[0]["data"]["count"] == 1
    assert verify(tmp_path / "journal").ok


class SlowDisk(place_module.Disk):
    def __init__(self) -> None:
        import threading

        self.go = threading.Event()
        self.go.set()

    def sync(self, descriptor: int) -> None:
        self.go.wait(60)
        super().sync(descriptor)


async def test_a_disk_that_hangs_delays_a_rollback_by_a_quarter_second_at_most(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    disk.go.clear()
    loop = asyncio.get_running_loop()
    took: list[float] = []
    while len(took) < 5 and not any(seconds < 2 for seconds in took):  # a wait for the disk would be as long each time
        before = loop.time()
        assert await journal.append_within(started()) is None
        took.append(loop.time() - before)
    assert 0.2 < min(took) < 2
    disk.go.set()
    await journal.append(started())
    journal.close()
    assert len(journal.entries(event="deployment.started")) == len(took) + 1


async def test_a_cancelled_wait_leaves_the_journal_whole(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), disk=disk)
    disk.go.clear()
    tasks = [asyncio.create_task(journal.append(started())) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in tasks[1:]:
        task.cancel()
    disk.go.set()
    await tasks[0]
    await journal.append(started())
    journal.close()
    assert verify(tmp_path / "journal").ok


async def test_after_closing_nothing_is_taken(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.append(started())
    assert await journal.append_within(started()) is None


def test_an_id_is_a_ulid_of_its_moment() -> None:
    """The time stamp of the ULID specification's own example, and the largest one there is."""
    made = [new_ulid(1469918176.385) for _ in range(100)]
    assert {each[:10] for each in made} == {"01ARYZ6S41"}
    assert len(set(made)) == 100
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", each) for each in made)
    assert new_ulid(-1.0)[:10] == "0" * 10
    assert new_ulid(((1 << 48) - 1) / 1000)[:10] == "7ZZZZZZZZZ"
