"""Whatever an entry holds arrives unchanged, and whatever a server answers is an answer: no sink over HTTP ever raises."""

import asyncio
import gzip
import json
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sinks import LeapingClock, record, records

from services.audit.shipping.burials import substitute
from services.audit.sinks.base import Answer, Sink
from services.audit.sinks.datadog import DatadogSink
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.audit.sinks.otlp import OtlpSink
from services.audit.sinks.splunk import SplunkSink
from services.redaction import Redactor
from services.settings.sinks import DatadogLogs, Elasticsearch, Otlp, Splunk

Transport = httpx.AsyncBaseTransport | None


@pytest.fixture(autouse=True, scope="module")
def _keys() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", "key-4711-secret")
        yield


def splunk(transport: Transport = None, **keys: Any) -> Sink:
    section = Splunk(kind="splunk", url="https://splunk.test:8088", token="env:A_KEY", event_bytes=100_000, **keys)  # type: ignore[arg-type]
    return SplunkSink(section, secrets=Redactor(), clock=LeapingClock(), transport=transport)


def acknowledging(transport: Transport = None) -> Sink:
    return splunk(transport, acknowledge=True)


def datadog(transport: Transport = None) -> Sink:
    section = DatadogLogs(kind="datadog", api_key="env:A_KEY", application_key="env:A_KEY")  # type: ignore[arg-type]
    return DatadogSink(section, secrets=Redactor(), clock=LeapingClock(), transport=transport)


def otlp(transport: Transport = None) -> Sink:
    section = Otlp(kind="otlp", url="https://collector.test:4318", headers={"X-Key": "env:A_KEY"})  # type: ignore[dict-item]
    return OtlpSink(section, secrets=Redactor(), clock=LeapingClock(), transport=transport)


def elasticsearch(transport: Transport = None) -> Sink:
    section = Elasticsearch(kind="elasticsearch", url="https://search.test:9200", api_key="env:A_KEY")  # type: ignore[arg-type]
    return ElasticsearchSink(section, secrets=Redactor(), clock=LeapingClock(), transport=transport)


SINKS = {"splunk": splunk, "splunk with acknowledgement": acknowledging, "datadog": datadog, "otlp": otlp}
TAKEN = {
    "splunk": httpx.Response(200, json={"text": "Success", "code": 0}),
    "splunk with acknowledgement": httpx.Response(200, json={"text": "Success", "code": 0, "ackId": 0, "acks": {"0": True}}),
    "datadog": httpx.Response(202, json={}),
    "otlp": httpx.Response(200, json={}),
}
ANYTHING = st.text(st.characters(codec=None), max_size=40)
HOSTILE = st.one_of(
    ANYTHING, st.sampled_from(["\0", "\u2028\u2029", "\ud800", '"}]', "\\u0000", "</script>", "🚀" * 20, "x" * 20_000, "\x1b[2J"])
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), HOSTILE), lambda inner: st.lists(inner, max_size=3)
)


def bodies(name: str, sent: bytes) -> list[bytes]:
    """The entries in a request, as the other side reads them."""
    if name == "otlp":
        (resource,) = msgspec.json.decode(sent)["resourceLogs"]
        return [log["body"]["stringValue"].encode() for log in resource["scopeLogs"][0]["logRecords"]]
    if name == "datadog":
        return [one["message"].encode() for one in msgspec.json.decode(sent)]
    decoder, text, at, found = json.JSONDecoder(), sent.decode(), 0, []
    while at < len(text):
        one, end = decoder.raw_decode(text, at)
        found.append(one["event"])
        at = end
    return [msgspec.json.encode(event) for event in found]


def unpacked(request: httpx.Request) -> bytes:
    return gzip.decompress(request.content) if request.headers.get("Content-Encoding") == "gzip" else request.content


@pytest.mark.parametrize("name", SINKS)
@given(
    fields=st.fixed_dictionaries({"event": HOSTILE, "user": HOSTILE, "environment": HOSTILE, "outcome": HOSTILE}),
    data=st.dictionaries(HOSTILE, VALUES, max_size=4),
    replaced=st.booleans(),
)
def test_an_entry_arrives_as_it_is_stored_whatever_it_holds(
    name: str, fields: dict[str, str], data: dict[str, Any], replaced: bool
) -> None:
    entry = record(7, **fields, data=data)
    entry = substitute(entry) if replaced else entry
    seen: list[bytes] = []

    def takes(request: httpx.Request) -> httpx.Response:
        seen.append(unpacked(request))
        return TAKEN[name]

    async def sent() -> None:
        sink = SINKS[name](httpx.MockTransport(takes))
        assert (await sink.send([entry])).answers == (Answer.DELIVERED,)
        assert sink.size(entry) >= len(entry.body)
        await sink.close()

    asyncio.run(sent())
    (found,) = bodies(name, seen[0])
    if name == "datadog":
        assert found.endswith(b" " + entry.body)
    elif name == "otlp":
        assert found == entry.body
    else:
        assert msgspec.json.decode(found) == entry.fields
        assert entry.body in seen[0]


STATUSES = [
    200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 499, 500, 502, 503, 504, 599,
]  # fmt: skip
NAMES = st.sampled_from(["Retry-After", "Content-Type", "Content-Encoding", "Location", "X-Odd"])
WORDS = st.sampled_from(["", "0", "99999999999", "-5", "soon", "Fri, 31 Feb 2026 00:00:00 GMT", "gzip", "br", "text/html"])
NEARLY = [
    b'{"code":0,"ackId":null}',
    b'{"code":"0"}',
    b'{"code":6,"invalid-event-number":-3}',
    b'{"code":6,"invalid-event-number":99999}',
    b'{"acks":[1]}',
    b'{"acks":{"0":"true"}}',
    b'{"partialSuccess":{"rejectedLogRecords":-1}}',
    b'{"partialSuccess":{"rejectedLogRecords":"1e9"}}',
    b'{"data":[{"attributes":{"attributes":{"quarterdeck":7}}}]}',
    b'{"data":[],"meta":{"page":{"after":"again"}}}',
    b"[" * 1200,
    b'{"a":' * 1200,
    b'{"errors":true,"items":[{"create":{"status":400,"error":' + b'{"caused_by":' * 3000,
    b'{"errors":true,"items":[' + b'{"create":{"_id":"x","status":409}},' * 2 + b'{"create":{"_id":"x","status":409}}]}',
    b'{"docs":[{"_id":7},{},{}]}',
    b'{"docs":[{"_id":"x","found":true,"_source":{"event":[1]}}]}',
    b"null",
    b"",
    b"\xff\xfe",
]
ANSWERS = st.tuples(
    st.sampled_from(STATUSES),
    st.dictionaries(NAMES, WORDS, max_size=2),
    st.one_of(st.binary(max_size=60), st.sampled_from(NEARLY)),
)


@pytest.mark.parametrize("name", [*SINKS, "elasticsearch"])
@given(answers=st.lists(ANSWERS, min_size=1, max_size=4))
def test_no_answer_of_a_server_makes_a_sink_raise_or_believe_it(
    name: str, answers: list[tuple[int, dict[str, str], bytes]]
) -> None:
    left = list(answers)

    def says(request: httpx.Request) -> httpx.Response:
        code, headers, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(code, headers=headers, stream=httpx.ByteStream(body))

    async def talked() -> None:
        sink = (SINKS | {"elasticsearch": elasticsearch})[name](httpx.MockTransport(says))
        batch = records(3)
        delivery = await sink.send(batch)
        assert (delivery.trouble is None) == bool(delivery.answers)
        assert len(delivery.answers) in (0, 3)
        assert delivery.detail.isprintable()
        assert len(delivery.detail) < 700
        assert delivery.retry_after is None or delivery.retry_after >= 0
        if Answer.DELIVERED in delivery.answers:
            # 400 with the number of a bad event: those before it are there.
            assert answers[0][0] in ((400,) if name == "splunk" else ()) + (202 if name == "datadog" else 200,)
        probe = await sink.probe()
        assert probe.detail.isprintable()
        assert probe.ok or probe.hint
        missing = await sink.missing(batch)
        assert missing is None or set(missing) <= {1, 2, 3}
        await sink.close()

    asyncio.run(talked())


@pytest.mark.parametrize("name", SINKS)
async def test_a_line_that_is_no_text_at_all_stands_in_nobodys_way(name: str) -> None:
    """Its place in the chain is good, so it is sent as what it is; or refused by itself."""
    odd = msgspec.structs.replace(record(1), body=b"\xff\xfe no text", fields={})
    sink = SINKS[name](httpx.MockTransport(lambda request: TAKEN[name]))
    assert sink.size(odd) > 0
    assert (await sink.send([odd])).answers == (Answer.DELIVERED,)
    await sink.close()
