"""What the doctor says of this machine: home, journal, terminal, operator."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.configuration import configured, redactor
from support.doctor import unexpected

from console.doctor import home, journal, operator, terminal
from console.doctor.examination import examine
from console.doctor.finding import Check, Finding, Outcome
from services.audit import Event, Journal
from services.audit.levels import MIB, Room
from services.audit.line import GENESIS, chain, line
from services.clock import SystemClock


def examined(checks: Sequence[Check]) -> dict[str, Finding]:
    return {finding.name: finding for finding in asyncio.run(examine(checks, 60.0, unexpected))}


def of_home(path: Path) -> dict[str, Finding]:
    return examined(home.checks(path, time.monotonic))


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that nothing can be written to, not even by root."""
    place = tmp_path / "read-only"
    place.mkdir(mode=0o700)
    if os.geteuid() != 0:
        place.chmod(0o500)
        yield place
        place.chmod(0o700)
        return
    mount = ["mount", "--bind", str(place), str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root that may not mount can't make a directory that root can't write to")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], capture_output=True, check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_home_in_order_is_left_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    found = of_home(place)
    assert {finding.outcome for finding in found.values()} <= {Outcome.OK, Outcome.WARNING, Outcome.UNKNOWN}
    assert found["writes and locks"].outcome is Outcome.OK
    assert "locked" in found["writes and locks"].found
    assert list(place.iterdir()) == []


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = of_home(tmp_path / "new" / "home")
    assert found["writes and locks"].outcome is Outcome.SKIPPED
    assert not (tmp_path / "new").exists()


def test_a_home_on_a_read_only_directory_is_a_problem(read_only: Path) -> None:
    found = of_home(read_only)["writes and locks"]
    assert found.outcome is Outcome.PROBLEM
    assert "can't be written" in found.found
    assert "--home" in found.action
    below = of_home(read_only / "home")["writes and locks"]
    assert (below.outcome, "can't be made" in below.found) == (Outcome.PROBLEM, True)


def test_a_home_that_others_can_read_or_that_is_a_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert of_home(tmp_path)["owner and mode"].outcome is Outcome.WARNING
    (tmp_path / "file").write_text("")
    assert of_home(tmp_path / "file")["owner and mode"].outcome is Outcome.PROBLEM


def test_a_full_disk_and_a_network_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = home.shutil.disk_usage(tmp_path)
    for free, outcome in ((1 << 20, Outcome.PROBLEM), (100 << 20, Outcome.WARNING), (1 << 40, Outcome.OK)):
        monkeypatch.setattr(home.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert of_home(tmp_path)["free space"].outcome is outcome
    monkeypatch.setattr(home, "file_system", lambda _: "nfs4")
    assert of_home(tmp_path)["file system"].outcome is Outcome.PROBLEM


async def kept(place: Path) -> None:
    written = Journal.open(place / "journal", redactor=redactor(), clock=SystemClock())
    await written.append(Event(event="deploy.requested", user="jane"))
    written.close()


def test_a_journal_is_followed_and_left_alone(tmp_path: Path) -> None:
    assert examined(journal.checks(tmp_path))["chain"].outcome is Outcome.SKIPPED
    asyncio.run(kept(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = examined(journal.checks(tmp_path))
    assert {finding.outcome for finding in found.values()} == {Outcome.OK}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (segment,) = (tmp_path / "journal" / "seg").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b"torn")
    assert examined(journal.checks(tmp_path))["chain"].outcome is Outcome.WARNING
    segment.write_bytes(before[segment].replace(b"jane", b"john"))
    broken = examined(journal.checks(tmp_path))["chain"]
    assert (broken.outcome, "wrong-hash" in broken.found) == (Outcome.PROBLEM, True)


@pytest.mark.parametrize(("free", "outcome"), [(900, Outcome.OK), (400, Outcome.WARNING), (60, Outcome.PROBLEM)])
def test_a_journal_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, outcome: Outcome) -> None:
    asyncio.run(kept(tmp_path))
    monkeypatch.setattr("services.audit.place.Disk.room", lambda disk, path: Room(free * MIB, 1000 * MIB))
    found = examined(journal.checks(tmp_path))["writable"]
    assert found.outcome is outcome
    assert (f"{free} MiB free" in found.found) == (outcome is not Outcome.OK)


def rewritten(segment: Path, old: bytes, new: bytes) -> None:
    """The first line other than it was, and its hash made to fit: as another program would have written it."""
    first, _, rest = segment.read_bytes().partition(b"\n")
    body = first.partition(b"\t")[2].replace(old, new)
    segment.write_bytes(line(chain(GENESIS, body), body) + rest)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("newer", ("newer Quarterdeck", "format 2", "newer program")),
        ("damaged", ("damaged", "acknowledge")),
        ("foreign", ("somebody else", "chown")),
        ("closed", ("Permission denied", "mode 700")),
    ],
)
def test_a_journal_that_its_writer_refuses(tmp_path: Path, what: str, words: tuple[str, ...]) -> None:
    asyncio.run(kept(tmp_path))
    assert examined(journal.checks(tmp_path))["writable"].outcome is Outcome.OK
    (segment,) = (tmp_path / "journal" / "seg").glob("*.jsonl")
    if what == "newer":
        rewritten(segment, b'{"v":1,', b'{"v":2,')
    elif what == "damaged":
        segment.write_bytes(segment.read_bytes().replace(b"jane", b"john"))
    elif os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root may give files away, and be kept from what it may do")
    elif what == "foreign":
        os.chown(tmp_path / "journal", 1234, 1234)
    else:
        segment.parent.chmod(0)
    command = [sys.executable, "-c", SHOWN, str(tmp_path)]
    as_another = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    ended = subprocess.run([*as_another, *command] if what == "closed" else command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert found["writable"]["outcome"] == "problem", found
    said = " ".join(found["writable"].values())
    assert all(word in said for word in words), said
    assert "failed" not in found["chain"]["found"], "each check says what it has found"


SHOWN = """
import asyncio, json, sys
from pathlib import Path
from console.doctor import journal
from console.doctor.examination import examine
found = asyncio.run(examine(journal.checks(Path(sys.argv[1])), 60.0, repr))
print(json.dumps({each.name: {name: str(getattr(each, name)) for name in ("outcome", "found", "action")} for each in found}))
"""
"""The journal's checks in a process of their own: what it may do is less."""


def test_a_journal_on_a_disk_that_can_only_be_read(read_only: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount it to be written once")
    subprocess.run(["mount", "-o", "remount,bind,rw", str(read_only)], capture_output=True, check=True)
    asyncio.run(kept(read_only))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(read_only)], capture_output=True, check=True)
    found = examined(journal.checks(read_only))["writable"]
    assert (found.outcome, "Read-only" in found.found) == (Outcome.PROBLEM, True)
    assert "Mount the file system" in found.action
    assert "mode 700" not in found.action


def test_a_journal_that_can_not_be_written(tmp_path: Path) -> None:
    asyncio.run(kept(tmp_path))
    lock = tmp_path / "journal" / "lock"
    lock.unlink()
    lock.mkdir()
    assert examined(journal.checks(tmp_path))["writable"].outcome is Outcome.PROBLEM


@pytest.mark.parametrize(
    ("env", "name", "outcome", "text"),
    [
        ({"TERM": "xterm-256color"}, "colours", Outcome.OK, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "colours", Outcome.OK, "16 million"),
        ({"TERM": "xterm"}, "colours", Outcome.WARNING, "16 "),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "colours", Outcome.OK, "NO_COLOR"),
        ({"TERM": "dumb"}, "colours", Outcome.SKIPPED, "dumb"),
        ({"TERM": "dumb"}, "type", Outcome.SKIPPED, "TERM is dumb"),
        ({"TERM": "xterm-256color", "TMUX": "/x,1,0"}, "between", Outcome.WARNING, "TERM=xterm-256color"),
        ({"TERM": "tmux-256color", "TMUX": "/x,1,0", "SSH_CONNECTION": "1 2 3 4"}, "between", Outcome.OK, "tmux in SSH"),
        ({"TERM": "linux"}, "characters", Outcome.OK, "ASCII"),
    ],
)
def test_a_terminal_is_told_by_its_environment(env: dict[str, str], name: str, outcome: Outcome, text: str) -> None:
    found = examined(terminal.checks(env, "utf-8"))[name]
    assert (found.outcome, text in found.found) == (outcome, True), found


def test_a_locale_without_utf8() -> None:
    assert examined(terminal.checks({"TERM": "xterm"}, "ISO-8859-1"))["characters"].outcome is Outcome.WARNING


def test_who_is_nobody_can_not_deploy_to_production() -> None:
    settings = configured()
    assert examined(operator.checks("jane", settings, {}, read_only=False))["person"].outcome is Outcome.OK
    assert examined(operator.checks("mallory", settings, {}, read_only=False))["person"].outcome is Outcome.PROBLEM
    assert examined(operator.checks("mallory", settings, {}, read_only=True))["person"].outcome is Outcome.WARNING
    assert examined(operator.checks("jane", None, {}, read_only=False))["person"].outcome is Outcome.SKIPPED
