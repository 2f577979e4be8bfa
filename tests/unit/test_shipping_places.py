"""Where delivery goes on: after a restart, with a cursor that was lost, is another's, newer than the journal, or garbage."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.shipping import QuickClock, ScriptedSink, shipping

from services.audit import Journal
from services.audit.place import Disk
from services.audit.shipping import cursor as cursors
from services.audit.shipping.given import given, told
from services.audit.shipping.status import SinkState, look, read, running, write
from services.audit.shipping.tail import Bounds, Broken, Place, Tail
from services.audit.sinks.base import Assurance, Delivery, Record
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import Elasticsearch, OpenSearch

ENTRIES = 40


async def shipped(home: Path, sink: ScriptedSink, entries: int = ENTRIES) -> Path:
    """Everything that is in the journal of ``home`` was taken by ``sink``, and the shipper has ended."""
    # no quicker: a sink that is late on its clock, if only for a moment, has that recorded behind what was sent
    async with shipping(home, sink, entries=entries, clock=QuickClock(5.0)) as place:
        await place.until(lambda: place.shipper.drained and place.last >= entries)
        return place.directory


def cursor(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cursors.path_of(directory, "scripted").read_bytes())
    return found


def rewrite(directory: Path, **changes: Any) -> None:
    cursors.path_of(directory, "scripted").write_text(json.dumps(cursor(directory) | changes))


async def test_the_next_process_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    first = ScriptedSink()
    directory = await shipped(tmp_path, first)
    found = cursor(directory)
    assert found["acked_seq"] == found["confirmed_seq"] == found["witness"]["seq"] == len(first.taken)
    assert found["acked_hash"] == found["witness"]["hash"] == first.taken[-1].hash
    second = ScriptedSink()
    await shipped(tmp_path, second, entries=5)
    assert min(record.seq for record in second.taken) == found["acked_seq"] + 1
    assert second.closed


async def test_a_lost_cursor_means_that_everything_is_sent_again(tmp_path: Path) -> None:
    directory = await shipped(tmp_path, ScriptedSink())
    cursors.path_of(directory, "scripted").unlink()
    again = ScriptedSink()
    await shipped(tmp_path, again, entries=1)
    assert [record.seq for record in again.taken][:ENTRIES] == list(range(1, ENTRIES + 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: cursors.path_of(d, "scripted").write_bytes(b"\x00\x01garbage"), "can't be read"),
        (lambda d: cursors.path_of(d, "scripted").write_bytes(b"{}"), "can't be read"),
        (lambda d: rewrite(d, journal_id="another"), "of another journal (another)"),
        (lambda d: rewrite(d, acked_seq=10_000), "has lost entries"),
        (lambda d: rewrite(d, acked_hash="0" * 64), "not the one that was sent"),
        (lambda d: rewrite(d, acked_seq=3, confirmed_seq=3), "not the one that was sent"),
        (lambda d: rewrite(d, confirmed_seq=10_000), "does not fit together"),
        (lambda d: rewrite(d, v=99), "newer Quarterdeck"),
        (lambda d: rewrite(d, sink="another"), "does not fit together"),
        (lambda d: rewrite(d, kind="splunk"), "of a sink of kind splunk"),
    ],
)
async def test_a_cursor_that_does_not_fit_stops_the_sink_loudly_and_skips_nothing(tmp_path: Path, spoil: Any, words: str) -> None:
    directory = await shipped(tmp_path, ScriptedSink())
    spoil(directory)
    before = cursors.path_of(directory, "scripted").read_bytes()
    sink, other = ScriptedSink(), ScriptedSink("other")
    async with shipping(tmp_path, [sink, other], entries=1, clock=QuickClock(20.0)) as place:
        await place.until(lambda: place.status.state is SinkState.STOPPED)
        await place.until(lambda: place.journal.entries(event="audit.shipping_stopped"))
        await place.until(lambda: len(other.taken) > ENTRIES)
        assert words in place.status.error
    assert sink.taken == []
    assert cursors.path_of(directory, "scripted").read_bytes() == before
    shipping_now = look(directory, SystemClock().unix(), [Elasticsearch(kind="elasticsearch", name="scripted", url="http://x")])
    assert [one.name for one in shipping_now.troubled] == ["scripted"]


async def test_a_journal_that_was_cut_behind_what_was_sent_is_noticed(tmp_path: Path) -> None:
    directory = await shipped(tmp_path, ScriptedSink())
    (segment,) = (directory / "seg").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-10]))
    sink = ScriptedSink()
    async with shipping(tmp_path, sink, clock=QuickClock(20.0)) as place:
        await place.until(lambda: place.status.state is SinkState.STOPPED)
        assert "lost entries" in place.status.error
    assert sink.taken == []


async def test_what_is_behind_damage_is_sent_with_the_header_that_tells_of_it(tmp_path: Path) -> None:
    clock, redactor = SystemClock(), Redactor(b"k" * 32)
    directory = await shipped(tmp_path, ScriptedSink("early"))
    (segment,) = (directory / "seg").iterdir()
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(bytes(content))
    bounds = Bounds(directory)
    bounds.look()
    tail = Tail(bounds, "j")
    good = tail.read(1000, 1 << 20)
    assert 0 < len(good) < ENTRIES
    with pytest.raises(Broken, match="damaged"):
        tail.read(1000, 1 << 20)
    journal = Journal.open(directory, redactor=redactor, clock=clock)
    await journal.acknowledge("jane", "a bit flipped")
    journal.close()
    bounds.look()
    behind = tail.read(1000, 1 << 20)
    assert behind[0].fields["event"] == "journal.segment"
    assert behind[0].fields["data"]["damage"]["segment"] == segment.name
    assert behind[-1].fields["event"] == "journal.acknowledged"
    assert behind[0].seq > good[-1].seq + 1


async def test_reading_begins_at_any_place_and_in_any_portion(tmp_path: Path) -> None:
    directory = await shipped(tmp_path, ScriptedSink())
    bounds = Bounds(directory)
    bounds.look()
    whole = Tail(bounds, "j").read(10_000, 1 << 30)
    for start in (1, 7, len(whole) - 1, len(whole)):
        place = Place(whole[start - 1].seq, whole[start - 1].hash)
        tail, found = Tail(bounds, "j", place), []
        while records := tail.read(3, 500):
            found += records
        assert [record.seq for record in found] == [record.seq for record in whole[start:]]
        assert [record.hash for record in found] == [record.hash for record in whole[start:]]
    with pytest.raises(Broken):
        Tail(bounds, "j", Place(5, "f" * 64))


async def test_a_sink_whose_yes_is_no_receipt_is_asked_later_and_gets_what_it_lost(tmp_path: Path) -> None:
    sink = ScriptedSink(assurance=Assurance.ACCEPTED)
    sink.lost = {5, 6, 30}
    async with shipping(tmp_path, sink, entries=ENTRIES, clock=QuickClock(60.0)) as place:
        await place.until(lambda: place.shipper.drained)
        assert place.status.confirmed_seq == 0
        assert place.status.unconfirmed > 0
        await place.until(lambda: place.status.unconfirmed == 0)
        sequences = [record.seq for record in sink.taken]
        assert {seq for seq in sequences if sequences.count(seq) == 2} == {5, 6, 30}
        assert sink.asked >= 2
        directory = place.directory
    assert cursor(directory)["queried"] is True


async def test_a_sink_that_cant_be_asked_gets_the_last_minutes_again_after_a_broken_connection(tmp_path: Path) -> None:
    from services.audit.sinks.base import Trouble

    sink = ScriptedSink(assurance=Assurance.NONE)
    sink.can_be_asked = False
    async with shipping(tmp_path, sink, entries=10, clock=QuickClock(60.0)) as place:
        await place.until(lambda: place.shipper.drained and len(sink.taken) >= 10)
        sink.answers = [Delivery(trouble=Trouble.UNREACHABLE, detail="reset")]
        await place.write()
        await place.until(lambda: [record.seq for record in sink.taken].count(1) == 2)
        # Only once; after ten minutes without another break it counts as there.
        await place.until(lambda: place.status.unconfirmed == 0)
        assert [record.seq for record in sink.taken].count(1) == 2


async def test_what_the_sink_has_not_confirmed_is_asked_for_again_after_a_restart(tmp_path: Path) -> None:
    sink = ScriptedSink(assurance=Assurance.ACCEPTED)
    directory = await shipped(tmp_path, sink)
    assert cursor(directory)["confirmed_seq"] == 0
    second = ScriptedSink(assurance=Assurance.ACCEPTED)
    second.lost = {2}
    async with shipping(tmp_path, second, clock=QuickClock(60.0)) as place:
        await place.until(lambda: place.shipper.sinks and place.shipper.drained and place.status.unconfirmed == 0)
    assert [record.seq for record in second.taken][:1] == [2]


async def test_how_it_stands_is_told_by_the_file_and_by_the_journal_where_nobody_ships(tmp_path: Path) -> None:
    section = Elasticsearch(kind="elasticsearch", name="scripted", url="http://127.0.0.1:1")
    sink = ScriptedSink()
    async with shipping(tmp_path, sink, entries=ENTRIES, clock=QuickClock(5.0)) as place:
        await place.until(lambda: place.shipper.drained)
        directory, journal = place.directory, place.journal
    now = SystemClock().unix()
    found = look(directory, now, [section])
    assert not found.running
    assert not running(directory)
    assert (found.sinks[0].backlog, found.sinks[0].lag_seconds) == (0, 0.0)
    clock = SystemClock()
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    from support.shipping import entry

    receipt = await journal.append(entry(1))
    journal.close()
    found = look(directory, clock.unix() + 100.0, [section])
    assert found.waiting
    assert found.sinks[0].backlog == receipt.seq - found.sinks[0].acked_seq
    assert found.lag_seconds > 99
    assert [one.name for one in found.late] == ["scripted"]
    assert look(directory, now, []).sinks == ()


async def test_verify_holds_the_journal_against_what_a_sink_has_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from console.cli import main

    directory = await shipped(tmp_path, ScriptedSink())
    words = ["--home", str(tmp_path), "journal", "verify", "-o", "json"]
    assert main(words) == 0
    # Cut off behind the last checkpoint's reach: with the signature's file gone only the sink knows better.
    for name in ("checkpoints", "checkpoint.key", "checkpoint.pub"):
        (directory / name).unlink()
    (segment,) = (directory / "seg").iterdir()
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-3]))
    capsys.readouterr()
    assert main(words) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["kind"] for problem in problems] == ["tail-cut"]


async def test_what_a_cursor_says_counts_where_nobody_ships_and_what_a_shipper_said_last_does_not(tmp_path: Path) -> None:
    section = Elasticsearch(kind="elasticsearch", name="scripted", url="http://127.0.0.1:1")
    directory = await shipped(tmp_path, ScriptedSink())
    now = SystemClock().unix()
    assert not look(directory, now, [section]).waiting
    cursors.path_of(directory, "scripted").unlink()
    found = look(directory, now, [section])
    assert found.waiting
    assert found.sinks[0].backlog >= ENTRIES


@pytest.mark.parametrize("age", [0.0, 5.0, 86_400.0])
async def test_a_changed_configuration_that_was_not_read_again_yet_is_no_other_one(tmp_path: Path, age: float) -> None:
    """A file may be put in place with the date that it had elsewhere."""
    from services.audit.shipping.shipper import only_one

    directory = await shipped(tmp_path, ScriptedSink())
    section = Elasticsearch(kind="elasticsearch", name="scripted", url="http://127.0.0.1:1")
    changed = Elasticsearch(kind="elasticsearch", name="scripted", url="http://127.0.0.1:2")
    config = tmp_path / "config.yaml"
    config.touch()
    said = read(directory)
    assert said is not None
    now = SystemClock().unix()
    os.utime(config, (now - age, now - age))
    mine = given(config, [section], Redactor(b"k" * 32).digest)
    write(directory, msgspec.structs.replace(said, updated=now, given=mine), disk=Disk())
    with only_one(directory):
        (served,) = look(directory, now, [section], config).sinks
        assert served.error == ""
        found = look(directory, now, [changed], config)
        assert "has not read the changed" in found.sinks[0].error
        assert "another sink of this name" in found.sinks[0].error
        assert found.troubled == ()
        added = Elasticsearch(kind="elasticsearch", name="added", url="http://127.0.0.1:2")
        assert "no sink of this name" in look(directory, now, [added], config).sinks[0].error
        (other,) = look(directory, now, [changed], tmp_path / "other.yaml").troubled
        assert f"by the configuration {config}" in other.error
        assert not look(directory, now, [section], tmp_path / "other.yaml").troubled


def test_a_release_that_knows_more_of_a_sink_takes_a_section_for_the_same() -> None:
    class Later(Elasticsearch):
        compressed: bool = True

    words = {"kind": "elasticsearch", "name": "scripted", "url": "http://127.0.0.1:1"}
    now, later = Elasticsearch.model_validate(words), Later.model_validate(words)
    assert told(now) == told(later)
    assert told(now) != told(Later.model_validate({**words, "compressed": False}))
    assert told(now) != told(Elasticsearch.model_validate({**words, "url": "http://127.0.0.1:2"}))
    assert told(now) != told(OpenSearch.model_validate({**words, "kind": "opensearch"}))


async def test_a_shipper_that_says_nothing_is_told_of(tmp_path: Path) -> None:
    from services.audit.shipping.shipper import only_one

    section = Elasticsearch(kind="elasticsearch", name="scripted", url="http://127.0.0.1:1")
    directory = await shipped(tmp_path, ScriptedSink())
    said, now = read(directory), SystemClock().unix()
    assert said is not None
    write(directory, msgspec.structs.replace(said, updated=now), disk=Disk())  # by the clock of who looks
    with only_one(directory):
        found = look(directory, now + 100, [section])
        assert "has said nothing for" in found.silence
        assert not look(directory, now, [section]).silence
    assert not look(directory, now + 100, [section]).silence


async def test_a_packed_segment_that_is_damaged_is_no_concern_of_a_sink_that_has_it(tmp_path: Path) -> None:
    from services.audit.segments import segments

    with pytest.MonkeyPatch.context() as patched:
        from services.audit import chain

        patched.setattr(chain, "MAX_SEGMENT", 30_000)
        sink = ScriptedSink()
        async with shipping(tmp_path, sink, entries=60, clock=QuickClock(20.0)) as place:
            await place.write(60)
            await place.until(lambda: place.shipper.drained)
            directory = place.directory
        first = segments(directory)[0].path
        first.with_name(f"{first.name}.gz").write_bytes(b"no gzip at all")
        first.unlink()
        fresh = ScriptedSink("fresh")
        async with shipping(tmp_path, [sink, fresh], entries=3, clock=QuickClock(20.0)) as place:
            await place.until(lambda: place.shipper.sinks and place.shipper.sinks[0].acked_seq > 123)
            await place.until(lambda: place.shipper.sinks[1].error)
            assert not place.shipper._note
        assert fresh.taken == []


def test_on_a_full_disk_it_goes_on_being_told_how_shipping_stands(tmp_path: Path) -> None:
    from services.audit.place import Disk
    from services.audit.shipping.status import ShippingStatus, read, write

    class Full(Disk):
        """Has no room for a new file; what is there can be written over."""

        def write(self, descriptor: int, content: memoryview) -> int:
            if not os.fstat(descriptor).st_size:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(descriptor, content)

    first = ShippingStatus(journal="j", pid=1, started=1.0, updated=2.0, note="long " * 20)
    write(tmp_path, first, disk=Disk())
    later = ShippingStatus(journal="j", pid=1, started=1.0, updated=3.0)
    write(tmp_path, later, disk=Full())
    assert read(tmp_path) == later
    write(tmp_path, first, disk=Disk())
    assert read(tmp_path) == first


async def test_what_a_sink_never_shows_is_told_of_and_sent_again_less_and_less_often(tmp_path: Path) -> None:
    """A filter or a quota behind the sink's yes takes it away, each time."""

    clock, times = QuickClock(200.0), list[float]()

    class Filtering(ScriptedSink):
        async def send(self, batch: Sequence[Record]) -> Delivery:
            times.extend(clock.monotonic() for record in batch if record.seq == 5)
            return await super().send(batch)

        async def missing(self, records: "list[object]") -> list[int]:  # type: ignore[override]
            return [5]

    sink = Filtering(assurance=Assurance.ACCEPTED)
    async with shipping(tmp_path, sink, entries=ENTRIES, clock=clock) as place:
        await place.until(lambda: place.shipper.drained)
        await place.until(lambda: [record.seq for record in sink.taken].count(5) >= 5)
        # 60 s for the first look, then 60, 120 and 240 between two of them.
        assert times[4] - times[0] > 450
        assert place.shipper._lanes[0].note == "scripted does not hold 1 entries that it took: sent again"
        assert place.status.confirmed_seq == 0
