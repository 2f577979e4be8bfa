"""What a person may ask of a running driver, over a Unix socket that only the same user can reach: JSON lines, each answered.

The socket carries no authority of its own: whoever may open it runs as the driver's user. Its directory is private.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from services.model.errors import NeedsAttention, QuarterdeckError
from services.rollout.home import socket_path

_LINE_LIMIT = 16 * 1024
_AGAIN = 0.05
"""Wall seconds between two attempts at a driver that does not listen yet."""


class Intent(StrEnum):
    """``promote`` ends the wait under way early; ``abort`` and ``rollback`` restore what was there before."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    ROLLBACK = "rollback"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    intent: Intent
    operator: str
    reason: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``ok`` with what happens now, or the reason why not."""

    ok: bool
    detail: str


async def send(home: Path, rollout_id: str, ask: Ask, *, timeout: float = 5.0, begun: bool = True) -> Answer:
    """Ask the driver of ``rollout_id``; where that has not ``begun``, it may take a part of ``timeout`` (wall seconds) until it
    listens. Raises :class:`NeedsAttention` where no driver of this home answers."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connected(socket_path(home, rollout_id), begun=begun)
            try:
                writer.write(msgspec.json.encode(ask) + b"\n")
                await writer.drain()
                return msgspec.json.decode(await reader.readline(), type=Answer)
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.DecodeError) as error:
        raise NeedsAttention(
            f"{ask.intent} did not reach the driver of {rollout_id}",
            f"Nobody answered on its socket ({type(error).__name__}).",
            f"Resume it with `quarterdeck drive {rollout_id} --take-over`, or roll back.",
        ) from error


async def _connected(path: Path, *, begun: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_unix_connection(str(path), limit=_LINE_LIMIT)
        except (FileNotFoundError, ConnectionRefusedError):
            if begun:
                raise
        await asyncio.sleep(_AGAIN)


class IntentServer:
    """Listens for intents until :meth:`close`; each is answered by ``handle``."""

    def __init__(self, home: Path, rollout_id: str, handle: Callable[[Ask], Awaitable[Answer]]) -> None:
        self._path = socket_path(home, rollout_id)
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def open(self) -> None:
        """Take the socket over from a driver that died. Raises :class:`NeedsAttention` where the directory is not ours alone."""
        private_directory(self._path.parent)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=_LINE_LIMIT)
        self._path.chmod(0o600)
        self._inode = self._path.stat().st_ino

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # A driver that took over has put its own socket there meanwhile; that one stays.
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            return  # the console went away, or sent a line above the limit: its own loss, it got no answer
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            ask = msgspec.json.decode(line, type=Ask)
        except msgspec.DecodeError as error:
            return Answer(ok=False, detail=f"not an intent: {error}")
        try:
            return await self._handle(ask)
        except QuarterdeckError as error:
            return Answer(ok=False, detail=str(error))


def private_directory(path: Path) -> None:
    """Create ``path`` for this user alone, and refuse one that somebody else prepared under the shared temporary directory."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise NeedsAttention(
            f"{path} is not a private directory of this user", "Intents would be open to others.", "Remove it and try again."
        )
