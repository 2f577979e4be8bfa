"""A small Kubernetes API on loopback that answers as a test tells it, misbehaviour included; and a clock that runs fast."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from services.clock import SystemClock
from services.cluster.connection import Clusters, Connection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class QuickClock(SystemClock):
    """Wall time that runs ``factor`` times faster: waits of seconds take milliseconds."""

    def __init__(self, factor: float = 50.0) -> None:
        super().__init__()
        self.factor = factor
        self._zero = (time.time(), time.monotonic())

    def unix(self) -> float:
        return self._zero[0] + (time.monotonic() - self._zero[1]) * self.factor

    def monotonic(self) -> float:
        return time.monotonic() * self.factor

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.factor)


class SteadyClock(QuickClock):
    """One that stands still while the event loop does: what holds this process up is no time of its servers and networks."""

    def __init__(self, factor: float = 50.0) -> None:
        super().__init__(factor)
        self._looked, self._ran = time.monotonic(), 0.0
        self._ticking: asyncio.AbstractEventLoop | None = None

    def unix(self) -> float:
        return self._zero[0] + self.monotonic()

    def monotonic(self) -> float:
        with contextlib.suppress(RuntimeError):  # no loop runs here
            if (loop := asyncio.get_running_loop()) is not self._ticking:
                self._ticking = loop
                self._tick(loop)
        return self._look() * self.factor

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while (left := end - self.monotonic()) > 0:  # noqa: ASYNC110 - after a hold-up time is left
            await asyncio.sleep(left / self.factor)

    def _look(self) -> float:
        now = time.monotonic()
        self._ran += min(now - self._looked, 0.02)
        self._looked = now
        return self._ran

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look()
        loop.call_later(0.005, self._tick, loop)


def manifest(kind: str, name: str, version: int = 1, namespace: str = "shop", **more: object) -> dict[str, object]:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(version)}
    meta.update(more.pop("metadata", {}))  # type: ignore[call-overload]
    return {"kind": kind, "metadata": meta, **more}


def status(code: int, message: str = "", **more: object) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, **more}
    return web.json_response(body, status=code)


def event(kind: str, body: object) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


class FakeApi:
    """Collections by plural name; scripted answers go first. Watches hand on what ``say`` and ``cut`` tell them."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, dict[str, object]]] = {}
        self.version = 100
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.scripts: list[tuple[Callable[[web.Request], bool], Handler]] = []
        self.rules: list[tuple[Callable[[web.Request], bool], Handler]] = []
        self.watchers: dict[str, list[asyncio.Queue[bytes | None]]] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        for queues in self.watchers.values():
            for queue in queues:
                queue.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def once(self, handler: Handler, *, method: str = "GET", path: str = "", watch: bool | None = None) -> None:
        """The next request like this gets this answer."""
        self.scripts.append((_matcher(method, path, watch), handler))

    def always(self, handler: Handler, *, method: str = "GET", path: str = "", watch: bool | None = None) -> None:
        self.rules.append((_matcher(method, path, watch), handler))

    def put(self, plural: str, body: dict[str, object], *, tell: bool = True) -> None:
        """Store an object and tell the watchers."""
        self.version += 1
        meta = dict(body["metadata"], resourceVersion=str(self.version))  # type: ignore[call-overload]
        body = dict(body, metadata=meta)
        known = meta["name"] in self.collections.setdefault(plural, {})
        self.collections[plural][meta["name"]] = body
        if tell:
            self.say(plural, event("MODIFIED" if known else "ADDED", body))

    def delete(self, plural: str, name: str) -> None:
        self.say(plural, event("DELETED", self.collections[plural].pop(name)))

    def say(self, plural: str, chunk: bytes) -> None:
        for queue in self.watchers.get(plural, []):
            queue.put_nowait(chunk)

    def cut(self, plural: str) -> None:
        """Drop the connections of a collection's watches."""
        for queue in self.watchers.get(plural, []):
            queue.put_nowait(None)

    def count(self, *, method: str = "GET", path: str = "", watch: bool | None = None) -> int:
        return sum(
            one == method and path in way and (watch is None or ("watch" in params) == watch)
            for one, way, params in self.requests
        )

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        self.headers.append(dict(request.headers))
        for index, (matches, handler) in enumerate(self.scripts):
            if matches(request):
                del self.scripts[index]
                return await handler(request)
        for matches, handler in self.rules:
            if matches(request):
                return await handler(request)
        plural = request.path.rpartition("/")[2]
        if request.query.get("watch"):
            return await self._watch(request, plural)
        if request.method != "GET":
            return web.json_response({"kind": "ok"})
        items = list(self.collections.get(plural, {}).values())
        return web.json_response({"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.watchers.setdefault(plural, []).append(queue)
        try:
            while (chunk := await queue.get()) is not None:
                await response.write(chunk)
        finally:
            self.watchers[plural].remove(queue)
        request.transport.abort()  # type: ignore[union-attr]
        return response


def _matcher(method: str, path: str, watch: bool | None) -> Callable[[web.Request], bool]:
    return lambda request: (
        request.method == method and path in request.path and (watch is None or bool(request.query.get("watch")) == watch)
    )


def kubeconfig(directory: Path, port: int, user: dict[str, object] | None = None, context: str = "test") -> Path:
    path = directory / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": user or {"token": "secret-token"}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(document))
    return path


@contextlib.asynccontextmanager
async def connected(
    directory: Path, *, user: dict[str, object] | None = None, clock: SystemClock | None = None
) -> AsyncIterator[tuple[FakeApi, Connection]]:
    """A fake API and a real connection to it."""
    api = FakeApi()
    await api.start()
    clusters = Clusters(kubeconfig(directory, api.port, user), clock or QuickClock())
    try:
        yield api, await clusters.connect("test")
    finally:
        await clusters.close()
        await api.stop()


async def eventually(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until ``check`` holds; fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is any state of real sockets
            await asyncio.sleep(0.005)
