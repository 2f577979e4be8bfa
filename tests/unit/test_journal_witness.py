"""What others were sent shows what was cut or put in another's place; an hour of silence is an entry that they are sent too."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal
from services.audit.verify import verify
from services.redaction import Redactor

SEGMENT = "seg/000000000001.jsonl"


def opened(directory: Path, clock: ManualClock) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)


async def filled(directory: Path, entries: int) -> None:
    journal = opened(directory, ManualClock())
    for n in range(entries):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
    journal.close()


def lines_of(directory: Path) -> list[bytes]:
    return (directory / SEGMENT).read_bytes().splitlines(keepends=True)


def sent(directory: Path, sink: str, seq: int) -> None:
    (directory / "cursors").mkdir(exist_ok=True)
    hash_ = lines_of(directory)[seq - 1][:64].decode()
    facts = {"v": 1, "journal_id": (directory / "journal.id").read_text().strip(), "sink": sink, "kind": "x"}
    (directory / "cursors" / f"{sink}.json").write_text(json.dumps({**facts, "acked_seq": seq, "acked_hash": hash_}))


@pytest.fixture
async def sample(tmp_path: Path) -> Path:
    directory = tmp_path / "journal"
    await filled(directory, 8)
    sent(directory, "es", 9)
    sent(directory, "s3", 4)
    assert verify(directory).witnessed == 9
    return directory


def cut_with_its_checkpoints(directory: Path) -> None:
    (directory / SEGMENT).write_bytes(b"".join(lines_of(directory)[:6]))
    (directory / "checkpoints").unlink()


def another_in_its_place(directory: Path) -> None:
    other = directory.parent / "other"
    asyncio.run(filled(other, 8))
    cursors = directory.parent / "cursors"
    shutil.copytree(directory / "cursors", cursors)
    shutil.rmtree(directory)
    shutil.copytree(other, directory)
    shutil.copytree(cursors, directory / "cursors")


def another_under_its_name(directory: Path) -> None:
    identity = (directory / "journal.id").read_text()
    another_in_its_place(directory)
    (directory / "journal.id").write_text(identity)


def cursor_of_noise(directory: Path) -> None:
    (directory / "cursors" / "es.json").write_text("{")


@pytest.mark.parametrize(
    ("tamper", "kind", "seq"),
    [
        (cut_with_its_checkpoints, "tail-cut", 9),
        (another_in_its_place, "not-as-witnessed", None),
        (another_under_its_name, "not-as-witnessed", 4),
        (cursor_of_noise, "unreadable", None),
    ],
)
def test_what_was_sent_tells(sample: Path, tamper: Callable[[Path], None], kind: str, seq: int | None) -> None:
    tamper(sample)
    assert (kind, seq) in [(problem.kind, problem.seq) for problem in verify(sample).problems]


async def test_an_hour_of_silence_is_an_entry_with_a_signed_checkpoint_and_two_processes_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.writer.HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr("services.audit.signing.SIGN_SECONDS", 0.02)
    directory, clock = tmp_path / "journal", ManualClock()
    journals = [opened(directory, clock), opened(directory, clock)]
    for journal in journals:
        await journal.append(Event(event="deployment.executed", user="jane"))
    await clock.advance(3601)
    for _ in range(1000):
        if journals[0].entries(event="journal.checkpoint"):
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    for journal in journals:
        journal.close()
    (beat,) = journals[0].entries(event="journal.checkpoint")
    data = beat["data"]
    assert isinstance(data, dict)
    assert str(data["note"]).split("\n")[1] == str(int(str(beat["seq"])) - 1)
    assert verify(directory).ok
    # What is signed is known without the file of checkpoints, too.
    (directory / "checkpoints").unlink()
    assert verify(directory).signed == int(str(beat["seq"])) - 1
    path = directory / SEGMENT
    path.write_bytes(path.read_bytes())
    (directory / "checkpoint.pub").write_text("x")
    assert {problem.kind for problem in verify(directory).problems} == {"bad-checkpoint", "other-key", "unsigned"}


async def test_a_console_that_only_looks_on_beats_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.audit.writer.HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr("services.audit.keeping.FIRST_SECONDS", 0.02)
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, 1)
    await clock.advance(3601)
    journal = opened(directory, clock)
    for _ in range(1000):
        if journal.entries(event="journal.checkpoint"):
            break
        await asyncio.sleep(0.01)
    journal.close()
    assert len(journal.entries(event="journal.checkpoint")) == 1
