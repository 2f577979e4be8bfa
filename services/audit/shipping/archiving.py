"""Sealed segments, put whole into an archive: the same cursor as a sink's, moved on segment by segment.

Only what will never change again is put there, so an archive is at most a day behind by design; its lag counts from the moment at
which a segment was sealed, and not from its entries.
"""

import asyncio
import contextlib
import logging
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec

from services.audit.header import header_of
from services.audit.place import Disk
from services.audit.segments import at as segment_at
from services.audit.segments import opened
from services.audit.shipping import cursor as cursors
from services.audit.shipping import notices
from services.audit.shipping.courier import Tally
from services.audit.shipping.cursor import Cursor, CursorUnusable, Witness
from services.audit.shipping.pauses import HOLD_SECONDS, Backoff
from services.audit.shipping.status import SinkState, SinkStatus
from services.audit.shipping.tail import Bounds, Broken, Place, Removed, Tail, lost
from services.audit.shipping.uninterrupted import uninterrupted
from services.audit.sinks.base import Answer, Archive, Assurance, Delivery, Trouble
from services.clock import Clock

LOOK_SECONDS = 1.0
_log = logging.getLogger("quarterdeck.shipping")


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A segment with what the next one's header says of its end and its content. ``at``: Unix seconds when it was sealed."""

    path: Path
    first: int
    end: Place
    sha256: str
    at: float


class ArchiveLane:
    """One archive's way through the segments. The counterpart of ``Lane``."""

    def __init__(
        self,
        archive: Archive,
        *,
        required: bool,
        bounds: Bounds,
        journal: str,
        record: notices.Recorder,
        clock: Clock,
        random: Random,
        disk: Disk,
    ) -> None:
        self.sink = archive
        self.note = ""
        self._required = required
        self._bounds = bounds
        self._journal = journal
        self._record = record
        self._clock = clock
        self._disk = disk
        self._backoff = Backoff(random)
        self._tally = Tally()
        self._cursor = Cursor(journal_id=journal, sink=archive.name, kind=archive.kind)
        self._stopped = ""
        self._waiting: tuple[_Sealed, ...] = ()
        self._looked = False
        self._told = 0
        """The segment before which a gap was told of last."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._open()
                while True:
                    self._waiting = await asyncio.to_thread(self._sealed)
                    self._looked = True
                    if not self._waiting:
                        await self._clock.sleep(LOOK_SECONDS)
                        continue
                    await self._put(self._waiting[0])
            except (CursorUnusable, Broken) as error:
                if str(error) != self._stopped:
                    await self._record(notices.stopped(self.sink.name, str(error)))
                self._stopped = str(error)
            except Exception as error:
                # Seen by everybody, and no reason for other sinks to stop.
                _log.exception("archive %s can't go on for now", self.sink.name)
                self._tally.failed(SinkState.RETRYING, f"{type(error).__name__}: {error}", self._clock.unix())
            await self._clock.sleep(HOLD_SECONDS)

    async def close(self) -> None:
        await self.sink.close()

    @property
    def drained(self) -> bool:
        return self._looked and not self._stopped and not self._waiting

    @property
    def settled(self) -> bool:
        return self.drained

    def status(self) -> SinkStatus:
        first = self._waiting[0] if self._waiting else None
        tally = self._tally
        return SinkStatus(
            name=self.sink.name,
            kind=self.sink.kind,
            assurance=Assurance.DURABLE.value,
            required=self._required,
            state=SinkState.STOPPED if self._stopped else tally.state,
            lag_seconds=max(0.0, self._clock.unix() - first.at) if first else 0.0,
            backlog=self._waiting[-1].end.seq - self._cursor.acked_seq if first else 0,
            oldest=first.at if first else None,
            acked_seq=self._cursor.acked_seq,
            confirmed_seq=self._cursor.confirmed_seq,
            delivered=tally.delivered,
            duplicates=tally.duplicates,
            retries=tally.retries,
            last_ok=tally.last_ok,
            error=self._stopped or tally.error,
            error_since=tally.error_since,
            last_error=tally.last_error,
            last_error_at=tally.last_error_at,
        )

    async def _open(self) -> None:
        """Where the cursor says that it was left, once that is found to be a place of this journal."""
        directory, sink = self._bounds.directory, self.sink
        found = await asyncio.to_thread(cursors.fitting, directory, sink.name, kind=sink.kind, journal=self._journal)
        self._cursor = found or self._cursor
        if self._cursor.acked_seq:
            place = Place(self._cursor.acked_seq, self._cursor.acked_hash)
            # What is behind it is found again segment by segment.
            with contextlib.suppress(Removed):
                await asyncio.to_thread(Tail, self._bounds, self._journal, place)
        self._stopped = ""

    def _sealed(self) -> tuple[_Sealed, ...]:
        """The segments that are complete and not archived, oldest first: every one but the newest."""
        names = sorted(self._bounds.sizes)
        found: list[_Sealed] = []
        for name, following in pairwise(names):
            last = int(Path(following).stem) - 1
            if last <= self._cursor.acked_seq:
                continue
            segment = segment_at(self._bounds.directory, name)
            with opened(segment_at(self._bounds.directory, following)) as file:
                header = header_of(file.readline())
            if header is None:
                if not found:
                    raise lost(f"{following}, which tells what {name} was sealed with, has no header")
                break
            found.append(
                _Sealed(
                    path=segment.path,
                    first=segment.first,
                    end=Place(last, str(header["data"]["prev_hash"])),
                    sha256=str(header["data"].get("prev_segment_sha256")),
                    at=datetime.fromisoformat(header["timestamp"]).timestamp(),
                )
            )
        return tuple(found)

    async def _tell_gap(self, sealed: _Sealed) -> None:
        """Say loudly that entries were removed from this disk before they were archived, once for each time."""
        expected = self._cursor.acked_seq + 1
        if 1 < expected < sealed.first and self._told < sealed.first:
            self._told = sealed.first
            _log.error("archive %s: entries %d to %d were removed before", self.sink.name, expected, sealed.first - 1)
            await self._record(notices.gap(self.sink.name, expected, sealed.first - 1))

    async def _put(self, sealed: _Sealed) -> None:
        await self._tell_gap(sealed)
        delivery = await self.sink.put(
            sealed.path, journal=self._journal, first=sealed.first, last=sealed.end.seq, sha256=sealed.sha256
        )
        now = self._clock.unix()
        if delivery.trouble is None and delivery.answers and delivery.answers[0] in (Answer.DELIVERED, Answer.DUPLICATE):
            self._backoff.succeeded()
            self._tally.succeeded(now)
            self._tally.delivered += 1
            self._tally.duplicates += delivery.answers[0] is Answer.DUPLICATE
            end = sealed.end
            self._cursor = msgspec.structs.replace(
                self._cursor,
                acked_seq=end.seq,
                acked_hash=end.hash,
                confirmed_seq=end.seq,
                confirmed_hash=end.hash,
                witness=Witness(seq=end.seq, hash=end.hash, at=now),
            )
            await uninterrupted(cursors.save, self._bounds.directory, self._cursor, disk=self._disk)
            return
        # A segment that is refused is no dead letter: all of its entries are in it. A person has to look.
        refused = delivery.trouble not in (Trouble.UNREACHABLE, Trouble.BUSY)
        self._tally.retries += 1
        self._tally.failed(SinkState.HELD if refused else SinkState.RETRYING, _said(delivery), now)
        await self._clock.sleep(HOLD_SECONDS if refused else self._backoff.after(delivery))


def _said(delivery: Delivery) -> str:
    return delivery.reasons.get(0) or delivery.detail or "the segment was refused"
