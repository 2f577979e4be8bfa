"""The frames of RELP: ``TXNR SP COMMAND SP DATALEN [SP DATA] LF`` (https://github.com/rsyslog/librelp/blob/master/doc/relp.html)."""

import asyncio

import msgspec

_LAST = 999_999_999
_MOST_DATA = 128 * 1024
_DIGITS = 9
_MOST_COMMAND = 32


class NotRelp(ConnectionError):
    """What came is no frame of the protocol."""


class Frame(msgspec.Struct, frozen=True):
    number: int
    command: str
    data: bytes = b""

    @property
    def code(self) -> int:
        """Of an answer (``rsp``): the number that its data begins with; 0 where there is none."""
        first = self.data[:3]
        return int(first) if len(first) == 3 and first.isdigit() else 0


def encode(frame: Frame) -> bytes:
    head = f"{frame.number} {frame.command} {len(frame.data)}".encode("ascii")
    return head + (b" " + frame.data if frame.data else b"") + b"\n"


def after(number: int) -> int:
    """The next transaction number; they begin again at 1."""
    return number + 1 if number < _LAST else 1


async def read(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises :class:`NotRelp`, and ``ConnectionResetError`` where the connection ends before it does."""
    try:
        number = await _word(reader, _DIGITS)
        command = await _word(reader, _MOST_COMMAND)
        length = b""
        while (char := await reader.readexactly(1)).isdigit() and len(length) < _DIGITS:
            length += char
        if not number.isdigit() or not command.isalpha() or not length or int(length) > _MOST_DATA:
            raise NotRelp("the answer is not RELP's")
        if int(length) == 0:
            # A space before no data at all is written by some.
            char = await reader.readexactly(1) if char == b" " else char
            data = b""
        elif char != b" ":
            raise NotRelp("the answer is not RELP's")
        else:
            data = await reader.readexactly(int(length))
            char = await reader.readexactly(1)
        if char != b"\n":
            raise NotRelp("the answer is not RELP's")
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("the receiver ended the connection") from None
    return Frame(int(number), command.decode("ascii"), data)


async def _word(reader: asyncio.StreamReader, longest: int) -> bytes:
    """Up to the next space."""
    word = b""
    while (char := await reader.readexactly(1)) != b" ":
        word += char
        if len(word) > longest or not char.isalnum():
            raise NotRelp("the answer is not RELP's")
    return word
