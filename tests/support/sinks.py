"""Entries to be shipped, and servers on loopback that take them and can misbehave in every way a real one does."""

import asyncio
import contextlib
import gzip
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import trustme
from aiohttp import web

from services.audit.entry import Moment, draft
from services.audit.event import Event
from services.audit.sinks.base import Record
from services.redaction import Redactor
from support.clock import ManualClock

JOURNAL = "5b6f0c1e-6d0a-4b53-9a52-0c6f2f4f2a11"
NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""When ``ManualClock`` begins."""
TOKEN = "tok-4711-very-secret"


class LeapingClock(ManualClock):
    """Whoever sleeps wakes at once, and the time has passed."""

    async def sleep(self, seconds: float) -> None:
        self._elapsed += seconds
        await asyncio.sleep(0)


def record(seq: int = 1, *, at: float | None = None, substitute: bool = False, **fields: Any) -> Record:
    """An entry as the journal stores it, of ``at`` (Unix seconds)."""
    clock = ManualClock()
    clock._elapsed = (NOW if at is None else at) - NOW
    known = {"event": "deployment.started", "user": "jane", "environment": "production", "service": "payment-service"}
    event = Event(**{**known, "version": "v2.15.0", **fields})
    body = draft(event, Moment.of(clock), redactor=Redactor(b"k" * 32), program="test").body(seq)
    return Record(
        journal=JOURNAL,
        seq=seq,
        hash=hashlib.sha256(body).hexdigest(),
        body=body,
        timestamp=clock.unix(),
        fields=msgspec.json.decode(body),
        substitute=substitute,
    )


def records(number: int, first: int = 1) -> list[Record]:
    return [record(seq, at=NOW + seq / 1000) for seq in range(first, first + number)]


Handled = Callable[[web.Request, bytes], web.Response]
Fault = Callable[[web.Request, bytes, Handled], Any]
"""What is done instead of handling a request; it may be handled all the same before the answer goes wrong."""


def status(code: int, body: bytes | str = b"", **headers: str) -> Fault:
    """That answer, and nothing else happens."""
    content = body.encode() if isinstance(body, str) else body
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, sent, handled: web.Response(status=code, body=content, headers=names)


def lost(request: web.Request, sent: bytes, handled: Handled) -> web.Response:
    """Stored, and then the connection breaks before the answer."""
    handled(request, sent)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def swallowed(request: web.Request, sent: bytes, handled: Handled) -> web.Response:
    """Not stored, and the connection breaks."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request, sent: bytes, handled: Handled) -> web.StreamResponse:
    """Stored, and the answer breaks in its middle."""
    whole = handled(request, sent)
    body = whole.body if isinstance(whole.body, bytes) and len(whole.body) > 1 else b"{}"
    broken = web.StreamResponse(status=whole.status, headers={"Content-Length": str(len(body))})
    await broken.prepare(request)
    await broken.write(body[: len(body) // 2])
    assert request.transport is not None
    await asyncio.sleep(0)
    request.transport.abort()
    return broken


async def slow(request: web.Request, sent: bytes, handled: Handled) -> web.Response:
    """Stored, and never answered."""
    handled(request, sent)
    await asyncio.sleep(3600)
    return web.Response()


garbage = status(200, "<html>welcome</html>", Content_Type="text/html")
"""Somebody else's page: 200, and nothing stored."""
unpackable = status(200, b"\x1f\x8bnot gzip", Content_Encoding="gzip")


class Fake:
    """``faults`` befall the next requests in order; after them ``handle`` answers. ``seen`` holds what arrived, unpacked."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.seen: list[tuple[web.Request, bytes]] = []
        self.url = ""

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        raise NotImplementedError

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)  # aiohttp unpacks by itself; a body that it left packed is unpacked here
        self.seen.append((request, body))
        if not self.faults:
            return self.handle(request, body)
        found = self.faults.pop(0)(request, body, self.handle)
        answer: web.StreamResponse = await found if asyncio.iscoroutine(found) else found
        return answer


@contextlib.asynccontextmanager
async def serving(fake: Fake, tls: Any = None) -> AsyncIterator[None]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", fake._serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield
    finally:
        await runner.cleanup()


class Authority:
    """A certificate authority of the test's own, a server's certificate for loopback and a client's."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("console@quarterdeck.test")
        self.ca = directory / "ca.pem"
        self.certificate, self.key = directory / "server.pem", directory / "server.key"
        self.client = directory / "client.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        server.private_key_pem.write_to_path(str(self.key))
        self.certificate.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client))
        self.server = server
        self.authority = authority
