"""Splunk's event collector: every code of its table, the number of a bad event, acknowledgements that are told once."""

import json
from typing import Any

import msgspec
import pytest
from support.hec import Collector
from support.sinks import JOURNAL, TOKEN, LeapingClock, record, records, serving, status

from services.audit.sinks.base import Answer, Assurance, Delivery, Trouble
from services.audit.sinks.splunk import SplunkSink
from services.redaction import Redactor
from services.settings.sinks import Splunk

D, R, X = Answer.DELIVERED, Answer.RETRY, Answer.REJECTED


def sink(fake: Collector, clock: LeapingClock | None = None, **keys: Any) -> SplunkSink:
    section = Splunk.model_validate_json(
        json.dumps({"kind": "splunk", "url": fake.url, "token": "env:SPLUNK_TOKEN", "timeout": 20, **keys})
    )
    return SplunkSink(section, secrets=Redactor(), clock=clock or LeapingClock())


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", TOKEN)


async def test_an_event_is_the_entry_as_stored_with_its_place_to_search_by() -> None:
    fake = Collector()
    async with serving(fake):
        one = sink(fake, index="audit")
        batch = records(3)
        assert await one.send(batch) == Delivery(answers=(D, D, D))
        await one.close()
    request, body = fake.seen[0]
    assert request.headers["Content-Encoding"] == "gzip"
    assert batch[0].body in body
    first = fake.taken[0]
    assert first["time"] == batch[0].timestamp
    assert (first["index"], first["source"], first["sourcetype"]) == ("audit", "quarterdeck", "quarterdeck:audit")
    assert first["fields"] == {"journal": JOURNAL, "seq": "1", "id": f"{JOURNAL}:1", "hash": batch[0].hash}
    assert one.size(batch[0]) == len(body) // 3
    assert one.assurance is Assurance.ACCEPTED
    assert await one.missing(batch) is None


CODES = [
    (403, 1, Trouble.HOLD), (401, 2, Trouble.HOLD), (401, 3, Trouble.HOLD), (403, 4, Trouble.HOLD), (400, 5, Trouble.HOLD),
    (400, 6, Trouble.SUSPECT), (400, 7, Trouble.HOLD), (500, 8, Trouble.BUSY), (503, 9, Trouble.BUSY), (400, 10, Trouble.HOLD),
    (400, 11, Trouble.HOLD), (400, 12, Trouble.SUSPECT), (400, 13, Trouble.SUSPECT), (400, 14, Trouble.HOLD),
    (400, 15, Trouble.SUSPECT), (400, 16, Trouble.HOLD), (503, 18, Trouble.BUSY), (503, 19, Trouble.BUSY),
    (503, 20, Trouble.BUSY), (400, 21, Trouble.HOLD), (400, 22, Trouble.HOLD), (503, 23, Trouble.BUSY),
]  # fmt: skip


@pytest.mark.parametrize("acknowledge", [False, True])
@pytest.mark.parametrize(("http", "code", "trouble"), CODES)
async def test_every_code_of_the_table_has_its_meaning(http: int, code: int, trouble: Trouble, acknowledge: bool) -> None:
    fake = Collector(acknowledges=acknowledge)
    fake.faults = [status(http, json.dumps({"text": f"said {TOKEN}", "code": code}), Retry_After="7")]
    async with serving(fake):
        one = sink(fake, acknowledge=acknowledge)
        delivery = await one.send(records(4))
        await one.close()
    assert (delivery.trouble, delivery.answers) == (trouble, ())
    assert f"code {code}: " in delivery.detail
    assert TOKEN not in delivery.detail
    assert delivery.retry_after == (7 if trouble is Trouble.BUSY else None)


@pytest.mark.parametrize(
    ("http", "trouble"),
    [
        (404, Trouble.HOLD), (405, Trouble.HOLD), (413, Trouble.TOO_LARGE), (429, Trouble.BUSY), (502, Trouble.BUSY),
        (301, Trouble.HOLD), (400, Trouble.SUSPECT), (204, Trouble.UNREACHABLE), (201, Trouble.UNREACHABLE),
    ],
)  # fmt: skip
async def test_an_answer_without_a_code_is_judged_by_its_status(http: int, trouble: Trouble) -> None:
    fake = Collector()
    fake.faults = [status(http, f"no {TOKEN}" if http != 204 else "", Location="https://elsewhere.test/")]
    async with serving(fake):
        one = sink(fake)
        delivery = await one.send(records(2))
        await one.close()
    assert delivery.trouble is trouble
    assert TOKEN not in delivery.detail


@pytest.mark.parametrize("base", [0, 1])
async def test_a_bad_event_is_found_and_the_others_arrive_whichever_way_they_are_counted(base: int) -> None:
    fake = Collector(base=base)
    fake.poison = {"poisoned"}
    batch = [record(seq, user="poisoned" if seq == 6 else "jane") for seq in range(1, 11)]
    async with serving(fake):
        one = sink(fake)
        delivery = await one.send(batch)
        assert delivery.answers[:4] == (D, D, D, D)
        assert X not in delivery.answers
        rest = [entry for entry, answer in zip(batch, delivery.answers, strict=True) if answer is R]
        assert rest[-1] is batch[-1]
        assert batch[5] in rest
        # What begins with the bad one says nothing more, so it is bisected: alone, it is rejected.
        assert (await one.send([batch[5], *batch[6:]])).trouble is Trouble.SUSPECT
        alone = await one.send([batch[5]])
        assert alone.answers == (X,)
        assert "bad format" in alone.reasons[0]
        assert (await one.send(batch[6:])).answers == (D,) * 4
        await one.close()
    assert set(range(1, 11)) - {6} <= set(fake.seqs()) | {5}


async def test_an_entry_that_splunk_would_cut_is_never_sent() -> None:
    fake = Collector()
    async with serving(fake):
        one = sink(fake)
        large = record(2, command="x" * 12_000)
        delivery = await one.send([record(1), large, record(3)])
        alone = await one.send([large])
        await one.close()
    assert delivery.answers == (D, X, D)
    assert alone.answers == (X,)
    assert "TRUNCATE" in delivery.reasons[1]
    assert fake.seqs() == [1, 3]
    assert len(fake.seen) == 1


async def test_with_acknowledgement_an_entry_is_delivered_once_it_is_indexed_and_is_not_sent_twice() -> None:
    fake = Collector(acknowledges=True)
    fake.indexes_at_once = False
    async with serving(fake):
        one = sink(fake, acknowledge=True)
        assert one.assurance is Assurance.DURABLE
        first = await one.send(records(3))
        assert first.answers == (R, R, R)
        assert first.retry_after == 1
        again = await one.send(records(4))
        assert again.answers == (R,) * 4
        fake.index()
        assert (await one.send(records(4))).answers == (D,) * 4
        await one.close()
    assert fake.seqs() == [1, 2, 3, 4]
    channels = {request.headers["X-Splunk-Request-Channel"] for request, _ in fake.seen}
    assert len(channels) == 1


async def test_an_acknowledgement_that_was_told_and_lost_makes_the_entry_go_again_in_time() -> None:
    fake = Collector(acknowledges=True)
    clock = LeapingClock()
    async with serving(fake):
        one = sink(fake, clock, acknowledge=True)
        # The answer about the acknowledgement breaks off: it is not told again.
        fake.faults = [lambda request, sent, handled: handled(request, sent), _told_and_lost]
        assert (await one.send(records(2))).trouble is Trouble.UNREACHABLE
        for _ in range(40):
            delivery = await one.send(records(2))
            if delivery.answers == (D, D):
                break
            clock._elapsed += 10
        assert delivery.answers == (D, D)
        await one.close()
    assert fake.seqs() == [1, 2, 1, 2]
    assert clock.monotonic() >= 300


def _told_and_lost(request: Any, sent: bytes, handled: Any) -> Any:
    handled(request, sent)
    request.transport.abort()
    return handled(request, sent)


async def test_what_a_restarted_splunk_lost_after_its_answer_is_sent_again() -> None:
    fake = Collector(acknowledges=True)
    fake.indexes_at_once = False
    clock = LeapingClock()
    async with serving(fake):
        one = sink(fake, clock, acknowledge=True)
        assert (await one.send(records(2))).answers == (R, R)
        fake.restart()
        fake.indexes_at_once = True
        clock._elapsed += 301
        assert (await one.send(records(2))).answers == (D, D)
        await one.close()
    assert fake.seqs() == [1, 2]


async def test_a_bad_event_among_waiting_ones_holds_nothing_up() -> None:
    fake = Collector(acknowledges=True)
    fake.indexes_at_once = False
    fake.poison = {"poisoned"}
    good, bad = records(2), record(3, user="poisoned")
    async with serving(fake):
        one = sink(fake, acknowledge=True)
        assert (await one.send(good)).answers == (R, R)
        fake.index()
        delivery = await one.send([*good, bad, record(4)])
        assert delivery.answers == (D, D, R, R)
        assert (await one.send([bad, record(4)])).trouble is Trouble.SUSPECT
        assert (await one.send([bad])).answers == (X,)
        await one.close()


async def test_a_token_without_acknowledgement_is_told_before_anything_counts() -> None:
    fake = Collector()
    async with serving(fake):
        one = sink(fake, acknowledge=True)
        first, again = await one.send(records(1)), await one.send(records(1))
        probe = await one.probe()
        assert (first.trouble, again.trouble) == (Trouble.HOLD, Trouble.HOLD)
        assert "acknowledgement off" in first.detail
        assert "acknowledgement off" in again.detail
        # Indexed once, though nobody knows; never again while it stays like that.
        assert fake.seqs() == [1]
        fake.acknowledges = True
        assert (await one.send(records(1))).answers == (D,)
        await one.close()
    assert not probe.ok
    assert "acknowledge: false" in probe.hint


@pytest.mark.parametrize(
    ("keys", "token", "words"),
    [
        ({}, TOKEN, ""),
        ({"index": "audit", "acknowledge": False}, TOKEN, ""),
        ({}, "another", "the token is not known"),
        ({"index": "nowhere"}, TOKEN, "the index is wrong"),
        ({"token": "env:NOT_SET_ANYWHERE"}, TOKEN, "NOT_SET_ANYWHERE is not set"),
    ],
)
async def test_the_probe_finds_what_is_wrong(
    keys: dict[str, Any], token: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", token)
    fake = Collector()
    async with serving(fake):
        one = sink(fake, **keys)
        probe = await one.probe()
        await one.close()
    assert probe.ok is not bool(words)
    assert words in probe.detail
    assert token not in probe.detail + probe.hint
    assert {event["sourcetype"] for event in fake.taken} <= {"quarterdeck:audit:probe"}


async def test_the_probe_tells_another_server_from_a_collector() -> None:
    fake = Collector()
    fake.faults = [status(200, "<html>")]
    async with serving(fake):
        one = sink(fake)
        probe = await one.probe()
        await one.close()
    assert not probe.ok
    assert "no event collector" in probe.detail


def test_an_envelope_is_one_valid_document() -> None:
    made = SplunkSink(
        Splunk.model_validate_json('{"kind": "splunk", "url": "https://s.test", "token": "env:T"}'),
        secrets=Redactor(),
        clock=LeapingClock(),
    )
    entry = record(7, user="a\u2028b\0c\ud800", data={"deep": [1e300, None, "]"]})
    assert msgspec.json.decode(made._encoded(entry))["event"] == entry.fields
