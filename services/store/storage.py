"""A TinyDB storage whose file is at every moment either the old state or the new one, whole.

TinyDB's own ``JSONStorage`` writes over the file and cuts its end afterwards: a kill in between, a full disk or a second process
leaves JSON that nothing can read. This one writes aside, syncs, renames and syncs the directory, and holds a lock from the moment
it is opened for writing until it is closed, so that everything one ``with TinyDB(...)`` reads and changes is one step to others.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import msgspec
from tinydb.storages import Storage

from services.model.errors import QuarterdeckError

MOST_BYTES = 4 * 1024 * 1024
"""TinyDB reads and writes its file whole: what is larger is nobody's small state."""
LOCK_SECONDS = 2.0
_POLL = 0.002

Tables = dict[str, dict[str, Any]]


class StateUnusable(QuarterdeckError):
    """The state can't be read or written now. What was kept before is untouched."""


class StateDamaged(QuarterdeckError):
    """The file held something else than state. ``kept`` is where its bytes are now; the next write begins anew."""

    def __init__(self, path: Path, why: str, kept: Path) -> None:
        super().__init__(f"{path.name} is damaged", f"{path}: {why}.", f"Its content is kept in {kept}; what it held is lost.")
        self.path = path
        self.kept = kept


class AtomicStorage(Storage):
    """``TinyDB(path, storage=AtomicStorage)`` holds the lock of ``path`` until it is closed: keep that short, and off the event
    loop. ``read_only`` takes no lock, creates nothing and changes nothing: a renamed file is whole anyway.

    Raises :class:`StateUnusable` where the file or its lock can't be had (opening), read or written; :class:`StateDamaged` on
    reading what is no state. What is damaged is put aside under a name of its content, by whoever may write; the path is then
    free. Nothing is ever overwritten by an empty state because it could not be read.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._lock = -1 if read_only else self._locked()

    def read(self) -> Tables | None:
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable("read", error) from error
        why = ""
        tables: Tables = {}
        try:
            tables = msgspec.json.decode(content, type=dict[str, dict[str, Any]])
        except msgspec.ValidationError as error:
            why = f"it is JSON of another kind ({error})"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = f"it is no JSON ({error})"
        else:
            if not all(map(_is_table, tables.values())):
                why = "it is JSON of another kind"
        if len(content) > MOST_BYTES:
            why = f"it is larger than {MOST_BYTES} bytes"
        if why:
            raise StateDamaged(self.path, why, self.path if self.read_only else self._put_aside(content))
        return tables

    def write(self, data: Tables) -> None:
        if self.read_only:
            raise StateUnusable(f"{self.path.name} was opened for reading", f"{self.path}.")
        content = msgspec.json.format(msgspec.json.encode(data), indent=1)
        if len(content) > MOST_BYTES:
            raise StateUnusable(
                f"{self.path.name} is full", f"{self.path} would have {len(content)} bytes; {MOST_BYTES} are accepted."
            )
        draft = self.path.with_name(f".{self.path.name}.new")  # one name: only who holds the lock writes, a dead one's is reused
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(draft, self.path)
            self._sync_directory()
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise self._unusable("written", error) from error

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)  # which lets go of the lock
            self._lock = -1

    def _locked(self) -> int:
        try:
            # A file of its own: the lock of a file that is renamed away guards nothing.
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable("opened", error) from error
        # Polls are counted instead of reading a clock: the lock is between processes, and a test's clock stands still.
        for _ in range(int(LOCK_SECONDS / _POLL)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                time.sleep(_POLL)
            except OSError as error:
                os.close(lock)
                raise self._unusable("locked", error) from error
        os.close(lock)
        raise StateUnusable(
            f"{self.path.name} is held by another process",
            f"The lock of {self.path} was not let go within {LOCK_SECONDS:g} s.",
            "Look for a stopped quarterdeck process of this home.",
        )

    def _put_aside(self, content: bytes) -> Path:
        kept = self.path.with_name(f"{self.path.name}.damaged-{hashlib.sha256(content).hexdigest()[:12]}")
        try:
            os.rename(self.path, kept)  # takes no room, so it works on a full disk too
            self._sync_directory()
        except OSError as error:
            raise self._unusable("put aside, and it is damaged", error) from error
        return kept

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _unusable(self, done: str, error: OSError) -> StateUnusable:
        return StateUnusable(
            f"{self.path.name} can't be {done}",
            f"{self.path}: {error.strerror or error}.",
            "It holds what it held before, whole.",
        )


def _is_table(found: dict[str, Any]) -> bool:
    """A table as TinyDB stores it: documents by their number."""
    return all(key.isdecimal() and isinstance(document, dict) for key, document in found.items())
