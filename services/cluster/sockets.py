"""The HTTP connections to API servers: how long they are kept, and how soon a dead one is noticed."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

_KEEP_IDLE_SECONDS = 30.0
"""Below the idle limits of API servers and balancers, above the inventory's heartbeat: a rollback finds an open connection."""


class Pool:
    """Connections to one server, opened when they are needed. ``retire`` lets them be used to the end by who has them, and by
    nobody else: what comes next needs another pool."""

    def __init__(self) -> None:
        self._session = _new_session()
        self._users = 0
        self._retired = False

    @property
    def used(self) -> bool:
        return self._users > 0

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator["aiohttp.ClientSession"]:
        """For one request, from its sending to the end of its answer."""
        self._users += 1
        try:
            yield self._session
        finally:
            self._users -= 1
            if self._retired and not self._users:
                await self._session.close()

    async def retire(self) -> None:
        self._retired = True
        if not self._users:
            await self._session.close()

    async def close(self) -> None:
        """At once, whatever is under way: no server is asked to say good-bye to TLS, which one that is gone never does."""
        if self._session.connector is not None:
            await self._session.connector.close(abort_ssl=True)
        await self._session.close()


def _new_session() -> "aiohttp.ClientSession":
    """A session that tells a request's flight (its trace context) when its headers have left."""
    import aiohttp

    async def headers_sent(_session: Any, context: Any, _parameters: Any) -> None:
        context.trace_request_ctx.leave()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(headers_sent)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_IDLE_SECONDS, socket_factory=_socket)
    return aiohttp.ClientSession(
        connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**20, max_line_size=2**16
    )


def _socket(address: Any) -> socket.socket:
    """A socket on which a peer that vanished is noticed within about 25 s, however quiet a watch is."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
