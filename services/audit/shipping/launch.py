"""A shipper for this home, started by whoever writes to the journal or looks at it, where none runs.

It is a process of its own session with none of the caller's streams: closing the console, or killing it, changes nothing for what
still has to be sent.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from services.audit.shipping.given import Given
from services.audit.shipping.status import SinkState, read, running

IDLE_SECONDS = 30.0
"""Wall seconds without anything to do after which it ends: the next entry's writer starts another."""
LOG = "shipping.log"
WRITERS = "shipping.writers"
"""Locked, shared, by every process that may write an entry at any moment: for as long as one lives, a shipper stays."""

INSTEAD = "--instead"
"""Said to one that is to take the place of the one at work."""

_tried: set[str] = set()
"""Secrets that were replaced by this process's own, should the one that has them not end."""
_children: list[subprocess.Popen[bytes]] = []
"""Kept so that they can be reaped should they end before this process does."""


def ensure(home: Path, config: Path | None, mine: Given | None = None) -> bool:
    """Start a shipper where none runs, or where the one that runs is held up by secrets that are others in this process's
    environment (``mine``); whether one was started. Takes some milliseconds. Raises ``OSError`` where it can't be started: who
    writes entries goes on all the same, and what is not sent is late for everybody to see."""
    _children[:] = [child for child in _children if child.poll() is None]
    directory = home / "journal"
    instead = bool(_children) or running(directory)
    if instead and (_children or mine is None or not _outdated(directory, mine)):
        return False
    given = ["--config", str(config)] if config is not None else []
    # -P: the modules come from where quarterdeck is installed, never from the directory it happens to be called in.
    command = [sys.executable, "-P", "-m", "console.cli", *given, "--home", str(home), "journal", "ship", "--until-idle"]
    command += [INSTEAD] if instead else []
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
            cwd="/",
            env=_environment(),
        )
    finally:
        os.close(log)
    _children.append(child)
    return True


def _outdated(directory: Path, mine: Given) -> bool:
    """Whether the shipper at work is held by a sink for which this process's environment has another secret: one that was renewed
    since, or that the other was started without. One that was tried before, by any process, is not tried again."""
    said = read(directory)
    if said is None or said.given is None or said.given.sinks != mine.sinks or not mine.complete:
        return False
    held = {sink.name for sink in said.sinks if sink.state is SinkState.HELD}
    others = {name for name, secret in said.given.secrets.items() if secret != mine.secrets.get(name)}
    if not held & others or said.given.held in _tried or mine.held in said.given.tried:
        return False
    _tried.add(said.given.held)
    return True


def attach(directory: Path) -> int:
    """Keep a shipper from ending for as long as the descriptor is open, or this process lives. Raises ``OSError``."""
    descriptor = os.open(directory / WRITERS, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Whoever looks whether anybody is there holds it for some microseconds.
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def attached(directory: Path) -> bool:
    """Whether anybody lives who may write an entry at any moment."""
    try:
        descriptor = os.open(directory / WRITERS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _environment() -> dict[str, str]:
    # A source tree that is on this process's path through PYTHONPATH has to be on the shipper's too, whatever its directory.
    kept = dict(os.environ)
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in kept["PYTHONPATH"].split(os.pathsep) if part)
    return kept
