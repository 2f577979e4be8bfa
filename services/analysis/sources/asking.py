"""One question to a metrics server that may be down, slow, redirecting, refusing or talking nonsense: one answer or a reason."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from services.model.errors import Unavailable
from services.model.objects import Json

MOST_BYTES = 16 * 1024 * 1024
"""The longest body that is read: a few ten thousand series."""
_SAID = 300


class NoData(Exception):
    """No usable answer. The text says why, for a person: one line, cut, inert, nothing of the request's headers."""


class QueryRefused(NoData):
    """The server understood that it is asked, and says that the query is wrong."""


class Site:
    """One server. ``transport`` replaces the network in tests. Nothing is asked again: the next look is the next try."""

    def __init__(
        self,
        url: str,
        *,
        seconds: float,
        ca_file: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.host = urlsplit(url).netloc
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._ca_file = ca_file
        self._transport = transport
        self._most_bytes = most_bytes
        self._client: httpx.AsyncClient | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: Json = None,
    ) -> tuple[int, bytes]:
        """Status and body, within the time that the settings give. Raises :class:`NoData`.

        Redirects are not followed: an answer from elsewhere is not an answer, and the credentials are for this host alone.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(method, path, headers, query, form, document)
        except TimeoutError:
            raise NoData(f"{self.host} gave no answer within {self._seconds:g} s") from None
        except httpx.TimeoutException:
            raise NoData(f"{self.host} gave no answer within {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoData(f"{self.host} can't be reached ({type(error).__name__}: {inert(str(error))})") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
        document: Json,
    ) -> tuple[int, bytes]:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._verified(), timeout=self._seconds, follow_redirects=False, transport=self._transport
            )
        request = self._client.build_request(method, self._url + path, headers=headers, params=query, data=form, json=document)
        response = await self._client.send(request, stream=True)
        try:
            if response.is_redirect:
                raise NoData(f"{self.host} answered with a redirect ({response.status_code}) instead of data")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._most_bytes:
                    raise NoData(f"{self.host} answered with more than {self._most_bytes // 2**20} MiB")
            return response.status_code, bytes(body)
        finally:
            await response.aclose()

    def _verified(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self._ca_file))
        except (OSError, ssl.SSLError) as error:
            raise NoData(f"{self._ca_file} can't be used as an authority ({inert(str(error))})") from None


def secret_missing(error: Unavailable) -> NoData:
    """A secret that is not there is no data, with its reason."""
    return NoData(inert(f"{error.title}: {error.detail}" if error.detail else error.title))


def inert(text: str) -> str:
    """``text`` of another side as one line that can do nothing, cut."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _SAID]).split())
    return line if len(line) <= _SAID else line[: _SAID - 1] + "…"
