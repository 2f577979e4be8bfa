"""One request to a sink that speaks HTTP, and what its status means for a batch, whatever the product.

httpx rather than the products' own clients: those retry, pool nodes and reinterpret answers by themselves, and all that is the
shipper's; what is left of each is some thirty lines.
"""

import asyncio
import gzip
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from services.audit.sinks.base import Delivery, Probe, Trouble
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.secrets import SecretRef, SecretUnavailable
from services.settings.section import is_loopback

CONNECT_SECONDS = 3.0
MOST_BYTES = 8 * 1024 * 1024
"""Of an answer: a bulk answer of 500 entries that all failed has some 200 KiB."""
MOST_WAIT = 60.0
"""Wall seconds of a ``Retry-After`` that are honoured at most."""
_SAID = 300
_GZIP_FROM = 1024


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the other side, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The document that it holds; ``None`` where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class HttpTarget:
    """The address of a sink. ``timeout`` is the whole of one request, in wall seconds."""

    def __init__(
        self,
        url: str,
        *,
        secrets: SecretGuard,
        clock: Clock,
        timeout: float,
        ca_file: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._secrets = secrets
        self._clock = clock
        self._timeout = timeout
        self._ca_file = ca_file
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    @property
    def host(self) -> str:
        return urlsplit(self._url).netloc

    def reveal(self, secret: SecretRef) -> str:
        """The secret, looked up now, so that it may be changed while we run. Raises :class:`SecretUnavailable`."""
        return secret.reveal(self._secrets)

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], content: bytes = b"", compress: bool = True
    ) -> Reply | Delivery:
        """The answer, or the trouble there was before any came. Never raises for what the other side does."""
        for name, value in headers.items():
            if not value.isascii() or not value.isprintable():
                # Whoever tries would fail with an error, and a line of a log, that quotes the value: a secret mostly.
                return Delivery(trouble=Trouble.HOLD, detail=f"what {name} should hold has characters that no header can carry")
        sent = dict(headers)
        if compress and len(content) >= _GZIP_FROM:
            # Level 1: a tenth of the time of the default for nearly its size.
            content, sent["Content-Encoding"] = gzip.compress(content, 1), "gzip"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(method, path, sent, content)
        except (TimeoutError, httpx.TimeoutException):
            return Delivery(trouble=Trouble.UNREACHABLE, detail=f"{self.host} gave no answer within {self._timeout:g} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            return Delivery(trouble=Trouble.HOLD, detail=self.inert(f"{self.host} can't be asked: {error}"))
        except httpx.HTTPError as error:
            return self._unreachable(error)

    def troubled(self, reply: Reply) -> Delivery | None:
        """What the status alone says about a whole batch; ``None`` for 2xx, where the body has the word."""
        status = reply.status
        if 200 <= status < 300:
            return None
        detail = self.inert(f"{self.host} answered {status}: {reply.body[: 4 * _SAID].decode('utf-8', 'replace')}".rstrip(": "))
        if status == 413:
            return Delivery(trouble=Trouble.TOO_LARGE, detail=detail)
        if status in (408, 425, 429) or status >= 500:
            after = self._retry_after(reply.headers.get("retry-after", ""))
            return Delivery(trouble=Trouble.BUSY, detail=detail, retry_after=after)
        if status in (401, 402, 403, 404, 405, 407, 410) or status < 400:
            return Delivery(trouble=Trouble.HOLD, detail=detail)
        return Delivery(trouble=Trouble.SUSPECT, detail=detail)

    def inert(self, text: str) -> str:
        """``text`` of the other side as one line that can do nothing and holds no secret, cut."""
        text = self._secrets.text(text)
        line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _SAID]).split())
        return line if len(line) <= _SAID else line[: _SAID - 1] + "…"

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> Reply | Delivery:
        if self._client is None:
            try:
                verify = await asyncio.to_thread(self._authorities)
            except (OSError, ssl.SSLError) as error:
                detail = self.inert(f"{self._ca_file} can't be used as an authority: {error}")
                return Delivery(trouble=Trouble.HOLD, detail=detail)
            # Others that asked at the same time may have made it meanwhile; one that was made twice would never be closed.
            self._client = self._client or self._opened(verify)
        request = self._client.build_request(method, self._url + path, headers=headers, content=content)
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    detail = f"{self.host} answered with more than {MOST_BYTES // 2**20} MiB"
                    return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
            return Reply(status=response.status_code, headers=response.headers, body=bytes(body))
        finally:
            await response.aclose()

    def _opened(self, verify: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=verify,
            timeout=httpx.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout)),
            follow_redirects=False,
            transport=self._transport,
            # What is on this machine is never behind a proxy.
            trust_env=not is_loopback(self._url),
        )

    def _authorities(self) -> ssl.SSLContext:
        """Who may vouch for the server. Reading them all takes a while: not for the loop, and nothing to do where nothing is
        encrypted."""
        if self._url.startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return ssl.create_default_context(cafile=str(self._ca_file)) if self._ca_file else httpx.create_ssl_context()

    def _unreachable(self, error: httpx.HTTPError) -> Delivery:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                detail = self.inert(f"the certificate of {self.host} is not valid here: {cause.verify_message}")
                return Delivery(trouble=Trouble.HOLD, detail=detail)
            if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
                return Delivery(trouble=Trouble.HOLD, detail=f"{self.host} does not speak TLS")
            cause = cause.__cause__ or cause.__context__
        said = self.inert(f"{self.host} can't be reached ({type(error).__name__}: {error})")
        return Delivery(trouble=Trouble.UNREACHABLE, detail=said.replace(": )", ")"))

    def _retry_after(self, text: str) -> float | None:
        """RFC 9110, 10.2.3: seconds or an HTTP date."""
        if text.isascii() and text.isdigit():
            return min(MOST_WAIT, float(text[:9]))
        try:
            return min(MOST_WAIT, max(0.0, parsedate_to_datetime(text).timestamp() - self._clock.unix()))
        except (ValueError, TypeError, OverflowError):
            return None


def secret_missing(error: SecretUnavailable) -> Delivery:
    """A secret that is not there: for a person to mend."""
    return Delivery(trouble=Trouble.HOLD, detail=f"{error.title}: {error.detail}".strip(": "))


def probe_of(delivery: Delivery) -> Probe:
    """What a trouble means to who asks whether entries would be taken."""
    hints = {
        Trouble.UNREACHABLE: "Check the address and the network; entries are kept and sent when it answers.",
        Trouble.BUSY: "It answers but takes nothing now; entries are kept and sent later.",
        Trouble.HOLD: "Correct the address, the credentials or the certificate of this sink.",
    }
    said = hints.get(delivery.trouble, "") if delivery.trouble else ""
    return Probe(ok=False, detail=delivery.detail, hint=said or "Correct this sink's configuration.")
