"""Reading entries back, and the command that shows them."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.clock import ManualClock

from console.cli import main
from services.audit import Event, Journal
from services.model.objects import Json
from services.redaction import Redactor


async def journal_of(directory: Path) -> Journal:
    clock = ManualClock()
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    for n in range(40):
        await journal.append(
            Event(
                event="deployment.started" if n % 2 else "deployment.completed",
                user="jane",
                environment="production" if n % 4 else "staging",
                service=f"service-{n % 3}",
                rollout=f"r{n // 10}",
                data={"n": n, "text": "service-1" * 50},
            )
        )
        await clock.advance(60)
        if n == 20:
            await clock.advance(25 * 3600)
    journal.close()
    return journal


async def test_filters_and_limits(tmp_path: Path) -> None:
    journal = await journal_of(tmp_path / "journal")
    everything = journal.entries()
    assert [entry["seq"] for entry in everything] == list(range(1, 44))
    assert [entry["seq"] for entry in journal.entries(limit=3)] == [41, 42, 43]
    assert journal.entries(limit=0) == []
    assert {entry["service"] for entry in journal.entries(service="service-1")} == {"service-1"}
    assert len(journal.entries(service="service-1", environment="staging", event="deployment.completed")) == 3
    assert [entry["data"]["n"] for entry in journal.entries(rollout="r1")] == list(range(10, 20))
    late = ManualClock().now() + timedelta(hours=25)
    assert [entry["data"]["n"] for entry in journal.entries(since=late, event="deployment.completed")] == list(range(22, 40, 2))
    assert journal.entries(service='x" or 1') == []


async def test_an_absent_journal_has_no_entries(tmp_path: Path) -> None:
    journal = await journal_of(tmp_path / "journal")
    journal.close()
    (tmp_path / "journal" / "seg" / "000000000001.jsonl").unlink()
    assert journal.entries()[0]["seq"] == 24


def cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_list_gives_one_document_with_every_entry_as_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(tmp_path / "journal")
    code, out, err = cli(capsys, "journal", "list", "-o", "json", "--home", str(tmp_path))
    assert (code, err, out.count("\n")) == (0, "", 1)
    stored = [
        json.loads(line.split("\t", 1)[1])
        for path in sorted((tmp_path / "journal" / "seg").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert json.loads(out) == {"entries": stored}
    code, out, _ = cli(capsys, "--home", str(tmp_path), "-o", "json", "journal", "list", "--service", "service-2", "--limit", "2")
    assert [entry["data"]["n"] for entry in json.loads(out)["entries"]] == [35, 38]
    code, out, _ = cli(
        capsys, "journal", "list", "--home", str(tmp_path), "--since", "2026-01-02", "--rollout", "r3", "-o", "json"
    )
    assert len(json.loads(out)["entries"]) == 10


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_that_leaves_nothing_is_rejected(limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = cli(capsys, "journal", "list", "--home", str(tmp_path), "--limit", limit)
    assert code == 2
    assert f"limit: is below 1\n  Got '{limit}'.\n  Accepted: a whole number, 1 or more." in err


async def test_list_for_people_is_one_aligned_line_an_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(tmp_path / "journal")
    code, out, _ = cli(capsys, "journal", "list", "--home", str(tmp_path), "--limit", "5")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 6)
    column = lines[0].index("EVENT")
    assert all(line[column:].startswith("deployment.") for line in lines[1:])


async def test_a_rollback_is_listed_with_the_version_that_was_left_and_the_one_that_runs_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(), clock=ManualClock())
    facts: dict[str, Json] = {"previous_version": "v2.15.0", "restored_version": "v2.15.0"}
    await journal.append(Event(event="deployment.completed", user="jane", version="v2.14.0", outcome="rolled_back", data=facts))
    await journal.append(Event(event="deployment.completed", user="jane", version="v2.16.0", outcome="succeeded", data={}))
    journal.close()
    _, out, _ = cli(capsys, "journal", "list", "--home", str(tmp_path))
    back, succeeded = [line for line in out.splitlines() if "deployment.completed" in line]
    assert back.rstrip().endswith("v2.14.0 → v2.15.0")
    assert succeeded.rstrip().endswith("v2.16.0")


async def test_hostile_text_cannot_act_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(), clock=ManualClock())
    receipt = await journal.append(Event(event="x", user="\x1b[2Jjane", command="a\rb\x9b"))
    journal.close()
    for words in (["journal", "list"], ["journal", "show", str(receipt.seq)]):
        _, out, _ = cli(capsys, *words, "--home", str(tmp_path))
        assert not {"\x1b", "\r", "\x9b"} & set(out)


async def test_show_one_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(tmp_path / "journal")
    code, out, _ = cli(capsys, "journal", "show", "30", "--home", str(tmp_path), "-o", "json")
    shown = json.loads(out)
    assert (code, shown["entry"]["seq"], shown["segment"]) == (0, 30, "000000000024.jsonl")
    assert len(shown["hash"]) == 64
    code, out, _ = cli(capsys, "journal", "show", "30", "--home", str(tmp_path))
    assert code == 0
    assert "deployment." in out
    code, _, err = cli(capsys, "journal", "show", "99", "--home", str(tmp_path))
    assert code == 2
    assert "99" in err


def journal_id(home: Path) -> str:
    return (home / "journal" / "journal.id").read_text().strip()


async def test_verify_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(tmp_path / "journal")
    code, out, _ = cli(capsys, "journal", "verify", "--home", str(tmp_path), "-o", "json")
    assert code == 0
    told = json.loads(out)
    assert (told.pop("key").split("+")[0], told.pop("signed_at")[:10]) == (
        f"quarterdeck.journal/{journal_id(tmp_path)}",
        "2026-01-02",
    )
    read = {"ok": True, "entries": 43, "segments": 2, "first": 1, "last": 43, "problems": [], "signed": 43}
    assert told == {**read, "removed": 0, "waiting": 0, "witnessed": None}
    path = tmp_path / "journal" / "seg" / "000000000024.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    before = files(tmp_path)
    code, out, _ = cli(capsys, "journal", "verify", "--home", str(tmp_path), "-o", "json")
    assert code == 1
    assert [(p["kind"], p["segment"], p["seq"]) for p in json.loads(out)["problems"]] == [
        ("torn-tail", path.name, 43),
        ("tail-cut", None, 43),
    ]
    code, out, _ = cli(capsys, "journal", "verify", "--home", str(tmp_path))
    assert code == 1
    assert "NOT OK" in out
    assert files(tmp_path) == before


async def test_verify_against_what_was_kept_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(tmp_path / "journal")
    key = (tmp_path / "journal" / "checkpoint.pub").read_text()
    verifying = ("journal", "verify", "--home", str(tmp_path), "-o", "json")
    hash_ = json.loads(cli(capsys, "journal", "show", "7", "--home", str(tmp_path), "-o", "json")[1])["hash"]
    assert cli(capsys, *verifying, "--key", key, "--witness", f"7:{hash_}")[0] == 0
    code, out, _ = cli(capsys, *verifying, "--witness", f"8:{hash_}")
    assert (code, json.loads(out)["problems"][0]["kind"]) == (1, "not-as-witnessed")
    assert cli(capsys, *verifying, "--key", "nonsense")[0] == 2
    assert cli(capsys, *verifying, "--witness", "7")[0] == 2


def test_reading_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = cli(capsys, "journal", "list", "--home", str(tmp_path / "none"), "-o", "json")
    assert (code, json.loads(out)) == (0, {"entries": []})
    code, out, _ = cli(capsys, "journal", "verify", "--home", str(tmp_path / "none"), "-o", "json")
    assert code == 1
    assert json.loads(out)["problems"][0]["kind"] == "missing-journal"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("since", ["yesterday", "5", "2h30", "", "2026-13-01"])
def test_a_moment_that_is_none_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str], since: str) -> None:
    code, out, err = cli(capsys, "journal", "list", "--home", str(tmp_path), "--since", since, "-o", "json")
    assert code == 2
    assert json.loads(out)["reason"]["name"] == "since"
    assert "Accepted" in err
