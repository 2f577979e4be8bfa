"""How the sandbox misbehaves on request, so that clients can be tested on bad days."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from services.sandbox.errors import ApiError, bad_request, unauthorized

ACCEPTED = {
    "api": ("", "down", "forbidden", "unauthorized", "throttle", "slow", "conflict"),
    "tickets": ("", "down", "slow", "garbage"),
    "alerts": ("", "down", "slow", "garbage"),
    "logs": ("", "down", "slow", "garbage"),
    "metrics": ("", "down", "slow", "garbage"),
}
SLOW_SECONDS = {"api": 3.0, "tickets": 20.0, "alerts": 20.0, "logs": 20.0, "metrics": 8.0}
"""Wall seconds that a slow system takes to answer: longer than its clients are ready to wait, but for the API."""


@dataclass(slots=True)
class Faults:
    """The fault of each system; empty where it works."""

    active: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ACCEPTED, ""))
    _open: dict[int, web.BaseRequest] = field(default_factory=dict)

    def set(self, wanted: dict[str, str]) -> None:
        """Change the faults named; ApiError 400 for one that there is not."""
        for system, fault in wanted.items():
            if system not in ACCEPTED or (fault or "") not in ACCEPTED[system]:
                raise bad_request(f"no fault {fault!r} of {system!r}; accepted: {ACCEPTED}")
        self.active |= {system: fault or "" for system, fault in wanted.items()}
        if self.active["api"] == "down":
            self.cut_watches()

    def cut_watches(self) -> None:
        """Drop every watch: they would go on for ever."""
        for request in tuple(self._open.values()):
            cut(request)

    def watch_begins(self, request: web.BaseRequest) -> None:
        self._open[id(request)] = request

    def watch_ends(self, request: web.BaseRequest) -> None:
        self._open.pop(id(request), None)

    async def api(self, request: web.Request, *, changes: bool) -> None:
        """Misbehave as the API server is told to; returns where it works."""
        match self.active["api"]:
            case "down":
                cut(request)
                raise asyncio.CancelledError
            case "forbidden":
                raise ApiError(403, "Forbidden", "forbidden: told to refuse everything")
            case "unauthorized":
                raise unauthorized()
            case "throttle":
                raise ApiError(429, "TooManyRequests", "too many requests, please try again later", retry_after=1)
            case "slow":
                await asyncio.sleep(SLOW_SECONDS["api"])
            case "conflict" if changes:
                raise ApiError(
                    409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again"
                )

    async def other(self, system: str, request: web.Request) -> web.Response | None:
        """What a misbehaving system answers instead; None where it is to answer as it should."""
        match self.active[system]:
            case "down":
                cut(request)
                raise asyncio.CancelledError
            case "slow":
                await asyncio.sleep(SLOW_SECONDS[system])
            case "garbage":
                return web.Response(text="<html><body>Gateway error {</body></html>", content_type="text/html")
        return None


def cut(request: web.BaseRequest) -> None:
    """Drop the connection without an answer, as a dead host does."""
    if request.transport is not None:
        request.transport.abort()
