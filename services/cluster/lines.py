"""Lines out of the chunks of a watch, and events out of the lines."""

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from services.cluster.answers import Garbled
from services.cluster.objects import WatchEvent

LONGEST_LINE = 8 * 1024 * 1024
"""Above what any object may weigh in a cluster (about 1.5 MiB in its store), below what would hurt."""

Events = list[WatchEvent]
"""What one chunk of a watch brought."""

_event = msgspec.json.Decoder(WatchEvent)


class Lines:
    """Cuts a byte stream into lines, however it arrives. Every byte is looked at once."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, blank ones left out. Raises ValueError for a line above the limit."""
        first, *rest = chunk.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > self._longest:
            raise ValueError(f"a line longer than {self._longest // 1024} KiB")
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts = [rest[-1]]
        self._size = len(rest[-1])
        return [line for line in lines if line.strip()]


async def events_of(chunks: AsyncIterator[bytes], server: str) -> AsyncGenerator[Events]:
    """The events of each chunk that completes any. An empty chunk gives an empty batch.

    Raises Garbled where the stream is not one of events.
    """
    lines = Lines()
    async for chunk in chunks:
        try:
            events = [_event.decode(line) for line in lines.feed(chunk)]
        except (ValueError, msgspec.DecodeError) as error:
            raise Garbled(f"{server} sent a watch that can't be read: {error}") from error
        if events or not chunk:
            yield events
