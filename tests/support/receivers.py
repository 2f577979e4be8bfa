"""Receivers of syslog over TLS and of RELP that misbehave as a test says."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from services.audit.sinks.relpframe import Frame, encode, read
from support.sinks import Authority


class TlsReceiver:
    """Reads to the end of each connection, in a thread of its own: the streams of asyncio would read ahead of it.

    ``held``: it reads nothing until that is set; ``reads``: it resets the connection after so many bytes; ``ends``: it ends the
    connection too, else it stays silent; ``waits``: it does so only after the other side has ended the connection below TLS.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.whole = 0
        """Connections that were read to their end."""
        self.held = threading.Event()
        self.held.set()
        self.reads: int | None = None
        self.ends = True
        self.waits = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:  # closed
                return
            plain.settimeout(60)
            thread = threading.Thread(target=self._serve, args=(plain, context), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._closing.set()
        self.held.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _serve(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        # Whoever hangs up in the handshake, or resets, is one of the things under test.
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            self.held.wait(60)
            while part := connection.recv(65536):
                self.data += part
                if (most := self.reads) is not None and len(self.data) >= most:
                    return  # with unread bytes left, which makes it a reset
            self.whole += 1
            if self.waits:
                with connection.unwrap() as below:
                    assert below.recv(1) == b""
            if not self.ends:
                self._closing.wait(60)


@contextlib.contextmanager
def listening(receiver: TlsReceiver, authority: Authority) -> Iterator[None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(authority.certificate), str(authority.key))
    thread = threading.Thread(target=receiver.run, args=(context,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        receiver.close()
        thread.join(10)


Reaction = Callable[[Frame, asyncio.StreamWriter], Awaitable[bool]]
"""What is done with a message; whether the connection goes on."""


class RelpReceiver:
    """Answers 200 for each message, or as ``react`` says. ``opened`` is what it answers to "open"."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[bytes] = []
        self.opened = encode(Frame(1, "rsp", b"200 OK\nrelp_version=0\nrelp_software=fake\ncommands=syslog"))
        self.react: Reaction = self.take
        self.closed = 0
        """Sessions that were closed in order."""
        self.sessions: set[asyncio.Task[None]] = set()

    async def take(self, frame: Frame, writer: asyncio.StreamWriter) -> bool:
        self.messages.append(frame.data)
        writer.write(encode(Frame(frame.number, "rsp", b"200 OK")))
        return True

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await read(reader)
            writer.write(self.opened)
            while (frame := await read(reader)).command == "syslog":
                if not await self.react(frame, writer):
                    return
            self.closed += 1
            writer.write(encode(Frame(frame.number, "rsp")) + encode(Frame(0, "serverclose")))
            await writer.drain()
        except OSError:
            return  # it hung up
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def answering(receiver: RelpReceiver) -> AsyncIterator[None]:
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        for session in receiver.sessions:
            session.cancel()
        await asyncio.gather(*receiver.sessions, return_exceptions=True)
        await asyncio.sleep(0)
