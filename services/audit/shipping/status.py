"""What the shipper says about itself: ``shipping.json`` in the journal's directory, put in place whole, about once a second.

Read by consoles and the command line, which know nothing else of it. Blocks for a moment; not for the event loop.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from services.audit import paging
from services.audit.place import Disk, write_all
from services.audit.segments import segments
from services.audit.shipping import cursor as cursors
from services.audit.shipping.cursor import CursorUnusable
from services.audit.shipping.given import Given, told
from services.settings.sinks import SinkSection

NAME = "shipping.json"
LOCK = "shipping.lock"
LATE_SECONDS = 60.0
"""R6.3: every entry is at every sink within so many wall seconds."""
SILENT_SECONDS = 10.0
"""A shipper that runs and has not said anything for so long is stuck."""


class SinkState(StrEnum):
    """How it goes with one sink."""

    SHIPPING = "shipping"
    RETRYING = "retrying"
    """It does not answer, or is busy: tried again within seconds."""
    HELD = "held"
    """A person has to mend its configuration: tried again every half minute."""
    STOPPED = "stopped"
    """Its cursor does not fit this journal, or the journal is damaged: nothing is sent before a person has looked."""


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sink. Times are Unix seconds, ``None`` for never.

    ``backlog``: entries that wait to be sent, the oldest of them from ``oldest``. ``unconfirmed``: entries that were taken and
    may still be lost there. ``delivery_seconds``: from the journal to the receipt, for the entry that was delivered last.
    ``duplicates``: entries that the sink had already. Counts are of this process; ``dead_letters`` is of the file.
    """

    name: str
    kind: str
    assurance: str
    required: bool
    state: SinkState = SinkState.SHIPPING
    lag_seconds: float = 0.0
    backlog: int = 0
    oldest: float | None = None
    acked_seq: int = 0
    confirmed_seq: int = 0
    unconfirmed: int = 0
    delivery_seconds: float | None = None
    delivered: int = 0
    duplicates: int = 0
    retries: int = 0
    dead_letters: int = 0
    last_ok: float | None = None
    error: str = ""
    """What stands in the way now; empty where nothing does."""
    error_since: float | None = None
    last_error: str = ""
    last_error_at: float | None = None

    @property
    def late(self) -> bool:
        return self.lag_seconds > LATE_SECONDS


class ShippingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, as of ``updated`` (Unix seconds)."""

    v: int = 1
    journal: str
    pid: int
    started: float
    updated: float
    last_seq: int = 0
    sinks: tuple[SinkStatus, ...] = ()
    note: str = ""
    """What a person should know about the process itself, e.g. that its cursors can't be saved."""
    given: Given | None = None
    """What it works with; ``None`` where it does not say."""
    late: dict[str, float] = {}
    """Sinks whose being late is recorded, since when (Unix seconds): the next process does not record it anew."""


class Shipping(msgspec.Struct, frozen=True, kw_only=True):
    """How shipping stands at one moment, whoever looks. ``running``: a process has the home's lock. ``status`` is what it said
    last, ``None`` where it never said anything; ``sinks`` are those that are configured, with the lags of this moment."""

    running: bool = False
    status: ShippingStatus | None = None
    sinks: tuple[SinkStatus, ...] = ()
    silent_seconds: float = 0.0
    """For how long a process that runs has said nothing, where that is too long: it is stuck, or was stopped."""

    @property
    def lag_seconds(self) -> float:
        """Of the slowest sink: how long its oldest entry has been waiting; 0 where nothing waits. How long the last one took
        tells of then, and not of now."""
        return max((sink.lag_seconds for sink in self.sinks), default=0.0)

    @property
    def silence(self) -> str:
        """What a person is told of that; empty where there is none."""
        who = f"The process that ships this home ({self.status.pid})" if self.status else "The process that ships this home"
        return (
            f"{who} has said nothing for {self.silent_seconds:.0f} s: it is stuck, or was stopped" if self.silent_seconds else ""
        )

    @property
    def late(self) -> tuple[SinkStatus, ...]:
        return tuple(sink for sink in self.sinks if sink.late)

    @property
    def troubled(self) -> tuple[SinkStatus, ...]:
        """The sinks that a person should look at, the worst first."""
        grave = [sink for sink in self.sinks if sink.late or sink.state in (SinkState.HELD, SinkState.STOPPED)]
        return tuple(sorted(grave, key=lambda sink: (sink.state is not SinkState.STOPPED, -sink.lag_seconds, sink.name)))

    @property
    def waiting(self) -> bool:
        """Whether entries wait to be sent."""
        return any(sink.backlog for sink in self.sinks)


_decoder = msgspec.json.Decoder(ShippingStatus)


def write(directory: Path, status: ShippingStatus, *, disk: Disk) -> None:
    """Raises ``OSError``; the old one stands then. Not synced: after a power cut it would be out of date anyway.

    On a full disk the room that it has is written over: what is sent goes on being told, and is not taken for stuck.
    """
    content = msgspec.json.encode(status) + b"\n"
    # One name, since one process writes it: a kill leaves no more than this.
    draft = directory / f".{NAME}"
    try:
        _put(draft, content, os.O_CREAT | os.O_TRUNC, disk)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _put(directory / NAME, content.ljust((directory / NAME).stat().st_size), 0, disk)
    else:
        os.replace(draft, directory / NAME)


def _put(path: Path, content: bytes, flags: int, disk: Disk) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        write_all(descriptor, content, disk)
    finally:
        os.close(descriptor)


def read(directory: Path) -> ShippingStatus | None:
    """What was said last; ``None`` where nothing was, or nothing that can be read."""
    try:
        return _decoder.decode((directory / NAME).read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def running(directory: Path) -> bool:
    """Whether a shipper has the lock of this journal. The kernel knows: no file has to be believed."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def look(directory: Path, now: float, configured: Sequence[SinkSection], config: Path | None = None) -> Shipping:
    """How shipping to the ``configured`` sinks of ``config`` stands at ``now`` (Unix seconds): as the shipper says where one is
    at work for them, else as the journal itself shows. A sink that it was not given, or was given otherwise, gets nothing: for
    good where the shipper works by another file, and before it has read the same one again where that was changed."""
    alive = running(directory)
    said = read(directory)
    silent = abs(now - said.updated) if alive and said is not None else 0.0
    fresh = alive and said is not None and silent < SILENT_SECONDS
    known = {sink.name: sink for sink in said.sinks} if said else {}
    sinks = []
    for section in configured:
        sink = known.get(section.label)
        given = said.given if fresh and said is not None else None
        other = given is not None and given.sinks.get(section.label) != told(section)
        if fresh and sink is not None and not other:
            sinks.append(_now(sink, now))
        else:
            sink = _by_cursor(sink, section, directory)
            sink = _unarchived(sink, directory, now) if section.whole else _without_shipper(sink, directory, now)
            sinks.append(_unserved(sink, said.pid, given, config, now) if other and said and given else sink)
    return Shipping(running=alive, status=said, sinks=tuple(sinks), silent_seconds=0.0 if fresh else silent)


def _unserved(sink: SinkStatus, pid: int, given: Given, config: Path | None, now: float) -> SinkStatus:
    """A sink that the shipper was not ``given`` as it is configured, and why that is."""
    what = "another sink of this name" if sink.name in given.sinks else "no sink of this name"
    if given.config and given.config == str(config):
        # No time tells whether it should have: a file may be put in place with any date.
        state, why = sink.state, f"process {pid} ships this home and has not read the changed {config} yet: so far it has {what}"
    else:
        state = SinkState.STOPPED
        why = (
            f"process {pid} ships this home by the configuration {given.config or 'of another process'}, which has {what}:"
            " one home ships by one configuration; give the other one a home of its own (--home DIR)"
        )
    return msgspec.structs.replace(sink, state=state, error=why, error_since=sink.error_since or now)


def _now(sink: SinkStatus, now: float) -> SinkStatus:
    if sink.oldest is None:
        return sink
    return msgspec.structs.replace(sink, lag_seconds=max(0.0, now - sink.oldest))


def _without_shipper(sink: SinkStatus, directory: Path, now: float) -> SinkStatus:
    """The same sink with nobody at work for it: what waits is looked up in the journal itself."""
    backlog = max(0, newest(directory) - sink.acked_seq)
    if not backlog:
        return msgspec.structs.replace(sink, backlog=0, oldest=None, lag_seconds=0.0)
    oldest = waits_since(directory, sink.acked_seq) or now
    return msgspec.structs.replace(sink, backlog=backlog, oldest=oldest, lag_seconds=max(0.0, now - oldest))


def _unarchived(sink: SinkStatus, directory: Path, now: float) -> SinkStatus:
    """The same for an archive, for which nothing waits before it is sealed: the next segment's header says when that was."""
    found = segments(directory)
    for following in found[1:]:
        if following.first - 1 > sink.acked_seq:
            headers = paging.newer(directory, following.first - 1, limit=1).entries
            oldest = (moment(headers[0]) if headers else None) or now
            backlog = found[-1].first - 1 - sink.acked_seq
            return msgspec.structs.replace(sink, backlog=backlog, oldest=oldest, lag_seconds=max(0.0, now - oldest))
    return msgspec.structs.replace(sink, backlog=0, oldest=None, lag_seconds=0.0)


def _by_cursor(sink: SinkStatus | None, section: SinkSection, directory: Path) -> SinkStatus:
    """``sink`` as it was told of last, if ever, with what is on the disk: how far it came is in its cursor, if there is one."""
    sink = sink or SinkStatus(name=section.label, kind=section.kind, assurance="", required=section.required)
    try:
        cursor = cursors.fitting(directory, section.label, kind=section.kind, journal=_journal(directory))
    except CursorUnusable as error:
        return msgspec.structs.replace(sink, state=SinkState.STOPPED, error=str(error))
    acked, confirmed = (cursor.acked_seq, cursor.confirmed_seq) if cursor else (0, 0)
    return msgspec.structs.replace(sink, acked_seq=acked, confirmed_seq=confirmed, unconfirmed=acked - confirmed)


def _journal(directory: Path) -> str:
    try:
        return (directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def newest(directory: Path) -> int:
    """The number of the journal's newest entry; 0 where there is none. Raises ``OSError``."""
    found = paging.older(directory, paging.NEWEST, limit=1).entries
    return int(found[0]["seq"]) if found else 0


def waits_since(directory: Path, acked_seq: int) -> float | None:
    """Unix seconds of the first entry behind ``acked_seq``; ``None`` where there is none that can be read. Raises ``OSError``."""
    found = paging.newer(directory, acked_seq, limit=1).entries
    return moment(found[0]) if found else None


def moment(entry: paging.Entry) -> float | None:
    """Unix seconds of an entry's time stamp; ``None`` where it has none."""
    try:
        return datetime.fromisoformat(str(entry.get("timestamp"))).timestamp()
    except ValueError:
        return None
