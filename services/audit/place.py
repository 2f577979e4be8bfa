"""The journal's directory: made private, and refused where the disk's promises are not to be trusted."""

import fcntl
import hashlib
import os
import stat
import time
import uuid
from pathlib import Path

from services.audit.event import JournalUnavailable
from services.audit.levels import Room

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "afs", "ceph", "lustre", "gpfs", "gfs2", "ocfs2", "coda", "ncpfs", "9p",
        "beegfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.davfs", "davfs",
        "virtiofs",
    }
)  # fmt: skip
"""Locks and syncs of these may be granted without being kept."""
LOCK_SECONDS = 2.0
_POLL = 0.001


def prepare(directory: Path) -> None:
    """Make ``directory`` and what belongs in it, or raise :class:`JournalUnavailable`."""
    try:
        for part in (directory, directory / "seg", directory / "torn"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            _own(part)
    except OSError as error:
        raise unavailable(directory, error) from error
    if (kind := file_system(directory)) in NETWORK_FILE_SYSTEMS:
        raise JournalUnavailable(
            "The journal can't be kept here",
            f"{directory} is on a network file system ({kind}), where locks and syncs are not to be trusted.",
            "Give a home on a local disk (--home DIR).",
        )


def _own(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise JournalUnavailable(
            "The journal belongs to somebody else",
            f"{path} is owned by uid {found.st_uid}, this is uid {os.geteuid()}.",
            "Use a home of your own (--home DIR).",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def unavailable(what: Path, error: OSError) -> JournalUnavailable:
    return JournalUnavailable(
        "The journal can't be written",
        f"{what}: {error.strerror or error}.",
        "Free space or mend the permissions there: nothing starts until then; a rollback still works.",
    )


def file_system(path: Path) -> str:
    """The type of the file system that ``path`` is on, as the kernel names it; empty where that can't be told."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for mount in mounts.splitlines():
        fields = mount.split()
        if len(fields) > 6 and fields[2] == wanted and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""


def open_lock(directory: Path) -> int:
    return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class locked:
    """Hold the journal's lock; :class:`JournalUnavailable` after so many wall seconds of waiting for another process."""

    __slots__ = ("_descriptor", "_directory", "_kind", "_seconds")

    def __init__(self, descriptor: int, directory: Path, *, shared: bool = False, seconds: float = LOCK_SECONDS) -> None:
        self._descriptor = descriptor
        self._directory = directory
        self._kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        self._seconds = seconds

    def __enter__(self) -> None:
        # Polls are counted instead of reading a clock: the lock is between processes, and a test's clock stands still.
        for attempt in range(int(self._seconds / _POLL)):
            try:
                fcntl.flock(self._descriptor, self._kind)
                return
            except BlockingIOError:
                time.sleep(_POLL if attempt else _POLL / 10)
        raise JournalUnavailable(
            "The journal is held by another process",
            f"{self._directory / 'lock'} was not let go within {self._seconds:g} s.",
            "Look for a stopped quarterdeck process of this home, then try again.",
        )

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def journal_id(directory: Path, *, disk: "Disk") -> str:
    """The journal's own id, made once. Call it with the lock held."""
    path = directory / "journal.id"
    if not path.exists():
        write_whole(path, f"{uuid.uuid4()}\n".encode("ascii"), disk=disk)
    return path.read_text(encoding="ascii", errors="replace").strip()


class Disk:
    """Writes and flushes. One object, so that a test can stand in for a failing disk."""

    def write(self, descriptor: int, content: memoryview) -> int:
        return os.write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        # macOS has no fdatasync; its fsync is the nearest.
        (getattr(os, "fdatasync", None) or os.fsync)(descriptor)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def reserve(self, descriptor: int, size: int) -> None:
        """Take ``size`` bytes of the disk for a file; what they hold does not matter."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            write_all(descriptor, bytes(size), self)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def room(self, path: str) -> Room | None:
        """What the file system of ``path`` has; ``None`` where it does not say."""
        try:
            found = os.statvfs(path)
        except OSError:
            return None
        return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class SyncFailed(Exception):
    """The file whose sync failed is not to be written to again."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def write_all(descriptor: int, content: bytes, disk: Disk) -> None:
    """Write all of ``content``, however little the disk takes at a time."""
    view = memoryview(content)
    while view:
        view = view[disk.write(descriptor, view) :]


def sha256_of(descriptor: int, size: int) -> str:
    """Of the first ``size`` bytes of a file, in hexadecimal."""
    digest, position = hashlib.sha256(), 0
    while position < size and (part := os.pread(descriptor, min(1 << 20, size - position), position)):
        digest.update(part)
        position += len(part)
    return digest.hexdigest()


RESERVE = "reserve"
RESERVED = 512 * 1024
"""Bytes kept free for what must be recorded on a full disk: some hundred entries."""


def reserve(directory: Path, *, disk: Disk) -> None:
    """Have room set aside in ``directory``; ``OSError`` where there is none."""
    place = f"{directory}/{RESERVE}"
    try:
        if os.stat(place).st_blocks * 512 >= RESERVED:
            return
    except FileNotFoundError:
        pass
    path = Path(place)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        disk.reserve(descriptor, RESERVED)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def release(directory: Path) -> bool:
    """Give the room back to the disk, for the entries that it was kept for; whether there was any."""
    try:
        (directory / RESERVE).unlink()
    except OSError:
        return False
    return True


def write_whole(path: Path, content: bytes, *, disk: Disk) -> None:
    """Put a file in place complete and durable, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(descriptor, content, disk)
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    disk.sync_directory(path.parent)
