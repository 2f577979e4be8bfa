"""Batches delivered whatever it takes: retries without end, the one bad entry found, a sink that takes nothing at all held."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.shipping import Graveyard, KnowingSink, Place, QuickClock, ScriptedSink, shipping
from support.sinks import LeapingClock, records

from services.audit import Event, Journal, chain
from services.audit.place import Disk
from services.audit.segments import segments
from services.audit.shipping import cursor as cursors
from services.audit.shipping import deadletters, lane, shipper, status
from services.audit.shipping.burials import Burials, substitute
from services.audit.shipping.courier import LONGEST_DOUBT_SECONDS, Courier
from services.audit.shipping.deadletters import DeadLetter, letter
from services.audit.shipping.lane import Lane
from services.audit.shipping.pauses import HOLD_SECONDS, LONGEST_SECONDS, Backoff
from services.audit.shipping.status import SinkState, read
from services.audit.shipping.tail import Tail
from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Record, Trouble
from services.clock import SystemClock
from services.redaction import Redactor

UNREACHABLE = Delivery(trouble=Trouble.UNREACHABLE, detail="nobody there")
BUSY = Delivery(trouble=Trouble.BUSY, detail="429: later")
HOLD = Delivery(trouble=Trouble.HOLD, detail="401: who are you")
TOO_LARGE = Delivery(trouble=Trouble.TOO_LARGE, detail="413")
SUSPECT = Delivery(trouble=Trouble.SUSPECT, detail="400: no")


def courier(sink: ScriptedSink) -> tuple[Courier, Graveyard, LeapingClock]:
    grave, clock = Graveyard(), LeapingClock()
    return grave.courier(sink, clock), grave, clock


async def test_one_poisoned_entry_among_five_hundred_is_found_buried_and_replaced() -> None:
    sink = ScriptedSink()
    sink.suspect = {317}
    carrier, grave, _ = courier(sink)
    await carrier.deliver(records(500))
    assert [letter.seq for letter in grave.buried] == [317]
    assert "400: no" in grave.buried[0].reason
    assert [event.event for event in grave.events] == ["audit.dead_letter"]
    assert grave.events[0].data["seq"] == 317
    assert sorted(record.seq for record in sink.taken) == list(range(1, 501))
    assert [record.seq for record in sink.taken if record.substitute] == [317]
    # Halving: a few requests, not one an entry.
    assert len(sink.batches) < 25


async def test_an_entry_that_is_rejected_by_itself_costs_one_request_more() -> None:
    sink = ScriptedSink()
    sink.refuse = {3: "mapper_parsing_exception"}
    carrier, grave, _ = courier(sink)
    await carrier.deliver(records(10))
    assert [(letter.seq, letter.reason) for letter in grave.buried] == [(3, "mapper_parsing_exception")]
    assert len(sink.batches) == 2


async def test_a_sink_that_refuses_everything_gets_no_entry_buried() -> None:
    sink = ScriptedSink()
    carrier, grave, clock = courier(sink)
    sink.answers = [SUSPECT] * 12
    task = asyncio.create_task(carrier.deliver(records(4)))
    for _ in range(200):
        await asyncio.sleep(0)
        if carrier.tally.state is SinkState.HELD:
            assert "not even a substitute" in carrier.tally.error
            break
    else:
        pytest.fail("it was never held")
    await task
    assert grave.buried == []
    assert clock.monotonic() >= HOLD_SECONDS
    assert sorted(record.seq for record in sink.taken) == [1, 2, 3, 4]
    assert carrier.tally.state is SinkState.SHIPPING


async def test_a_batch_that_is_too_large_is_sent_in_parts() -> None:
    sink = ScriptedSink()
    sink.answers = [TOO_LARGE, TOO_LARGE]
    carrier, grave, _ = courier(sink)
    await carrier.deliver(records(8))
    assert [len(batch) for batch in sink.batches] == [8, 4, 2, 2, 4]
    assert grave.buried == []


async def test_an_entry_larger_than_a_sink_takes_is_buried_without_being_sent() -> None:
    batch = records(3)
    sink = ScriptedSink(limits=Limits(entry_bytes=len(batch[1].body) - 1))
    sink.size = lambda record: 10**6 if record.seq == 2 and not record.substitute else 1  # type: ignore[method-assign]
    carrier, grave, _ = courier(sink)
    await carrier.deliver(batch)
    assert [letter.seq for letter in grave.buried] == [2]
    assert sorted(record.seq for record in sink.taken) == [1, 2, 3]


async def test_no_number_of_failures_is_the_last_and_pauses_are_bounded() -> None:
    sink = ScriptedSink()
    sink.answers = [UNREACHABLE, BUSY] * 200
    carrier, grave, clock = courier(sink)
    await carrier.deliver(records(2))
    assert [record.seq for record in sink.taken] == [1, 2]
    assert carrier.tally.retries == 400
    assert clock.monotonic() < 400 * LONGEST_SECONDS
    assert carrier.connection_lost
    assert grave.buried == []


async def test_what_a_sink_asks_for_is_kept_and_what_it_holds_is_tried_every_half_minute() -> None:
    for delivery, seconds in (
        (Delivery(trouble=Trouble.BUSY, detail="429", retry_after=40.0), 40.0),
        (HOLD, HOLD_SECONDS),
    ):
        sink = ScriptedSink()
        sink.answers = [delivery]
        carrier, _, clock = courier(sink)
        await carrier.deliver(records(1))
        assert seconds <= clock.monotonic() < seconds + 1


def test_full_jitter_lies_between_nothing_and_a_bound_that_doubles() -> None:
    backoff = Backoff(Random(7))
    pauses = [[backoff.after(UNREACHABLE) for _ in range(8)] for _ in range(300) if backoff.succeeded() is None]
    for step in range(8):
        bound = min(15.0, 0.5 * 2**step)
        found = [run[step] for run in pauses]
        assert 0 <= min(found) < bound * 0.1
        assert bound * 0.9 < max(found) <= bound


async def test_a_disk_too_full_for_a_dead_letter_holds_the_sink_and_loses_nothing() -> None:
    sink = ScriptedSink()
    sink.refuse = {2: "no"}
    carrier, grave, _ = courier(sink)
    grave.full = 2
    await carrier.deliver(records(3))
    assert [letter.seq for letter in grave.buried] == [2]
    assert {record.seq for record in sink.taken} == {1, 2, 3}


async def test_while_a_sink_refuses_substitutes_too_few_letters_are_written_and_the_entry_goes_as_it_is() -> None:
    sink = ScriptedSink()
    carrier, grave, clock = courier(sink)
    sink.answers = [SUSPECT] * 400
    await carrier.deliver(records(1))
    assert grave.buried == []
    assert [record.substitute for record in sink.taken] == [False]
    assert [letter.what for letter in grave.letters] == ["refused", "released"] * (len(grave.letters) // 2)
    assert len(grave.letters) < 2 * (5 + clock.monotonic() / LONGEST_DOUBT_SECONDS)


async def test_a_substitute_that_was_taken_without_an_answer_and_is_refused_then_stands() -> None:
    sink = KnowingSink()
    carrier, grave, _ = courier(sink)
    (one,) = records(1)
    sink.taken.append(substitute(one))
    sink.answers = [TOO_LARGE, UNREACHABLE, SUSPECT]
    await carrier.deliver([one])
    assert [record.substitute for record in sink.taken] == [True]
    assert [letter.what for letter in grave.letters] == ["refused", "buried"]


async def test_an_entry_that_was_taken_without_an_answer_is_not_buried_when_it_is_refused_later() -> None:
    sink = KnowingSink()
    carrier, grave, _ = courier(sink)
    (one,) = records(1)
    sink.taken.append(one)
    sink.answers = [UNREACHABLE, TOO_LARGE]
    await carrier.deliver([one])
    assert sink.taken == [one]
    assert grave.letters == []


async def test_nothing_is_buried_while_the_sink_does_not_say_whether_it_has_it() -> None:
    sink = KnowingSink()
    carrier, grave, _ = courier(sink)
    (one,) = records(1)
    sink.taken.append(one)
    sink.answers = [UNREACHABLE, TOO_LARGE, TOO_LARGE, TOO_LARGE]
    sink.trouble = [BUSY, UNREACHABLE, HOLD]
    await carrier.deliver([one])
    assert sink.taken[0] == one
    assert not any(record.substitute for record in sink.taken)
    assert grave.letters == []


@pytest.mark.parametrize("full", [0, 1, 3])
async def test_a_refused_substitute_blocks_no_sink_that_takes_the_entry(full: int) -> None:
    """As where its fields are not allowed there; whatever befell the substitute before."""
    sink, grave = ScriptedSink(), Graveyard()
    sink.answers = [TOO_LARGE, UNREACHABLE, SUSPECT, *[TOO_LARGE] * full]

    async def keep(letter: DeadLetter) -> None:
        if letter.what == "released" and grave.full:
            grave.full -= 1
            raise OSError(28, "No space left on device")
        grave.letters.append(letter)

    grave.full = full
    burials = Burials(sink.name, keep=keep, record=grave.record, clock=LeapingClock())
    await Courier(sink, burials=burials, clock=LeapingClock(), random=Random(1)).deliver(records(1))
    assert [record.substitute for record in sink.taken] == [False]
    assert grave.buried == []


@pytest.mark.parametrize(("width", "entries"), [(1, 500), (4, 2000)])
async def test_a_sink_that_refuses_every_entry_for_itself_gets_none_of_them_buried(width: int, entries: int) -> None:
    """As with a pipeline that fails: once it is mended, all go as they are."""
    batch = records(entries)
    sink = KnowingSink()
    sink.unordered = width > 1
    carrier, grave, clock = courier(sink)
    mended = 1000.0

    async def send(some: Sequence[Record]) -> Delivery:
        if clock.monotonic() < mended:
            await asyncio.sleep(0)
            return Delivery(answers=(Answer.REJECTED,) * len(some), reasons=dict.fromkeys(range(len(some)), "400: no"))
        return await ScriptedSink.send(sink, some)

    sink.send = send  # type: ignore[method-assign]
    await asyncio.gather(*(carrier.deliver(batch[start : start + 500]) for start in range(0, entries, 500)))
    assert grave.buried == []
    assert len(sink.taken) == entries
    assert not any(record.substitute for record in sink.taken)
    assert sink.asked < 200


async def test_a_batch_of_nothing_but_bad_entries_is_buried_once_a_substitute_was_taken() -> None:
    sink = ScriptedSink()
    sink.refuse = dict.fromkeys(range(1, 101), "no")
    carrier, grave, _ = courier(sink)
    await carrier.deliver(records(100))
    assert sorted(letter.seq for letter in grave.buried) == list(range(1, 101))
    assert len(sink.batches) < 110


async def test_a_dead_letter_about_a_dead_letter_is_recorded_by_no_entry(tmp_path: Path) -> None:
    """A sink that refuses whatever is sent, and takes substitutes: there would be no end of entries."""

    class Picky(ScriptedSink):
        async def send(self, batch: Sequence[Record]) -> Delivery:
            self.refuse = {record.seq: "no" for record in batch}
            return await super().send(batch)

    sink = Picky()
    async with shipping(tmp_path, sink, entries=5, clock=QuickClock(30.0)) as place:
        await place.until(lambda: place.shipper.drained and len(place.journal.entries(event="audit.dead_letter")) >= 6)
        await asyncio.sleep(1.0)
        await place.until(lambda: place.shipper.drained)
        assert len(place.journal.entries()) < 30


async def test_what_was_refused_when_it_was_sent_once_more_is_buried_by_the_next_process(tmp_path: Path) -> None:
    """The sink took it, has lost it, and takes it no more; and it goes away before the substitute is there."""

    class Accepting(ScriptedSink):
        down = False

        async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
            if any(record.seq == 3 for record in records):  # by the time it is asked, whenever that is
                self.lost, self.refuse, self.down = {3}, {3: "not any more"}, True
            return await super().missing(records)

        async def send(self, batch: Sequence[Record]) -> Delivery:
            away = self.down and any(record.substitute for record in batch)
            return UNREACHABLE if away else await super().send(batch)

    sink, clock = Accepting(assurance=Assurance.ACCEPTED), QuickClock(60.0)
    async with shipping(tmp_path, sink, entries=5, clock=clock) as place:
        await place.until(lambda: deadletters.standing(place.directory, sink.name))
    second = ScriptedSink(assurance=Assurance.ACCEPTED)
    second.lost = {3}
    async with shipping(tmp_path, second, clock=clock) as place:
        await place.until(lambda: place.journal.entries(event="audit.dead_letter") and place.status.dead_letters == 1)
    assert set(deadletters.undelivered(place.directory, sink.name)) == {3}


@pytest.mark.parametrize("others", [0, 1])
async def test_an_entry_that_was_sent_again_by_hand_meanwhile_is_not_followed_by_its_substitute(others: int) -> None:
    """By somebody who was killed before that was kept."""
    sink, grave = KnowingSink(), Graveyard()
    one, *more = batch = records(1 + others)
    sink.taken.append(one)
    await grave.courier(sink, LeapingClock(), standing={1: letter(one, "buried", "", "no")}).deliver(batch)
    assert sink.taken == [one, *more]
    assert [found.what for found in grave.letters] == ["delivered"]
    assert [] not in sink.batches


async def test_a_letter_behind_damage_is_not_glued_to_what_a_kill_has_left(tmp_path: Path) -> None:
    for record in records(2):
        deadletters.add(tmp_path, "scripted", letter(record, "buried", "", "no"), disk=Disk())
    path = deadletters.path_of(tmp_path, "scripted")
    path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":7') + b"torn by a kill")
    deadletters.add(tmp_path, "scripted", letter(records(3)[2], "buried", "", "no"), disk=Disk())
    assert set(deadletters.undelivered(tmp_path, "scripted")) == {2, 3, 7}
    assert not deadletters.intact(tmp_path, "scripted")


async def test_a_letter_is_about_one_entry_and_not_about_its_number() -> None:
    """A journal that was restored from an older copy gives numbers out once more."""
    sink, grave = ScriptedSink(), Graveyard()
    one, two = records(2)
    old = letter(two, "buried", "", "no")
    others = {1: letter(one, "refused", "", "no"), 2: msgspec.structs.replace(old, hash="0" * 64)}
    await grave.courier(sink, LeapingClock(), standing=others).deliver([one, two])
    assert [(record.seq, record.substitute) for record in sink.taken] == [(1, True), (2, False)]


async def test_an_entry_too_large_for_a_sink_that_takes_nothing_waits_in_peace() -> None:
    """Nothing is sent of it but substitutes, each after its pause."""
    sink = ScriptedSink(limits=Limits(entry_bytes=5))
    sink.size = lambda record: 1 if record.substitute else 10  # type: ignore[method-assign]
    carrier, grave, clock = courier(sink)
    sink.answers = [SUSPECT] * 5
    grave.full = 3
    await carrier.deliver(records(1))
    assert [letter.what for letter in grave.letters] == ["refused", "released"] * 5 + ["refused", "buried"]
    assert clock.monotonic() >= 3 * HOLD_SECONDS + 30 + 60 + 3 * 120
    assert len(sink.batches) == 6


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["refused", "substitute", "sent", "buried", "recorded"])
async def test_who_is_killed_around_a_substitute_is_followed_by_nobody_who_sends_the_entry(tmp_path: Path, moment: str) -> None:
    """An entry refused once, and taken if it were sent again: only its substitute may be there."""
    sink = ScriptedSink()
    sink.refuse = {2: "no"}
    done: list[str] = []

    async def dies(now: str) -> None:
        done.append(now)
        if now == moment:
            raise Killed

    class Dying(Graveyard):
        async def keep(self, letter: DeadLetter) -> None:
            await super().keep(letter)
            await asyncio.to_thread(deadletters.add, tmp_path, sink.name, letter, disk=Disk())
            await dies(letter.what)

        async def record(self, event: Event) -> None:
            await super().record(event)
            await dies("recorded")

    class Mortal(ScriptedSink):
        async def send(self, batch: Sequence[Record]) -> Delivery:
            alone = batch[0].substitute
            if alone:
                await dies("substitute")
            answer = await sink.send(batch)
            if alone:
                await dies("sent")
            return answer

    first, batch = Dying(), records(3)
    with pytest.raises(Killed):
        await first.courier(Mortal(sink.name), LeapingClock()).deliver(batch)
    assert done[-1] == moment
    sink.refuse = {}
    second = Graveyard()
    await second.courier(sink, LeapingClock(), standing=deadletters.standing(tmp_path, sink.name)).deliver(batch)
    assert {record.substitute for record in sink.taken if record.seq == 2} == {True}
    assert {record.seq for record in sink.taken} == {1, 2, 3}
    assert {letter.what for letter in first.letters + second.letters} == {"refused", "buried"}
    assert len(first.events + second.events) == (2 if moment == "recorded" else 1)


async def test_a_mistake_in_a_sink_is_tried_again_and_seen(caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    sink.answers = [ValueError("oops"), Delivery(answers=(Answer.DELIVERED,))]
    carrier, _, _ = courier(sink)
    await carrier.deliver(records(2))
    assert [record.seq for record in sink.taken] == [1, 2]
    assert "internal error" in carrier.tally.last_error
    assert "oops" in caplog.text


_answers = st.sampled_from([UNREACHABLE, BUSY, HOLD, TOO_LARGE, SUSPECT, "mixed", "partly", "fine"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_answers, max_size=25), st.sets(st.integers(1, 20), max_size=4), st.sets(st.integers(1, 20), max_size=3))
async def test_whatever_a_sink_answers_each_entry_is_there_or_among_the_dead(
    script: list[Delivery | str], refused: set[int], suspect: set[int]
) -> None:
    class Moody(ScriptedSink):
        async def send(self, batch: "list[object]") -> Delivery:  # type: ignore[override]
            mood = script.pop(0) if script else "fine"
            if isinstance(mood, Delivery):
                return mood
            if mood == "partly" and len(batch) > 1:
                head = await super().send(batch[:1])  # type: ignore[arg-type]
                rest = (Answer.RETRY,) * (len(batch) - 1)
                return head if head.trouble else Delivery(answers=head.answers + rest, reasons=head.reasons)
            return await super().send(batch)  # type: ignore[arg-type]

    sink = Moody()
    sink.refuse = dict.fromkeys(refused, "no")
    sink.suspect = suspect
    carrier, grave, _ = courier(sink)
    await carrier.deliver(records(20))
    whole = [record.seq for record in sink.taken if not record.substitute]
    buried = [letter.seq for letter in grave.buried]
    assert len(buried) == len(set(buried))
    assert len(whole) == len(set(whole))
    assert sorted(whole + buried) == list(range(1, 21))
    assert refused | suspect <= set(buried)
    assert {record.seq for record in sink.taken if record.substitute} >= set(buried)


async def test_a_sink_that_is_down_or_refuses_does_not_hold_up_another(tmp_path: Path) -> None:
    down, good = ScriptedSink("down"), ScriptedSink("good")
    down.answers = [UNREACHABLE] * 10_000
    async with shipping(tmp_path, [down, good], entries=300, clock=QuickClock(20.0)) as place:
        # what is recorded of the one that is down goes to the other as well, at any time
        await place.until(lambda: len(good.taken) >= 301 and place.status.error and not place.shipper.sinks[1].backlog)
        first, second = place.shipper.sinks
        assert (first.state, second.state) == (SinkState.RETRYING, SinkState.SHIPPING)
        assert (first.backlog, second.backlog) == (first.backlog, 0)
        assert first.backlog >= 301
        assert first.error == "nobody there"


async def test_an_outage_of_more_than_a_minute_is_recorded_once_and_so_is_its_end(tmp_path: Path) -> None:
    sink = ScriptedSink()
    sink.answers = [UNREACHABLE] * 40
    clock = QuickClock(5.0)
    async with shipping(tmp_path, sink, entries=20, clock=clock) as place:
        await place.until(lambda: place.status.error)
        clock._times = 60.0  # so that it is late only once it is known why
        await place.until(lambda: place.journal.entries(event="audit.shipping_caught_up"))
        # what is recorded of it has to be delivered too, and may itself be late on this clock
        late, caught, *_ = (entry for entry in place.journal.entries() if str(entry["event"]).startswith("audit.shipping_"))
        assert [one["event"] for one in (late, caught)] == ["audit.shipping_late", "audit.shipping_caught_up"]
        assert (late["data"]["sink"], late["data"]["error"]) == ("scripted", "nobody there")
        assert late["data"]["lag_seconds"] >= 60
        assert caught["data"]["late_seconds"] > 0


async def long_ago(home: Path, times: float) -> "Stepped":
    """Entries that were all taken, a day before the time of the clock."""
    clock = Stepped(times)
    async with shipping(home, ScriptedSink(), entries=5, clock=clock) as place:
        await place.until(lambda: place.shipper.drained)
    clock.by = 100_000.0
    return clock


async def test_a_process_that_has_not_seen_its_cursor_yet_calls_no_sink_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first entry of a journal is old; it was taken long ago."""
    clock = await long_ago(tmp_path, 1.0)
    found = cursors.fitting

    def slowly(*args: Any, **more: Any) -> object:
        time.sleep(1.5)
        return found(*args, **more)

    monkeypatch.setattr(cursors, "fitting", slowly)
    async with shipping(tmp_path, ScriptedSink(), entries=1, clock=clock) as place:
        await place.until(lambda: place.shipper.drained)
        assert place.journal.entries(event="audit.shipping_late") == []
        assert not place.status.late


async def test_a_cursor_that_can_not_be_read_for_a_moment_makes_no_sink_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # half of the minute after which a sink is late would go by until it is read again
    monkeypatch.setattr(lane, "AGAIN_SECONDS", 1.5)
    clock = await long_ago(tmp_path, 1.0)
    found, failed = cursors.fitting, []

    def once(*args: Any, **more: Any) -> object:
        if not failed:
            failed.append(True)
            raise OSError(5, "Input/output error")
        return found(*args, **more)

    monkeypatch.setattr(cursors, "fitting", once)
    async with shipping(tmp_path, ScriptedSink(), entries=1, clock=clock) as place:
        await place.until(lambda: place.shipper.drained)
        assert failed
        assert place.journal.entries(event="audit.shipping_late") == []


async def test_between_two_batches_a_late_sink_is_not_told_to_have_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at so often that each moment of a way through a backlog is seen."""

    class Slow(ScriptedSink):
        async def send(self, batch: Sequence[Record]) -> Delivery:
            await asyncio.sleep(0.02)
            return await super().send(batch)

    monkeypatch.setattr(shipper, "SAY_SECONDS", 0.02)
    clock = Stepped(1.0)
    async with shipping(tmp_path, Slow(limits=Limits(entries=5)), entries=1500, clock=clock) as place:
        clock.by = 3600.0
        await place.until(lambda: place.status.late)
        await place.until(lambda: place.journal.entries(event="audit.shipping_caught_up"))
        await place.until(lambda: place.shipper.drained)
        assert len(place.journal.entries(event="audit.shipping_late")) == 1
        assert len(place.journal.entries(event="audit.shipping_caught_up")) == 1


def told(place: Place) -> float:
    """When the shipper has said last how it stands."""
    said = read(place.directory)
    return said.updated if said is not None else 0.0


async def test_the_next_process_does_not_record_once_more_that_a_sink_is_late(tmp_path: Path) -> None:
    for _ in range(2):
        sink = ScriptedSink()
        sink.answers = [UNREACHABLE] * 10_000
        async with shipping(tmp_path, sink, entries=5, clock=QuickClock(60.0)) as place:
            await place.until(lambda place=place: place.status.late)
            await place.until(lambda place=place: place.journal.entries(event="audit.shipping_late"))
            began = told(place)
            await place.until(lambda place=place, began=began: told(place) > began + 120.0)
    assert len(place.journal.entries(event="audit.shipping_late")) == 1
    assert place.journal.entries(event="audit.shipping_caught_up") == []
    async with shipping(tmp_path, ScriptedSink(), clock=QuickClock(60.0)) as place:
        await place.until(lambda: place.journal.entries(event="audit.shipping_caught_up"))


async def test_one_that_took_the_last_entry_as_its_process_ended_has_caught_up_for_the_next(tmp_path: Path) -> None:
    async with shipping(tmp_path, ScriptedSink(), entries=5, clock=SystemClock()) as place:
        await place.drained()
        await place.until(lambda: cursors.read(place.directory, "scripted") and told(place))
    said = read(place.directory)
    assert said is not None
    late = msgspec.structs.replace(said, late={"scripted": SystemClock().unix() - 90})
    status.write(place.directory, late, disk=Disk())
    async with shipping(tmp_path, ScriptedSink(), clock=SystemClock()) as place:
        await place.until(lambda: place.journal.entries(event="audit.shipping_caught_up"))
        await place.until(lambda: (said := read(place.directory)) is not None and not said.late)


async def test_dead_letters_are_chained_kept_and_cleared_by_delivery(tmp_path: Path) -> None:
    sink = ScriptedSink()
    sink.refuse = {4: "field [x] is no date", 9: "no"}
    async with shipping(tmp_path, sink, entries=20, clock=QuickClock(30.0)) as place:
        await place.until(lambda: place.journal.entries(event="audit.dead_letter") and place.shipper.drained)
        directory = place.directory
        await place.until(lambda: place.status.dead_letters == 2)
    found = deadletters.undelivered(directory, "scripted")
    assert {seq: letter.reason for seq, letter in found.items()} == {4: "field [x] is no date", 9: "no"}
    assert deadletters.intact(directory, "scripted")
    path = deadletters.path_of(directory, "scripted")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"no date", b"on date"))
    assert not deadletters.intact(directory, "scripted")
    torn = whole.replace(b'"seq":9', b'"seq":8').splitlines()[-1]
    path.write_bytes(whole + torn)
    assert set(deadletters.undelivered(directory, "scripted")) == {4, 9}, "one without its end was never acknowledged"
    path.write_bytes(whole + b"torn by a kill")
    done = deadletters.DeadLetter(
        what="delivered", at="", journal=found[4].journal, seq=4, hash=found[4].hash, id="", event="", reason="by hand"
    )
    deadletters.add(directory, "scripted", done, disk=Disk())
    assert deadletters.intact(directory, "scripted")
    assert set(deadletters.undelivered(directory, "scripted")) == {9}


class Stepped(QuickClock):
    """Its wall time can be set."""

    by = 0.0

    def unix(self) -> float:
        return super().unix() + self.by


async def test_a_clock_that_is_set_back_hides_no_delay(tmp_path: Path) -> None:
    sink, clock = ScriptedSink(), Stepped(60.0)
    sink.answers = [UNREACHABLE] * 10_000
    async with shipping(tmp_path, sink, entries=20, clock=clock) as place:
        await place.until(lambda: place.status.error)
        clock.by = -100_000.0
        await place.until(lambda: place.status.late)
        assert place.status.lag_seconds > 60


async def test_a_sink_that_is_stopped_says_for_how_long_its_entries_have_been_waiting(tmp_path: Path) -> None:
    sink = ScriptedSink()
    async with shipping(tmp_path, sink, entries=5, clock=QuickClock(30.0)) as place:
        await place.until(lambda: place.shipper.drained)
        directory = place.directory
    path = directory / "cursors" / "scripted.json"
    whole = path.read_bytes()
    path.write_bytes(b"garbage")
    async with shipping(tmp_path, sink, entries=5, clock=QuickClock(60.0)) as place:
        await place.until(lambda: place.status.state is SinkState.STOPPED and place.status.late)
        assert place.status.error_since is not None
        path.write_bytes(whole)
        await place.until(lambda: place.shipper.drained and not place.status.error)
        assert (place.status.state, place.status.lag_seconds) == (SinkState.SHIPPING, 0.0)


async def test_a_journal_that_cant_be_read_is_late_and_not_silently_so(tmp_path: Path) -> None:
    sink = ScriptedSink()
    async with shipping(tmp_path, sink, clock=QuickClock(60.0)) as place:
        await place.write(3)
        await place.until(lambda: place.shipper.drained)

        def broken(entries: int, size: int) -> object:
            raise OSError(5, "Input/output error")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Tail, "read", lambda self, entries, size: broken(entries, size))
            await place.write(3)
            await place.until(lambda: place.status.late and place.status.error)
            assert "Input/output error" in place.status.error
        await place.until(lambda: place.shipper.drained and not place.status.error)


async def test_dead_letters_that_cant_be_read_hold_that_sink_alone(tmp_path: Path) -> None:
    """Which entries may go as they are can't be known without them."""
    there = tmp_path / "journal" / "dead" / "down.jsonl"
    there.mkdir(parents=True)
    odd, good = ScriptedSink("down"), ScriptedSink("good")
    async with shipping(tmp_path, [odd, good], entries=30, clock=QuickClock(20.0)) as place:
        await place.until(lambda: len(good.taken) > 30 and place.shipper._lanes[0].note and place.status.error)
        assert "the dead letters of down can't be read" in place.shipper._lanes[0].note
        assert "Is a directory" in place.shipper.sinks[0].error
        assert odd.taken == []
        there.rmdir()
        await place.until(lambda: place.shipper.drained)
        assert len(odd.taken) > 30


class Gated(ScriptedSink):
    """Takes nothing before its gate is open."""

    def __init__(self) -> None:
        super().__init__(limits=Limits(entries=10))
        self.unordered = True
        self.gate = asyncio.Event()

    async def send(self, batch: Sequence[Record]) -> Delivery:
        await self.gate.wait()
        return await super().send(batch)


def on_their_way(place: Place) -> list[list[Record]]:
    return [flight.records for lane in place.shipper._lanes if isinstance(lane, Lane) for flight in lane._flights]


async def test_entries_removed_while_others_are_on_their_way_move_no_cursor_past_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way was read and may never arrive: the gap behind it is told once that has been delivered."""
    sink, reads, read = Gated(), list[int](), Tail.read
    monkeypatch.setattr(Tail, "read", lambda self, entries, size: reads.append(entries) or read(self, entries, size))
    async with shipping(tmp_path, sink, entries=14, clock=QuickClock(30.0)) as place:
        await place.until(lambda: sum(map(len, on_their_way(place))) >= 15)

        def rewrite() -> None:
            """More segments, the first of which are gone before anybody read them."""
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(chain, "MAX_SEGMENT", 10_000)
                asyncio.run(_written(place.directory, 60))
            for segment in segments(place.directory)[:2]:
                segment.path.unlink()

        writer = threading.Thread(target=rewrite)
        writer.start()
        writer.join()  # the shipper's own loop stands meanwhile: it sees the end of it only
        await place.until(lambda: place.shipper._bounds.last_seq > 60)
        looked = len(reads)
        await place.until(lambda: len(reads) > looked + 3 or place.status.acked_seq)
        assert place.status.acked_seq == 0
        sink.gate.set()
        await place.until(lambda: place.shipper.drained)
        (gap,) = place.journal.entries(event="audit.shipping_gap")
        # what is recorded of the delivery itself, such as its having caught up, may follow at any time
        await place.until(lambda: place.status.acked_seq == place.shipper._bounds.last_seq)
    there = {record.seq for record in sink.taken}
    lost = set(range(gap["data"]["first"], gap["data"]["last"] + 1))  # type: ignore[index, call-overload]
    assert lost
    assert set(range(1, 16)) <= there
    assert not there & lost
    assert there | lost == set(range(1, max(there) + 1))


async def _written(directory: Path, number: int) -> None:
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=SystemClock())
    for n in range(number):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n, "pad": "x" * 300}))
    journal.close()


async def test_a_shipper_that_ends_while_it_saves_its_cursor_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, at_once, most = cursors.save, 0, 0

    class SlowDisk(Disk):
        def sync(self, descriptor: int) -> None:
            time.sleep(0.3)
            super().sync(descriptor)

    def slowly(directory: Path, cursor: cursors.Cursor, *, disk: Disk) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        save(directory, cursor, disk=SlowDisk())
        at_once -= 1

    monkeypatch.setattr(cursors, "save", slowly)
    sink = ScriptedSink()
    async with shipping(tmp_path, sink, entries=5, clock=QuickClock(20.0)) as place:
        await place.until(lambda: most)
    found = cursors.read(place.directory, sink.name)
    assert found is not None
    assert found.acked_seq == max(record.seq for record in sink.taken)
    assert most == 1
    told = read(place.directory)
    assert told is not None
    assert told.note == ""
