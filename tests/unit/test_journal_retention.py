"""What becomes of old segments: packed, later removed, never before everybody who has to has confirmed them, provably so."""

import gzip
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.aged import DAY, POLICY, filled, lived, names, retained
from support.clock import ManualClock

from services.audit import Event, Journal, owed, reading
from services.audit.paging import newer, older
from services.audit.place import Disk
from services.audit.retention import Action, Policy, plan
from services.audit.segments import segments
from services.audit.shipping.tail import Bounds, Place, Tail
from services.audit.verify import verify
from services.audit.watermark import behind
from services.redaction import Redactor


def confirm(directory: Path, sink: str, seq: int, kind: str = "x") -> None:
    (directory / "cursors").mkdir(exist_ok=True)
    journal = (directory / "journal.id").read_text().strip()
    line = next(raw for raw in reading.lines_backwards(directory) if json.loads(raw[65:])["seq"] == seq) if seq else b"0" * 64
    facts = {"v": 1, "journal_id": journal, "sink": sink, "kind": kind, "acked_seq": seq, "acked_hash": line[:64].decode()}
    facts |= {"confirmed_seq": seq, "confirmed_hash": line[:64].decode()}
    (directory / "cursors" / f"{sink}.json").write_text(json.dumps(facts))


def everything(directory: Path) -> list[object]:
    """The same journal through every reader."""
    return [
        reading.entries(directory),
        reading.entries(directory, rollout="r-1"),
        [reading.find(directory, seq) for seq in range(1, 20)],
        [page.entries for before in range(1, 20) for page in [older(directory, before, limit=5)]],
        [page.entries for after in range(20) for page in [newer(directory, after, limit=5)]],
        [raw for raw in reading.lines_backwards(directory)],
    ]


async def test_packed_segments_read_and_verify_as_before(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 3)
    before, found = everything(directory), verify(directory)
    assert retained(directory, clock) == []
    plain = (directory / "seg" / "000000000001.jsonl").read_bytes()
    await clock.advance(8 * DAY)
    assert [action for action, _ in retained(directory, clock)] == ["pack"] * 3
    assert names(directory) == ["1.jsonl.gz", "13.jsonl.gz", "19.jsonl", "7.jsonl.gz"]
    assert gzip.decompress((directory / "seg" / "000000000001.jsonl.gz").read_bytes()) == plain
    assert everything(directory) == before
    assert verify(directory) == found
    (directory / "index.db").unlink()
    assert everything(directory) == before
    assert retained(directory, clock) == []


async def test_packed_segments_are_shipped_as_before(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 3)

    def shipped(place: Place | None) -> list[tuple[int, str, bytes]]:
        bounds = Bounds(directory)
        assert bounds.look()
        tail = Tail(bounds, (directory / "journal.id").read_text().strip(), place)
        found = []
        while records := tail.read(3, 10_000):
            found += [(record.seq, record.hash, record.body) for record in records]
        return found

    before = shipped(None)
    assert len(before) == verify(directory).entries
    await clock.advance(8 * DAY)
    assert retained(directory, clock)
    assert shipped(None) == before
    seq, hash_, _ = before[8]
    assert shipped(Place(seq, hash_)) == before[9:]


async def test_a_bit_of_a_packed_segment_is_missed_by_nobody(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 1)
    await clock.advance(8 * DAY)
    retained(directory, clock)
    path = directory / "seg" / "000000000001.jsonl.gz"
    good = path.read_bytes()
    path.chmod(0o600)
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        assert not verify(directory).ok, at


async def test_what_is_old_goes_and_the_chain_holds_across_the_hole(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 3)
    await lived(directory, clock, 399.5)
    told = retained(directory, clock)
    assert told[:3] == [("record", "1"), ("record", "7"), ("pack", "13")]
    assert told[-2:] == [("remove", "1"), ("remove", "7")]
    assert {action for action, _ in told[2:-2]} == {"pack"}
    found = verify(directory)
    assert found.ok, found.problems
    assert found.removed > 0
    await filled(directory, clock, 1)
    await lived(directory, clock, 401)
    await filled(directory, clock, 1)
    retained(directory, clock)
    # The entries about the first removal are gone themselves by now.
    found = verify(directory)
    assert found.ok, found.problems
    assert found.first == found.removed + 1
    assert [step.action for step in plan(directory, Policy(), clock.now())].count(Action.REMOVE) == 0
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    await journal.append(Event(event="deployment.executed", user="jane"))
    journal.close()
    assert verify(directory).ok


async def test_nothing_goes_before_every_required_sink_has_it_and_knows_that_it_goes(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await lived(directory, clock, 500)
    policy = Policy(required=("es", "s3"))
    assert retained(directory, clock, policy) == []
    confirm(directory, "es", 13)
    assert retained(directory, clock, policy) == []
    confirm(directory, "s3", 8)
    assert retained(directory, clock, policy) == [("record", "1")]
    last = reading.entries(directory, event="journal.removed")[-1]["seq"]
    assert isinstance(last, int)
    confirm(directory, "es", last)
    confirm(directory, "s3", last - 1)
    assert ("remove", "1") not in retained(directory, clock, policy)
    (step, *_) = plan(directory, policy, clock.now())
    assert f"s3 has confirmed entry {last}" in step.why
    confirm(directory, "s3", last)
    assert ("remove", "1") in retained(directory, clock, policy)
    assert verify(directory).ok


async def test_without_a_configuration_every_sink_that_was_ever_sent_to_counts(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await lived(directory, clock, 500)
    confirm(directory, "es", 3)
    assert retained(directory, clock) == []


async def test_a_sink_is_behind_by_the_age_of_what_it_lacks_and_an_archive_by_that_of_what_is_sealed(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    for name in ("es", "s3"):
        owed.begin_anew(directory, name, clock.unix())
    await filled(directory, clock, 2)
    last = verify(directory).last
    assert last is not None
    never = behind(directory, ("es",), clock.unix())
    assert never is not None, "one that has never taken anything owes all there is"
    assert (never.sink, never.seconds) == ("es", pytest.approx(2.2 * DAY))
    confirm(directory, "es", last)
    assert behind(directory, ("es",), clock.unix()) is None
    confirm(directory, "es", 2)
    found = behind(directory, ("es",), clock.unix())
    assert found is not None
    assert (found.sink, found.seconds) == ("es", pytest.approx(2.2 * DAY))
    (first, second, *_) = segments(directory)
    for acked, days in ((second.first - 1, 0.0), (first.first, 1.1)):
        confirm(directory, "s3", acked, kind="s3")
        found = behind(directory, ("s3",), clock.unix(), whole=("s3",))
        assert found is not None
        assert found.seconds == pytest.approx(days * DAY)
    confirm(directory, "s3", segments(directory)[-1].first - 1, kind="s3")
    assert behind(directory, ("s3",), clock.unix(), whole=("s3",)) is None
    (directory / "cursors" / "s3.json").unlink()
    never = behind(directory, ("s3",), clock.unix(), whole=("s3",))
    assert never is not None
    assert never.seconds == pytest.approx(1.1 * DAY), "since the first segment was sealed"


async def test_a_sink_owes_what_is_still_here_and_not_what_was_removed_before_it_came(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    owed.begin_anew(directory, "old", clock.unix())
    await filled(directory, clock, 2)
    await lived(directory, clock, 401)
    await filled(directory, clock, 1)
    assert ("remove", "1") in retained(directory, clock)
    first = reading.entries(directory)[0]
    found = behind(directory, ("old",), clock.unix())
    assert found is not None
    assert found.seconds == pytest.approx(clock.unix() - datetime.fromisoformat(str(first["timestamp"])).timestamp())
    new = behind(directory, ("new",), clock.unix())
    assert new is not None
    assert new.seconds == 0, "it is due from now on"


async def test_nothing_goes_where_the_confirmed_entry_is_another_one_here(tmp_path: Path) -> None:
    """A journal that was restored from an older copy gives the same numbers to other entries, which no sink has."""
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await lived(directory, clock, 500)
    last = verify(directory).last
    assert last is not None
    policy = Policy(required=("es",))
    confirm(directory, "es", last)
    path = directory / "cursors" / "es.json"
    good = path.read_text()
    path.write_text(json.dumps(json.loads(good) | {"confirmed_hash": "0" * 64}))
    assert retained(directory, clock, policy) == []
    (step, *_) = plan(directory, policy, clock.now())
    assert f"the entry {last} that es has confirmed is not the one" in step.why
    path.write_text(good)
    assert ("record", "1") in retained(directory, clock, policy)


async def test_a_sink_whose_last_entry_is_gone_from_here_has_confirmed_no_other_one(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    confirm(directory, "es", 3)
    cursor = directory / "cursors" / "es.json"
    cursor.rename(tmp_path / "es.json")
    await lived(directory, clock, 401)
    assert ("remove", "1") in retained(directory, clock)
    (tmp_path / "es.json").rename(cursor)
    (step, *_) = plan(directory, Policy(required=("es",)), clock.now())
    assert step.action is Action.KEEP
    assert step.why == "es has confirmed entries up to 3 only"


async def test_a_segment_that_is_not_what_it_was_stays(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await lived(directory, clock, 500)
    path = directory / "seg" / "000000000001.jsonl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"user":"jane"', b'"user":"joan"'))
    assert retained(directory, clock) == []
    assert path.exists()


class Crash(BaseException):
    """The process is gone."""


class Crashing(Disk):
    """Ends at the ``at``-th call, before or after it is done."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.calls = at, after, 0

    def _call(self, do: Callable[[], object]) -> object:
        self.calls += 1
        if self.calls == self.at and not self.after:
            raise Crash
        done = do()
        if self.calls == self.at:
            raise Crash
        return done

    def write(self, descriptor: int, content: memoryview) -> int:
        return self._call(lambda: Disk.write(self, descriptor, content))  # type: ignore[return-value]

    def sync(self, descriptor: int) -> None:
        self._call(lambda: Disk.sync(self, descriptor))

    def sync_directory(self, path: Path) -> None:
        self._call(lambda: Disk.sync_directory(self, path))


@pytest.mark.parametrize("after", [False, True])
async def test_an_interruption_between_any_two_steps_is_harmless(tmp_path: Path, after: bool) -> None:
    clock = ManualClock()
    sample = tmp_path / "sample"
    await filled(sample, clock, 2, entries=2)
    await lived(sample, clock, 390)
    retained(sample, clock)
    await filled(sample, clock, 0)
    await clock.advance(9.2 * DAY)
    # Of all segments one is to be removed now, one to be packed.
    assert [step.action.value for step in plan(sample, POLICY, clock.now()) if step.action is not Action.KEEP] == [
        "record",
        "pack",
    ]
    newest = segments(sample)[-2].path.name.lstrip("0")
    entries = reading.entries(sample)
    at, calls = 0, 0
    while at <= calls:
        at += 1
        directory = tmp_path / f"journal-{at}"
        shutil.copytree(sample, directory)
        disk = Crashing(at, after=after)
        try:
            retained(directory, clock, disk=disk)
            calls = disk.calls
        except Crash:
            calls = at
        found = verify(directory)
        assert found.ok, (at, found.problems)
        left = [entry for entry in reading.entries(directory) if int(str(entry["seq"])) <= len(entries)]
        assert left in (entries, entries[4:]), at
        retained(directory, clock)
        assert verify(directory).ok, at
        assert {"1.gone", f"{newest}.gz"} <= set(names(directory)), at
        assert not {"1.jsonl", "1.jsonl.gz", newest} & set(names(directory)), at
    assert at > 15


@pytest.fixture
async def removed(tmp_path: Path) -> Path:
    directory, clock = tmp_path / "journal", ManualClock()
    await filled(directory, clock, 2)
    await lived(directory, clock, 410)
    retained(directory, clock)
    assert verify(directory).removed == 12
    return directory


def seal_edited(directory: Path) -> None:
    path = directory / "seg" / "000000000001.gone"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"first":1', b'"first":2'))


def header_edited(directory: Path) -> None:
    path = directory / "seg" / "000000000001.gone"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":3'))


def rest_lost(directory: Path) -> None:
    (directory / "seg" / "000000000007.gone").unlink()


def secretly(directory: Path) -> None:
    """Another segment taken away and made to look like a removal."""
    (found,) = (directory / "seg").glob("000000000013.*")
    content = found.read_bytes()
    lines = (gzip.decompress(content) if found.suffix == ".gz" else content).splitlines(keepends=True)
    (directory / "seg" / "000000000013.gone").write_bytes(lines[0] + lines[-2][:64] + b"\n" + lines[-1])
    found.unlink()


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [(seal_edited, "removal"), (header_edited, "removal"), (rest_lost, "missing-segment"), (secretly, "removal")],
)
def test_a_hole_that_the_journal_did_not_make_is_named(removed: Path, tamper: Callable[[Path], None], kind: str) -> None:
    tamper(removed)
    assert kind in {problem.kind for problem in verify(removed).problems}


def test_twelve_months_are_the_least() -> None:
    with pytest.raises(ValueError, match="366 days at least"):
        Policy(days=365)
    assert timedelta(days=Policy().days) >= timedelta(days=400)
