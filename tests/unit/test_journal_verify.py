"""Verification: whatever was done to the files, it is named, and named for what it is."""

import asyncio
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal
from services.audit.packed import pack
from services.audit.verify import verify
from services.redaction import Redactor


def make(directory: Path, entries: int, segments: int = 1) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
        for segment in range(segments):
            if segment:
                await clock.advance(25 * 3600)
            for n in range(entries):
                await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
        journal.close()

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments: 1 to 6, 7 to 12, 13 to 17."""
    directory = tmp_path_factory.mktemp("sample") / "journal"
    make(directory, 4, 3)
    return directory


FIRST, SECOND, THIRD = "000000000001.jsonl", "000000000007.jsonl", "000000000013.jsonl"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def put(path: Path, lines: list[bytes]) -> None:
    path.chmod(0o600)
    path.write_bytes(b"".join(lines))


def edit(directory: Path) -> None:
    lines = lines_of(directory / SECOND)
    lines[2] = lines[2].replace(b'"user":"jane"', b'"user":"joan"')
    put(directory / SECOND, lines)


def edit_and_hash_again(directory: Path) -> None:
    lines = lines_of(directory / SECOND)
    body = lines[2][65:-1].replace(b'"user":"jane"', b'"user":"joan"')
    lines[2] = hashlib.sha256(b"audit-v1\0" + lines[1][:64] + body).hexdigest().encode() + b"\t" + body + b"\n"
    put(directory / SECOND, lines)


def drop(directory: Path) -> None:
    lines = lines_of(directory / SECOND)
    del lines[2]
    put(directory / SECOND, lines)


def drop_and_rewrite(directory: Path) -> None:
    """Remove an entry and make the rest of the segment consistent again."""
    lines = lines_of(directory / THIRD)
    previous, kept = lines_of(directory / SECOND)[-1][:64], []
    for line in [*lines[:2], *lines[3:]]:
        body = line[65:-1]
        previous = hashlib.sha256(b"audit-v1\0" + previous + body).hexdigest().encode()
        kept.append(previous + b"\t" + body + b"\n")
    put(directory / THIRD, kept)


def insert(directory: Path) -> None:
    lines = lines_of(directory / SECOND)
    put(directory / SECOND, [*lines[:3], lines[2], *lines[3:]])


def swap(directory: Path) -> None:
    lines = lines_of(directory / SECOND)
    lines[2], lines[3] = lines[3], lines[2]
    put(directory / SECOND, lines)


def cut_tail_of_old_segment(directory: Path) -> None:
    put(directory / SECOND, lines_of(directory / SECOND)[:-1])


def lose_middle(directory: Path) -> None:
    (directory / SECOND).unlink()


def lose_first(directory: Path) -> None:
    (directory / FIRST).unlink()


def swap_segments(directory: Path) -> None:
    second, third = lines_of(directory / SECOND), lines_of(directory / THIRD)
    put(directory / SECOND, third)
    put(directory / THIRD, second)


def other_journal(directory: Path) -> None:
    (directory.parent / "journal.id").write_text("11111111-2222-3333-4444-555555555555\n")


def lose_id(directory: Path) -> None:
    (directory.parent / "journal.id").unlink()


def not_json(directory: Path) -> None:
    lines = lines_of(directory / THIRD)
    body = b"{not json}"
    lines[-1] = hashlib.sha256(b"audit-v1\0" + lines[-2][:64] + body).hexdigest().encode() + b"\t" + body + b"\n"
    put(directory / THIRD, lines)


def stranger(directory: Path) -> None:
    (directory / "copy of 1.jsonl").write_text("")


def noise(directory: Path) -> None:
    put(directory / THIRD, [*lines_of(directory / THIRD), b"what is this\n"])


def nul_tail(directory: Path) -> None:
    put(directory / THIRD, [*lines_of(directory / THIRD), b"\0" * 512])


def partial_line(directory: Path) -> None:
    put(directory / THIRD, [*lines_of(directory / THIRD), b"0123abc"])


def emptied(directory: Path) -> None:
    put(directory / THIRD, [])


@pytest.mark.parametrize(
    ("tamper", "kind", "segment", "seq"),
    [
        (edit, "wrong-hash", SECOND, 9),
        (edit_and_hash_again, "wrong-hash", SECOND, 10),
        (drop, "wrong-hash", SECOND, 9),
        (drop_and_rewrite, "sequence-gap", THIRD, 15),
        (insert, "wrong-hash", SECOND, 10),
        (swap, "wrong-hash", SECOND, 9),
        (cut_tail_of_old_segment, "missing-segment", THIRD, 13),
        (lose_middle, "missing-segment", THIRD, 13),
        (lose_first, "missing-segment", SECOND, 7),
        (swap_segments, "header", SECOND, 7),
        (other_journal, "header", FIRST, 1),
        (lose_id, "header", None, None),
        (not_json, "bad-json", THIRD, 17),
        (stranger, "header", "copy of 1.jsonl", None),
        (noise, "bad-line", THIRD, 18),
        (nul_tail, "torn-tail", THIRD, 18),
        (partial_line, "torn-tail", THIRD, 18),
        (emptied, "header", THIRD, 13),
    ],
)
def test_each_kind_of_tampering_is_named(
    sample: Path, tmp_path: Path, tamper: Callable[[Path], None], kind: str, segment: str | None, seq: int | None
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    assert verify(directory).ok
    tamper(directory / "seg")
    found = verify(directory)
    assert not found.ok
    first = found.problems[0]
    assert (first.kind, first.segment, first.seq) == (kind, segment, seq)
    assert first.detail


def test_one_wrong_line_is_one_problem(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    edit(directory / "seg")
    kinds = [problem.kind for problem in verify(directory).problems]
    # The line itself, and the digest of its segment that the next one holds.
    assert kinds == ["wrong-hash", "broken-link"]


@pytest.mark.timeout(300)
def test_every_bit_flipped_in_a_journal_of_ten_entries_is_detected(tmp_path: Path) -> None:
    """By the chain alone: nothing stands beside the segment that could give it away."""
    made, directory = tmp_path / "made", tmp_path / "journal"
    make(made, 9)
    (directory / "seg").mkdir(parents=True)
    shutil.copy(made / "journal.id", directory)
    path = Path(shutil.copy(made / "seg" / FIRST, directory / "seg"))
    good = path.read_bytes()
    assert good.count(b"\n") == 10
    assert verify(directory).ok
    path.chmod(0o600)
    missed = []
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(good):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                if verify(directory).ok:
                    missed.append((at, bit))
            os.pwrite(file.fileno(), good[at : at + 1], at)
    assert missed == []
    assert verify(directory).ok


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.timeout(600)
def test_every_bit_flipped_in_any_file_of_a_journal_is_detected(tmp_path: Path, packed: bool) -> None:
    """Of ten entries, and of what stands beside them; what holds nothing (``lock``, ``reserve``, the rest of the emergency
    segment) aside. A line feed for a line feed, a byte more or a byte less are detected as well."""
    directory = tmp_path / "journal"
    make(directory, 9)
    segment = directory / "seg" / FIRST
    if packed:
        with segment.open("rb") as source, segment.with_name(f"{FIRST}.gz").open("wb") as target:
            pack(source, lambda content: target.write(content) and None)
        segment.unlink()
    assert verify(directory).ok
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in ("lock", "reserve", "emergency.seg")]
    names = {str(path.relative_to(directory)) for path in files}
    assert names == {"journal.id", "checkpoints", "checkpoint.pub", "checkpoint.key", f"seg/{FIRST}{'.gz' if packed else ''}"}
    # Most of what is read: it is put back for its own turn.
    emergency = (directory / "emergency.seg").rename(tmp_path / "emergency.seg")
    missed = []
    for path in sorted(files):
        good = path.read_bytes()
        path.chmod(0o600)
        with path.open("r+b", buffering=0) as file:
            # The lines themselves are gone through bit by bit above.
            for at, byte in enumerate(good if packed or path.parent == directory else b""):
                for bit in range(8):
                    os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                    if verify(directory).ok:
                        missed.append((path.name, at, bit))
                os.pwrite(file.fileno(), good[at : at + 1], at)
        for other in (good + b"\n", good + b"\0", good[:-1]):
            path.write_bytes(other)
            # A checkpoint that is whole but for its line feed counts; part of one, or NULs behind, is an interrupted write.
            if path.name != "checkpoints" and verify(directory).ok:
                missed.append((path.name, len(other), -1))
        path.write_bytes(good)
    emergency = emergency.rename(directory / "emergency.seg")
    size = emergency.stat().st_size
    with emergency.open("r+b", buffering=0) as file:
        for at in (0, 1, size // 2, size - 1):
            os.pwrite(file.fileno(), b"\x01", at)
            if verify(directory).ok:
                missed.append(("emergency.seg", at, 0))
            os.pwrite(file.fileno(), b"\0", at)
    assert missed == []
    assert verify(directory).ok


def test_the_verifier_shares_nothing_with_the_writer() -> None:
    path = Path(verify.__code__.co_filename)
    for source in (path, *(path.parent / "verifying").iterdir()):
        if source.suffix == ".py":
            imported = re.findall(r"^\s*(?:from|import) (services[\w.]*)", source.read_text(encoding="utf-8"), re.MULTILINE)
            assert all(name.startswith("services.audit.verifying") for name in imported), (source, imported)


def test_a_journal_that_was_lost_is_not_fine(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    shutil.rmtree(directory / "seg")
    assert [problem.kind for problem in verify(directory).problems] == ["missing-segment", "tail-cut"]


def test_an_entry_reads_with_standard_tools(sample: Path) -> None:
    line = lines_of(sample / "seg" / FIRST)[1]
    entry = json.loads(line[65:])
    assert entry["event"] == "deployment.executed"


def said(directory: Path) -> list[tuple[str, str | None, str]]:
    return [(problem.kind, problem.segment, problem.detail) for problem in verify(directory).problems]


def test_segments_that_cannot_be_listed_are_not_called_gone(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    shutil.rmtree(directory / "seg")
    (directory / "seg").symlink_to("seg")
    assert said(directory) == [
        ("unreadable", None, "seg: Too many levels of symbolic links: no entry could be looked at"),
    ]


@pytest.mark.parametrize("large", [False, True], ids=["one-by-one", "side-by-side"])
@pytest.mark.parametrize(
    ("name", "span"), [(FIRST, "entries 1 to 6"), (SECOND, "entries 7 to 12"), (THIRD, "entry 13 on")], ids=["1", "2", "3"]
)
def test_behind_a_segment_that_cannot_be_read_the_chain_is_taken_up(
    sample: Path, tmp_path: Path, name: str, span: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("services.audit.verifying.parts.WORTH_IT", 1)
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    path = directory / "seg" / name
    path.unlink()
    path.symlink_to(name)
    assert said(directory) == [
        ("unreadable", name, f"it is no regular file: what is in it ({span}) could not be looked at"),
    ]
    path.unlink()
    packed = path.with_name(f"{name}.gz")
    packed.write_bytes(b"no gzip at all")
    kinds = [(kind, where) for kind, where, _ in said(directory)]
    assert kinds == [("unreadable", packed.name)]


def test_a_packed_segment_that_is_cut_is_one_problem(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    path = directory / "seg" / SECOND
    packed = path.with_name(f"{SECOND}.gz")
    with path.open("rb") as source, packed.open("wb") as target:
        pack(source, lambda content: target.write(content) and None)
    path.unlink()
    assert verify(directory).ok
    packed.write_bytes(packed.read_bytes()[:-40])
    ((kind, where, detail),) = said(directory)
    assert (kind, where) == ("unreadable", packed.name)
    assert "entries 7 to 12" in detail
    # What follows is looked at all the same.
    edit_third = lines_of(directory / "seg" / THIRD)
    edit_third[2] = edit_third[2].replace(b'"user":"jane"', b'"user":"joan"')
    put(directory / "seg" / THIRD, edit_third)
    assert [kind for kind, _, _ in said(directory)] == ["unreadable", "wrong-hash"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("where", ["seg", f"seg/{SECOND}", "."])
def test_what_may_not_be_read_is_told_so(sample: Path, tmp_path: Path, where: str) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    path = directory / where
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        ((kind, _, detail),) = said(directory)
    finally:
        path.chmod(mode)
    assert kind == "unreadable"
    assert "Permission denied" in detail


def test_a_home_that_is_a_file_is_told_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("")
    assert said(home / "journal") == [("unreadable", None, f"{home / 'journal'}: Not a directory")]
    assert said(home) == [("unreadable", None, f"{home}: Not a directory")]
