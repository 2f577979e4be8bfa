"""A live picture of one context's namespaces: kept by list and watch, and honest about its age."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from services.clock import Clock
from services.cluster.answers import CredentialsRefused, Silent
from services.cluster.connection import Connection
from services.cluster.objects import path_of
from services.cluster.picture import KINDS, Picture
from services.cluster.transport import Request
from services.cluster.watch import SELECTORS, Reading, Reflector
from services.model.errors import Forbidden, NotFound, QuarterdeckError

ALL = KINDS
OPTIONAL = ("HorizontalPodAutoscaler", "HTTPRoute", "Ingress")
"""Kinds without which the picture is whole and current all the same: where they can't be read, what they would say is unknown."""
HEARTBEAT_SECONDS = 5.0
"""After so long without a sign of life the server is asked for one."""
_HEARTBEAT_TIMEOUT = 3.0
_PROBE_SECONDS = 0.8
"""Between questions while the server does not answer: what decides how soon it is noticed when it is back."""
_PATIENCE_SECONDS = 10.0
"""A list that has left is not begun again sooner for a server that is slow rather than gone; each time that it was in vain, it
gets twice as long."""
_LEAST_PATIENCE, _PATIENT_TIMES = 1.0, 4.0
"""A connection that was begun in the dark may take so many times as long as the answer that showed the server to be back."""

_DEFECT = "internal error: "

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One kind of one namespace that we may not read, or that the cluster does not know (``absent``)."""

    kind: str
    namespace: str
    reason: str
    absent: bool


class Inventory(Picture):
    """Keeps itself current while ``run`` runs.

    ``on_change`` is called (on the loop) once after each batch of events and each turn of what can be read; ``version`` counts
    the same moments. Ages are wall seconds.
    """

    def __init__(
        self,
        connection: Connection,
        namespaces: Sequence[str],
        clock: Clock,
        *,
        on_change: Callable[[], None] | None = None,
        kinds: Sequence[str] = ALL,
        optional: Sequence[str] = OPTIONAL,
    ) -> None:
        super().__init__()
        self._optional = tuple(optional)
        self.connection = connection
        self.namespaces = tuple(dict.fromkeys(namespaces))
        self.version = 0
        self._clock = clock
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._started: float | None = None
        self._life: float | None = None
        self._silence = ""
        self._silent_at = 0.0
        self._distrusts = False
        """No connection from before this silence is used any more."""
        self._reflectors = [
            Reflector(connection, kind, namespace, self, clock, on_change=self._bump, on_life=self._live)
            for namespace in self.namespaces
            for kind in kinds
        ]
        self._watching: dict[Reflector, asyncio.Task[None]] = {}
        self._patience: dict[Reflector, float] = {}
        """Of lists that were begun again: wall seconds for the next."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def context(self) -> str:
        return self.connection.context

    async def run(self) -> None:
        """List and watch until cancelled. Never raises: what goes wrong is in ``problem`` and ``age``."""
        self._started = self._clock.monotonic()
        try:
            for reflector in self._reflectors:
                self._watch(reflector)
            while True:
                await self._keep_time()
        finally:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._watching.clear()

    async def wait_synced(self, timeout: float) -> bool:
        """Wait until all that can be read has been listed once; whether that came about within ``timeout`` wall seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not self.synced:
                    await self.changed(self.version)
        except TimeoutError:
            return False
        return True

    @property
    def synced(self) -> bool:
        return all(reflector.settled for reflector in self._reflectors)

    async def changed(self, since: int | None = None) -> int:
        """Wait until ``version`` is no longer ``since`` (default: what it is now); the version then. Any number may wait."""
        seen = self.version if since is None else since
        while self.version == seen:
            await self._changed.wait()
        return self.version

    def age(self) -> float | None:
        """Seconds since all that can be read of the picture was last known to be true; ``None`` before there was any picture.

        An open watch is as true as the last sign of life of the server (event, bookmark, list or heartbeat, at most 5 s apart
        while it lives); a kind whose watch is broken, or not yet accepted again, is as old as its own last sign.
        """
        readable = [
            one
            for one in self._reflectors
            if one.reading not in (Reading.FORBIDDEN, Reading.ABSENT) and one.kind not in self._optional
        ]
        if self._life is None or self._started is None or (readable and all(one.proved is None for one in readable)):
            return None
        proved = [max(self._life, one.proved or 0.0) if one.following else one.proved or self._started for one in readable]
        return max(0.0, self._clock.monotonic() - min(proved, default=self._life))

    @property
    def problem(self) -> str:
        """Why the picture is not current or not whole, in words; empty where it is both."""
        if self._silence:
            return self._silence
        broken = [one for one in self._reflectors if one.problem and one.reading in (Reading.BROKEN, Reading.WAITING)]
        if broken and len(broken) == len([one for one in self._reflectors if one.reading is not Reading.ABSENT]):
            return broken[0].problem
        partly = broken or [
            one for one in self._reflectors if one.reading is Reading.FORBIDDEN and one.kind not in self._optional
        ]
        more = f" (and {len(partly) - 1} more)" if len(partly) > 1 else ""
        return f"can't read {partly[0].name}{more}: {partly[0].problem}" if partly else ""

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What we may not read, and what the cluster does not know; everything else works."""
        return tuple(
            Unreadable(one.kind, one.namespace, one.problem, one.reading is Reading.ABSENT)
            for one in self._reflectors
            if one.reading in (Reading.FORBIDDEN, Reading.ABSENT)
        )

    def can_read(self, kind: str, namespace: str) -> bool:
        """Whether this kind is watched there and has been listed; one that ``age`` leaves out only while its watch works."""
        return any(
            one.proved is not None
            and (one.reading is Reading.LIVE or (one.reading is Reading.BROKEN and kind not in self._optional))
            for one in self._reflectors
            if (one.kind, one.namespace) == (kind, namespace)
        )

    async def _keep_time(self) -> None:
        """Ask for a sign of life, when one is due."""
        if self._silence:
            # None waits for those before it: one sent into the dark is silent until its timeout, long after the server is back.
            self._begin(self._ask())
            await self._clock.sleep(_PROBE_SECONDS)
            return
        quiet = self._clock.monotonic() - (self._life if self._life is not None else self._started or 0.0)
        if quiet < HEARTBEAT_SECONDS:
            await self._clock.sleep(HEARTBEAT_SECONDS - quiet)
            return
        await self._ask()

    async def _ask(self) -> None:
        asked = self._clock.monotonic()
        try:
            if (error := await self._refusal()) is None:
                self._live(self._clock.monotonic() - asked)
            elif self._life is None or self._life <= asked:  # else a later question has been answered meanwhile
                self._fall_silent(error.title)
                if isinstance(error, Silent) and not self._distrusts:
                    self._distrusts = True
                    await self.connection.distrust()
        except Exception as error:  # a defect of ours must not end the watches, nor fill the log
            if not self._silence.startswith(_DEFECT):
                _log.exception("the heartbeat of %s failed", self.context)
            self._fall_silent(f"{_DEFECT}{error!r}")

    async def _refusal(self) -> QuarterdeckError | None:
        """Ask for a sign of life; what came instead of one."""
        try:
            await self.connection.request(self._question(), timeout=_HEARTBEAT_TIMEOUT)
        except CredentialsRefused as error:
            return error
        except (Forbidden, NotFound):
            return None
        except QuarterdeckError as error:
            return error
        return None

    def _fall_silent(self, why: str) -> None:
        self._silent_at = self._clock.monotonic()
        if self._silence != why:
            self._silence = why
            self._bump()

    def _question(self) -> Request:
        """The smallest read that takes the same way as ours: one object of a kind we watch."""
        readable = [one for one in self._reflectors if one.reading not in (Reading.FORBIDDEN, Reading.ABSENT)]
        live = [one for one in readable if one.reading is Reading.LIVE] or readable
        if not live:
            return Request("GET", "/version", "heartbeat", retry=False)
        params = {"limit": "1"}
        if selector := SELECTORS.get(live[0].kind):
            params["labelSelector"] = selector
        return Request("GET", path_of(live[0].kind, live[0].namespace), "heartbeat", params=params, retry=False)

    def _live(self, took: float | None = None) -> None:
        self._life = self._clock.monotonic()
        if self._silence:
            self._silence, self._distrusts = "", False
            self._resume(_HEARTBEAT_TIMEOUT if took is None else took)
            self._bump()

    def _resume(self, took: float) -> None:
        """After an outage no stream from before it is to be trusted, and no backoff need be waited for. ``took``: wall seconds in
        which the server answers now."""
        connecting = min(_PATIENCE_SECONDS, max(_LEAST_PATIENCE, _PATIENT_TIMES * took))
        for reflector, task in tuple(self._watching.items()):
            if task is asyncio.current_task() or reflector.waits_as_told:
                continue
            if reflector.attempted <= self._silent_at and not reflector.listing:
                self._restart(reflector)
            elif not reflector.following:
                self._begin(self._restart_unless_heard(reflector, task, connecting))

    async def _restart_unless_heard(self, reflector: Reflector, task: "asyncio.Task[None]", connecting: float) -> None:
        """Begin anew what was asked in the dark. What has left over a connection may be at a slow server, and gets its time."""
        since, attempt = self._clock.monotonic(), reflector.attempted
        await self._clock.sleep(connecting)
        patience = self._patience.get(reflector, _PATIENCE_SECONDS)
        lists = reflector.sent and reflector.listing
        if lists:
            await self._clock.sleep(max(0.0, attempt + patience - self._clock.monotonic()))
        if self._watching[reflector] is not task or reflector.attempted != attempt:
            return
        if reflector.heard > since:
            self._patience.pop(reflector, None)
            return
        if lists:
            self._patience[reflector] = 2 * patience
        self._restart(reflector)

    def _restart(self, reflector: Reflector) -> None:
        self._watching[reflector].cancel()
        self._watch(reflector)

    def _watch(self, reflector: Reflector) -> None:
        self._watching[reflector] = self._begin(reflector.run())

    def _begin(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # a defect of ours must not end the watches
            _log.error("watching %s failed", self.context, exc_info=error)

    def _bump(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()
        if self._on_change is not None:
            try:
                self._on_change()
            except Exception:  # a defect of whoever listens must not end the watch that told it
                _log.exception("telling of a change in %s failed", self.context)
