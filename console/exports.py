"""Files that the operator asks for: in the home directory, readable by its owner only, and inert in a terminal."""

import os
from datetime import UTC, datetime
from pathlib import Path

from services.model.errors import QuarterdeckError
from widgets import text as safe
from widgets.logpane import Record

DIRECTORY = "exports"


def write_log(home: Path, name: str, records: list[Record], now: datetime) -> Path:
    """Write what a log screen holds; the path of the file. Blocks on the disk.

    Raises :class:`QuarterdeckError` where it can't be written."""
    directory = home / DIRECTORY
    path = directory / f"{_plain(name)}-{now.astimezone(UTC).strftime('%Y%m%dT%H%M%SZ')}.log"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found, number = path, 1
        while True:
            try:
                handle = os.open(found, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
                found = path.with_stem(f"{path.stem}-{number}")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(_line(record) for record in records)
        return found
    except OSError as error:
        reason = error.strerror or str(error)
        raise QuarterdeckError(
            f"The log was not saved: {reason}", f"{path} can't be written.", "Make room, or see to its rights."
        ) from error


def _line(record: Record) -> str:
    stamp = datetime.fromtimestamp(record.at, UTC).isoformat(timespec="microseconds") if record.at is not None else "-"
    tag = f"[{record.tag}] " if record.tag else ""
    sign = "# " if record.told else ""
    return f"{stamp} {tag}{sign}{safe.sanitize(record.text)}{' [cut]' if record.cut else ''}\n"


def _plain(name: str) -> str:
    """A file name without what a shell or a directory would take for something else."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "_" for letter in name)[:100]
