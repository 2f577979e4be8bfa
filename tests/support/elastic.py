"""An Elasticsearch that can be told to misbehave in every way that one does, on a port of its own.

What it does when it behaves is the sandbox's log store, which is held against the official clients of Elasticsearch and
OpenSearch, and against rsyslog (``tests/contract/test_log_store_clients.py``).
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from services.sandbox.logdocuments import Documents
from services.sandbox.logstore import LogStore, Refused, respond

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What becomes of one request. ``store``: whether it is carried out before the rest. ``status``: an answer of that status
    with ``body`` and ``headers`` instead of the right one. ``reset``: the connection is broken off, after ``sent`` bytes of the
    answer. ``seconds``: the answer comes so late. ``partly``: only every second item is carried out, the others get 429."""

    store: bool = False
    status: int | None = None
    body: bytes = b'{"error":{"type":"fault","reason":"as told"},"status":0}'
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    sent: int = 0
    seconds: float = 0.0
    partly: bool = False


REFUSED_BEFORE = Fault(reset=True)
RESPONSE_LOST = Fault(store=True, reset=True)
RESET_MID_RESPONSE = Fault(store=True, reset=True, sent=40)
GARBAGE = Fault(store=True, status=200, body=b"<html>proxy</html>", headers={"Content-Type": "text/html"})
EMPTY = Fault(store=True, status=200, body=b"")
PARTLY = Fault(store=True, partly=True)


def answered(status: int, *, store: bool = False, **headers: str) -> Fault:
    return Fault(status=status, store=store, headers={name.replace("_", "-"): value for name, value in headers.items()})


class Elastic:
    """``faults`` are used up by bulk requests one by one; ``always`` is for all others; ``items`` decides for each item."""

    def __init__(self) -> None:
        self.documents = Documents()
        self.store = LogStore(self.documents, self._item)
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.choose: Callable[[], Fault | None] = lambda: None
        self.items: Callable[[str, str, Any], Refused | None] = lambda index, id_, source: None
        self.authorization: str | None = None
        """What the header has to be, if anything."""
        self.most_bytes: int | None = None
        """A longer body is answered with 413."""
        self.requests = 0
        self.under_way = 0
        """Bulk requests that have come and were not answered whole yet."""
        self.seen: list[web.Request] = []
        self.url = ""
        self._partly = False
        self._count = 0
        self._stack = contextlib.AsyncExitStack()

    @property
    def sources(self) -> list[dict[str, Any]]:
        """What is stored, in the order in which it came."""
        return [source for _, _, source in self.documents.all()]

    @property
    def sequences(self) -> list[int]:
        """The numbers of the entries that are stored."""
        return [source["event"]["sequence"] for source in self.sources]

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        self._stack.push_async_callback(runner.cleanup)
        self.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Nobody listens any more; what was stored stays."""
        await self._stack.aclose()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.authorization is not None and request.headers.get("Authorization", "") != self.authorization:
            return respond(
                {"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401}, 401, request
            )
        if not request.path.endswith("/_bulk"):
            return await self.store.handle(request)
        self.requests += 1
        self.under_way += 1
        try:
            return await self._bulk(request)
        finally:
            self.under_way -= 1

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.most_bytes is not None and len(body) > self.most_bytes:
            return web.Response(status=413, text="Request Entity Too Large")
        fault = self.faults.popleft() if self.faults else self.choose() or self.always
        if fault is None:
            return await self.store.handle(request)
        self._partly = fault.partly
        answer = await self.store.handle(request) if fault.store else None
        self._partly = False
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault.reset:
            return await self._break_off(request, answer, fault.sent)
        if fault.status is not None:
            headers = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch", **fault.headers}
            return web.Response(status=fault.status, body=fault.body, headers=headers)
        return answer or await self.store.handle(request)

    async def _break_off(self, request: web.Request, answer: web.Response | None, sent: int) -> web.StreamResponse:
        assert request.transport is not None
        if answer is not None and sent and isinstance(answer.body, bytes):
            partial = web.StreamResponse(status=200, headers={"Content-Length": str(len(answer.body))})
            await partial.prepare(request)
            await partial.write(answer.body[:sent])
        request.transport.abort()
        return web.Response()

    def _item(self, index: str, id_: str, source: Any) -> None:
        self._count += 1
        if self._partly and self._count % 2:
            raise Refused(429, "es_rejected_execution_exception", "rejected execution of coordinating operation")
        if (refused := self.items(index, id_, source)) is not None:
            raise refused


@contextlib.asynccontextmanager
async def elastic() -> AsyncIterator[Elastic]:
    server = Elastic()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.contextmanager
def elastic_beside() -> Iterator[Elastic]:
    """The same on a loop and a thread of its own, for tests of commands that have a loop themselves."""
    server, loop = Elastic(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
