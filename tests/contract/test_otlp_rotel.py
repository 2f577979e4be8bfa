"""The OTLP sink against rotel, a collector written by others: what it understood is what it passes on, as protobuf."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from support.otlp import Exported, log_records, needs_rotel, rotel, wire
from support.sinks import NOW, LeapingClock, record, records, serving

from services.audit.sinks.base import Answer
from services.audit.sinks.otlp import OtlpSink
from services.redaction import Redactor
from services.settings.sinks import Otlp

pytestmark = [pytest.mark.counterpart, needs_rotel]


def sink(url: str) -> OtlpSink:
    section = Otlp.model_validate_json(json.dumps({"kind": "otlp", "url": url}))
    return OtlpSink(section, secrets=Redactor(), clock=LeapingClock())


async def test_rotel_understands_every_field_as_it_is_meant(tmp_path: Path) -> None:
    target = Exported()
    hostile = record(3, user='nul\0 line\u2028 quote" back\\ lone\ud800', at=NOW + 0.000001, outcome="failed")
    batch = [*records(2), hostile]
    target.wanted = len(batch)
    async with serving(target):
        with rotel(tmp_path, target.url) as url:
            one = sink(url)
            assert (await one.probe()).ok
            assert (await one.send(batch)).answers == (Answer.DELIVERED,) * 3
            await one.close()
            async with asyncio.timeout(15):
                await target.arrived.wait()
    found = [log for _, body in target.seen for log in log_records(body)]
    for log, entry in zip(found, batch, strict=True):
        assert wire(log[5][0])[1] == [entry.body]
        assert log[1] == [round(entry.timestamp * 1_000_000) * 1000]
        attributes = {pair[1][0]: wire(pair[2][0]) for pair in map(wire, log[6])}
        assert attributes[b"quarterdeck.seq"] == {3: [entry.seq]}
        assert attributes[b"log.record.uid"] == {1: [entry.id.encode()]}
        assert attributes[b"quarterdeck.hash"] == {1: [entry.hash.encode()]}
    assert [(log[2], log[3]) for log in found] == [([9], [b"INFO"]), ([9], [b"INFO"]), ([17], [b"ERROR"])]


async def test_rotel_refuses_what_the_fake_refuses(tmp_path: Path) -> None:
    target = Exported()
    async with serving(target), httpx.AsyncClient() as client:
        with rotel(tmp_path, target.url) as url:
            headers = {"Content-Type": "application/json"}
            assert (await client.post(f"{url}/v1/logs", content=b"{broken", headers=headers)).status_code == 400
            wrong = sink(f"{url}/elsewhere")
            probe = await wrong.probe()
            await wrong.close()
    assert not probe.ok
    assert "answered 404" in probe.detail
