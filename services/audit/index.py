"""An index of the journal for questions: which lines a service, an environment, an event, a rollout or a time has.

It only says where to look. Every line is read from the journal itself and judged again, so a wrong index can hide an entry but
never make one up; ``index.db`` can be deleted at any time and is then made anew. Blocks; not for the event loop.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from services.audit.line import HASH_LENGTH
from services.audit.packed import NotPacked
from services.audit.place import locked
from services.audit.segments import Segment, opened, segments

NAME = "index.db"
COLUMNS = ("service", "environment", "event", "rollout")
_VERSION = 1
_BUSY_SECONDS = 2.0
_PATIENCE = 0.25
"""Wall seconds to wait for a writer, who holds the lock for as long as one sync takes."""
_BLOCK = 4 * 1024 * 1024
_MANY = 10_000
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lines (
  place INTEGER PRIMARY KEY, segment INTEGER, start INTEGER, length INTEGER,
  timestamp TEXT, service TEXT, environment TEXT, event TEXT, rollout TEXT
);
"""
_INDEXES = {name: f"CREATE INDEX by_{name} ON lines ({name}) WHERE {name} != ''" for name in ("timestamp", *COLUMNS)}

_log = logging.getLogger("quarterdeck.journal")


class IndexUnusable(Exception):
    """The index can't be used now; the journal itself can still be read."""


class _Columns(msgspec.Struct):
    """Of any type: anybody may have written the line."""

    timestamp: Any = ""
    service: Any = ""
    environment: Any = ""
    event: Any = ""
    rollout: Any = ""


class _Reached(msgspec.Struct, frozen=True):
    """How far the index goes: the end of a line of a segment, where that line begins, and its hash."""

    segment: int
    end: int
    start: int
    hash: str


_columns = msgspec.json.Decoder(_Columns).decode
_NOWHERE = _Reached(0, 0, 0, "")


def matching(directory: Path, exact: Mapping[str, str], since: str = "", unreadable: list[str] | None = None) -> Iterator[bytes]:
    """The lines with these values (of ``COLUMNS``) from the time stamp ``since`` on, newest first, brought up to date before.
    What a damaged packed segment does not give is left out: the log says so, and ``unreadable`` has its name.

    Raises :class:`IndexUnusable`, before the first line only.
    """
    try:
        database = _opened(directory)
        try:
            _catch_up(database, directory)
            places = _asked(database, exact, since)
        except BaseException:
            database.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise IndexUnusable(f"{directory / NAME}: {error}") from error
    return _lines(directory, database, places, [] if unreadable is None else unreadable)


def _asked(database: sqlite3.Connection, exact: Mapping[str, str], since: str) -> sqlite3.Cursor:
    conditions = {name: f"{name} = ?" for name in exact}
    values = dict(exact)
    if since:
        conditions["timestamp"], values["timestamp"] = "timestamp >= ?", since

    def how_many(name: str) -> int:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM lines WHERE {conditions[name]} AND {name} != '' LIMIT {_MANY})"
        return int(database.execute(counted, (values[name],)).fetchone()[0])

    # SQLite knows how selective a column is, not a value: so the rarest one leads. Where that is a time long ago, the lines are
    # gone through as they stand: those of a range would have to be sorted first.
    counts = {name: how_many(name) for name in conditions}
    leading = min(counts, key=counts.__getitem__)
    through = "NOT INDEXED" if leading == "timestamp" and counts[leading] >= _MANY else f"INDEXED BY by_{leading}"
    where = " AND ".join([*conditions.values(), f"{leading} != ''"])
    asked = f"SELECT segment, start, length FROM lines {through} WHERE {where} ORDER BY place DESC"
    return database.execute(asked, tuple(values[name] for name in conditions))


def _lines(directory: Path, database: sqlite3.Connection, places: sqlite3.Cursor, unreadable: list[str]) -> Iterator[bytes]:
    current, file = -1, None
    known = {segment.first: segment for segment in segments(directory)}
    try:
        for first, start, length in places:
            if first != current:
                if file is not None:
                    file.close()
                current, file = first, None
                with suppress(FileNotFoundError):  # removed since: kept for as long as it had to be
                    try:
                        file = opened(known[first]) if first in known else None
                    except NotPacked as error:
                        _damaged(known[first], error, unreadable)
            if file is not None:
                file.seek(start)
                try:
                    line = file.read(length)
                except NotPacked as error:
                    _damaged(known[first], error, unreadable)
                else:
                    yield line
    finally:
        database.close()
        if file is not None:
            file.close()


def _damaged(segment: Segment, error: NotPacked, unreadable: list[str]) -> None:
    if segment.path.name not in unreadable:
        _log.error("a segment can't be read whole: %s", error)
        unreadable.append(segment.path.name)


def _opened(directory: Path) -> sqlite3.Connection:
    path = directory / NAME
    journal = (directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _checked(path, journal)
    except sqlite3.OperationalError:
        raise  # busy, or the disk: nothing is known to be wrong with it
    except (sqlite3.DatabaseError, _Other):
        # Damaged, another version's, or another journal's: made anew.
        for suffix in ("", "-wal", "-shm"):
            path.with_name(NAME + suffix).unlink(missing_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return _checked(path, journal)


class _Other(Exception):
    """The index of something else."""


def _checked(path: Path, journal: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        # Whether a commit survives a power cut depends on how SQLite was built, unless it is said.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -65536")  # KiB
        with _transaction(database):
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                for statement in (*_SCHEMA.split(";\n"), *_INDEXES.values()):
                    database.execute(statement)
                database.execute("INSERT INTO about VALUES ('journal', ?)", (journal,))
                database.execute(f"PRAGMA user_version = {_VERSION}")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION or _about(database, "journal") != journal:
            raise _Other
    except BaseException:
        database.close()
        raise
    return database


def _about(database: sqlite3.Connection, name: str) -> Any:
    found = database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _catch_up(database: sqlite3.Connection, directory: Path) -> None:
    sizes = _sizes(directory)
    if not sizes:
        return
    reached = _reached(database)
    newest = max(sizes, key=lambda segment: segment.first)
    if reached.segment == newest.first and reached.end == sizes[newest] and _stands(newest, reached):
        return
    with _transaction(database):
        reached = _reached(database)  # another process may have been quicker
        if any(segment.first == reached.segment and not _stands(segment, reached) for segment in sizes):
            # What was indexed is not there any more, e.g. after a power cut.
            reached = _NOWHERE
        anew = reached == _NOWHERE
        if anew:
            # Sorting once is quicker than keeping five indexes in order all the way.
            database.execute("DELETE FROM lines")
            for name in _INDEXES:
                database.execute(f"DROP INDEX by_{name}")
        database.execute("DELETE FROM lines WHERE segment < ?", (min(segment.first for segment in sizes),))
        for segment, size in sorted(sizes.items()):
            if segment.first >= reached.segment:
                start = reached.end if segment.first == reached.segment else 0
                reached = _add(database, segment, start, size) or reached
        for statement in _INDEXES.values() if anew else ():
            database.execute(statement)
        database.execute("INSERT OR REPLACE INTO about VALUES ('reached', ?)", (msgspec.json.encode(reached),))


def _sizes(directory: Path) -> dict[Segment, int | None]:
    """Where each segment ends, at a moment when nobody writes: what is cut off again after a failed write is never seen.
    Packed ones are whole and have no end to be known before."""
    descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with locked(descriptor, directory, shared=True, seconds=_PATIENCE):
            return {found: None if found.packed else found.path.stat().st_size for found in segments(directory)}
    finally:
        os.close(descriptor)


def _reached(database: sqlite3.Connection) -> _Reached:
    stored = _about(database, "reached")
    return msgspec.json.decode(stored, type=_Reached) if stored else _NOWHERE


def _stands(segment: Segment, reached: _Reached) -> bool:
    try:
        with opened(segment) as file:
            file.seek(reached.start)
            line = file.read(reached.end - reached.start)
    except FileNotFoundError:
        return False
    return line.endswith(b"\n") and line[:HASH_LENGTH].decode("ascii", "replace") == reached.hash


def _add(database: sqlite3.Connection, segment: Segment, start: int, size: int | None) -> _Reached | None:
    """Take up the whole lines of a segment from ``start`` on. Returns where that ended, if there was one."""
    last, rest, position = None, b"", start
    with opened(segment) as file:
        left = (file.seek(0, os.SEEK_END) if size is None else size) - start
        file.seek(start)
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            *lines, rest = (rest + block).split(b"\n")
            rows = []
            for line in lines:
                if (row := _row(line)) is not None:
                    rows.append((segment.first, position, len(line), *row))
                last = _Reached(segment.first, position + len(line) + 1, position, line[:HASH_LENGTH].decode("ascii", "replace"))
                position = last.end
            database.executemany(
                "INSERT INTO lines (segment, start, length, timestamp, service, environment, event, rollout)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
    return last


def _row(line: bytes) -> tuple[str, ...] | None:
    try:
        found = _columns(line[HASH_LENGTH + 1 :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    values = (found.timestamp, found.service, found.environment, found.event, found.rollout)
    return tuple(value if isinstance(value, str) else "" for value in values)
