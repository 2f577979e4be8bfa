"""The emergency segment: what must be recorded while the journal can't be written, and must survive this process.

``emergency.seg`` is one mebibyte of NULs that were written and synced while all was well, so a full disk takes nothing from it.
Its lines have the form of the journal's own and a chain of their own: the line before the first one counts as the SHA-256 of the
journal's id, numbers begin at 1, every entry says ``"late":true``. When the journal can be written again the entries are appended
to it after a note that names this chain's last hash, and the file is NULs again. Blocks; several processes may share it.
"""

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.audit.entry import Draft, placed
from services.audit.event import JournalUnavailable
from services.audit.line import scan
from services.audit.place import Disk, locked, write_all, write_whole

EMERGENCY = "emergency.seg"
SIZE = 1024 * 1024
"""Bytes: some two thousand entries."""
PATIENCE = 0.05
"""Wall seconds to wait for another process, which needs one sync."""
_START = re.compile(rb'\{"v":1,"seq":[0-9]+,"id":"([0-9A-Z]{26})","timestamp":"([0-9TZ:.-]{20,30})",')
_END = b',"late":true}'
_PLACE = frozenset({"v", "seq", "id", "timestamp", "late"})
"""What an entry is given with its place in the chain: said once more behind that, it would be another entry."""
_entry = msgspec.json.Decoder(dict[str, Any])


class Held(NamedTuple):
    """What waits in the emergency segment: entries as drafts, the hash its chain ends with, bytes that are no entries."""

    drafts: list[Draft]
    hash: str
    rest: bytes


class Emergency:
    """See the module. Every method but ``empty`` raises ``OSError`` or :class:`JournalUnavailable` where it can't do its part."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._directory = directory
        self._path = directory / EMERGENCY
        self._disk = disk

    def prepare(self) -> None:
        """Have the file, all of it on the disk. It is put in place whole."""
        if self._path.exists():
            return
        draft = self._path.with_name(f".{EMERGENCY}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                # Written, not just reserved: to fill a reserved block the file system may need another one.
                write_all(descriptor, bytes(SIZE), self._disk)
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
            os.link(draft, self._path)  # unlike a rename it never replaces what another process put there
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)
        self._disk.sync_directory(self._directory)

    def empty(self) -> bool:
        """Whether nothing waits; also where the file can't be read: then nothing can be taken from it."""
        try:
            with self._path.open("rb") as file:
                content = file.read(SIZE)
        except OSError:
            return True
        return content == bytes(len(content))

    def put(self, drafts: Sequence[Draft]) -> int:
        """Add ``drafts``; they are on the disk when this returns. How many wait there now."""
        with self._open() as descriptor:
            content = os.pread(descriptor, SIZE, 0)
            found = scan(content.rstrip(b"\0"), *self._begin())
            if b"\n" in found.rest:
                # More than an interrupted write leaves of a line: what was saved and is damaged is not written over unread.
                put_aside(self._directory, found.rest, disk=self._disk)
            for made in drafts:
                made.late = True
            more, _ = placed(drafts, found.last_seq, found.last_hash)
            if found.valid_bytes + len(more) > len(content):
                raise OSError(errno.ENOSPC, "the emergency segment is full")
            # What an interrupted write left behind the last line is overwritten.
            padded = more.ljust(len(found.rest), b"\0")
            self._write(descriptor, found.valid_bytes, padded[: len(content) - found.valid_bytes])
            return found.last_seq + len(drafts)

    def read(self) -> Held:
        with self._open() as descriptor:
            content = os.pread(descriptor, SIZE, 0).rstrip(b"\0")
            found = scan(content, *self._begin())
            drafts: list[Draft] = []
            for at, body in enumerate(found.bodies):
                if (made := _draft(body)) is None:
                    # Of another program's making: kept aside as it is, like what was cut off.
                    return Held(drafts, found.last_hash, b"\n".join([*found.bodies[at:], found.rest]))
                drafts.append(made)
            return Held(drafts, found.last_hash, found.rest)

    def clear(self, until: str) -> None:
        """Forget what was read, if nothing was added since: ``until`` is the hash that the chain ended with."""
        with self._open() as descriptor:
            content = os.pread(descriptor, SIZE, 0).rstrip(b"\0")
            if scan(content, *self._begin()).last_hash == until:
                self._write(descriptor, 0, bytes(len(content)))

    def _begin(self) -> tuple[str, int]:
        identity = (self._directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
        return hashlib.sha256(identity.encode()).hexdigest(), 0

    def _open(self) -> "_Opened":
        return _Opened(self._path, self._directory)

    def _write(self, descriptor: int, place: int, content: bytes) -> None:
        os.lseek(descriptor, place, os.SEEK_SET)
        write_all(descriptor, content, self._disk)
        self._disk.sync(descriptor)


class _Opened:
    """The file, open and locked."""

    def __init__(self, path: Path, directory: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._lock = locked(self._descriptor, directory, seconds=PATIENCE)

    def __enter__(self) -> int:
        try:
            self._lock.__enter__()
        except JournalUnavailable:
            os.close(self._descriptor)
            raise
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        try:
            self._lock.__exit__(None, None, None)
        finally:
            os.close(self._descriptor)


def put_aside(directory: Path, rest: bytes, *, disk: Disk) -> tuple[str, str]:
    """Keep bytes of the emergency segment that are no entries, under a name of their own. The name from ``directory`` on, and
    their SHA-256."""
    digest = hashlib.sha256(rest).hexdigest()
    name = f"torn/emergency-{digest[:26]}.bin"
    if not (directory / name).exists():
        write_whole(directory / name, rest, disk=disk)
    return name, digest


def _draft(body: bytes) -> Draft | None:
    """The entry as it was handed in, byte for byte but for its number; ``None`` for what is none."""
    start = _START.match(body)
    if start is None or not body.endswith(_END):
        return None
    rest = b"{" + body[start.end() : -len(_END)] + b"}"
    try:
        fields = _entry.decode(rest)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not isinstance(fields.get("event"), str) or fields.keys() & _PLACE:
        return None
    return Draft(id=start[1].decode(), timestamp=start[2].decode(), fields=fields, encoded=rest, late=True)
