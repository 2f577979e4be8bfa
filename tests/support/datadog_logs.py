"""A fake of Datadog's intake and search of logs, written from the published API and checked with Datadog's own client."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from support.clock import ManualClock
from support.sinks import TOKEN, Fake

APP_KEY = "app-0815-very-secret"
_OWN = {"ddsource", "ddtags", "hostname", "service", "message", "timestamp", "status"}
_OLDEST = 18 * 3600


class Account(Fake):
    """Intake and search of one account. ``excluded`` sequence numbers are accepted and then dropped, as a filter does."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.logs: list[dict[str, Any]] = []
        self.excluded: set[int] = set()
        self.page = 1000
        self.search_status = "done"

    def lose(self) -> None:
        """What was accepted never gets to the index."""
        self.logs = []

    def seqs(self) -> list[int]:
        return [one["quarterdeck"]["seq"] for one in self.logs if "quarterdeck" in one]

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        key = request.headers.get("DD-API-KEY")
        if key is None:
            return _errors(401, "Unauthorized")
        if key != TOKEN:
            return _errors(403, "Forbidden")
        match request.method, request.path:
            case "GET", "/api/v1/validate":
                return web.json_response({"valid": True})
            case "POST", "/api/v2/logs":
                return self._taken(body)
            case "POST", "/api/v2/logs/events/search":
                if request.headers.get("DD-APPLICATION-KEY") != APP_KEY:
                    return _errors(403, "Forbidden")
                return self._found(msgspec.json.decode(body))
        return _errors(404, "Not found")

    def _taken(self, body: bytes) -> web.Response:
        if len(body) > 5_000_000:
            return _errors(413, "Payload Too Large")
        try:
            entries = msgspec.json.decode(body)
            assert isinstance(entries, list)
            assert len(entries) <= 1000
            assert all(isinstance(one["message"], str) for one in entries)
        except (msgspec.DecodeError, AssertionError, KeyError, TypeError):
            return _errors(400, "Bad Request")
        for one in entries:
            at = one.get("timestamp", self.clock.unix() * 1000) / 1000
            if self.clock.unix() - at > _OLDEST or one.get("quarterdeck", {}).get("seq") in self.excluded:
                continue  # and it is a 202 all the same
            if len(msgspec.json.encode(one)) > 1_000_000:
                one["message"] = one["message"][:1000]
            self.logs.append({**one, "timestamp": at})
        return web.json_response({}, status=202)

    def _found(self, document: dict[str, Any]) -> web.Response:
        asked = document["filter"]
        source = re.search(r"source:(\S+)", asked["query"])
        groups = [set(group.split(" OR ")) for group in re.findall(r"\(([^)]*)\)", asked["query"])]
        now = self.clock.unix()
        since, until = (_moment(asked[name], now) for name in ("from", "to"))
        found = [
            one
            for one in self.logs
            if (source is None or one["ddsource"] == source[1])
            and all(group & set(one["ddtags"].split(",")) for group in groups)
            and since <= one["timestamp"] <= until
        ]
        size = min(self.page, document["page"].get("limit", 10))
        first = int(document["page"].get("cursor", "0"))
        page: dict[str, Any] = {} if first + size >= len(found) else {"page": {"after": str(first + size)}}
        data = [_shown(number, one) for number, one in enumerate(found[first : first + size], first)]
        return web.json_response({"data": data, "meta": {"elapsed": 3, "status": self.search_status, **page}})


def _shown(number: int, one: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        "attributes": {key: value for key, value in one.items() if key not in _OWN},
        "host": one.get("hostname", ""),
        "message": one["message"],
        "service": one.get("service", ""),
        "status": one.get("status", "info"),
        "tags": one.get("ddtags", "").split(","),
        "timestamp": datetime.fromtimestamp(one["timestamp"], UTC).isoformat(),
    }
    return {"id": f"AQ{number}", "type": "log", "attributes": attributes}


def _moment(text: str, now: float) -> float:
    if text.startswith("now"):
        return now - 60 if text.endswith("-1m") else now
    return int(text) / 1000


def _errors(status: int, text: str) -> web.Response:
    return web.json_response({"errors": [{"status": str(status), "title": text}]}, status=status)
