"""Processes that are killed, and processes that write at once."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.audit import reading
from services.audit import verify as verify_module
from services.audit.line import HASH_LENGTH
from services.audit.verify import verify

WRITER = Path(__file__).with_name("journal_writer.py")
KILLS = 50


def start(directory: Path, name: str, count: int | None = None) -> "subprocess.Popen[bytes]":
    words = [sys.executable, str(WRITER), str(directory), name] + ([str(count)] if count else [])
    return subprocess.Popen(words, stdout=subprocess.PIPE)


def acknowledged(output: bytes) -> dict[int, tuple[int, str]]:
    """What the writer was told is on the disk: seq and hash by its own count. A last line without its end is left out."""
    lines = [line.split() for line in output.split(b"\n")[:-1]]
    return {int(n): (int(seq), digest.decode()) for n, seq, digest in lines}


def stored_hashes(directory: Path) -> dict[int, str]:
    found = {}
    for path in sorted((directory / "seg").iterdir()):
        for line in path.read_bytes().splitlines():
            if len(line) > HASH_LENGTH and line.endswith(b"}"):
                found[msgspec.json.decode(line[HASH_LENGTH + 1 :])["seq"]] = line[:HASH_LENGTH].decode()
    return found


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    promised: dict[int, str] = {}
    for round_ in range(KILLS):
        process = start(tmp_path / "journal", f"writer-{round_}")
        assert process.stdout is not None
        head = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        tail, _ = process.communicate()
        for seq, digest in acknowledged(head + tail).values():
            promised[seq] = digest
    found = verify(tmp_path / "journal")
    assert {problem.kind for problem in found.problems} <= {"torn-tail"}
    hashes = stored_hashes(tmp_path / "journal")
    assert len(promised) >= KILLS
    assert {seq: hashes.get(seq) for seq in promised} == promised
    last = start(tmp_path / "journal", "last", 1)
    last.communicate()
    assert verify(tmp_path / "journal").ok


def test_four_processes_at_once_one_of_them_killed(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    victim = start(directory, "victim")
    writers = [start(directory, f"writer-{n}", 150) for n in range(3)]
    time.sleep(0.4)
    victim.kill()
    promised = acknowledged(victim.communicate()[0])
    answers = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    # where the others were done before the kill, half a line may stand at the end: whoever comes next sets that right
    start(directory, "last", 1).communicate()
    found = verify(directory)
    assert found.problems == ()
    hashes = stored_hashes(directory)
    for answer in [*map(acknowledged, answers), promised]:
        assert all(hashes[seq] == digest for seq, digest in answer.values())
    for n, answer in enumerate(answers):
        mine = [entry for entry in reading.entries(directory) if entry["user"] == f"writer-{n}"]
        assert [entry["data"]["n"] for entry in mine] == list(range(150))
        assert len(acknowledged(answer)) == 150


def test_a_writer_at_work_is_never_taken_for_a_torn_journal(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    writer = start(directory, "writer")
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        for _ in range(150):
            assert verify(directory).problems == ()
    finally:
        writer.kill()
        writer.communicate()


def test_what_is_written_while_a_verification_is_held_up_is_not_taken_for_unsigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "journal"
    writer = start(directory, "writer")
    assert writer.stdout is not None
    writer.stdout.readline()
    listed = verify_module._files

    def held_up(*arguments: Any) -> Any:
        time.sleep(1.5)  # hundreds of entries of a writer that does not wait
        return listed(*arguments)

    monkeypatch.setattr(verify_module, "_files", held_up)
    try:
        assert verify(directory).problems == ()
    finally:
        writer.kill()
        writer.communicate()
