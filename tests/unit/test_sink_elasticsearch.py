"""Elasticsearch and OpenSearch: every row of the bulk protocol's answers, credentials, the place of an entry, the read-back."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from support.clock import ManualClock
from support.elastic import EMPTY, GARBAGE, Elastic, Fault, answered, elastic
from support.sinks import JOURNAL, Authority, Fake, record, records, serving

from services.audit.line import chain
from services.audit.shipping.burials import substitute
from services.audit.sinks.base import Answer, Delivery, Trouble
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.redaction import Redactor
from services.sandbox.logstore import Refused
from services.settings.sinks import Elasticsearch, OpenSearch

D, R, X, TWICE = Answer.DELIVERED, Answer.RETRY, Answer.REJECTED, Answer.DUPLICATE
INDEX = "quarterdeck-audit-2026.01"


def sink(url: str, kind: type[Elasticsearch | OpenSearch] = Elasticsearch, **keys: Any) -> ElasticsearchSink:
    name = "elasticsearch" if kind is Elasticsearch else "opensearch"
    section = kind.model_validate_json(json.dumps({"kind": name, "url": url, "timeout": 20, **keys}))
    return ElasticsearchSink(section, secrets=Redactor(), clock=ManualClock())


def refusing(server: Elastic, status: int, kind: str, reason: str = "as told", position: int | None = None) -> None:
    def item(index: str, id_: str, source: Any) -> Refused | None:
        hit = position is None or id_.endswith(f":{position}")
        return Refused(status, kind, reason) if hit else None

    server.items = item


async def test_an_entry_has_an_id_of_its_own_in_the_index_of_its_month() -> None:
    async with elastic() as server:
        one = sink(server.url)
        batch = [*records(2), record(3, at=1_769_904_000.0)]  # 2026-02-01T00:00:00Z
        assert (await one.send(batch)).answers == (D, D, D)
        assert server.documents.get(INDEX, f"{JOURNAL}:1") is not None
        assert server.documents.get("quarterdeck-audit-2026.02", f"{JOURNAL}:3") is not None
        assert (await one.send(batch)).answers == (TWICE, TWICE, TWICE)
        assert len(server.documents) == 3
        await one.close()
    assert server.seen[0].headers["Content-Encoding"] == "gzip"
    assert server.seen[0].headers["Content-Type"] == "application/x-ndjson"
    assert server.seen[0].query["filter_path"]


async def test_a_document_has_the_fields_of_ecs_beside_our_own_and_the_entry_as_it_stands() -> None:
    async with elastic() as server:
        one = sink(server.url)
        entry = record(1, change_ticket="CHG-1", approvers=("mo",), outcome="done", duration_seconds=1.5, rollout="r-1")
        await one.send([entry])
        await one.close()
        (source,) = server.sources
    assert source["@timestamp"] == entry.fields["timestamp"]
    assert (source["event"]["id"], source["event"]["sequence"], source["event"]["hash"]) == (f"{JOURNAL}:1", 1, entry.hash)
    assert (source["event"]["action"], source["event"]["outcome"]) == ("deployment.started", "success")
    assert source["event"]["duration"] == 1_500_000_000
    assert (source["user"]["name"], source["related"]["user"]) == ("jane", ["jane", "mo"])
    assert source["service"] == {"name": "payment-service", "version": "v2.15.0", "environment": "production"}
    assert source["quarterdeck"]["change_ticket"] == "CHG-1"
    assert source["quarterdeck"]["outcome"] == "done"
    # With the entry exactly as stored and its hash the chain can be checked at the other side too.
    assert source["event"]["original"].encode() == entry.body
    assert len(chain("0" * 64, source["event"]["original"].encode())) == 64
    # What differs from event to event is in one text: no new key can clash with a mapping.
    assert "data" not in source["quarterdeck"]


@pytest.mark.parametrize(
    ("status", "kind", "reason", "answer"),
    [
        (429, "es_rejected_execution_exception", "queue is full", R),
        (429, "cluster_block_exception", "index blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]", R),
        (403, "cluster_block_exception", "index blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];", R),
        (503, "unavailable_shards_exception", "primary shard is not active", R),
        (500, "null_pointer_exception", "", R),
        (400, "document_parsing_exception", "failed to parse field [x]", X),
        (400, "strict_dynamic_mapping_exception", "mapping set to strict", X),
        (400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded", X),
        (403, "security_exception", "action [indices:data/write/bulk] is unauthorized", None),
        (403, "cluster_block_exception", "index blocked by: [FORBIDDEN/8/index write (api)];", None),
        (404, "index_not_found_exception", "no such index and [action.auto_create_index] is [false]", None),
        (400, "invalid_index_name_exception", "Invalid index name", None),
        (400, "illegal_argument_exception", "no write index is defined for alias [x]", None),
        (400, "index_closed_exception", "closed", None),
    ],
)
async def test_what_one_item_is_answered(status: int, kind: str, reason: str, answer: Answer | None) -> None:
    async with elastic() as server:
        refusing(server, status, kind, reason, position=2)
        one = sink(server.url)
        delivery = await one.send(records(3))
        await one.close()
    if answer is None:
        assert delivery.trouble is Trouble.HOLD
    else:
        assert delivery.answers == (D, answer, D)
        assert bool(delivery.reasons) is (answer is X)
    assert kind in delivery.detail


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [
        (answered(413), Trouble.TOO_LARGE),
        (answered(401), Trouble.HOLD),
        (answered(403), Trouble.HOLD),
        (answered(404), Trouble.HOLD),
        (answered(407), Trouble.HOLD),
        (answered(302, Location="http://elsewhere.example/"), Trouble.HOLD),
        (answered(429), Trouble.BUSY),
        (answered(408), Trouble.BUSY),
        *((answered(status), Trouble.BUSY) for status in (500, 502, 503, 504)),
        (answered(400), Trouble.SUSPECT),
        (answered(422), Trouble.SUSPECT),
        (GARBAGE, Trouble.UNREACHABLE),
        (EMPTY, Trouble.UNREACHABLE),
        (Fault(status=200, body=b'{"errors":false,"items":[]}'), Trouble.UNREACHABLE),
        (Fault(status=200, body=b'{"errors":false,"items":[{"create":{"_id":"x","status":201}}]}'), Trouble.UNREACHABLE),
        (Fault(status=200, body=b'{"errors":"no","items":7}'), Trouble.UNREACHABLE),
        (Fault(reset=True), Trouble.UNREACHABLE),
        (Fault(store=True, reset=True, sent=20), Trouble.UNREACHABLE),
        (Fault(seconds=3.0, store=True), Trouble.UNREACHABLE),
    ],
)
async def test_what_a_whole_request_is_answered(fault: Fault, trouble: Trouble) -> None:
    async with elastic() as server:
        server.faults.append(fault)
        one = sink(server.url, **({"timeout": 0.5} if fault.seconds else {}))
        batch = records(1)
        delivery = await one.send(batch)
        await one.close()
        assert (delivery.trouble, delivery.answers) == (trouble, ())
        assert delivery.detail
        # Whatever became of it, the next attempt finds out.
        again = sink(server.url)
        found = await again.send(batch)
        await again.close()
        assert found.answers
        assert found.answers[0] in (D, TWICE)


async def test_retry_after_is_told_in_seconds_or_as_a_date_and_bounded() -> None:
    async with elastic() as server:
        one = sink(server.url)
        for given, seconds in (("7", 7.0), ("9999", 60.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("soon", None)):
            server.faults.append(answered(429, Retry_After=given))
            assert (await one.send(records(1))).retry_after == seconds
        await one.close()


async def test_nobody_there_is_unreachable_and_a_name_that_is_none_too() -> None:
    one = sink("http://127.0.0.1:9")
    assert (await one.send(records(1))).trouble is Trouble.UNREACHABLE
    await one.close()


async def test_credentials_of_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the-secret-4711")
    monkeypatch.setenv("PAIR", "id-1:the-key-4711")
    encoded = base64.b64encode(b"id-1:the-key-4711").decode()
    basic = base64.b64encode(b"jane:the-secret-4711").decode()
    batch = records(1)
    async with elastic() as server:
        for keys, wanted in (
            ({"api_key": "env:SECRET"}, "ApiKey the-secret-4711"),
            ({"api_key": "env:PAIR"}, f"ApiKey {encoded}"),
            ({"user": "jane", "password": "env:SECRET"}, f"Basic {basic}"),
            ({"token": "env:SECRET"}, "Bearer the-secret-4711"),
        ):
            server.authorization = wanted
            one = sink(server.url, **keys)
            assert (await one.send(batch)).answers
            await one.close()
        server.authorization = "ApiKey another"
        one = sink(server.url, api_key="env:SECRET")
        refused = await one.send(records(1))
        assert refused.trouble is Trouble.HOLD
        probe = await one.probe()
        assert (probe.ok, "401" in probe.detail) == (False, True)
        assert "4711" not in refused.detail + probe.detail
        await one.close()
        missing = sink(server.url, token="env:NOT_THERE_AT_ALL")
        held = await missing.send(records(1))
        assert (held.trouble, "NOT_THERE_AT_ALL" in held.detail) == (Trouble.HOLD, True)
        await missing.close()


async def test_a_certificate_that_nobody_vouches_for_is_held_and_one_of_ours_is_taken(tmp_path: Path) -> None:
    import ssl

    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.server.configure_cert(tls)

    class Answering(Fake):
        def handle(self, request: Any, body: bytes) -> Any:
            from aiohttp import web

            ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
            return web.json_response({"errors": False, "items": [{"create": {"_id": id_, "status": 201}} for id_ in ids]})

    fake = Answering()
    async with serving(fake, tls):
        stranger = sink(fake.url)
        delivery = await stranger.send(records(1))
        assert (delivery.trouble, "certificate" in delivery.detail) == (Trouble.HOLD, True)
        await stranger.close()
        known = sink(fake.url, ca_file=str(authority.ca))
        assert (await known.send(records(1))).answers == (D,)
        await known.close()
        plain = sink(fake.url.replace("https", "http"))
        assert (await plain.send(records(1))).trouble is not None
        await plain.close()


async def test_what_is_missing_is_found_by_id_even_where_the_index_is_gone() -> None:
    async with elastic() as server:
        one = sink(server.url)
        batch = records(4)
        assert list(await one.missing(batch) or ()) == [1, 2, 3, 4]
        await one.send(batch)
        assert await one.missing(batch) == []
        server.documents.delete(INDEX, f"{JOURNAL}:2")
        assert await one.missing(batch) == [2]
        await server.stop()
        assert await one.missing(batch) is None
        await one.close()


async def test_one_entry_is_asked_for_by_its_id_and_known_by_its_hash() -> None:
    class Asked(Elastic):
        status = 200
        error = ""

        async def handle(self, request: web.Request) -> web.StreamResponse:
            if not request.path.endswith("/_mget") or (self.status == 200 and not self.error):
                return await super().handle(request)
            doc = {"_id": "x", "error": {"type": self.error}} if self.error != "nothing" else {"_id": "x"}
            return web.json_response({"docs": [doc]}, status=self.status)

    server = Asked()
    await server.start()
    one = sink(server.url)
    first, second = records(2)
    await one.send([first, substitute(second)])
    assert await one.holds(first) is True
    assert await one.holds(second) is False
    assert await one.holds(substitute(second)) is True
    told = await one.holds(msgspec.structs.replace(first, hash="0" * 64))
    assert isinstance(told, Delivery)
    assert told.trouble is Trouble.HOLD
    server.status = 503
    told = await one.holds(first)
    assert isinstance(told, Delivery)
    assert told.trouble is Trouble.BUSY
    server.status = 403
    assert await one.holds(first) is False, "a key that may only create documents can't ask"
    server.status = 200
    for error, answer in (
        ("security_exception", False),
        ("index_not_found_exception", False),
        ("no_shard_available_action_exception", Trouble.UNREACHABLE),
        ("nothing", Trouble.UNREACHABLE),
    ):
        server.error = error
        told = await one.holds(first)
        assert (told.trouble if isinstance(told, Delivery) else told) is answer, error
    await one.close()
    await server.stop()


async def test_a_substitute_stands_beside_the_entry_and_never_in_its_way() -> None:
    async with elastic() as server:
        one = sink(server.url)
        entry = record(1, data={"secret": "of the payload"})
        assert (await one.send([substitute(entry)])).answers == (D,)
        (source,) = server.sources
        assert source["event"]["sequence"] == 1
        assert source["event"]["hash"] == entry.hash
        assert source["quarterdeck"]["payload_dropped"] is True
        assert "of the payload" not in json.dumps(source)
        assert (await one.send([entry])).answers == (D,)
        await one.close()


@pytest.mark.parametrize("kind", [Elasticsearch, OpenSearch])
async def test_a_probe_stores_nothing(kind: type[Elasticsearch | OpenSearch]) -> None:
    async with elastic() as server:
        one = sink(server.url, kind)
        probe = await one.probe()
        assert (probe.ok, INDEX in probe.detail) == (True, True)
        assert len(server.documents) == 0
        await one.close()


@pytest.mark.parametrize(
    ("status", "error", "ok"),
    [
        (403, "security_exception", False),
        (404, "index_not_found_exception", False),
        (400, "invalid_index_name_exception", False),
        (429, "es_rejected_execution_exception", False),
        (400, "mapper_parsing_exception", True),
    ],
)
async def test_a_probe_finds_what_stands_in_the_way(status: int, error: str, ok: bool) -> None:
    async with elastic() as server:
        refusing(server, status, error)
        one = sink(server.url)
        probe = await one.probe()
        assert (probe.ok, bool(probe.hint)) == (ok, not ok)
        await one.close()


async def test_a_probe_of_something_else_says_so() -> None:
    async with elastic() as server:
        for fault in (GARBAGE, EMPTY, answered(503), answered(401)):
            server.faults.append(fault)
            one = sink(server.url)
            probe = await one.probe()
            assert not probe.ok
            assert probe.hint
            await one.close()
    one = sink("http://127.0.0.1:9")
    assert not (await one.probe()).ok
    await one.close()


async def test_another_entry_under_the_same_number_is_never_taken_for_the_one_that_is_there() -> None:
    """As it comes when a journal is restored from an older copy and goes on from there."""
    async with elastic() as server:
        one = sink(server.url)
        first = records(3)
        await one.send(first)
        restored = [first[0], *records(3)[1:], record(4)]
        delivery = await one.send(restored)
        assert delivery.trouble is Trouble.HOLD
        assert "another entry under the number 2" in delivery.detail
        assert (await one.send(first)).answers == (TWICE, TWICE, TWICE)
        await one.close()


async def test_where_a_key_may_only_create_the_number_alone_tells() -> None:
    class CreateOnly(Elastic):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            return web.Response(status=403, text="{}") if request.path.endswith("/_mget") else await super().handle(request)

    server = CreateOnly()
    await server.start()
    one = sink(server.url)
    batch = records(2)
    await one.send(batch)
    assert (await one.send(batch)).answers == (TWICE, TWICE)
    await one.close()
    await server.stop()


async def test_batches_that_are_sent_side_by_side_leave_no_connection_open() -> None:
    async with elastic() as server:
        one = sink(server.url)
        await asyncio.gather(*(one.send(records(2, first)) for first in (1, 3, 5, 7)))
        await one.close()
        open_ = server.seen
        for _ in range(100):
            open_ = [request for request in server.seen if request.transport is not None and not request.transport.is_closing()]
            if not open_:
                break
            await asyncio.sleep(0.01)
    assert open_ == []
