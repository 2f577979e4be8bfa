"""List, then watch, and again: one kind of one namespace kept in step with the cluster.

::

    WAITING ──list──▶ LIVE ──stream ends──▶ LIVE            (resumed where it ended)
       │                │ ├─stream breaks──▶ BROKEN ──▶ LIVE (resumed)
       │                │ └─410, garbled───▶ BROKEN ──▶ LIVE (listed anew)
       ├──403──▶ FORBIDDEN   (asked again every 30 s)
       └──404──▶ ABSENT      (asked again every 30 s: the definition may be installed)

What could be read is FORBIDDEN or ABSENT only once the server has said so for a while, and BROKEN until then: one that has just
started refuses everybody before it has loaded its roles, and knows no custom resource before it has loaded their definitions.
"""

import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from enum import StrEnum

import msgspec

from services.clock import Clock
from services.cluster.answers import CredentialsRefused, Expired, Garbled, refusal, status_of
from services.cluster.connection import Connection
from services.cluster.lines import Events
from services.cluster.objects import KIND_LABEL, RESOURCES, SERVICE_LABEL, Page, Stamp
from services.cluster.picture import Entry, Picture
from services.model.errors import Forbidden, NotFound, QuarterdeckError, Throttled

SELECTORS = {"ConfigMap": KIND_LABEL, "Lease": SERVICE_LABEL}
"""Of these kinds only what carries this label is watched: everything else in them is nobody's business here."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
"""Full-jitter backoff in wall seconds; the longest leaves 2 s for the lists, so that an outage of any length heals within 5 s."""
ASK_AGAIN = 30.0
_LONGEST_THROTTLE = 30.0
_RESUMES = 3
"""After so many failures in a row it lists again: where watches don't work but lists do, the picture stays current that way."""
_STEADY = 1.0
"""A stream that lasted so long was a good one: the next failure is a first one."""
_SETTLING_SECONDS = 10.0
"""A server that refuses for so long what it allowed before means it."""

_stamp = msgspec.json.Decoder(Stamp)
_log = logging.getLogger(__name__)


class Reading(StrEnum):
    """How well one kind of one namespace can be read."""

    WAITING = "waiting"
    LIVE = "live"
    BROKEN = "broken"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


class Reflector:
    """Keeps ``picture`` in step with one kind of one namespace.

    ``on_change`` is called once after each batch that changed the picture and after each turn of ``reading``; ``on_life`` at
    every proof that the server lives, with the wall seconds that its answer took where it was one to a question. ``run`` may be
    cancelled and run again: it goes on where it was.
    """

    def __init__(
        self,
        connection: Connection,
        kind: str,
        namespace: str,
        picture: Picture,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        on_life: Callable[[float | None], None],
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.reading = Reading.WAITING
        self.problem = ""
        self.proved: float | None = None
        """Monotonic second at which its part of the picture was last known to be true."""
        self.attempted = 0.0
        """Monotonic second at which the list or watch under way began."""
        self.heard = 0.0
        """Monotonic second of the last that the server said to it."""
        self.waits_as_told = False
        """Between two attempts, because the server said when to come again, or refused."""
        self.sent = False
        """The list or watch under way has left: there is a connection."""
        self.listing = False
        self.following = False
        """The server has accepted the watch, and nothing has been heard of its end."""
        self._connection = connection
        self._picture = picture
        self._clock = clock
        self._on_change = on_change
        self._on_life = on_life
        self._version = ""
        self._failures = 0
        self._followed_at: float | None = None
        """When the attempt under way had its watch accepted."""
        self._refused_at: float | None = None
        self._told_when = False
        """How long to wait is what the server's answer says."""

    @property
    def settled(self) -> bool:
        """Listed once, or known not to be listable."""
        return self.proved is not None or self.reading in (Reading.FORBIDDEN, Reading.ABSENT)

    @property
    def name(self) -> str:
        return f"{RESOURCES[self.kind].plural} in {self.namespace}"

    async def run(self) -> None:
        """Never ends by itself and never raises."""
        while True:
            self.attempted = self._clock.monotonic()
            self.sent = self._told_when = False
            pause = await self._attempt()
            if pause:
                self.waits_as_told = self._told_when
                try:
                    await self._clock.sleep(pause)
                finally:
                    self.waits_as_told = False

    async def _attempt(self) -> float:
        """One list where needed, and one watch; how long to wait before the next."""
        self._followed_at = None
        try:
            if not self._version:
                self.listing = True
                try:
                    await self._list()
                finally:
                    self.listing = False
            await self._follow()
        except Expired:
            self._version = ""
            return self._stumbled("the watch fell too far behind", at_once=True)
        except CredentialsRefused as error:
            return self._stumbled(error.title)
        except Forbidden as error:
            return self._refused(Reading.FORBIDDEN, error.title)
        except NotFound as error:
            return self._refused(Reading.ABSENT, error.title)
        except Throttled as error:
            self._told_when = True
            return self._stumbled(error.title, at_least=min(error.retry_after, _LONGEST_THROTTLE))
        except Garbled as error:
            self._version = ""
            return self._stumbled(error.title)
        except QuarterdeckError as error:
            return self._stumbled(error.title)
        except Exception as error:
            # A defect of ours must show as one broken kind, not as the end of every watch.
            _log.exception("watching %s failed", self.name)
            self._version = ""
            return self._stumbled(f"internal error: {error!r}")
        if self._steady():
            self._failures = 0
            return 0.0
        self._failures += 1
        return self._backoff()

    def _steady(self) -> bool:
        return self._followed_at is not None and self._clock.monotonic() - self._followed_at >= _STEADY

    async def _list(self) -> None:
        entries: list[Entry] = []
        version = ""
        selector = SELECTORS.get(self.kind, "")
        try:
            async with aclosing(self._pages(selector)) as pages:
                asked = self._clock.monotonic()
                async for page in pages:  # each decoded before the next is asked for: no page holds the loop for long
                    self._hear(self._clock.monotonic() - asked)
                    entries.extend(self._picture.decode(self.kind, item) for item in page.items or ())
                    version = page.metadata.resource_version
                    asked = self._clock.monotonic()
        except msgspec.DecodeError as error:
            raise Garbled(f"the list of {self.name} can't be read: {error}") from error
        self._picture.replace(self.kind, self.namespace, entries, self._clock.monotonic())
        self._version = version
        self._alive(changed=True)

    def _pages(self, selector: str) -> AsyncGenerator[Page]:
        return self._connection.pages(self.kind, self.namespace, labels=selector, retry=False, on_sent=self._leave)

    def _leave(self) -> None:
        self.sent = True

    async def _follow(self) -> None:
        selector = SELECTORS.get(self.kind, "")
        stream = self._connection.watch(self.kind, self.namespace, resource_version=self._version, labels=selector)
        try:
            async with aclosing(stream) as batches:
                async for events in batches:
                    if not self.following:
                        self.following, self._followed_at = True, self._clock.monotonic()
                    self._alive(changed=self._take(events))
            self.proved = self._clock.monotonic()  # who ends a watch in good order has sent all there was
        finally:
            self.following = False

    def _take(self, events: Events) -> bool:
        """Put a batch into the picture; whether anything changed. Raises what an ERROR event says."""
        changed = False
        now = self._clock.monotonic()
        for event in events:
            if event.type == "ERROR":
                self._version = ""  # whatever it was: a fresh list is always right
                raise self._error(bytes(event.object))
            try:
                if event.type in ("ADDED", "MODIFIED"):
                    self._picture.put(self.kind, event.object, now)
                    changed = True
                elif event.type == "DELETED":
                    self._picture.remove(self.kind, event.object, now)
                    changed = True
                self._version = _stamp.decode(event.object).metadata.resource_version or self._version
            except msgspec.DecodeError as error:
                raise Garbled(f"an event of {self.name} can't be read: {error}") from error
        return changed

    def _error(self, body: bytes) -> QuarterdeckError:
        status = status_of(body)
        code = status.code if status is not None and status.code else 500
        server = self._connection.server
        return refusal(code, body, {}, context=self._connection.context, server=server, what=f"watch {self.name}")

    def _hear(self, took: float | None = None) -> None:
        self.heard = self._clock.monotonic()
        self._on_life(took)

    def _alive(self, *, changed: bool) -> None:
        self._hear()
        self.proved = self._clock.monotonic()
        self._refused_at = None
        if self.reading is not Reading.LIVE:
            self.reading, self.problem = Reading.LIVE, ""
            changed = True
        if changed:
            self._on_change()

    def _stumbled(self, problem: str, *, at_least: float = 0.0, at_once: bool = False) -> float:
        if self._steady():
            self._failures = 0
        if self._failures >= _RESUMES:
            self._version = ""
        pause = 0.0 if at_once and not self._failures else max(at_least, self._backoff())
        self._failures += 1
        if self.reading is Reading.LIVE or self.problem != problem:
            self.reading, self.problem = Reading.BROKEN, problem
            self._on_change()
        return pause

    def _refused(self, reading: Reading, problem: str) -> float:
        self._hear()
        now = self._clock.monotonic()
        if self.reading in (Reading.LIVE, Reading.BROKEN):
            self._refused_at = now if self._refused_at is None else self._refused_at
            if now - self._refused_at < _SETTLING_SECONDS:
                return self._stumbled(problem)
        return self._shut_out(reading, problem)

    def _shut_out(self, reading: Reading, problem: str) -> float:
        """What can't be read must not look current: it is dropped."""
        self._version = ""
        self._refused_at = None
        self._told_when = True
        self._picture.replace(self.kind, self.namespace, (), self._clock.monotonic())
        if self.reading is not reading or self.problem != problem:
            self.reading, self.problem = reading, problem
            self._on_change()
        return ASK_AGAIN

    def _backoff(self) -> float:
        return random.uniform(FIRST_PAUSE, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures + 1, 10)))
