"""Watches: the changes of a resource as lines of JSON, from a revision on, until the client or the time is over."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec
from aiohttp import web

from services.sandbox.errors import ApiError, bad_request
from services.sandbox.faults import Faults
from services.sandbox.resources import Object, meta
from services.sandbox.selectors import Match
from services.sandbox.store import Event, Store
from services.sandbox.tables import table
from services.sandbox.target import Target

BOOKMARK_SECONDS = 15.0
"""Wall seconds between bookmarks on a silent watch."""
BACKLOG = 4096
"""Changes a slow client may lie behind before its watch is ended."""


class Watch:
    """One client's view of one resource: which changes it sees, and as what."""

    def __init__(self, store: Store, target: Target, selects: Match, *, as_table: bool, now: Callable[[], datetime]) -> None:
        self._store = store
        self._target = target
        self._selects = selects
        self._as_table = as_table
        self._header = True
        self._now = now
        self._pending: deque[Event] = deque()
        self._woken = asyncio.Event()

    def offer(self, event: Event) -> None:
        if event.resource is self._target.resource and self._target.namespace in (None, meta(event.object).get("namespace")):
            self._pending.append(event)
            self._woken.set()

    async def serve(self, request: web.Request, faults: Faults) -> web.StreamResponse:
        """Stream until the client goes, ``timeoutSeconds`` are over, or the client lies too far behind."""
        query = request.query
        try:
            seconds = float(query.get("timeoutSeconds") or 1800)
            revision = int(query.get("resourceVersion") or 0)
        except ValueError as error:
            raise bad_request(f"invalid number: {error}") from None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        end = asyncio.get_running_loop().time() + seconds
        stop = self._store.subscribe(self.offer)
        faults.watch_begins(request)
        try:
            first = self._first(revision)
            await response.prepare(request)
            for line in first:
                await response.write(line)
            bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
            while (left := end - asyncio.get_running_loop().time()) > 0 and len(self._pending) < BACKLOG:
                if not self._pending:
                    self._woken.clear()
                    try:
                        async with asyncio.timeout(min(left, BOOKMARK_SECONDS)):
                            await self._woken.wait()
                    except TimeoutError:
                        if bookmarks:
                            await response.write(self._bookmark())
                        continue
                events = list(self._pending)
                self._pending.clear()
                if lines := b"".join(filter(None, map(self._line, events))):
                    await response.write(lines)
        except ApiError as error:
            if not response.prepared:
                await response.prepare(request)
            await response.write(msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n")
        except ConnectionResetError:
            return response
        finally:
            stop()
            faults.watch_ends(request)
        return response

    def _first(self, revision: int) -> list[bytes]:
        """What happened since ``revision``; from 0 on, everything there is now."""
        if revision:
            wanted = (event for event in self._store.since(revision) if event.resource is self._target.resource)
            mine = (event for event in wanted if self._target.namespace in (None, meta(event.object).get("namespace")))
            return list(filter(None, map(self._line, mine)))
        found = self._store.all(self._target.resource, self._target.namespace)
        return [self._encode("ADDED", item, None) for item in found if self._selects(item)]

    def _line(self, event: Event) -> bytes | None:
        """The change as this client sees it: entering or leaving its selection are an addition and a deletion."""
        before = event.previous is not None and self._selects(event.previous)
        after = event.kind != "DELETED" and self._selects(event.object)
        if not before and not after:
            return None
        kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
        return self._encode(kind, event.object, event)

    def _encode(self, kind: str, found: Object, event: Event | None) -> bytes:
        if self._as_table:
            item = table(
                self._target.resource,
                [found],
                {"resourceVersion": meta(found)["resourceVersion"]},
                self._now(),
                header=self._header,
            )
            self._header = False
            return msgspec.json.encode({"type": kind, "object": item}) + b"\n"
        if event is not None:
            return event.line(kind, self._target.api_version)
        return msgspec.json.encode({"type": kind, "object": {**found, "apiVersion": self._target.api_version}}) + b"\n"

    def _bookmark(self) -> bytes:
        marked = {"kind": self._target.resource.kind, "apiVersion": self._target.api_version}
        version = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        return msgspec.json.encode({"type": "BOOKMARK", "object": {**marked, "metadata": version}}) + b"\n"
