"""The logs that a screen follows: which pods they are of, each followed by itself, all of them brought together in time.

Nothing here waits for the screen, and the screen waits for nothing here: what comes is kept until it is fetched, the newest
``MOST_WAITING`` lines of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.model.errors import QuarterdeckError, Rejected
from widgets.logpane import MOST_LINES, Record

if TYPE_CHECKING:
    from console.context import Context
    from console.watching import Watching
    from services.cluster.podlogs import LogLine, Source, Span
    from services.cluster.revisions import PodOf, Revision

MOST_PODS = 20
"""Pods whose logs are followed at once: each is an open connection to the API server."""
MOST_WAITING = MOST_LINES
LOOK_SECONDS = 1.0
"""Wall seconds between looks for pods that are new."""
GATHER_SECONDS = 0.1
"""Wall seconds for which lines are gathered before they are shown: a burst is one drawing."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogsOf:
    """Whose logs: all pods of a service, those of one of its ReplicaSets, or one pod."""

    environment: str
    service: str
    replica_set: str = ""
    pod: str = ""

    @property
    def words(self) -> str:
        return self.pod or self.replica_set or self.service


@dataclass(frozen=True, slots=True)
class Followed:
    """How it stands: pods that are followed now, that were and are gone, and that there was no room for; the containers to choose
    from, and the one that is chosen."""

    live: int = 0
    ended: int = 0
    left_out: int = 0
    containers: tuple[str, ...] = ()
    container: str = ""


class Tail:
    """The logs of ``wanted``, from when it is asked for batches until it is closed. ``container``: empty for the main one."""

    def __init__(self, context: Context, watching: Watching, wanted: LogsOf, span: Span, container: str = "") -> None:
        self._context = context
        self._watching = watching
        self._wanted = wanted
        self._span = span
        self._container = container
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By the pod's UID; those that ended stay."""
        self._waiting: deque[Record] = deque(maxlen=MOST_WAITING)
        self._lost = 0
        self._came = asyncio.Event()
        self._left_out = 0
        self._containers: tuple[str, ...] = ()

    @property
    def followed(self) -> Followed:
        live = sum(not task.done() for task in self._tasks.values())
        return Followed(live, len(self._tasks) - live, self._left_out, self._containers, self._chosen(self._containers))

    async def batches(self) -> AsyncGenerator[list[Record]]:
        """Lines as they come, in the order of their stamps as far as they come together; without end. Raises ``Rejected`` where
        nothing can have logs, ``Unavailable`` where its cluster is not open yet."""
        looking = asyncio.create_task(self._look(), name=f"pods of {self._wanted.words}")
        try:
            while True:
                await self._first(looking)
                await self._context.clock.sleep(GATHER_SECONDS)
                yield self._fetched()
        finally:
            tasks = (looking, *self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first(self, looking: asyncio.Task[None]) -> None:
        """Wait until a line came; raises what ended the looking."""
        coming = asyncio.create_task(self._came.wait())
        try:
            await asyncio.wait((coming, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
        if looking.done():
            await looking

    def _fetched(self) -> list[Record]:
        self._came.clear()
        found, self._waiting = list(self._waiting), deque(maxlen=MOST_WAITING)
        if self._lost:
            words = f"{self._lost} lines came faster than they could be shown, and were left out here"
            found.insert(0, Record(words, at=found[0].at, told=True))
            self._lost = 0
        last = 0.0
        keys = []
        for record in found:
            last = last if record.at is None else record.at
            keys.append(last)
        return [record for _, record in sorted(zip(keys, found, strict=True), key=lambda pair: pair[0])]

    async def _look(self) -> None:
        """Follow every pod that is wanted, those that come later too."""
        while True:
            for revision, pod in self._wanted_pods():
                if pod.uid not in self._tasks and self._room():
                    hue = len(self._tasks)
                    tag = "" if self._wanted.pod else f"{revision.version} {pod.name.rpartition('-')[2]}"
                    name = self._chosen(pod.containers)
                    self._tasks[pod.uid] = asyncio.create_task(
                        self._follow(revision.workload.namespace, pod, name, tag, hue), name=f"log of {pod.name}"
                    )
            await self._context.clock.sleep(LOOK_SECONDS)

    def _room(self) -> bool:
        return sum(not task.done() for task in self._tasks.values()) < MOST_PODS

    def _wanted_pods(self) -> Sequence[tuple[Revision, PodOf]]:
        from services.cluster.revisions import revisions_of

        environment = self._context.settings.environments.get(self._wanted.environment)
        if environment is None:
            raise Rejected("environment", self._wanted.environment, "is not configured", "one that the fleet shows")
        inventory = self._watching.inventory_of(environment.context)
        found = [
            (revision, pod)
            for namespace in environment.namespaces
            for revision in revisions_of(inventory, namespace, self._wanted.service)
            for pod in revision.pods
            if self._wanted.replica_set in ("", revision.replica_set) and self._wanted.pod in ("", pod.name)
        ]
        # the ones in trouble first, should there not be room for all
        found.sort(key=lambda each: (each[1].ready, each[0].track != "canary"))
        self._left_out = max(0, sum(pod.uid not in self._tasks for _, pod in found) + self.followed.live - MOST_PODS)
        self._containers = tuple(dict.fromkeys(name for _, pod in found for name in pod.containers))
        return found

    def _chosen(self, containers: tuple[str, ...]) -> str:
        if self._container in containers:
            return self._container
        return self._wanted.service if self._wanted.service in containers else (containers[0] if containers else "")

    async def _follow(self, namespace: str, pod: PodOf, container: str, tag: str, hue: int) -> None:
        from services.cluster.podlogs import Source, follow
        from services.redaction.lines import LineRedactor

        source = Source(namespace, pod.name, container, pod.uid)
        clean = LineRedactor(self._context.redactor)
        environment = self._context.settings.environments[self._wanted.environment]
        connection = await self._context.clusters.connect(environment.context)
        try:
            async with aclosing(follow(connection, source, self._span, self._context.clock, clean.line)) as batches:
                async for lines in batches:
                    self._put(source, lines, tag, hue)
        except QuarterdeckError as error:
            self._add([Record(f"{pod.name} ended: {error.title}", tag, hue, told=True)])
        except Exception:
            # of one pod's log: the others go on
            log.exception("the log of %s could not be followed", pod.name)
            self._add([Record(f"{pod.name} ended: unexpected error, the log in the home directory has it", tag, hue, told=True)])

    def _put(self, source: Source, lines: list[LogLine], tag: str, hue: int) -> None:
        self._add([Record(line.text, tag, hue, line.at, line.cut, line.told) for line in lines])

    def _add(self, records: list[Record]) -> None:
        self._lost += max(0, len(self._waiting) + len(records) - MOST_WAITING)
        self._waiting += records
        self._came.set()
