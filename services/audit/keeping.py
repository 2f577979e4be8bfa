"""What is done for a journal beside writing it: a long segment checked whole, the shipping's lag seen, old segments packed or
removed. In a thread of its own, so that no entry waits for it."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from services.audit.event import JournalUnavailable
from services.audit.place import locked, open_lock
from services.audit.retention import Policy, Retention
from services.audit.segments import segments
from services.audit.store import Store
from services.audit.tail import WINDOW, holds
from services.audit.writer import Writer
from services.clock import Clock
from services.redaction import Redactor

FIRST_SECONDS = 2.0
"""Wall seconds after which the newest segment is checked: a command that is over by then does not need it."""
TICK_SECONDS = 10.0
RETENTION_SECONDS = 24 * 3600.0
RETENTION_FIRST = 60.0
"""Wall seconds after the opening at which old segments are looked after; then once a day, and when a segment was sealed."""

_log = logging.getLogger("quarterdeck.journal")


class Keeping:
    """See the module. ``start`` and ``stop`` it once."""

    def __init__(self, store: Store, writer: Writer, policy: Callable[[], Policy], *, clock: Clock, redactor: Redactor) -> None:
        self._store = store
        self._writer = writer
        self._policy = policy
        self._clock = clock
        self._redactor = redactor
        self._warned: dict[str, str] = {}
        """What could not be done, and why: said once for each reason."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="journal-keeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        if self._stop.wait(FIRST_SECONDS):
            return
        self._attempt("the newest segment was not checked", self._check)
        # From here on an hour of silence is signed, even where this process never writes.
        self._writer.start()
        waited, due, sealed = FIRST_SECONDS, RETENTION_FIRST, 0
        while not self._stop.wait(TICK_SECONDS):
            waited += TICK_SECONDS
            self._attempt("the shipping's lag is not known", self._writer.see)
            if waited >= due or self._store.rotations != sealed:
                sealed, due = self._store.rotations, waited + RETENTION_SECONDS
                self._attempt("old segments were not looked after", self._look_after)

    def _attempt(self, what: str, do: Callable[[], None]) -> None:
        try:
            do()
            self._warned.pop(what, None)
        except (OSError, JournalUnavailable) as error:
            if self._warned.get(what) != str(error):
                self._warned[what] = str(error)
                _log.warning("%s: %s", what, error)
        except Exception:
            # Whatever it is: the next time comes, and the journal goes on.
            _log.exception("%s", what)

    def _check(self) -> None:
        """A long segment was opened by its end; whether it holds from its beginning is found here."""
        directory = self._store.directory
        known = segments(directory)
        if not known or known[-1].packed:
            return
        path, size = known[-1].path, _size(directory, known[-1].path)
        if size > 2 * WINDOW and not holds(path, size):
            self._writer.suspect()

    def _look_after(self) -> None:
        # As it is configured now: a console may be older than a sink that must have confirmed what goes.
        retention = Retention(self._store.directory, self._policy(), clock=self._clock, redactor=self._redactor)
        for step in retention.run(stopping=self._stop.is_set):
            _log.info("%s %s: %s", step.action, step.segment, step.why)


def _size(directory: Path, path: Path) -> int:
    """At a moment when nobody writes."""
    descriptor = open_lock(directory)
    try:
        with locked(descriptor, directory, shared=True):
            return path.stat().st_size
    finally:
        os.close(descriptor)
