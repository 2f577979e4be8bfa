"""What the journal's commands say of a home that is none, or that is not this user's: the field, the rule, what is accepted."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mounts import mounted, remount, why_not

from console.cli import main
from services.audit import Event, Journal
from services.audit.line import GENESIS, chain, line
from services.clock import SystemClock
from services.redaction import Redactor

READING = (
    ("list",),
    ("show", "1"),
    ("export",),
    ("verify",),
    ("dlq", "list"),
    ("dlq", "export"),
    ("retain", "--dry-run"),
    ("ship", "--status"),
)
ROOT = Path(__file__).parents[2]
ANOTHER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Root without the right to read what others may not."""


async def journal_of(directory: Path) -> None:
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())
    for number in range(5):
        await journal.append(Event(event="deployment.completed", user="jane", data={"n": number}))
    journal.close()


def cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("words", [*READING, ("retain",), ("acknowledge", "--reason", "seen")], ids=" ".join)
def test_a_file_is_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    home = tmp_path / "file"
    home.write_text("")
    code, out, err = cli(capsys, "journal", *words, "--home", str(home), *(() if words == ("export",) else ("-o", "json")))
    assert code == 2, (out, err)
    if words != ("export",):
        assert json.loads(out)["reason"]["name"] == "home"
    assert "quarterdeck: home: " in err
    assert "Accepted: a directory" in err


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    await journal_of(tmp_path / "home" / "journal")
    return tmp_path / "home"


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root reads everything")
@pytest.mark.parametrize(
    ("words", "closed"),
    [(words, closed) for words in (("list",), ("show", "1"), ("export",)) for closed in ("", "/seg", "/seg/000000000001.jsonl")]
    + [(("retain",), ""), (("retain",), "/seg")],  # which does not look into the newest segment
)
def test_a_journal_that_may_not_be_read(home: Path, words: tuple[str, ...], closed: str) -> None:
    place = Path(f"{home}/journal{closed}")
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        done = run(home, *words)
    finally:
        place.chmod(mode)
    assert done.returncode == 2, done.stderr
    assert "home: holds a journal that uid" in done.stderr
    assert f"{place}" in done.stderr
    assert "Accepted: a directory that belongs" in done.stderr


def run(home: Path, *words: str, to: Path | None = None) -> "subprocess.CompletedProcess[str]":
    with (to or Path(os.devnull)).open("wb") as out:
        return subprocess.run(
            [
                *(ANOTHER if os.geteuid() == 0 else ()),
                sys.executable,
                "-m",
                "console.cli",
                "journal",
                *words,
                "--home",
                str(home),
            ],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )


@pytest.fixture
def mountable(tmp_path: Path) -> Iterator[Path]:
    if why := why_not("tmpfs"):
        pytest.skip(why)
    with mounted(tmp_path / "mounted", "-t", "tmpfs", "-o", "size=20m,mode=1777", "tmpfs") as place:
        yield place


async def test_a_home_that_can_not_be_closed_to_others(mountable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await journal_of(mountable / "journal")
    remount(mountable, "ro")
    code, out, err = cli(capsys, "journal", "retain", "--home", str(mountable), "-o", "json")
    assert (code, json.loads(out)["reason"]["name"]) == (2, "home")
    assert "open to other users (mode 1777), and can't be made yours alone (Read-only file system)" in err
    assert cli(capsys, "journal", "list", "--home", str(mountable))[0] == 0


async def test_what_is_not_acknowledged_since_the_journal_can_not_be_written_is_said_to_be_that(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "journal" / "lock").unlink()
    (home / "journal" / "lock").mkdir()
    code = await asyncio.to_thread(main, ["journal", "acknowledge", "--reason", "seen", "--home", str(home)])
    err = capsys.readouterr().err
    assert code == 1
    assert "Nothing was acknowledged" in err
    assert "The journal can't be written" in err
    assert "nothing to acknowledge" not in err


async def test_a_tab_moves_nothing_out_of_its_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=SystemClock())
    await journal.append(Event(event="deployment.completed", user="jane", service="a\tb", command="x\ty"))
    journal.close()
    out = cli(capsys, "journal", "list", "--home", str(tmp_path))[1]
    assert "\t" not in out
    assert "a\\tb" in out


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_an_export_to_no_file(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = cli(capsys, "journal", "export", "--to", name, "--home", str(home), "-o", "json")
    assert (code, json.loads(out)["reason"]["name"]) == (2, "to")
    assert "Accepted: the name of a new file" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("export",), ("list",), ("list", "-o", "json"), ("verify",), ("show", "1")], ids=" ".join)
def test_a_result_that_nobody_can_take(home: Path, words: tuple[str, ...]) -> None:
    done = run(home, *words, to=Path("/dev/full"))
    assert done.returncode == 1, done.stderr
    assert "quarterdeck: The result can't be written" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "log").exists(), "it is no failure of ours"


def test_how_shipping_stands_is_not_known_without_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "none.yaml"))
    code, _, err = cli(capsys, "journal", "ship", "--status", "--home", str(tmp_path))
    assert code == 2
    assert f"There is no configuration at {tmp_path}/none.yaml" in err
    assert "No sink is configured" not in err


def test_a_look_at_what_would_be_retained_makes_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = cli(capsys, "journal", "retain", "--dry-run", "--home", str(tmp_path / "none"), "-o", "json")
    assert (code, json.loads(out)) == (0, {"dry_run": True, "days": 400, "steps": []})
    assert not (tmp_path / "none").exists()


def test_a_journal_of_a_newer_format_is_read_and_said_to_be_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (segment,) = (home / "journal" / "seg").glob("*.jsonl")
    hash_, content = GENESIS, b""
    for each in segment.read_bytes().splitlines():
        body = each.partition(b"\t")[2].replace(b'{"v":1,', b'{"v":2,')
        hash_ = chain(hash_, body)
        content += line(hash_, body)
    segment.write_bytes(content)
    _, _, err = cli(capsys, "journal", "verify", "--home", str(home))
    assert "Nothing can be started with this journal. The journal was written by a newer Quarterdeck" in err
    assert "format 2" in err
    assert len(json.loads(cli(capsys, "journal", "list", "--home", str(home), "-o", "json")[1])["entries"]) == 6
