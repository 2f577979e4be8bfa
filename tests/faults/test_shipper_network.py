"""A network that fails between the shipper and its sink: refused, swallowed, gone without a word; then it is back."""

from pathlib import Path

import pytest
from support.elastic import Elastic, Fault, elastic
from support.fake_api import eventually
from support.proxy import Line, Proxy
from support.shipping import QuickClock, shipping
from support.sinks import records

from services.audit.sinks.base import Delivery, Record
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.redaction import Redactor
from services.settings.sinks import Elasticsearch


@pytest.mark.parametrize("line", [Line.CUT, Line.BLACK_HOLE, Line.HALF_OPEN])
async def test_a_network_that_fails_and_comes_back_has_lost_and_doubled_nothing(line: Line, tmp_path: Path) -> None:
    async with elastic() as server:
        straight = server.url
        proxy = Proxy(int(straight.rpartition(":")[2]))
        try:
            server.url = f"http://127.0.0.1:{proxy.port}"
            async with shipping(tmp_path, server, entries=50, clock=QuickClock(20.0)) as place:
                await place.drained()
                proxy.set(line)
                await place.write(700)
                await place.until(lambda: place.status.error and place.status.backlog >= 700)
                proxy.set(Line.OPEN)
                await place.drained()
        finally:
            proxy.close()
        assert sorted(server.sequences) == list(range(1, len(server.documents) + 1))
        assert len(server.documents) > 750


async def test_a_sink_that_does_not_answer_in_time_is_given_up_on_and_asked_again() -> None:
    async with elastic() as server:
        server.faults.append(Fault(store=True, seconds=3.0))
        batch = records(2)
        assert "no answer within 0.3 s" in (await sent(server, batch, timeout=0.3)).detail
        assert len((await sent(server, batch, timeout=20.0)).answers) == 2
        await eventually(lambda: len(server.documents) == 2)


async def sent(server: Elastic, batch: list[Record], *, timeout: float) -> Delivery:
    section = Elasticsearch(kind="elasticsearch", url=server.url, timeout=timeout)
    sink = ElasticsearchSink(section, secrets=Redactor(), clock=QuickClock(1.0))
    try:
        return await sink.send(batch)
    finally:
        await sink.close()
