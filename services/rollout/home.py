"""What a rollout keeps in the operator's home directory, and how its consoles see at once that its driver died.

``HOME/rollouts/ID/`` holds ``rollout.json`` (as started), ``driver.log``, ``<token>.alive`` (locked for as long as that driver
process lives), ``ended.json`` (the last words of a driver, which may not even have begun) and ``last.json`` (the rollout as a
driver left it that rolled back: the cluster may not have taken its checkpoint).
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import secrets
import socket
import string
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from services.model.errors import ExitCode, QuarterdeckError, Rejected
from services.model.rollout import Rollout

log = logging.getLogger(__name__)

_ID = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a driver's token may look like that was read from a cluster: it becomes a path."""
_SERVICE_PART = 22
"""Of the service's name: prefix ``quarterdeck-rollout-`` + name + time + suffix stay within 63 characters."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Why a driver process stopped: its exit code and, where it failed, the error in the operator's words."""

    code: int
    rollback: bool = False
    """It was to roll back."""
    kind: str = ""
    title: str = ""
    detail: str = ""
    hint: str = ""

    def error(self) -> QuarterdeckError | None:
        if not self.title:
            return None
        error = QuarterdeckError(self.title, self.detail, self.hint)
        # another version of ours may know more of them
        error.exit_code = next((each for each in ExitCode if each == self.code), ExitCode.FAILED)
        return error


def new_id(service: str, now: datetime) -> str:
    """A rollout's name: sorts by time within a service, unique, legal as a label value and inside object names."""
    suffix = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(4))
    return f"{service[:_SERVICE_PART].rstrip('-')}-{now:%Y%m%dt%H%M%S}-{suffix}"


def directory(home: Path, rollout_id: str) -> Path:
    """Where a rollout's files are. Raises :class:`Rejected` for anything that is no rollout id (it becomes a path)."""
    if not _ID.fullmatch(rollout_id):
        raise Rejected("rollout", rollout_id, "is no rollout id", "lower-case letters, digits and hyphens, as `status` shows it")
    return home / "rollouts" / rollout_id


def home_id(home: Path) -> str:
    """An opaque name of this home directory on this machine."""
    return hashlib.sha256(f"{socket.gethostname()}:{home.resolve()}".encode()).hexdigest()[:12]


def write_started(home: Path, rollout: Rollout) -> None:
    """Keep a rollout as it was started, readable by its operator alone. ``OSError`` where it can't be: nothing is left of it."""
    place = directory(home, rollout.id)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(place / "rollout.json", msgspec.json.encode(rollout))


def read_started(home: Path, rollout_id: str) -> Rollout | None:
    """``None`` where there is none, or none that can be read: the checkpoint in the cluster is asked then."""
    return _read(directory(home, rollout_id) / "rollout.json")


def write_last(home: Path, rollout: Rollout) -> None:
    """Keep a rollout as its driver leaves it."""
    _replace(directory(home, rollout.id) / "last.json", msgspec.json.encode(rollout))


def read_last(home: Path, rollout_id: str) -> Rollout | None:
    """``None`` where there is none, or none that can be read."""
    return _read(directory(home, rollout_id) / "last.json")


def write_ended(home: Path, rollout_id: str, ended: Ended) -> None:
    _replace(directory(home, rollout_id) / "ended.json", msgspec.json.encode(ended))


def read_ended(home: Path, rollout_id: str) -> Ended | None:
    try:
        return msgspec.json.decode((directory(home, rollout_id) / "ended.json").read_bytes(), type=Ended)
    except (FileNotFoundError, NotADirectoryError):
        return None


def forget_ended(home: Path, rollout_id: str) -> None:
    (directory(home, rollout_id) / "ended.json").unlink(missing_ok=True)


class Living:
    """Holds ``<token>.alive`` locked until :meth:`close` or the death of this process, whatever its cause."""

    def __init__(self, home: Path, rollout_id: str, token: str) -> None:
        self._path = _alive_path(home, rollout_id, token)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # a full disk: the process id is for a person who looks, the lock is what counts
            os.write(self._file, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def driven_from(home: Path, rollout: Rollout) -> bool:
    """Whether the driver of ``rollout`` is one of this home; until a driver has written itself into the checkpoint, whether this
    home started it."""
    if rollout.driver is None:
        return (directory(home, rollout.id) / "rollout.json").exists()
    return rollout.driver.home == home_id(home)


def alive(home: Path, rollout: Rollout) -> bool | None:
    """Whether the driver of ``rollout`` lives, seen from its own home; ``None`` where another home drives it, or this one can't
    be written (ask its lease)."""
    if rollout.driver is None or rollout.driver.home != home_id(home):
        return None
    sign = _alive_path(home, rollout.id, rollout.driver.token)
    if not sign.exists() and not os.access(home, os.W_OK):
        return None  # where it could not leave a sign, that there is none says nothing
    return _locked(sign)


def any_alive(home: Path, rollout_id: str) -> bool:
    """Whether any driver of this home lives that has this rollout, whatever its checkpoint says."""
    return any(_locked(sign) for sign in directory(home, rollout_id).glob("*.alive"))


def _locked(sign: Path) -> bool:
    try:
        # To read: that is also possible where nothing can be written any more.
        handle = os.open(sign, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def has_sign(home: Path, rollout_id: str, identity: str) -> bool:
    """Whether the driver of this identity, as a lease names it, has its sign of life in this home. The lease of one that has just
    begun names it before the checkpoint tells whose it is."""
    token = identity.rpartition("#")[2]
    return bool(_TOKEN.fullmatch(token)) and _alive_path(home, rollout_id, token).exists()


def driver_process(home: Path, rollout: Rollout) -> int | None:
    """The process id of the driver of ``rollout``, for a person who wants to look at it; ``None`` where this home has none."""
    if rollout.driver is None or not alive(home, rollout):
        return None
    try:
        return int(_alive_path(home, rollout.id, rollout.driver.token).read_text())
    except (OSError, ValueError):  # it ended just now, or the disk was full when it began
        return None


def lock_rollback(home: Path, rollout_id: str) -> int | None:
    """A descriptor that holds the right to roll this rollout back from this home, to be handed to the driver that does it (it
    holds it for as long as it lives); ``None`` where somebody has it already."""
    path = _rollback_path(home, rollout_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    with contextlib.suppress(OSError):  # it only tells when
        os.utime(handle)
    return handle


def rollback_asked(home: Path, rollout_id: str) -> float | None:
    """When (Unix seconds) a rollback of this rollout was last begun with the key from this home; ``None`` where none was."""
    try:
        return _rollback_path(home, rollout_id).stat().st_mtime
    except FileNotFoundError:
        return None


def socket_path(home: Path, rollout_id: str) -> Path:
    """Where the driver listens for intents. Short, since a Unix socket's path has 108 bytes at most."""
    name = hashlib.sha256(f"{home_id(home)}/{rollout_id}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"quarterdeck-{os.getuid()}" / f"{name}.sock"


def _read(path: Path) -> Rollout | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Rollout)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s of %s can't be read: %s", path.name, path.parent.name, error)
        return None


def _rollback_path(home: Path, rollout_id: str) -> Path:
    return directory(home, rollout_id) / "rollback.lock"


def _alive_path(home: Path, rollout_id: str, token: str) -> Path:
    return directory(home, rollout_id) / f"{token}.alive"


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # what counts is why it could not be written
            draft.unlink(missing_ok=True)
        raise
