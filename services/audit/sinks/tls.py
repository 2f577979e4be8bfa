"""TLS for protocols that are not HTTP: the context, and a connection that is ended so that nothing of it is lost.

``close()`` of asyncio's streams ends a connection whether or not the other side has read what was sent: measured, a receiver then
lost 48 of 50 messages. So the end is made by hand here: close-notify, half-close, and waiting for the other side's own end.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from services.audit.sinks.base import Delivery, Trouble

_CHUNK = 64 * 1024
_NOTIFIED_SECONDS = 1.0
_LISTEN_SECONDS = 1.0


def context(ca_file: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | Delivery:
    """Verifies the server, by ``ca_file`` alone where it is given, and shows it a certificate of ours where there is one.

    The trouble instead, where a file can't be used.
    """
    try:
        made = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        return Delivery(trouble=Trouble.HOLD, detail=f"{ca_file} can't be used as an authority: {error}")
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            # Without an answer of ours the library asks for a password on the terminal, in the middle of the screen.
            made.load_cert_chain(str(certificate), str(key) if key else None, password="")
        except (OSError, ssl.SSLError) as error:
            return Delivery(trouble=Trouble.HOLD, detail=f"{certificate} can't be used as our certificate: {error}")
    return made


def trouble(host: str, error: BaseException, inert: Callable[[str], str]) -> Delivery:
    """What a connection that failed means: a certificate is for a person to mend, all else may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = inert(f"the certificate of {host} is not valid here: {error.verify_message}")
        return Delivery(trouble=Trouble.HOLD, detail=detail)
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE"):
            return Delivery(trouble=Trouble.HOLD, detail=f"{host} does not speak TLS")
        if "ALERT" in (error.reason or ""):
            return Delivery(trouble=Trouble.HOLD, detail=inert(f"{host} refuses our side of TLS: {error.reason}"))
    if isinstance(error, TimeoutError):
        return Delivery(trouble=Trouble.UNREACHABLE, detail=f"{host} gave no answer in time")
    said = inert(f"{host} can't be reached ({type(error).__name__}: {error})").replace(": )", ")")
    return Delivery(trouble=Trouble.UNREACHABLE, detail=said)


async def refusal(tls: ssl.SSLContext, host: str, port: int, seconds: float) -> ssl.SSLError | None:
    """Why the other side does not take our side of TLS, asked without sending anything; ``None`` where it says nothing."""
    connection = None
    try:
        async with asyncio.timeout(seconds):
            connection = await TlsConnection.open(tls, host, port)
            await connection.handshake()
            await connection.listen()
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError):
        return None
    finally:
        if connection is not None:
            connection.abandon()
    return None


class TlsConnection(asyncio.Protocol):
    """One connection that is written to and then ended. Raises ``OSError``, ``ssl.SSLError`` among them."""

    def __init__(self, tls: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._lost: BaseException | None = None
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(cls, tls: ssl.SSLContext, host: str, port: int) -> "TlsConnection":
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(tls, host), host, port)
        return connection

    async def handshake(self) -> None:
        await self._drive(self._tls.do_handshake)

    async def listen(self) -> None:
        """Give the other side time for a word about our certificate: with TLS 1.3 it comes after the handshake, and whoever
        writes at once never sees it, for the reset that follows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LISTEN_SECONDS):
                await self._more()
        self._check()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _CHUNK):
            await self._drive(partial(self._tls.write, view[at : at + _CHUNK]))

    async def end(self) -> None:
        """Say that nothing follows, and wait until the other side has read it all and ends too."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()  # close-notify is on its way out then, and the other side's own still to come
        await self._flush()
        # Most end at once. To half-close before they had the time would be cut off by what lies between: not all of it can.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTIFIED_SECONDS):
                await self._until_ended()
        if not self._ended and self._transport is not None:
            self._transport.write_eof()
            await self._until_ended()

    async def _until_ended(self) -> None:
        self._check()
        while not self._ended:
            await self._more()
            self._check()

    def abandon(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._changed.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._changed.set()
        return True  # we may still have something to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("the other side ended the connection")
        self._ended = True
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _drive(self, step: Callable[[], object]) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                await self._flush()
                if self._ended and not self._incoming.pending:
                    raise self._lost or ConnectionResetError("the other side ended the connection") from None
                await self._more()
            except ssl.SSLError:
                await self._flush()  # the alert that tells the other side why
                raise
            else:
                await self._flush()
                return

    async def _more(self) -> None:
        """Wait until the other side has said something, or ended."""
        if not self._incoming.pending and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    async def _flush(self) -> None:
        if (data := self._outgoing.read()) and self._transport is not None:
            self._transport.write(data)
        await self._writable.wait()
        if self._lost is not None:
            self._check()

    def _check(self) -> None:
        """Raises the alert that the other side sent, else what the connection was lost to."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while self._tls.read(_CHUNK):
                """A receiver of syslog says nothing; what it says all the same is not for us."""
        if self._lost is not None:
            raise self._lost
