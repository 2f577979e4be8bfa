"""A fake of Splunk's HTTP Event Collector, written from its documentation (see ``services.audit.sinks.hec`` for the source)."""

import json
from typing import Any

import msgspec
from aiohttp import web

from support.sinks import TOKEN, Fake

_TEXT = {
    0: "Success",
    4: "Invalid token",
    5: "No data",
    6: "Invalid data format",
    7: "Incorrect index",
    10: "Data channel is missing",
}


class Collector(Fake):
    """``acknowledges``: the token has indexer acknowledgement on; events are then indexed by ``index``. ``base``: what events are
    counted from. ``poison`` texts make an event bad."""

    def __init__(self, *, acknowledges: bool = False, base: int = 0) -> None:
        super().__init__()
        self.acknowledges = acknowledges
        self.base = base
        self.indices = {"audit"}
        self.poison: set[str] = set()
        self.taken: list[dict[str, Any]] = []
        self.acks: dict[str, dict[int, bool]] = {}
        self.indexes_at_once = True

    def index(self) -> None:
        """Everything that was taken is on the indexers' disks now."""
        self.acks = {channel: dict.fromkeys(acks, True) for channel, acks in self.acks.items()}

    def restart(self) -> None:
        """What was not indexed is lost, and what is known of channels with it."""
        self.acks = {}
        self.taken = []

    def seqs(self) -> list[int]:
        return [one["event"]["seq"] for one in self.taken if "seq" in one["event"]]

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        if request.path == "/services/collector/health":
            return _says(200, 17, text="HEC is healthy")
        if request.headers.get("Authorization") is None:
            return _says(401, 2, text="Token is required")
        if not request.headers["Authorization"].startswith("Splunk "):
            return _says(401, 3, text="Invalid authorization")
        if request.headers["Authorization"] != f"Splunk {TOKEN}":
            return _says(403, 4)
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        if self.acknowledges and not channel:
            return _says(400, 10)
        if request.path == "/services/collector/ack":
            return self._told(channel, body)
        if request.path != "/services/collector/event" or request.method != "POST":
            return web.Response(status=404, text='{"text":"The requested URL was not found on this server.","code":404}')
        return self._event(channel, body.decode())

    def _event(self, channel: str, text: str) -> web.Response:
        if not text:
            return _says(400, 5)
        decoder, at, number, fresh = json.JSONDecoder(), 0, 0, []
        while at < len(text):
            try:
                one, at = decoder.raw_decode(text, at)
            except ValueError:
                code = 6
            else:
                code = self._code(one)
            if code:
                self.taken += fresh
                return _says(400, code, **{"invalid-event-number": number + self.base})
            fresh.append(one)
            number += 1
        self.taken += fresh
        if not self.acknowledges:
            return _says(200, 0)
        acks = self.acks.setdefault(channel, {})
        ack = len(acks)
        acks[ack] = self.indexes_at_once
        return _says(200, 0, ackId=ack)

    def _code(self, one: dict[str, Any]) -> int:
        if one.get("index", "audit") not in self.indices:
            return 7
        if "event" not in one:
            return 12
        if one["event"] in ("", {}):
            return 13
        if any(not isinstance(value, str) for value in one.get("fields", {}).values()):
            return 15
        return 6 if any(word in json.dumps(one["event"]) for word in self.poison) else 0

    def _told(self, channel: str, body: bytes) -> web.Response:
        if not self.acknowledges:
            return _says(400, 14, text="ACK is disabled")
        known = self.acks.get(channel, {})
        told = {str(ack): known.get(ack, False) for ack in msgspec.json.decode(body)["acks"]}
        for ack, done in told.items():
            if done:
                known[int(ack)] = False  # told once
        return web.json_response({"acks": told})


def _says(status: int, code: int, *, text: str = "", **more: int) -> web.Response:
    return web.json_response({"text": text or _TEXT.get(code, "no"), "code": code, **more}, status=status)
