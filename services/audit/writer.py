"""The journal's writer: one thread that takes what was handed in, writes it in groups, and says how the journal is."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence

import msgspec

from services.audit.entry import Draft, Moment, draft
from services.audit.event import Event, JournalHealth, JournalUnavailable, Receipt, begins
from services.audit.levels import Behind, Level, level_of
from services.audit.signing import SIGN_ENTRIES
from services.audit.store import Store
from services.clock import Clock
from services.model.objects import Json
from services.redaction import Redactor

MAX_BATCH = SIGN_ENTRIES
"""Entries written with one sync at most: more would be unsigned together."""
PROBE_SECONDS = 5.0
"""Wall seconds between two looks at a journal that can't be written."""
PROBE_PATIENCE = 0.25
"""Wall seconds that such a look waits for another process, which was waited for when it was found to hold the journal."""
CLOSE_SECONDS = 5.0
HEARTBEAT_SECONDS = 3600.0
"""Wall seconds after which a checkpoint is signed though nothing was written: silence is told from a gap."""
SEEN_AFTER = 32
"""Writes after which the disk's room is looked at again; also before anything begins, and at every quiet moment."""
DEGRADED_EVENT = "journal.degraded"

_TAKEN_UP = JournalUnavailable("Taken up from the emergency segment", "Another process has written it to the journal.")

_log = logging.getLogger("quarterdeck.journal")


class Pending(msgspec.Struct):
    """An event on its way, and who waits for its receipt."""

    event: Event
    moment: Moment
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Receipt]"
    """Belongs to ``loop``: the writer's thread only ever looks whether it was cancelled."""
    keep: bool
    """Must be written, however late: it records what has been done already."""
    draft: Draft | None = None
    answered: bool = False
    saved: bool = False
    """It is in the emergency segment."""


class _Look:
    """Stands in the queue for: see where the journal is."""


LOOK = _Look()


class Writer:
    """Owns the store while it runs. ``put``, ``save`` and ``stop`` may be called from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        redactor: Redactor,
        clock: Clock,
        program: str,
        lag: Callable[[], Behind | None] = lambda: None,
    ) -> None:
        self.id = ""
        self.health = JournalHealth(ok=True)
        self._lag = lag
        self._behind: Behind | None = None
        """How far the shipping was behind at the last look."""
        self._store = store
        self._redactor = redactor
        self._clock = clock
        self._program = program
        self._queue: queue.SimpleQueue[Pending | _Look | None] = queue.SimpleQueue()
        self._kept: list[Draft] = []
        self._under_way: list[Pending] = []
        """What the thread is at."""
        self._degraded_since: str | None = None
        self._why = ""
        self._refused = 0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._waiting = 0
        """Entries in the emergency segment; until it was looked at, whether there may be some."""
        self._unseen = 0
        """Writes since the disk's room was last looked at."""

    def open(self) -> None:
        """See how the journal is; never fails."""
        try:
            self._store.open()
            self._prepare()
        except JournalUnavailable as error:
            self._degrade(error)
        self._look()
        if not self.health.ok or self._waiting:
            self.start()

    def start(self) -> None:
        """Have the thread run, if ``stop`` was not called."""
        with self._starting:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def put(self, pending: Pending) -> None:
        if pending.keep:
            # Made now, so that it can be saved elsewhere though the disk holds the writer up.
            self._draft(pending)
        self.start()
        self._queue.put(pending)

    def see(self) -> None:
        """Look how far the shipping is behind. Raises ``OSError`` and :class:`JournalUnavailable`; the last look stands then."""
        self._behind = self._lag()

    def suspect(self) -> None:
        """Somebody has found the newest segment wrong: it is checked whole now."""
        self._store.suspect()
        self.start()
        self._queue.put(LOOK)

    def save(self, pending: Pending) -> bool:
        """Put what can't wait for the journal any longer into the emergency segment. Blocks; whether it is there."""
        if pending.draft is None:
            return False
        pending.saved = self._save([pending.draft])
        return pending.saved

    def stop(self) -> bool:
        """Write what waits (five wall seconds at most); what can't be written goes to the log. Whether the thread has ended."""
        with self._starting:
            self._stopped = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_SECONDS)
        for left in self._kept:
            _log.error("not written to the journal: %s", left.body(0).decode())
        if self._thread is None or not self._thread.is_alive():
            return True
        # The disk holds it up: what it was at, and what waits behind that, may not be on the disk when this process ends.
        held = list(self._under_way)
        with contextlib.suppress(queue.Empty):
            while True:
                if isinstance(item := self._queue.get_nowait(), Pending):
                    held.append(item)
        for pending in held:
            if pending.keep and pending.draft is not None and not (pending.answered or pending.saved):
                _log.error("perhaps not written to the journal: %s", pending.draft.body(0).decode())
        self._queue.put(None)
        return False

    def log(self, pending: Pending) -> None:
        """The log is the last place for what must be kept."""
        if pending.keep and (made := self._draft(pending)) is not None:
            _log.error("not written to the journal, which is closed: %s", made.body(0).decode())

    def _prepare(self) -> None:
        self._waiting = int(not self._store.emergency.empty())
        try:
            self._store.emergency.prepare()
        except OSError as error:
            _log.warning("no emergency segment: %s", error)

    # From here on the writer's thread.

    def _run(self) -> None:
        going = True
        while going:
            batch: list[Pending] = []
            self._under_way = batch
            asked = False
            quiet = self._store.unsigned.seconds if self._store.unsigned.count else HEARTBEAT_SECONDS
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=PROBE_SECONDS if self._troubled else quiet)
                while True:
                    if item is None:
                        going = False
                        break
                    if isinstance(item, _Look):
                        asked = True
                    else:
                        batch.append(item)
                    if len(batch) >= MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
            try:
                if asked:
                    self._probe(must=False)
                self._handle([pending for pending in batch if pending.keep or not pending.future.cancelled()])
            except Exception as error:
                # Whatever it is, those who wait must hear of it, and this thread must live on.
                _log.exception("the journal's writer failed")
                left = [pending for pending in batch if not pending.answered]
                self._refuse(left, JournalUnavailable("The journal can't be written", f"{type(error).__name__}: {error}."))
            if not self._troubled and (not batch or not going or self._due()):
                self._sign(ending=not going)

    @property
    def _troubled(self) -> bool:
        return self._degraded_since is not None or self._store.damage is not None or bool(self._waiting)

    def _due(self) -> bool:
        """Whether a checkpoint is. Where that can't be looked at there is none for a while; entries are taken all the same."""
        try:
            return self._store.due()
        except Exception:
            self._store.unsigned.failed()
            _log.exception("no checkpoint")
            return False

    def _sign(self, *, ending: bool) -> None:
        """A checkpoint of what is written. Where it can't be signed entries are taken all the same, and the log says so."""
        if ending and not self._store.unsigned.count:
            return
        self._look()
        try:
            self._store.sign()
        except JournalUnavailable as error:
            self._store.unsigned.failed()
            _log.error("no checkpoint: %s", error)
        except Exception:
            self._store.unsigned.failed()
            _log.exception("no checkpoint")

    def _handle(self, batch: list[Pending]) -> None:
        away = self._probe(must=any(pending.keep for pending in batch)) if self._troubled else None
        drafted = [pending for pending in batch if self._draft(pending) is not None]
        if away is not None:
            # It was looked at a moment ago: trying again would make those who wait do so twice.
            self._refuse(drafted, away)
            return
        drafted = self._allowed(drafted)
        # What must be written also goes into a journal whose damage nobody has acknowledged; nothing else does.
        if self._store.damage is None:
            self._write(drafted, despite_damage=False)
        else:
            self._write([pending for pending in drafted if pending.keep], despite_damage=True)
            self._write([pending for pending in drafted if not pending.keep], despite_damage=False)
        if self._waiting and batch and self._degraded_since is None:
            # Saved while a slow disk held this up; it is found to be in the journal by now.
            self._probe(must=False)

    def _allowed(self, batch: list[Pending]) -> list[Pending]:
        """Without what begins or promotes, where the journal is in a critical state; that is refused with the reason."""
        if not any(not pending.keep and begins(pending.event) for pending in batch):
            return batch
        # A command that begins something is over before anybody else looks.
        try:
            self.see()
        except (OSError, JournalUnavailable) as error:
            _log.warning("the shipping's lag is not known: %s", error)
        self._look()
        level, why = level_of(self._store.room(), self._behind)
        if level is not Level.CRITICAL:
            return batch
        refused = [pending for pending in batch if not pending.keep and begins(pending.event)]
        hint = "Nothing was started. Free space there or mend the shipping, then try again; a rollback still works."
        _resolve(refused, JournalUnavailable("The journal is in a critical state", f"{why}.", hint))
        self._look()
        return [pending for pending in batch if not pending.answered]

    def _draft(self, pending: Pending) -> Draft | None:
        if pending.draft is not None:
            return pending.draft
        try:
            pending.draft = draft(pending.event, pending.moment, redactor=self._redactor, program=self._program)
        except Exception as error:
            _log.exception("an event could not be made into an entry")
            _resolve(
                [pending],
                JournalUnavailable(f"{pending.event.event} can't be recorded", f"{type(error).__name__}: {error}."),
            )
        return pending.draft

    def _write(self, batch: Sequence[Pending], *, despite_damage: bool) -> None:
        if not batch:
            return
        must = [pending for pending in batch if pending.keep]
        alone = len(must) == len(batch)
        drafts = [pending.draft for pending in batch if pending.draft]
        try:
            receipts = self._store.append(drafts, despite_damage=despite_damage, must=alone)
        except JournalUnavailable as error:
            if must and not (despite_damage if self._store.damage is not None else alone):
                # Damage found just now, or a full disk: what must be written still can be.
                self._refuse([pending for pending in batch if not pending.keep], error)
                self._write(must, despite_damage=self._store.damage is not None)
            else:
                self._refuse(batch, error)
            return
        self._unseen += 1
        if not self.health.ok or self._unseen >= SEEN_AFTER:
            self._look()
        if len(receipts) < len(batch):
            by_id = {receipt.id: receipt for receipt in receipts}
            _answer([(pending, by_id.get(pending.draft.id, _TAKEN_UP)) for pending in batch if pending.draft])
        else:
            _answer(list(zip(batch, receipts, strict=True)))

    def _refuse(self, batch: Sequence[Pending], error: JournalUnavailable) -> None:
        must = [pending.draft for pending in batch if pending.keep and pending.draft is not None and not pending.saved]
        self._refused += sum(not pending.keep for pending in batch)
        for made in must:
            made.late = True
        if must and not self._save(must):
            self._kept += must
        self._degrade(error)
        _resolve(batch, error)

    def _save(self, drafts: Sequence[Draft]) -> bool:
        try:
            self._waiting = self._store.emergency.put(drafts)
        except (OSError, JournalUnavailable) as error:
            _log.error("not saved in the emergency segment: %s", error)
            return False
        return True

    def _probe(self, *, must: bool) -> JournalUnavailable | None:
        """Try whether the journal can be written again; if so, first what was kept, after a note of the gap. Else why not."""
        try:
            self._store.look(patience=PROBE_PATIENCE)
            self._catch_up(must=must or bool(self._kept))
        except JournalUnavailable as error:
            self._degrade(error)
            return error
        self._look()
        return None

    def _catch_up(self, *, must: bool) -> None:
        owed = self._kept or self._waiting
        if self._degraded_since is not None and (owed or self._store.damage is None):
            facts: dict[str, Json] = {
                "from": self._degraded_since,
                "to": Moment.of(self._clock).stamp,
                "count": len(self._kept),
                "refused": self._refused,
            }
            event = Event(event=DEGRADED_EVENT, user="", data=facts)
            gap = draft(event, Moment.of(self._clock), redactor=self._redactor, program=self._program)
            self._store.append([gap, *self._kept], despite_damage=True, must=must)
            self._kept.clear()
            self._degraded_since, self._refused = None, 0
        if self._waiting:
            self._store.merge()
            self._waiting = 0
        self._prepare()

    def _degrade(self, error: JournalUnavailable) -> None:
        if self._store.damage is None and self._degraded_since is None:
            self._degraded_since = Moment.of(self._clock).stamp
        self._why = str(error)
        self._look()

    def _look(self) -> None:
        self._unseen = 0
        self.id = self._store.id or self.id
        room, damage = self._store.room(), self._store.damage
        level, why = level_of(room, self._behind)
        if damage is not None:
            level = Level.CRITICAL
            why = f"{damage.segment} is damaged at entry {damage.seq}: see `quarterdeck journal verify`"
        elif self._degraded_since is not None:
            level, why = Level.DEGRADED, self._why
        self.health = JournalHealth(
            ok=level in (Level.OK, Level.LOW),
            detail=why,
            pending=len(self._kept),
            waiting=self._waiting,
            level=level,
            free=room.free if room else None,
        )


def _resolve(batch: Sequence[Pending], error: JournalUnavailable) -> None:
    _answer([(pending, error) for pending in batch])


def _answer(results: Sequence[tuple[Pending, Receipt | JournalUnavailable]]) -> None:
    """Tell those who wait, each loop once."""
    for pending, _ in results:
        pending.answered = True
    loops = {pending.loop for pending, _ in results} if len(results) > 1 else {results[0][0].loop} if results else ()
    for loop in loops:
        # A loop that was closed has nobody left who waits; what had to be written is written or kept all the same.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, [(pending.future, result) for pending, result in results if pending.loop is loop])


def _set(results: "Sequence[tuple[asyncio.Future[Receipt], Receipt | JournalUnavailable]]") -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, Receipt):
            future.set_result(result)
        else:
            future.set_exception(result)
