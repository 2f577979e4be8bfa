"""The log file ``HOME/log/quarterdeck.log``: rotating, mode 0600, redacted, tracebacks included."""

import argparse
import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from services.redaction import Redactor
from services.redaction.logs import RedactingFormatter

MAX_BYTES = 2 * 1024 * 1024
BACKUPS = 4
_NAME = "quarterdeck-file"
log = logging.getLogger("quarterdeck")
_Failure = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")


class _Lines(RedactingFormatter):
    """Without tracebacks: what failed, and why, is all that a person in front of a terminal is told."""

    def formatException(self, ei: _Failure) -> str:
        return f"  ({type(ei[1]).__name__}: {ei[1]})"


def set_up(home: Path, redactor: Redactor, *, level: int = logging.INFO) -> Path:
    """Send every log record of this process to the file under ``home``, and to nothing else. Returns its path.

    ``OSError`` where it can't be written.
    """
    directory = home / "log"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "quarterdeck.log"
    handler = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=False)
    handler.set_name(_NAME)
    handler.setFormatter(RedactingFormatter(redactor))
    root = logging.getLogger()
    tear_down()
    root.addHandler(handler)
    root.setLevel(level)
    # A failing log must never write a traceback over the screen.
    logging.raiseExceptions = False
    # These say at INFO what the journal and the command log say better.
    for name in ("httpx", "httpcore", "kubernetes", "asyncio", "aiohttp", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return path


def set_up_without_file(redactor: Redactor) -> None:
    """Say on standard error, a line each, what is worth a warning: for where there is no place for a file."""
    tear_down()
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(_NAME)
    handler.setFormatter(_Lines(redactor))
    handler.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    logging.raiseExceptions = False


def tear_down() -> None:
    """Close the log file of an earlier :func:`set_up`."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.get_name() == _NAME]:
        root.removeHandler(handler)
        handler.close()


def report_crash(args: argparse.Namespace | None, error: Exception) -> tuple[str, str, str]:
    """Put the full traceback of an unexpected failure into the log; returns title, detail and hint for the operator."""
    root = logging.getLogger()
    formatters = [handler.formatter for handler in root.handlers if handler.get_name() == _NAME]
    redactor = next((f.redactor for f in formatters if isinstance(f, RedactingFormatter)), None)
    where = next((Path(h.baseFilename) for h in root.handlers if isinstance(h, _PrivateFile)), None)
    hint = "What was under way is in the journal and in the cluster: `quarterdeck status` shows it."
    if redactor is None:
        from console.context import explicit_home

        redactor = Redactor()
        try:
            where = set_up(explicit_home(args), redactor)
        except OSError as unwritable:
            hint = f"No report could be written ({unwritable.strerror}). " + hint
    if where is not None:
        log.critical("unexpected failure", exc_info=error)
        hint = f"The full report is in {where}. " + hint
    return "Unexpected failure", redactor.text(f"{type(error).__name__}: {error}")[:500], hint
