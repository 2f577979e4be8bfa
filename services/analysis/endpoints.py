"""How pods and services are asked over HTTP: through their API server's proxy, or at an address made from a template."""

from typing import Protocol
from urllib.parse import quote

import httpx

from services.model.errors import QuarterdeckError, Unavailable

MOST_BYTES = 4 * 1024 * 1024
"""The longest body that is read."""


class NoAnswer(Unavailable):
    """Nothing answered at the address itself (refused, reset, too slow): the other side's fault as far as can be told."""


class TooLong(Unavailable):
    """The body is longer than :data:`MOST_BYTES`."""


class Proxy(Protocol):
    """The part of a cluster's connection that is needed here."""

    async def proxy(
        self, namespace: str, kind: str, name: str, port: int | str, path: str, timeout: float = ...
    ) -> tuple[int, bytes]:
        """``GET path`` of a pod or service: status and body. Raises :class:`Unavailable`."""

    async def latency(self) -> float:
        """Seconds that the API server takes to answer. Raises :class:`Unavailable`."""


class Endpoint(Protocol):
    async def get(self, namespace: str, name: str, path: str, *, timeout: float) -> tuple[int, bytes]:
        """``GET path`` of ``name``: status and body. ``timeout`` in wall seconds. Raises :class:`Unavailable`."""

    async def reachable(self) -> bool:
        """Whether the way to the pods works, whatever the pods do."""

    async def close(self) -> None: ...


class Proxied:
    """Through the API server. ``kind`` is ``pods`` or ``services``."""

    def __init__(self, connection: Proxy, kind: str, port: int | str) -> None:
        self._connection = connection
        self._kind = kind
        self._port = port

    async def get(self, namespace: str, name: str, path: str, *, timeout: float) -> tuple[int, bytes]:
        status, body = await self._connection.proxy(namespace, self._kind, name, self._port, path, timeout)
        if len(body) > MOST_BYTES:
            raise _too_long(name)
        return status, body

    async def reachable(self) -> bool:
        try:
            await self._connection.latency()
        except QuarterdeckError:
            return False
        return True

    async def close(self) -> None:
        """The connection belongs to whoever gave it."""


class Templated:
    """At ``template`` with ``{namespace}`` and ``{pod}`` or ``{service}`` filled in, followed by the path where ``appends_path``.

    Redirects are not followed and proxies of the environment not used: what answers must be the pod itself.
    """

    def __init__(self, template: str, *, appends_path: bool) -> None:
        self._template = template
        self._appends_path = appends_path
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False)

    async def get(self, namespace: str, name: str, path: str, *, timeout: float) -> tuple[int, bytes]:
        safe = quote(name, safe="")
        url = self._template.format(namespace=quote(namespace, safe=""), pod=safe, service=safe)
        if self._appends_path:
            url = url.rstrip("/") + "/" + path.lstrip("/")
        try:
            async with self._client.stream("GET", url, timeout=timeout) as response:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise _too_long(name)
                return response.status_code, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(f"{name} did not answer", f"GET {url}: {error or type(error).__name__}") from error

    async def reachable(self) -> bool:
        # There is nothing between us and the pod that could be asked.
        return True

    async def close(self) -> None:
        await self._client.aclose()


def _too_long(name: str) -> TooLong:
    return TooLong(f"{name} answered with more than {MOST_BYTES // 2**20} MiB")
