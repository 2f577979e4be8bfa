"""The log store of the sandbox and of the tests, held against clients that others wrote: what they can read and write is real."""

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.elastic import PARTLY, answered, elastic

INDEX = "audit-2026.01"
ACTIONS = [
    {"_op_type": "create", "_index": INDEX, "_id": f"j:{n}", "_source": {"n": n, "event": {"action": "x"}}} for n in range(5)
]


async def test_elasticsearchs_own_client() -> None:
    from elasticsearch import AsyncElasticsearch, NotFoundError
    from elasticsearch.helpers import async_bulk

    async with elastic() as server, AsyncElasticsearch(server.url, retry_on_timeout=False, max_retries=0) as client:
        assert (await client.info())["version"]["number"].startswith("9.")
        assert await async_bulk(client, ACTIONS) == (5, [])
        again, errors = await async_bulk(client, ACTIONS, raise_on_error=False)
        assert again == 0
        assert {error["create"]["status"] for error in errors} == {409}
        assert {error["create"]["error"]["type"] for error in errors} == {"version_conflict_engine_exception"}
        assert (await client.count(index="audit-*"))["count"] == 5
        found = await client.search(index=INDEX, query={"range": {"n": {"gte": 3}}}, sort=[{"n": "desc"}])
        assert [hit["_source"]["n"] for hit in found["hits"]["hits"]] == [4, 3]
        both = await client.search(query={"bool": {"filter": [{"term": {"event.action": "x"}}, {"ids": {"values": ["j:2"]}}]}})
        assert [hit["_id"] for hit in both["hits"]["hits"]] == ["j:2"]
        assert (await client.get(index=INDEX, id="j:0"))["_source"] == {"n": 0, "event": {"action": "x"}}
        with pytest.raises(NotFoundError):
            await client.get(index=INDEX, id="j:9")
        got = await client.mget(index=INDEX, ids=["j:1", "j:9"])
        assert [doc["found"] for doc in got["docs"]] == [True, False]
        with pytest.raises(NotFoundError):
            await client.search(index="nowhere")


async def test_elasticsearchs_own_client_sees_our_faults_as_the_servers() -> None:
    from elasticsearch import ApiError, AsyncElasticsearch
    from elasticsearch.helpers import async_bulk

    async with elastic() as server, AsyncElasticsearch(server.url, retry_on_timeout=False, max_retries=0) as client:
        server.faults.append(PARTLY)
        stored, errors = await async_bulk(client, ACTIONS, raise_on_error=False)
        assert stored + len(errors) == 5
        assert {error["create"]["status"] for error in errors} == {429}
        server.faults.append(answered(429))
        with pytest.raises(ApiError):
            await client.bulk(operations=[{"create": {"_index": INDEX}}, {"n": 1}])
        server.faults.append(answered(503))
        with pytest.raises(ApiError) as refused:
            await client.bulk(operations=[{"create": {"_index": INDEX}}, {"n": 1}])
        assert refused.value.status_code == 503
        with pytest.raises(ApiError) as malformed:
            await client.bulk(operations=[{"creat": {"_index": INDEX}}, {"n": 1}])
        assert malformed.value.status_code == 400


def _opensearch(url: str) -> tuple[Any, ...]:
    from opensearchpy import OpenSearch
    from opensearchpy.helpers import bulk

    host, _, port = url.removeprefix("http://").partition(":")
    client = OpenSearch([{"host": host, "port": int(port)}], use_ssl=False)
    first = bulk(client, ACTIONS)
    again, errors = bulk(client, ACTIONS, raise_on_error=False)
    count = client.count(index="audit-*")["count"]
    hits = client.search(index=INDEX, body={"query": {"term": {"n": 3}}})["hits"]["hits"]
    client.close()
    return first, again, {error["create"]["status"] for error in errors}, count, [hit["_id"] for hit in hits]


async def test_opensearchs_own_client() -> None:
    async with elastic() as server:
        assert await asyncio.to_thread(_opensearch, server.url) == ((5, []), 0, {409}, 5, ["j:3"])


RSYSLOG = """
module(load="imtcp") module(load="omelasticsearch")
global(workDirectory="{work}")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="document" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
template(name="id" type="string" string="rsyslog-%msg:F,58:2%")
action(type="omelasticsearch" server="{host}" serverport="{elastic}" searchIndex="audit-2026.01" searchType="" template="document"
       bulkmode="on" bulkid="id" dynbulkid="on" writeoperation="create" errorfile="{work}/errors" queue.type="linkedlist"
       action.resumeretrycount="-1" action.resumeinterval="1")
"""


@pytest.mark.counterpart
@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="rsyslogd is not installed")
async def test_rsyslog_ships_to_it_as_to_the_real_one(tmp_path: Path) -> None:
    async with elastic() as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listening = free.getsockname()[1]
        config = tmp_path / "rsyslog.conf"
        config.write_text(RSYSLOG.format(work=tmp_path, port=listening, host=host, elastic=port))
        command = ["rsyslogd", "-n", "-f", str(config), "-i", str(tmp_path / "pid")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await _sent(listening, 20)
            async with asyncio.timeout(30):
                while len(server.documents) < 20:  # noqa: ASYNC110 - somebody else's process
                    await asyncio.sleep(0.05)
            await _sent(listening, 20)
            before = server.requests
            async with asyncio.timeout(30):
                while server.requests == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            process.terminate()
            await process.wait()
        assert len(server.documents) == 20, "what came twice is there once"
        assert all(source["message"] for source in server.sources)


async def _sent(port: int, number: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.05)
    for n in range(number):
        writer.write(f"<110>1 2026-01-01T00:00:00Z host console 42 AUDIT - entry:{n}\n".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
