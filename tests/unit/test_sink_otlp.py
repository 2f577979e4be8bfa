"""OTLP over HTTP: what a partial success means, what may be repeated and what may not, and the shape of a record."""

import json
from typing import Any

import pytest
from support.otlp import Receiver
from support.shipping import Graveyard
from support.sinks import JOURNAL, NOW, TOKEN, LeapingClock, record, records, serving, status

from services.audit.sinks.base import Answer, Assurance, Delivery, Trouble
from services.audit.sinks.otlp import OtlpSink
from services.redaction import Redactor
from services.settings.sinks import Otlp

D, X = Answer.DELIVERED, Answer.REJECTED


def sink(fake: Receiver, **keys: Any) -> OtlpSink:
    section = Otlp.model_validate_json(json.dumps({"kind": "otlp", "url": fake.url, "timeout": 20, **keys}))
    return OtlpSink(section, secrets=Redactor(), clock=LeapingClock())


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTLP_TOKEN", TOKEN)


async def test_a_record_has_the_entry_as_its_body_and_its_place_as_attributes() -> None:
    fake = Receiver()
    batch = [record(1, at=NOW + 0.123456, outcome="failed"), record(2)]
    async with serving(fake):
        one = sink(fake, headers={"Authorization": "env:OTLP_TOKEN"})
        assert await one.send(batch) == Delivery(answers=(D, D))
        await one.close()
    first = fake.records[0]
    attributes = {one["key"]: one["value"] for one in first["attributes"]}
    assert first["body"]["stringValue"].encode() == batch[0].body
    assert first["timeUnixNano"] == str(int(NOW) * 10**9 + 123456000)
    assert isinstance(first["observedTimeUnixNano"], str)
    assert (first["severityNumber"], first["severityText"], first["eventName"]) == (17, "ERROR", "deployment.started")
    assert attributes["quarterdeck.seq"] == {"intValue": "1"}
    assert attributes["log.record.uid"] == {"stringValue": f"{JOURNAL}:1"}
    assert attributes["quarterdeck.hash"] == {"stringValue": batch[0].hash}
    request, body = fake.seen[0]
    assert request.headers["Authorization"] == TOKEN
    assert request.headers["Content-Encoding"] == "gzip"
    assert sum(map(one.size, batch)) < len(body) < sum(map(one.size, batch)) + 300
    assert one.assurance is Assurance.ACCEPTED
    assert await one.missing(batch) is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"partialSuccess":null}', b'{"partialSuccess":{}}', b'{"partialSuccess":{"rejectedLogRecords":"0"}}']
)
async def test_every_way_to_write_a_whole_success(body: bytes) -> None:
    fake = Receiver()
    fake.faults = [status(200, body)]
    async with serving(fake):
        one = sink(fake)
        assert (await one.send(records(2))).answers == (D, D)
        await one.close()


async def test_a_warning_beside_a_success_is_passed_on() -> None:
    fake = Receiver()
    fake.faults = [status(200, '{"partialSuccess": {"errorMessage": "use\\u0007 gzip"}}')]
    async with serving(fake):
        one = sink(fake)
        delivery = await one.send(records(2))
        await one.close()
    assert delivery == Delivery(answers=(D, D), detail="use gzip")


@pytest.mark.parametrize("rejected", [1, 3])
async def test_a_partial_success_goes_to_the_dead_letters_and_is_never_repeated(rejected: int) -> None:
    fake = Receiver()
    fake.rejects = rejected
    async with serving(fake):
        one = sink(fake)
        delivery = await one.send(records(3))
        await one.close()
    assert delivery.answers == (X, X, X)
    assert delivery.trouble is None
    assert f"{rejected} of 3 rejected: too old" in delivery.reasons[0]
    assert ("does not say which" in delivery.reasons[2]) == (rejected == 1)
    assert len(fake.seen) == 1


async def test_entries_that_are_too_old_for_a_receiver_are_kept_here_and_known_there() -> None:
    fake = Receiver()
    fake.oldest = NOW - 7 * 86_400
    grave = Graveyard()
    old = [record(seq, at=NOW - 30 * 86_400) for seq in range(1, 4)]
    async with serving(fake):
        one = sink(fake)
        courier = grave.courier(one, LeapingClock())
        await courier.deliver(old)
        await courier.deliver(records(3, 4))
        await one.close()
    assert [letter.seq for letter in grave.buried] == [1, 2, 3]
    assert "too old" in grave.buried[0].reason
    bodies = [json.loads(log["body"]["stringValue"]) for log in fake.records]
    assert [(body["seq"], "payload_dropped" in body) for body in bodies] == [
        (1, True), (2, True), (3, True), (4, False), (5, False), (6, False),
    ]  # fmt: skip
    assert bodies[0]["timestamp"] == old[0].fields["timestamp"]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (400, Trouble.SUSPECT), (401, Trouble.HOLD), (403, Trouble.HOLD), (404, Trouble.HOLD), (413, Trouble.TOO_LARGE),
        (429, Trouble.BUSY), (500, Trouble.HOLD), (501, Trouble.HOLD), (502, Trouble.BUSY), (503, Trouble.BUSY),
        (504, Trouble.BUSY), (307, Trouble.HOLD), (202, Trouble.UNREACHABLE), (408, Trouble.HOLD),
    ],
)  # fmt: skip
async def test_only_what_the_specification_names_is_repeated(code: int, trouble: Trouble) -> None:
    fake = Receiver()
    fake.faults = [status(code, f"no {TOKEN}", Retry_After="9", Location="http://127.0.0.1:1/")]
    async with serving(fake):
        one = sink(fake, headers={"Authorization": "env:OTLP_TOKEN"})
        delivery = await one.send(records(2))
        await one.close()
    assert (delivery.trouble, delivery.answers) == (trouble, ())
    assert delivery.retry_after == (9 if trouble is Trouble.BUSY else None)
    assert TOKEN not in delivery.detail


@pytest.mark.parametrize(
    "body", ["<html>", "[]", '{"partialSuccess": 3}', '{"partialSuccess": {"rejectedLogRecords": "many"}}', "\ufffd"]
)
async def test_a_200_that_is_not_otlp_is_no_success(body: str) -> None:
    fake = Receiver()
    fake.faults = [status(200, body), status(200, body)]
    async with serving(fake):
        one = sink(fake)
        assert (await one.send(records(2))).trouble is Trouble.UNREACHABLE
        probe = await one.probe()
        await one.close()
    assert not probe.ok
    assert "4318" in probe.hint


async def test_the_probe_stores_nothing_and_finds_a_wrong_path_or_secret() -> None:
    fake = Receiver()
    async with serving(fake):
        good, whole = sink(fake), sink(fake, url=f"{fake.url}/v1/logs")
        wrong, secretless = sink(fake, url=f"{fake.url}/otlp"), sink(fake, headers={"X-Key": "env:NOT_SET_ANYWHERE"})
        assert (await good.probe()).ok
        assert (await whole.probe()).ok
        assert "answered 404" in (await wrong.probe()).detail
        assert "NOT_SET_ANYWHERE" in (await secretless.probe()).detail
        for one in (good, whole, wrong, secretless):
            await one.close()
    assert fake.records == []
