"""Entries on their way to other programs: all of them, as they are, and nothing that a spreadsheet or a terminal would act on."""

import csv
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock

from console.cli import main
from console.exports import Export
from services.audit import Event, Journal
from services.audit.exporting import COLUMNS, Form, head, lines
from services.model.errors import ExitCode, QuarterdeckError, Rejected
from services.redaction import Redactor

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)
)
ENTRIES = st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=8), max_size=6)
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@given(ENTRIES)
def test_a_table_holds_every_entry_and_no_formula(entries: list[dict[str, Any]]) -> None:
    content = (head(Form.CSV) + lines(entries, Form.CSV)).decode()
    assert not [each for each in content if (ord(each) < 32 and each not in "\t\r\n") or 127 <= ord(each) < 160]
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows[0] == list(COLUMNS)
    assert len(rows) == len(entries) + 1
    for row, entry in zip(rows[1:], entries, strict=True):
        for name, cell in zip(COLUMNS, row, strict=True):
            number = isinstance(entry.get(name), int)
            assert number or not cell.lstrip(" ").startswith(FORMULAS), (name, cell)


@given(ENTRIES)
def test_lines_hold_every_entry_as_it_is(entries: list[dict[str, Any]]) -> None:
    content = lines(entries, Form.JSONL)
    assert [json.loads(line) for line in content.splitlines()] == entries
    assert not [each for each in content.decode() if each != "\n" and (ord(each) < 32 or 127 <= ord(each) < 160)]


def test_a_file_is_there_whole_and_private_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "entries.csv"
    with Export(path, Form.CSV) as export:
        export.add([{"seq": 1}])
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []
    with Export(path, Form.CSV) as export:
        export.add([{"seq": 1}, {"seq": 2}])
        export.keep()
    assert export.count == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    before = path.read_bytes()
    with pytest.raises(Rejected, match="there already"), Export(path, Form.CSV):
        raise AssertionError("it was opened")
    assert path.read_bytes() == before
    with pytest.raises(QuarterdeckError, match="No such file"), Export(tmp_path / "missing" / "x", Form.JSONL):
        raise AssertionError("it was opened")


def test_a_file_that_took_the_name_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "entries.jsonl"
    with Export(path, Form.JSONL) as export:
        export.add([{"seq": 1}])
        path.write_text("somebody's")
        with pytest.raises(QuarterdeckError, match="File exists"):
            export.keep()
    assert path.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=(clock := ManualClock()))
    for n in range(6):
        await clock.advance(60)
        outcome = "failed" if n % 2 else "ok"
        await journal.append(
            Event(event="deployment.executed", user="jane" if n < 4 else "=cmd()", outcome=outcome, data={"n": n})
        )
    journal.close()
    return tmp_path


def printed(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_what_is_listed_is_what_is_exported(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def journal(*words: str) -> int:
        return main(["--home", str(home), "journal", *words])

    filters = ["--user", "jane", "--outcome", "failed"]
    assert journal("list", *filters, "-o", "json") == ExitCode.DONE
    (document,) = printed(capfd)
    assert [entry["data"]["n"] for entry in document["entries"]] == [1, 3]
    assert journal("export", *filters) == ExitCode.DONE
    assert printed(capfd) == document["entries"]
    third = document["entries"][1]["timestamp"]
    assert journal("export", *filters, "--until", third) == ExitCode.DONE
    assert [entry["data"]["n"] for entry in printed(capfd)] == [1]
    assert journal("export", *filters, "--since", third) == ExitCode.DONE
    assert [entry["data"]["n"] for entry in printed(capfd)] == [3]
    target = home / "out.csv"
    assert journal("export", "--event", "deployment.executed", "--format", "csv", "--to", str(target), "-o", "json") == 0
    assert json.loads(capfd.readouterr().out) == {"file": str(target), "format": "csv", "entries": 6}
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["user"] for row in rows] == ["jane"] * 4 + ["'=cmd()"] * 2
    assert journal("export", "--to", str(target)) == ExitCode.REJECTED
    assert journal("export", "-o", "json") == ExitCode.REJECTED
    assert journal("list", "--until", "soon") == ExitCode.REJECTED
    assert "until: is no moment" in capfd.readouterr().err
