"""A network that can fail: a TCP proxy before a server, which cuts, swallows or strands what goes through it."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import StrEnum


class Line(StrEnum):
    """What becomes of the bytes."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, new ones refused: a router that says so, a server that was killed."""
    BLACK_HOLE = "black hole"
    """Nothing arrives and nobody is told; what was sent arrives once the line is open again, as TCP sends it anew."""
    HALF_OPEN = "half-open"
    """The other end is gone for good without a word: connections of that time stay silent for ever, new ones after it work."""


class Proxy:
    """``port`` on loopback leads to ``target``; ``set`` says how well, from any thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._line = Line.OPEN
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._call(self._turn(Line.OPEN))

    def set(self, line: Line) -> None:
        self._call(self._turn(line))

    def close(self) -> None:
        self._call(self._turn(Line.CUT))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: "asyncio.coroutines._CoroutineLike[None]") -> None:  # type: ignore[name-defined]
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _turn(self, line: Line) -> None:
        before, self._line = self._line, line
        if line is not Line.CUT and self._server is None:
            await self._listen()
        if line is Line.OPEN:
            self._passes.set()
            return
        self._passes.clear()
        if line is Line.CUT:
            if self._server is not None:
                self._server.close()
                self._server = None
            await self._reset()
        if line is Line.HALF_OPEN and before is Line.OPEN:
            # the far ends go, the near ones are kept and never served again
            for task, writers in list(self._connections.items()):
                task.cancel()
                for far in writers[1:]:
                    _abort(far)

    async def _reset(self) -> None:
        tasks = list(self._connections)
        for task, writers in list(self._connections.items()):
            task.cancel()
            for writer in writers:
                _abort(writer)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._connections.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (writer,)
        stranded = self._line is Line.HALF_OPEN
        try:
            await self._passes.wait()
            if stranded:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._connections[task] = (writer, far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        if self._line is not Line.HALF_OPEN and not stranded:
            for one in self._connections.pop(task, ()):
                _abort(one)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._passes.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # one end has closed: so does the other


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            # a reset, not an orderly end: that is what a cut looks like
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


@contextlib.contextmanager
def proxies(target: int, *names: str) -> Iterator[dict[str, Proxy]]:
    """One proxy for each name, all before the same server, until the block ends."""
    made = {name: Proxy(target) for name in names}
    try:
        yield made
    finally:
        for one in made.values():
            one.close()
