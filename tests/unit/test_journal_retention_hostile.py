"""Retention among clocks that jump, files that somebody put there, newer versions and damaged packed segments."""

import gzip
import json
from pathlib import Path

import pytest
from support.aged import DAY, filled, lived, names, retained
from support.clock import ManualClock

from console.cli import main
from services.audit import Event, Journal, reading
from services.audit.verify import verify
from services.redaction import Redactor


async def test_a_clock_that_jumps_ahead_by_ten_years_makes_nothing_old(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 3)
    await clock.advance(3653 * DAY)
    assert {action for action, _ in retained(directory, clock)} == {"pack"}
    # Nor once entries were written at that time, and a second jump.
    await filled(directory, clock, 2)
    await clock.advance(3653 * DAY)
    assert {action for action, _ in retained(directory, clock)} == {"pack"}
    assert verify(directory).removed == 0
    await lived(directory, clock, 300)
    assert "record" not in {action for action, _ in retained(directory, clock)}
    await lived(directory, clock, 100)
    assert ("remove", "1") in retained(directory, clock)
    assert verify(directory).ok


async def test_a_file_beside_a_segment_is_no_reason_to_delete_it(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    seg, entries = directory / "seg", reading.entries(directory)
    for path in list(seg.iterdir()):
        # Packed by hand, or anything else of that name; and what looks like the rest of a removed one.
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(b"something else"))
        path.with_suffix(".gone").write_bytes(b"")
    retained(directory, clock)
    assert {"1.jsonl", "7.jsonl", "13.jsonl"} <= set(names(directory))
    await clock.advance(8 * DAY)
    retained(directory, clock)
    assert reading.entries(directory) == entries
    assert verify(directory).ok
    assert "13.jsonl" in names(directory)


async def test_nothing_is_done_to_the_journal_of_a_newer_version(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    newest = sorted((directory / "seg").iterdir())[-1]
    newer = {"v": 2, "event": "journal.segment", "data": "of another form"}
    newest.write_bytes(b"0" * 64 + b"\t" + json.dumps(newer).encode() + b"\n")
    before = names(directory)
    await clock.advance(8 * DAY)
    assert retained(directory, clock) == []
    assert names(directory) == before


async def test_a_damaged_packed_segment_hides_itself_only_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await clock.advance(8 * DAY)
    retained(directory, clock)
    home = ["--home", str(tmp_path)]
    asked = {name: main(["journal", "list", "--rollout", name, *home]) for name in ("r-0", "r-1")}
    assert set(asked.values()) == {0}
    path = directory / "seg" / "000000000001.jsonl.gz"
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    capsys.readouterr()
    for filters, lines in (([], 9), (["--rollout", "r-1"], 5), (["--rollout", "r-0"], 0)):
        assert main(["journal", "list", *filters, *home]) == 0
        shown = capsys.readouterr()
        assert len(shown.out.splitlines()) == lines
        assert ("000000000001.jsonl.gz is damaged" in shown.err) == ("r-1" not in filters)
    # Half an export would be taken for all of it.
    for asking in (["export", "--to", str(tmp_path / "all.jsonl")], ["show", "2"]):
        assert main(["journal", *asking, *home]) != 0
        shown = capsys.readouterr()
        assert "000000000001.jsonl.gz" in shown.err
        assert "Unexpected" not in shown.err
    assert not (tmp_path / "all.jsonl").exists()
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    await journal.append(Event(event="deployment.executed", user="jane"))
    journal.close()
