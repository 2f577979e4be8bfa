"""RELP: its frames, and what became of each message whatever the receiver does."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.receivers import RelpReceiver, answering
from support.sinks import LeapingClock, record, records

from services.audit.sinks.base import Answer, Assurance, Trouble
from services.audit.sinks.relp import RelpSink
from services.audit.sinks.relpframe import Frame, NotRelp, after, encode, read
from services.redaction import Redactor
from services.settings.sinks import Relp

D, R, X = Answer.DELIVERED, Answer.RETRY, Answer.REJECTED


def fed(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


FRAMES = st.builds(
    Frame,
    st.integers(0, 999_999_999),
    st.sampled_from(["open", "syslog", "close", "rsp", "serverclose"]),
    st.binary(max_size=300),
)


@given(st.lists(FRAMES, max_size=5))
def test_frames_come_apart_as_they_were_whatever_they_hold(frames: list[Frame]) -> None:
    async def all_of() -> list[Frame]:
        reader = fed(b"".join(map(encode, frames)))
        return [await read(reader) for _ in frames]

    assert asyncio.run(all_of()) == frames


@given(st.one_of(st.binary(max_size=80), st.from_regex(rb"[0-9]{1,12} rsp [0-9]{0,12} ?[a-z\n]*", fullmatch=True)))
def test_what_is_no_frame_is_told_and_never_waited_for(data: bytes) -> None:
    async def one() -> Frame | None:
        try:
            return await read(fed(data))
        except (NotRelp, ConnectionResetError):
            return None

    found = asyncio.run(one())
    assert found is None or encode(found) == data or encode(found) == data.replace(b" 0 ", b" 0") or data.startswith(b"0")


def test_transaction_numbers_begin_again() -> None:
    assert (after(1), after(999_999_998), after(999_999_999)) == (2, 999_999_999, 1)


def sink(receiver: RelpReceiver, **keys: Any) -> RelpSink:
    known = {"kind": "relp", "host": "127.0.0.1", "port": receiver.port, "tls": False, "timeout": 20}
    return RelpSink(Relp.model_validate_json(json.dumps({**known, **keys})), secrets=Redactor(), clock=LeapingClock())


async def test_each_message_is_answered_for_and_the_session_is_closed() -> None:
    receiver = RelpReceiver()
    async with answering(receiver):
        one = sink(receiver)
        batch = records(400)
        assert (await one.send(batch)).answers == (D,) * 400
        assert (await one.probe()).ok
    assert [message.rpartition(b"\xef\xbb\xbf")[2] for message in receiver.messages] == [entry.body for entry in batch]
    assert receiver.closed == 2
    assert (one.assurance, sink(receiver, queues_on_disk=True).assurance) == (Assurance.ACCEPTED, Assurance.DURABLE)
    assert await one.missing(batch) is None


async def test_what_got_no_answer_before_the_connection_broke_goes_again() -> None:
    receiver = RelpReceiver()

    async def breaks(frame: Frame, writer: asyncio.StreamWriter) -> bool:
        await receiver.take(frame, writer)
        await writer.drain()
        return len(receiver.messages) < 150

    receiver.react = breaks
    async with answering(receiver):
        one = sink(receiver)
        delivery = await one.send(records(300))
        known = delivery.answers.count(D)
        assert delivery.trouble is None or known == 0
        assert known <= 150
        assert delivery.answers == (D,) * known + (R,) * (300 - known)
        receiver.messages.clear()
        receiver.react = receiver.take
        assert (await one.send(records(300 - known, known + 1))).answers == (D,) * (300 - known)


async def test_no_more_are_on_their_way_than_the_window_holds() -> None:
    receiver = RelpReceiver()
    release = asyncio.Event()

    async def holds(frame: Frame, writer: asyncio.StreamWriter) -> bool:
        receiver.messages.append(frame.data)
        if len(receiver.messages) == 128:
            release.set()
            # one more would have come by then; what ends it is not a time that may be over before these are here
            asyncio.get_running_loop().call_later(0.5, writer.transport.abort)
        return True  # and no answer

    receiver.react = holds
    async with answering(receiver):
        one = sink(receiver)
        delivery = await one.send(records(300))
    assert release.is_set()
    assert len(receiver.messages) == 128
    assert delivery.trouble is Trouble.UNREACHABLE


async def test_a_refused_message_is_found_among_others() -> None:
    receiver = RelpReceiver()

    async def refuses(frame: Frame, writer: asyncio.StreamWriter) -> bool:
        bad = b"poisoned" in frame.data
        writer.write(encode(Frame(frame.number, "rsp", b"500 error" if bad else b"200 OK")))
        return True

    receiver.react = refuses
    async with answering(receiver):
        one = sink(receiver)
        bad = record(2, user="poisoned")
        delivery = await one.send([record(1), bad, record(3)])
        alone, together = await one.send([bad]), await one.send([bad, record(4, user="poisoned")])
    assert delivery.answers == (D, X, D)
    assert "answered 500" in delivery.reasons[1]
    assert alone.answers == (X,)
    assert together.trouble is Trouble.SUSPECT


async def _garbage(frame: Frame, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n")
    return True


async def _stranger(frame: Frame, writer: asyncio.StreamWriter) -> bool:
    writer.write(encode(Frame(77, "rsp", b"200 OK")))
    return True


async def _leaving(frame: Frame, writer: asyncio.StreamWriter) -> bool:
    writer.write(encode(Frame(0, "serverclose")))
    return True


async def _silence(frame: Frame, writer: asyncio.StreamWriter) -> bool:
    return True


@pytest.mark.parametrize(
    ("react", "trouble"),
    [(_garbage, Trouble.HOLD), (_stranger, Trouble.HOLD), (_leaving, Trouble.UNREACHABLE), (_silence, Trouble.UNREACHABLE)],
)
async def test_an_answer_that_makes_no_sense_delivers_nothing(react: Any, trouble: Trouble) -> None:
    receiver = RelpReceiver()
    receiver.react = react
    async with answering(receiver):
        delivery = await sink(receiver, **({"timeout": 0.5} if react is _silence else {})).send(records(3))
    assert (delivery.trouble, delivery.answers) == (trouble, ())


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        (b"1 rsp 9 500 error\n", "refuses to open: code 500"),
        (b"1 rsp 21 200 OK\ncommands=other\n", "refuses to open"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak RELP"),
    ],
)
async def test_the_probe_finds_a_receiver_that_is_none(opened: bytes, words: str) -> None:
    receiver = RelpReceiver()
    receiver.opened = opened
    async with answering(receiver):
        one = sink(receiver)
        probe, delivery = await one.probe(), await one.send(records(1))
    assert not probe.ok
    assert words in probe.detail
    assert delivery.trouble is Trouble.HOLD
    assert receiver.messages == []


async def test_nobody_there_is_a_bad_day() -> None:
    receiver = RelpReceiver()
    receiver.port = 1
    assert (await sink(receiver).send(records(1))).trouble is Trouble.UNREACHABLE


async def test_an_entry_longer_than_the_receiver_takes_is_never_sent() -> None:
    receiver = RelpReceiver()
    async with answering(receiver):
        delivery = await sink(receiver).send([record(1), record(2, command="x" * 9_000), record(3)])
    assert delivery.answers == (D, X, D)
    assert len(receiver.messages) == 2
