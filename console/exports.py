"""Files that the operator asks for: in the home directory, readable by its owner only, and inert in a terminal."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from services.audit.exporting import Form, head, lines
from services.model.errors import QuarterdeckError, Rejected
from widgets import text as safe
from widgets.logpane import Record

DIRECTORY = "exports"


class Export:
    """A file of journal entries: put in place by :meth:`keep`, whole and durable, or not at all. Blocks on the disk.

    Raises :class:`Rejected` where ``path`` is there already, :class:`QuarterdeckError` where it can't be written."""

    def __init__(self, path: Path, form: Form) -> None:
        self.path = path
        self.form = form
        self.count = 0
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self.path.exists():
            raise Rejected("to", str(self.path), "is there already", "a name that is free: nothing is overwritten")
        with self._told():
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._file.write(head(self.form))
        return self

    def add(self, entries: Sequence[Mapping[str, Any]]) -> None:
        with self._told():
            self._open().write(lines(entries, self.form))
        self.count += len(entries)

    def keep(self) -> None:
        """All was added: give the file its name."""
        with self._told():
            file = self._open()
            file.flush()
            os.fsync(file.fileno())
            # a link fails where another file took the name meanwhile; a rename would put itself in its place
            os.link(self._draft, self.path)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._draft.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        if self._file is None:
            raise AssertionError("an export is written within its `with`")
        return self._file

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _not_written(self.path, error) from error


def _not_written(path: Path, error: OSError) -> QuarterdeckError:
    reason = error.strerror or str(error)
    return QuarterdeckError(
        f"The export was not written: {reason}", f"{path} can't be written.", "Make room, or see to its rights."
    )


async def save_entries(
    home: Path, name: str, form: Form, chunks: AsyncIterator[Sequence[Mapping[str, Any]]], now: datetime
) -> tuple[Path, int]:
    """Write ``chunks`` of entries, as they come, to a new file among the exports; its path, and how many there are.

    Raises :class:`QuarterdeckError` where it can't be written; whatever ends the chunks leaves no file."""
    directory = home / DIRECTORY
    path = directory / f"{_plain(name)}-{now.astimezone(UTC).strftime('%Y%m%dT%H%M%SZ')}.{form.value}"

    def begun() -> Export:
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _not_written(path, error) from error
        return Export(_free(path), form).__enter__()

    export = await asyncio.to_thread(begun)
    try:
        async for entries in chunks:
            await asyncio.to_thread(export.add, entries)
        await asyncio.to_thread(export.keep)
    finally:
        await asyncio.to_thread(export.__exit__)
    return export.path, export.count


def _free(path: Path) -> Path:
    """``path``, or the first like it that is not there."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found


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
