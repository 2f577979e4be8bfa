"""Messages of RFC 5424 and how they stand on a connection; a connection over TLS that is ended so that nothing is lost."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.receivers import TlsReceiver, listening
from support.sinks import JOURNAL, NOW, Authority, LeapingClock, record, records

from services.audit.sinks.base import Answer, Assurance, Record, Trouble
from services.audit.sinks.rfc5424 import counted, escaped, message, printable
from services.audit.sinks.syslog import SyslogSink
from services.redaction import Redactor
from services.settings.sinks import Syslog

D, X = Answer.DELIVERED, Answer.REJECTED

_VALUE = r'(?:[^"\\\]]|\\["\\\]])*'
SYSLOG = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    + rf'\[([!-~]{{1,32}})((?: [a-z]{{1,32}}="{_VALUE}")*)\] '.encode()
    + rb"\xef\xbb\xbf(.*)",
    re.DOTALL,
)
"""The grammar of RFC 5424, 6, as far as our messages use it."""


def parsed(data: bytes) -> tuple[int, str, dict[str, str], bytes]:
    """Priority, MSGID, parameters (unescaped) and text."""
    found = SYSLOG.fullmatch(data)
    assert found, data
    parameters = re.findall(rf'([a-z]+)="({_VALUE})"', found[8].decode())
    values = {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in parameters}
    return int(found[1]), found[6].decode(), values, found[9]


def split(stream: bytes) -> list[bytes]:
    """The messages of a stream with octet counting (RFC 5425, 4.3)."""
    found, at = [], 0
    while at < len(stream):
        end = stream.index(b" ", at)
        assert re.fullmatch(rb"[1-9]\d*", stream[at:end])
        size = int(stream[at:end])
        found.append(stream[end + 1 : end + 1 + size])
        at = end + 1 + size
    assert at == len(stream)
    return found


def as_message(entry: Record) -> bytes:
    return message(entry, facility=13, enterprise=32473, app_name="quarterdeck")


ANYTHING = st.text(st.characters(codec=None), max_size=60)
HOSTILE = st.one_of(ANYTHING, st.sampled_from(["\0", "\u2028", "\ud800", '"]\\', "]", "\r\n", "🚀", "%s {}", " "]))


@given(event=HOSTILE, user=HOSTILE, outcome=HOSTILE, data=st.dictionaries(HOSTILE, HOSTILE, max_size=3))
def test_whatever_an_entry_holds_its_message_follows_the_grammar_and_carries_it_unchanged(
    event: str, user: str, outcome: str, data: dict[str, str]
) -> None:
    entry = record(7, event=event, user=user, outcome=outcome, data=data)
    priority, _, values, text = parsed(as_message(entry))
    assert priority // 8 == 13
    assert text == entry.body
    assert values == {"journal": JOURNAL, "seq": "7", "id": f"{JOURNAL}:7", "hash": entry.hash}


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=6))
def test_messages_on_one_connection_come_apart_as_they_were(values: list[tuple[str, str]]) -> None:
    messages = [as_message(record(seq, event=event, user=user)) for seq, (event, user) in enumerate(values, 1)]
    assert split(b"".join(map(counted, messages))) == messages


@given(ANYTHING)
def test_a_parameter_is_escaped_so_that_it_comes_back(text: str) -> None:
    found = escaped(text)
    assert re.fullmatch(_VALUE, found, re.DOTALL)
    assert re.sub(r'\\(["\\\]])', r"\1", found) == text.encode("utf-8", "replace").decode()


@given(ANYTHING, st.integers(1, 60))
def test_a_field_of_the_header_is_never_empty_too_long_or_apart(text: str, longest: int) -> None:
    found = printable(text, longest)
    assert re.fullmatch(r"[!-~]+", found)
    assert len(found) <= max(1, longest)


def test_the_header_says_when_where_and_how_serious() -> None:
    entry = record(7, at=NOW + 0.000123, outcome="failed")
    found = SYSLOG.fullmatch(as_message(entry))
    assert found
    assert found[1] == b"107"  # audit, error
    assert found[2] == b"2026-01-01T00:00:00.000123Z"
    assert found[4] == b"quarterdeck"
    assert found[6] == b"deployment.started"
    assert found[7] == b"audit@32473"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def sink(receiver: TlsReceiver | int, authority: Authority, **keys: Any) -> SyslogSink:
    port = receiver if isinstance(receiver, int) else receiver.port
    known = {"kind": "syslog", "host": "127.0.0.1", "port": port, "ca_file": str(authority.ca), "timeout": 20}
    section = Syslog.model_validate_json(json.dumps({**known, **keys}))
    return SyslogSink(section, secrets=Redactor(), clock=LeapingClock())


async def test_a_batch_counts_as_sent_only_once_the_receiver_has_read_it_to_its_end(authority: Authority) -> None:
    receiver = TlsReceiver()
    receiver.held.clear()
    with listening(receiver, authority):
        one = sink(receiver, authority, max_bytes=60_000)
        # Far more than the buffers between the two hold.
        batch = [record(seq, command="x" * 14_000) for seq in range(1, 500)]
        sending = asyncio.create_task(one.send(batch))
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done
        receiver.held.set()
        assert (await sending).answers == (D,) * len(batch)
    assert receiver.whole == 1
    assert split(bytes(receiver.data)) == [as_message(entry) for entry in batch]
    assert one.assurance is Assurance.NONE
    assert await one.missing(batch) is None


async def test_small_batches_that_wait_in_a_buffer_do_not_count_either(authority: Authority) -> None:
    receiver = TlsReceiver()
    receiver.held.clear()
    with listening(receiver, authority):
        one = sink(receiver, authority, timeout=0.5)
        # Everything fits into the buffers, so all was written; nobody has read a byte.
        delivery = await one.send(records(3))
        assert receiver.whole == 0
    assert delivery.trouble is Trouble.UNREACHABLE


async def test_a_receiver_that_goes_away_in_the_middle_or_never_ends_took_nothing(authority: Authority) -> None:
    receiver = TlsReceiver()
    with listening(receiver, authority):
        one = sink(receiver, authority, timeout=0.5, max_bytes=60_000)
        receiver.reads = 1000
        assert (await one.send([record(seq, command="x" * 14_000) for seq in range(1, 100)])).trouble is Trouble.UNREACHABLE
        receiver.reads, receiver.ends = None, False
        assert (await one.send(records(2))).trouble is Trouble.UNREACHABLE
        receiver.ends = True
        patient = sink(receiver, authority, max_bytes=60_000)
        assert (await patient.send(records(2))).answers == (D, D)


async def test_a_receiver_that_waits_for_the_end_below_tls_gets_it(authority: Authority) -> None:
    receiver = TlsReceiver()
    receiver.waits = True
    with listening(receiver, authority):
        assert (await sink(receiver, authority).send(records(2))).answers == (D, D)
    assert receiver.whole == 1


async def test_an_entry_longer_than_the_receiver_takes_is_never_sent(authority: Authority) -> None:
    receiver = TlsReceiver()
    with listening(receiver, authority):
        one = sink(receiver, authority)
        large = record(2, command="x" * 9_000)
        delivery = await one.send([record(1), large, record(3)])
        assert (await one.send([large])).answers == (X,)
    assert delivery.answers == (D, X, D)
    assert "max_bytes" in delivery.reasons[1]
    assert one.size(large) > one.limits.entry_bytes
    assert len(split(bytes(receiver.data))) == 2


async def test_certificates_and_addresses_that_are_wrong_are_told_apart_from_bad_days(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    receiver = TlsReceiver()
    async with _plain() as port:
        with listening(receiver, authority):
            cases = [
                (sink(receiver, other), Trouble.HOLD, "is not valid here"),
                (sink(receiver, authority, host="localhost"), None, ""),
                (sink(receiver, authority, ca_file=str(broken)), Trouble.HOLD, "can't be used as an authority"),
                (sink(receiver, authority, ca_file=str(tmp_path / "absent")), Trouble.HOLD, "can't be used as an authority"),
                (sink(receiver, authority, certificate=str(broken)), Trouble.HOLD, "can't be used as our certificate"),
                (sink(port, authority), Trouble.HOLD, "does not speak TLS"),
                (sink(1, authority), Trouble.UNREACHABLE, "can't be reached"),
                (sink(receiver, authority, host="no-such-host.invalid"), Trouble.UNREACHABLE, "can't be reached"),
            ]
            for one, trouble, words in cases:
                delivery, probe = await one.send(records(1)), await one.probe()
                assert (delivery.trouble, probe.ok) == (trouble, trouble is None), delivery
                assert words in delivery.detail
                assert words in probe.detail


@contextlib.asynccontextmanager
async def _plain() -> AsyncIterator[int]:
    """The port of a receiver that speaks first, and no TLS."""

    def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(greets, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
