"""The operator's state under kills, two writers, power cuts at every system call, and full disks; TinyDB's own storage beside it.

``QUARTERDECK_KILLS`` sets how many kills there are (200 shows what the small number hides).
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tinydb import TinyDB, where

from services.store import AtomicStorage, StateDamaged, StateUnusable

WRITER = Path(__file__).with_name("state_writer.py")
KILLS = int(os.environ.get("QUARTERDECK_KILLS", "12"))


FIRST_SHORTER = 12
"""The twelfth write is the first one of a shorter document."""


def start(path: Path, name: str, storage: str = "atomic", count: int | None = None) -> "subprocess.Popen[bytes]":
    words = [sys.executable, str(WRITER), str(path), name, storage, *([str(count)] if count else [])]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def content(path: Path) -> dict[str, Any]:
    with TinyDB(path, read_only=True, storage=AtomicStorage) as state:
        return {
            "own": {document["name"]: document for document in state.table("own")},
            "count": (state.table("shared").get(doc_id=1) or {"count": 0})["count"],  # type: ignore[index]
        }


def test_killed_at_any_moment_it_holds_what_was_kept(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    path = tmp_path / "state.json"
    kept = 0
    for round_ in range(KILLS):
        process = start(path, "writer")
        assert process.stdout is not None
        head = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        tail, _ = process.communicate()
        acknowledged = [int(line) for line in (head + tail).split(b"\n")[:-1]]
        found = content(path)
        # the change under way when it was killed may have been kept, or not
        assert found["own"]["writer"]["n"] - acknowledged[-1] in (0, 1), f"kill {round_}"
        assert len(found["own"]["writer"]["text"]) == found["own"]["writer"]["n"] * 701 % 3000
        kept += len(acknowledged)
        assert kept <= found["count"] <= kept + round_ + 1
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_tinydb_s_own_storage_does_not_pass_the_same_kills(tmp_path: Path) -> None:
    """The check can fail: the kill that hurts comes between its sync and its truncation."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    damaged = {}
    for storage in ("json", "atomic"):
        for call in ("ftruncate", "rename"):
            path = tmp_path / f"{storage}-{call}" / "state.json"
            path.parent.mkdir()
            words = [sys.executable, str(WRITER), str(path), "writer", storage, "40"]
            inject = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:signal=KILL:when={FIRST_SHORTER}",
            ]
            subprocess.run([*inject, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            try:
                content(path)
            except StateDamaged as error:
                damaged[storage] = str(error)
    assert "state.json is damaged" in damaged["json"]
    assert "atomic" not in damaged


def test_two_processes_lose_none_of_each_other_s_changes(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    writers = [start(path, f"writer-{n}", count=60) for n in range(2)]
    for writer in writers:
        writer.communicate(timeout=120)
    found = content(path)
    assert found["count"] == 120
    assert {name: document["n"] for name, document in found["own"].items()} == {"writer-0": 59, "writer-1": 59}


def test_tinydb_s_own_storage_loses_what_another_has_changed(tmp_path: Path) -> None:
    """The check can fail: nothing there keeps a second one from writing between the first one's reading and writing."""
    path = tmp_path / "state.json"
    with TinyDB(path) as first, TinyDB(path) as second:
        seen = first.storage.read() or {}
        second.table("shared").insert({"by": "second"})
        first.storage.write({**seen, "own": {"1": {"by": "first"}}})
    assert "second" not in path.read_text()


CALLS = ("openat", "write", "fsync", "rename")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_whichever_call_fails_the_old_state_stays(tmp_path: Path, call: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of a write in turn: refused, or (a short write) half done and then refused."""
    import errno

    path = tmp_path / "state.json"
    with TinyDB(path, storage=AtomicStorage) as state:
        state.insert({"n": "before"})
    names = {"openat": "open"}
    real = getattr(os, names.get(call, call))
    calls = 0

    def failing(*words: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1 and call == "write":
            return real(words[0], words[1][: len(words[1]) // 2])
        raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    with TinyDB(path, storage=AtomicStorage) as state:
        monkeypatch.setattr(os, names.get(call, call), failing)
        with pytest.raises(StateUnusable, match=r"state\.json can't be written"):
            state.insert({"n": "after"})
        monkeypatch.undo()
    assert calls
    with TinyDB(path, storage=AtomicStorage) as state:
        assert [document["n"] for document in state] == ["before"]
        state.insert({"n": "later"})
    assert {each.name for each in tmp_path.iterdir()} == {"state.json", ".state.json.lock"}


def test_on_a_full_disk_the_old_state_stays_and_is_read(tmp_path: Path) -> None:
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs can't be mounted here")
    try:
        path = place / "state.json"
        refused = []
        for n in range(60):
            try:
                with TinyDB(path, storage=AtomicStorage) as state:
                    state.insert({"n": n, "text": "x" * 2000})
            except StateUnusable as error:
                refused.append(str(error))
            with TinyDB(path, read_only=True, storage=AtomicStorage) as state:
                kept = [document["n"] for document in state]
            assert kept == list(range(len(kept)))
        assert refused
        assert all("No space left" in told for told in refused)
        assert len(kept) + len(refused) == 60
        # damage on a full disk: put aside by renaming, which takes no room
        damage = json.dumps({"_default": 3}).encode()
        path.write_bytes(damage)
        with pytest.raises(StateDamaged) as raised, TinyDB(path, storage=AtomicStorage) as state:
            state.all()
        assert raised.value.kept.read_bytes() == damage
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_power_cut_keeps_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    """What is on the disk at a cut is decided by the order of writes and syncs: the new content is synced before it takes the
    name, and the name after that."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    words = [sys.executable, str(WRITER), str(tmp_path / "state.json"), "writer", "atomic", "2"]
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=write,fsync,rename,renameat,renameat2", *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    steps = [
        line.split("(")[0].split()[-1].replace("renameat2", "rename").replace("renameat", "rename")
        + (" directory" if f"<{tmp_path}>" in line else "")
        for line in trace.read_text().splitlines()
        if str(tmp_path) in line
    ]
    assert steps[:4] == ["write", "fsync", "rename", "fsync directory"]
    assert len(steps) % 4 == 0
    assert steps == steps[:4] * (len(steps) // 4)


def test_who_holds_the_state_too_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.store.storage.LOCK_SECONDS", 0.02)
    with (
        TinyDB(tmp_path / "state.json", storage=AtomicStorage),
        pytest.raises(StateUnusable, match="held by another process"),
        TinyDB(tmp_path / "state.json", storage=AtomicStorage),
    ):
        raise AssertionError("the lock was had twice")


def test_a_large_state_is_refused_and_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with TinyDB(path, storage=AtomicStorage) as state:
        state.insert({"n": 1})
        with pytest.raises(StateUnusable, match="full"):
            state.insert({"text": "x" * 5_000_000})
        assert state.search(where("n") == 1)
