"""Requests to one API server: credentials, timeouts, retries and errors, with raw bytes in and out.

This can send anything, so it stays in this room: the house reads through ``connection``, the two doors write through
``writer``.
"""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.clock import Clock
from services.cluster.answers import Silent, refusal
from services.cluster.calls import GIVEN_UP
from services.cluster.credentials import Credentials, CredentialSource
from services.cluster.sockets import Pool
from services.model.errors import OutcomeUnknown, QuarterdeckError, Throttled, Unavailable

if TYPE_CHECKING:
    import aiohttp

    from services.cluster.calls import CallLog

CONNECT_SECONDS = 3.0
DEFAULT_SECONDS = 10.0
MOST_BYTES = 64 * 1024 * 1024
"""The longest answer that is read."""

REVIEWS = "/apis/authorization.k8s.io/v1/"
_RETRIES = 4
_RETRY_FIRST, _RETRY_MOST = 0.1, 2.0
_RELOAD_SECONDS = 5.0
"""Refused, unloadable or expired credentials are not loaded again sooner: a plugin may cost seconds, or a browser window."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Flight:
    """What is known of one request under way."""

    sent: bool = False
    status: int | None = None
    """Of the last answer."""
    on_sent: Callable[[], None] | None = None

    def leave(self) -> None:
        self.sent = True
        if self.on_sent is not None:
            self.on_sent()


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``what`` names it for people."""

    method: str
    path: str
    what: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    retry: bool = True
    """Ask again where that is harmless: reads after a hiccup, anything after 429 (it was not applied)."""
    compressed: bool = False
    passes: bool = False
    """Hand back refusals as answers instead of raising."""
    on_sent: Callable[[], None] | None = None
    """Called once the request has left: there is a connection, and what is missing is the answer."""

    @property
    def writes(self) -> bool:
        return self.method != "GET" and "dryRun" not in self.params

    @property
    def asks(self) -> bool:
        """It has a body and changes nothing: an access review."""
        return self.method == "POST" and self.path.startswith(REVIEWS)


class Transport:
    """Requests to the API server of one context. Nothing is loaded or connected before the first request."""

    def __init__(self, context: str, source: CredentialSource, clock: Clock, calls: "CallLog | None" = None) -> None:
        self.context = context
        self._calls = calls
        self._source = source
        self._clock = clock
        self._pool: Pool | None = None
        self._closed = False
        self._retired: list[Pool] = []
        self._credentials: Credentials | None = None
        self._stale = False
        self._loading: asyncio.Task[Credentials] | None = None
        self._loaded_at = 0.0
        self._refused_at = -_RELOAD_SECONDS
        self._failure: Unavailable | None = None
        self.versions: dict[str, str] = {}
        """The served version of kinds that not every server serves alike, by kind, once it is known."""

    @property
    def server(self) -> str:
        """URL of the API server, or the context's name before it is known."""
        return self._credentials.server if self._credentials is not None else self.context

    async def request(self, request: Request, seconds: float = DEFAULT_SECONDS) -> Answer:
        """Send it and read the whole answer within ``seconds`` (wall), retries included.

        Raises the errors of ``services/model/errors``; a write whose answer was lost raises OutcomeUnknown.
        """
        flight = _Flight(on_sent=request.on_sent)
        started = self._clock.monotonic()
        try:
            answer = await self._answered(request, flight, seconds)
        except QuarterdeckError as error:
            self._note(request, flight, started, error.title)
            raise
        except asyncio.CancelledError:
            self._note(request, flight, started, GIVEN_UP)
            raise
        self._note(request, flight, started)
        return answer

    def _note(self, request: Request, flight: _Flight, started: float, problem: str = "") -> None:
        """Keep the call and what became of it, where calls are kept."""
        if self._calls is not None:
            took = self._clock.monotonic() - started
            self._calls.note(self.context, request, status=flight.status, seconds=took, problem=problem)

    async def _answered(self, request: Request, flight: _Flight, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._current()  # loaded off the loop, and with it the HTTP library
                return await self._with_retries(request, flight, limit)
        except TimeoutError as error:
            if self._loading is not None and not flight.sent:
                title = f"the credentials of context {self.context} are still being loaded after {seconds:g} s"
                raise Unavailable(
                    title, f"{request.what} was not sent.", "Finish signing in where its plugin asks for it."
                ) from error
            raise self._lost(request, flight, f"{self.server} did not answer within {seconds:g} s") from error

    async def stream(self, request: Request, quiet_seconds: float) -> AsyncGenerator[bytes]:
        """Chunks of an endless answer, until the server ends it; the first one is empty, sent when the server has accepted.

        Raises Unavailable when nothing comes for ``quiet_seconds``.
        """
        flight = _Flight(on_sent=request.on_sent)
        started = self._clock.monotonic()
        try:
            async with aclosing(self._chunks(request, flight, quiet_seconds)) as chunks:
                async for chunk in chunks:
                    if not chunk:
                        self._note(request, flight, started)
                    yield chunk
        except QuarterdeckError as error:
            self._note(request, flight, started, error.title)
            raise

    async def _chunks(self, request: Request, flight: _Flight, quiet_seconds: float) -> AsyncGenerator[bytes]:
        await self._current()
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=quiet_seconds)
        try:
            async with self._opened(request, flight, timeout) as response:
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
        except _Hiccup as hiccup:
            raise hiccup.error from hiccup.__cause__
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(request, flight, error) from error

    def renew(self) -> bool:
        """Have the credentials loaded anew, as after a 401 that came as an answer (``passes``); whether asking again is worth
        it. Not oftener than every few seconds."""
        return self._credentials is not None and self._may_reload(self._credentials)

    async def close(self) -> None:
        """For good: nothing is sent after this."""
        self._closed = True
        for pool in (self._pool, *self._retired):
            if pool is not None:
                await pool.close()
        self._pool = None
        self._retired.clear()
        if (loading := self._loading) is not None:
            loading.cancel()
            await asyncio.wait([loading])  # a plugin it runs is to end before we do

    def _must_be_open(self) -> None:
        """What the closing broke off is asked again at once: of what that opens, or starts, nobody would see the end."""
        if self._closed:
            raise Unavailable(f"{self.server} is not asked any more", "The connection to it was closed.")

    async def distrust(self) -> None:
        """Send what comes next over new connections. After an outage an old one may be dead without a sign, and a request sent
        over it would wait for its whole timeout; those under way go on."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.retire()
            self._retired = [one for one in (*self._retired, pool) if one.used]

    async def _with_retries(self, request: Request, flight: _Flight, limit: asyncio.Timeout) -> Answer:
        attempt = 0
        while True:
            try:
                return await self._once(request, flight)
            except Throttled as error:
                pause = error.retry_after + random.uniform(0, 0.1)
                if not request.retry or attempt == _RETRIES or self._left(limit) < pause:
                    raise
            except _Hiccup as hiccup:
                pause = random.uniform(0, min(_RETRY_MOST, _RETRY_FIRST * 2**attempt))
                if not request.retry or request.method != "GET" or attempt == _RETRIES or self._left(limit) < pause:
                    raise hiccup.error from hiccup.__cause__
            attempt += 1
            await self._clock.sleep(pause)
            flight.sent, flight.status = False, None

    @staticmethod
    def _left(limit: asyncio.Timeout) -> float:
        when = limit.when()
        return float("inf") if when is None else when - asyncio.get_running_loop().time()

    async def _once(self, request: Request, flight: _Flight) -> Answer:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._opened(request, flight, timeout) as response:
            try:
                return Answer(response.status, response.headers, await self._body(response))
            except (aiohttp.ClientError, OSError) as error:
                raise _Hiccup(self._broken(request, flight, error)) from error

    @contextlib.asynccontextmanager
    async def _opened(
        self, request: Request, flight: _Flight, timeout: "aiohttp.ClientTimeout"
    ) -> AsyncIterator["aiohttp.ClientResponse"]:
        """The response once its status says that it is what was asked for. 401 is answered once with fresh credentials."""
        import aiohttp

        fresh = False
        while True:
            credentials = await self._current()
            self._must_be_open()
            if self._pool is None:
                self._pool = Pool()
            async with self._pool.session() as session:
                try:
                    response = await self._send(session, credentials, request, flight, timeout)
                except aiohttp.ClientConnectorError as error:
                    raise self._unreachable(request, error) from error
                except (aiohttp.ClientError, OSError) as error:
                    raise _Hiccup(self._broken(request, flight, error)) from error
                flight.status = response.status
                async with response:
                    with _let_go(response):
                        if response.status == 401 and not request.passes and not fresh and self._may_reload(credentials):
                            fresh = True
                            continue
                        if response.status >= 400 and not request.passes:
                            raise self._refused(request, response, await self._body(response))
                        yield response
                    return

    async def _send(
        self,
        session: "aiohttp.ClientSession",
        credentials: Credentials,
        request: Request,
        flight: _Flight,
        timeout: "aiohttp.ClientTimeout",
    ) -> "aiohttp.ClientResponse":
        from yarl import URL

        headers = dict(credentials.headers)
        headers["Accept"] = "application/json"
        headers["User-Agent"] = "quarterdeck"  # what managedFields and the server's own audit log name us
        if not request.compressed:
            headers["Accept-Encoding"] = "identity"
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        url = URL(credentials.server + request.path, encoded=True)
        return await session.request(
            request.method,
            url.with_query(dict(request.params)) if request.params else url,
            headers=headers,
            data=request.body,
            timeout=timeout,
            ssl=credentials.tls if credentials.tls is not None else True,
            server_hostname=credentials.server_hostname,
            proxy=credentials.proxy,
            allow_redirects=False,
            trace_request_ctx=flight,
        )

    async def _body(self, response: "aiohttp.ClientResponse") -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > MOST_BYTES:
                raise Unavailable(f"{self.server} sent an answer longer than {MOST_BYTES // 2**20} MiB")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _current(self) -> Credentials:
        """Credentials that should work now, loaded at most once at a time whoever waits for them."""
        credentials = self._credentials
        if credentials is not None and not self._stale and not self._due(credentials):
            return credentials
        if self._loading is None:
            if self._failure is not None and self._clock.monotonic() - self._loaded_at < _RELOAD_SECONDS:
                raise self._failure
            self._must_be_open()
            self._loading = asyncio.create_task(self._load())
            self._loading.add_done_callback(_seen)
        return await asyncio.shield(self._loading)

    def _due(self, credentials: Credentials) -> bool:
        """Whether they are about to expire. By a clock that is ahead of whoever issued them they always are."""
        if credentials.refresh_after is None or self._clock.unix() < credentials.refresh_after:
            return False
        return self._clock.monotonic() - self._loaded_at >= _RELOAD_SECONDS

    async def _load(self) -> Credentials:
        try:
            self._credentials = await self._source.load()
            self._stale = False
            self._failure = None
            return self._credentials
        except Unavailable as error:
            self._failure = error
            raise
        finally:
            self._loaded_at = self._clock.monotonic()
            self._loading = None

    def _may_reload(self, refused: Credentials) -> bool:
        """Whether a 401 is worth another try: newer credentials are here or on their way, or it is time to load them again."""
        if self._credentials is not refused or self._stale:
            return True
        if self._clock.monotonic() - self._refused_at < _RELOAD_SECONDS:
            return False
        self._refused_at = self._clock.monotonic()
        self._stale = True
        return True

    def _refused(self, request: Request, response: "aiohttp.ClientResponse", body: bytes) -> Exception:
        error = refusal(
            response.status,
            body,
            response.headers,
            context=self.context,
            server=self.server,
            what=request.what,
            content_type=request.content_type,
            now=self._clock.unix(),
        )
        if response.status < 500:
            return error
        if request.writes:
            return OutcomeUnknown(error.title, error.detail, _LOOK)
        return _Hiccup(error)

    def _unreachable(self, request: Request, error: "aiohttp.ClientConnectorError") -> Unavailable:
        cause = error.os_error
        certificate = getattr(error, "certificate_error", None) or cause
        if isinstance(certificate, ssl.SSLCertVerificationError):
            title = f"the certificate of {self.server} is not trusted: {certificate.verify_message or certificate.reason}"
        elif isinstance(cause, ConnectionRefusedError):
            title = f"connection refused by {self.server}"
        elif isinstance(cause, socket.gaierror):
            title = f"the name of {self.server} can't be resolved: {cause.strerror}"
        else:
            title = f"no connection to {self.server}: {cause.strerror or cause}"
        return Unavailable(title, f"{request.what} was not sent.", "Check the network, and whether the API server runs.")

    def _broken(self, request: Request, flight: _Flight, error: Exception) -> Unavailable:
        if isinstance(error, TimeoutError):
            return self._lost(request, flight, f"{self.server} did not answer in time")
        return self._lost(request, flight, f"{self.server} broke the connection ({str(error) or type(error).__name__})")

    def _lost(self, request: Request, flight: _Flight, title: str) -> Unavailable:
        if request.writes and flight.sent:
            return OutcomeUnknown(title, f"{request.what} was sent; whether it took effect is unknown.", _LOOK)
        detail = f"{request.what} {'was sent' if flight.sent else 'was not sent'}."
        return Silent(title, detail, "Check the network, and whether the API server runs.")


_LOOK = "Look at the object before doing anything else."


class _Hiccup(Exception):
    """A failure that may be gone at the next try; carries the error to raise if it is not."""

    def __init__(self, error: QuarterdeckError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _let_go(response: "aiohttp.ClientResponse") -> Iterator[None]:
    """An answer that is given up in its middle takes its connection along at once: TLS would wait for a good-bye, which a server
    that is gone never says. One that was read to its end has left its connection to the next request."""
    try:
        yield
    except BaseException:
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        raise


def _seen(task: "asyncio.Task[Credentials]") -> None:
    """Everybody who waited may have been cancelled: the failure is kept, not reported by the loop as forgotten."""
    if not task.cancelled():
        task.exception()
