"""The directory of this operator's state: whose it is, what it is on, how much room there is, whether locks hold there."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from console.doctor.finding import Check, Finding, Group, Topic
from services.audit.place import NETWORK_FILE_SYSTEMS, file_system

LITTLE, TOO_LITTLE = 256 * 2**20, 16 * 2**20
"""Free bytes. A rollout writes some 100 KiB of journal and log; a full disk stops every deploy."""
SLOW_SYNC = 0.25
"""Seconds: a rollback waits no longer than this for its entry."""
_ELSEWHERE = "Name another directory with --home or QUARTERDECK_HOME."


def checks(home: Path, monotonic: Callable[[], float]) -> list[Check]:
    """Nothing stays behind of what is tried in ``home``; one that is not there yet is not made."""

    def check(name: str, look: Callable[[Topic, Path], Finding]) -> Check:
        topic = Topic(Group.HOME, name, str(home))

        async def run() -> list[Finding]:
            # A dead network disk answers to nothing at all.
            return [await asyncio.to_thread(look, topic, home)]

        return Check(topic, run)

    return [
        check("owner and mode", _owner),
        check("file system", _file_system),
        check("free space", _space),
        check("writes and locks", lambda topic, path: _writes(topic, path, monotonic)),
    ]


def _owner(topic: Topic, home: Path) -> Finding:
    try:
        found = home.stat()
    except FileNotFoundError:
        return topic.ok("is not there yet: it is made when first needed")
    except OSError as error:
        return topic.problem(f"can't be looked at ({error.strerror})", "a directory of your own", _ELSEWHERE)
    if not stat.S_ISDIR(found.st_mode):
        return topic.problem("is not a directory", "a directory of your own", _ELSEWHERE)
    if found.st_uid != os.geteuid():
        needed = f"a directory of uid {os.geteuid()}: others must not write our journal"
        return topic.problem(f"belongs to uid {found.st_uid}", needed, _ELSEWHERE)
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return topic.warning(f"open to other users (mode {mode:o})", "mode 700: it is set at the next start", f"chmod 700 {home}")
    return topic.ok(f"yours alone (mode {mode:o})")


def _file_system(topic: Topic, home: Path) -> Finding:
    kind = file_system(_existing(home))
    if kind in NETWORK_FILE_SYSTEMS:
        needed = "a local disk: the journal is refused where locks and syncs may not be kept"
        return topic.problem(f"{kind}, a network file system", needed, _ELSEWHERE)
    if not kind:
        return topic.unknown("its type can't be told here", "a local disk", "Make sure that it is one.")
    if kind in ("tmpfs", "ramfs"):
        return topic.warning(f"{kind}: gone after a restart", "a disk that keeps the journal", _ELSEWHERE)
    return topic.ok(kind)


def _space(topic: Topic, home: Path) -> Finding:
    place = _existing(home)
    free = shutil.disk_usage(place).free
    counts = os.statvfs(place)
    if counts.f_files and not counts.f_favail:
        return topic.problem("no new file can be made (no inodes are free)", "room for files", "Make room on this disk.")
    found = f"{free / 2**20:,.0f} MiB free"
    if free < TOO_LITTLE:
        needed = f"{TOO_LITTLE // 2**20} MiB: a deploy whose intent can't be written is refused"
        return topic.problem(found, needed, "Make room on this disk.")
    if free < LITTLE:
        return topic.warning(found, f"{LITTLE // 2**20} MiB, for a while", "Make room on this disk.")
    return topic.ok(found)


def _writes(topic: Topic, home: Path, monotonic: Callable[[], float]) -> Finding:
    needed = "a directory that can be written: journal, rollouts and log are kept in it"
    if not home.exists():
        above = _existing(home)
        if above.is_dir() and _writable(above):
            return topic.skipped(f"is not there yet; {above} can be written")
        return topic.problem(f"can't be made: {above} can't be written", needed, _ELSEWHERE)
    try:
        descriptor, name = tempfile.mkstemp(prefix=".doctor-", dir=home)
    except OSError as error:
        return topic.problem(f"can't be written ({error.strerror})", needed, _ELSEWHERE)
    try:
        began = monotonic()
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        seconds = monotonic() - began
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _excluded(name):
            needed = "locks that exclude others: two drivers must not write one journal"
            return topic.problem("a lock is granted twice", needed, _ELSEWHERE)
    except OSError as error:
        return topic.problem(f"can't be written and locked ({error.strerror})", needed, _ELSEWHERE)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(name)
    found = f"written, synced in {seconds * 1000:.1f} ms, locked"
    if seconds > SLOW_SYNC:
        needed = f"less than {SLOW_SYNC * 1000:g} ms: every change waits for its entry to be on the disk"
        return topic.warning(found, needed, _ELSEWHERE)
    return topic.ok(found)


def _excluded(name: str) -> bool:
    """Whether a file that is locked refuses a second lock."""
    other = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(other)
    return False


def _writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK) and not os.statvfs(directory).f_flag & os.ST_RDONLY


def _existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
