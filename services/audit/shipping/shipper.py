"""All lanes of one home side by side, and what is said about them.

One a home: whoever has the lock ships. The lock goes with the process, however it ends, and no file has to be believed.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from services.audit.event import JournalUnavailable
from services.audit.place import Disk
from services.audit.shipping import notices, status
from services.audit.shipping.archiving import ArchiveLane
from services.audit.shipping.given import Given
from services.audit.shipping.lane import LOOK_SECONDS, Lane
from services.audit.shipping.status import SinkState, SinkStatus
from services.audit.shipping.tail import Bounds
from services.audit.shipping.uninterrupted import uninterrupted
from services.audit.sinks.base import Archive, Sink
from services.clock import Clock

SAY_SECONDS = 1.0
LOOKED_SECONDS = 2.0
"""Wall seconds that is waited for every cursor to be seen, before anything is said."""
"""Wall seconds between two words about how it stands."""
_TRIES = 50
_TRY_SECONDS = 0.02

_log = logging.getLogger("quarterdeck.shipping")


class Target(msgspec.Struct, frozen=True):
    """A sink, and whether entries are kept here until it has them."""

    sink: Sink | Archive
    required: bool


class ShipperRuns(Exception):
    """Another process ships this home already."""


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[Callable[[], bool]]:
    """Be the one process that ships this journal. Raises :class:`ShipperRuns`. Blocks for a second at most.

    What is given tells whether it is still so: a directory that was moved away took the lock with it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / status.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def held() -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(directory / status.LOCK))
        except FileNotFoundError:
            return False

    try:
        for attempt in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Whoever looks whether one runs holds it for a moment.
                if attempt == _TRIES - 1:
                    raise ShipperRuns(str(directory)) from None
                time.sleep(_TRY_SECONDS)
        yield held
    finally:
        os.close(descriptor)


class Shipper:
    """``record`` writes to the journal that is shipped; ``given`` is told to whoever looks."""

    def __init__(
        self,
        directory: Path,
        targets: Sequence[Target],
        *,
        record: notices.Recorder,
        clock: Clock,
        random: Random | None = None,
        disk: Disk | None = None,
        given: Given | None = None,
    ) -> None:
        self._directory = directory
        self._targets = targets
        self._given = given
        self._record = record
        self._clock = clock
        self._random = random or Random()
        self._disk = disk or Disk()
        self._bounds = Bounds(directory)
        self._lanes: list[Lane | ArchiveLane] = []
        self._started = clock.unix()
        self._changed_at = clock.monotonic()
        """When an entry came last."""
        self._late: dict[str, float] = {}
        """Sinks that are late and recorded to be, since when (Unix seconds)."""
        self._journal = ""
        self._note = ""

    @property
    def sinks(self) -> tuple[SinkStatus, ...]:
        """How it stands with each of them now."""
        return tuple(lane.status() for lane in self._lanes)

    @property
    def given(self) -> Given | None:
        """What it was given; what was tried before it is of no account once every sink has taken something."""
        taken = bool(self.sinks) and all(sink.last_ok is not None for sink in self.sinks)
        if self._given is not None and self._given.tried and taken:
            self._given = msgspec.structs.replace(self._given, tried=())
        return self._given

    @property
    def drained(self) -> bool:
        """Whether every sink has taken everything that was in the journal at the last look."""
        return bool(self._lanes) and all(lane.drained for lane in self._lanes)

    async def finished(self) -> bool:
        """Whether every sink has taken everything that is in the journal now, what was recorded on the way too."""
        if not self.drained:
            return False
        await self._look_once()
        return self.drained

    @property
    def quiet_seconds(self) -> float:
        """Wall seconds for which there has been nothing to do; 0 while there is something."""
        settled = all(lane.settled for lane in self._lanes)
        return self._clock.monotonic() - self._changed_at if settled else 0.0

    @property
    def failing_seconds(self) -> float:
        """Wall seconds for which no sink that still wants something has taken anything; 0 while one does."""
        unsettled = [lane.status() for lane in self._lanes if not lane.settled]
        now = self._clock.unix()
        return min((now - sink.error_since if sink.error_since else 0.0 for sink in unsettled), default=0.0)

    async def run(self) -> None:
        """Until it is cancelled; then how far each sink came is saved."""
        await self._until_there()
        before = await asyncio.to_thread(status.read, self._directory)
        if before is not None and before.journal == self._journal:
            names = {target.sink.name for target in self._targets}
            self._late = {name: since for name, since in before.late.items() if name in names}
        self._lanes = [self._lane(target) for target in self._targets]
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(lane.run(), name=f"ship to {lane.sink.name}")
                group.create_task(self._look())
                group.create_task(self._say())
        finally:
            for lane in self._lanes:
                await lane.close()
            if all(lane.looked.is_set() for lane in self._lanes if isinstance(lane, Lane)):
                await self._say_once()  # else what an earlier process said is nearer to the truth

    def _lane(self, target: Target) -> Lane | ArchiveLane:
        if isinstance(target.sink, Archive):
            return ArchiveLane(
                target.sink,
                required=target.required,
                bounds=self._bounds,
                journal=self._journal,
                record=self._record,
                clock=self._clock,
                random=self._random,
                disk=self._disk,
            )
        return Lane(
            target.sink,
            required=target.required,
            bounds=self._bounds,
            journal=self._journal,
            record=self._record,
            clock=self._clock,
            random=self._random,
            disk=self._disk,
        )

    async def _until_there(self) -> None:
        """Wait for a journal: it is made by whoever has something to write."""
        while True:
            with contextlib.suppress(FileNotFoundError):
                self._journal = (self._directory / "journal.id").read_text(encoding="ascii", errors="replace").strip()
            await self._look_once()
            if self._journal and self._bounds.sizes:
                return
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        while True:
            await self._look_once()
            await self._clock.sleep(LOOK_SECONDS)

    async def _look_once(self) -> None:
        try:
            if await asyncio.to_thread(self._bounds.look):
                self._changed_at = self._clock.monotonic()
            self._note = ""
        except (OSError, JournalUnavailable) as error:
            if not self._note:
                _log.warning("the journal can't be looked at: %s", error)
            self._note = f"the journal can't be looked at: {error}"

    async def _say(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKED_SECONDS):
                for lane in self._lanes:
                    if isinstance(lane, Lane):
                        await lane.looked.wait()
        while True:
            await self._say_once()
            for lane in self._lanes:
                await self._watch(lane.status(), nothing_waits=lane.drained)
            await self._clock.sleep(SAY_SECONDS)

    async def _say_once(self) -> None:
        for lane in self._lanes:
            if isinstance(lane, Lane):
                await lane.recount()
        notes = [self._note, *(lane.note for lane in self._lanes)]
        said = status.ShippingStatus(
            journal=self._journal,
            pid=os.getpid(),
            started=self._started,
            updated=self._clock.unix(),
            last_seq=self._bounds.last_seq,
            sinks=self.sinks,
            note="; ".join(note for note in notes if note),
            given=self.given,
            late=dict(self._late),
        )
        try:
            await uninterrupted(status.write, self._directory, said, disk=self._disk)
        except OSError as error:
            # Told to who reads the log: consoles see a status that grows old, and say so.
            _log.warning("the status can't be written: %s", error)

    async def _watch(self, sink: SinkStatus, *, nothing_waits: bool) -> None:
        """Record it once when a sink falls behind its minute, and once when it has caught up."""
        if sink.backlog and sink.oldest is None:
            return  # between two batches, for a moment, it is not known since when the next one waits
        if sink.late and sink.name not in self._late:
            self._late[sink.name] = self._clock.unix()
            _log.error("sink %s is late: %.0f s, %d entries; %s", sink.name, sink.lag_seconds, sink.backlog, sink.error)
            await self._record(notices.late(sink.name, sink.lag_seconds, sink.backlog, sink.error))
        taking = sink.state is SinkState.SHIPPING and (nothing_waits or sink.last_ok is not None)
        if sink.name in self._late and not sink.late and taking:
            # One that an earlier process recorded as late has caught up where it took something, or has taken everything.
            since = self._late.pop(sink.name)
            await self._record(notices.caught_up(sink.name, self._clock.unix() - since))
