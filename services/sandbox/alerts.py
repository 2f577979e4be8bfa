"""Alerts as an Alertmanager serves them by its API v2: those of the scenario, and those that are posted."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from services.clock import Clock
from services.sandbox.api import answer
from services.sandbox.behaviour import Behaviours
from services.sandbox.traffic import Traffic

BEFORE = timedelta(hours=1)
"""For how long an alert has been firing that no deploy sets off."""
RESOLVE = timedelta(minutes=5)
"""A posted alert without an end is over after so long, unless it is posted again."""
_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
Labels = dict[str, str]


class _Posted(msgspec.Struct, frozen=True):
    labels: Labels
    annotations: Labels = {}
    startsAt: datetime | None = None
    endsAt: datetime | None = None


class _Firing(msgspec.Struct, frozen=True):
    labels: Labels
    annotations: Labels
    since: datetime
    until: datetime


class Alerts:
    """``/api/v2/alerts`` below the base URL ``…/alerts``. Nothing is silenced here, and nothing inhibited."""

    def __init__(self, clock: Clock, behaviours: Behaviours, traffic: Traffic) -> None:
        self._clock = clock
        self._behaviours = behaviours
        self._traffic = traffic
        self._began = clock.now()
        self._posted: dict[str, _Firing] = {}

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path.split("/alerts/", 1)[-1].strip("/")
        if path != "api/v2/alerts":
            return answer("Nothing is served at this path.", 404)
        if request.method == "POST":
            return self._post(await request.read())
        if request.method != "GET":
            return answer({"code": 405, "message": f"method {request.method} is not allowed"}, 405)
        try:
            wanted = [_matcher(text) for text in request.query.getall("filter", [])]
        except (ValueError, re.error) as error:
            return answer(f"bad matcher format: {error}", 400)
        if request.query.get("active", "true") == "false":
            return answer([])
        return answer([self._told(one) for one in self._firing() if all(_fits(one.labels, *each) for each in wanted)])

    def _post(self, body: bytes) -> web.Response:
        try:
            posted = msgspec.json.decode(body, type=list[_Posted])
        except msgspec.MsgspecError as error:
            return answer(str(error), 400)
        now = self._clock.now()
        for one in posted:
            since, until = one.startsAt or now, one.endsAt or now + RESOLVE
            self._posted[_fingerprint(one.labels)] = _Firing(one.labels, one.annotations, since, until)
        return web.Response(status=200)

    def _firing(self) -> Iterator[_Firing]:
        now, pace = self._clock.now(), self._clock.pace()
        exposures = self._traffic.exposures()
        for raised in self._behaviours.scenario.alerts:
            if raised.after is None:
                yield self._raised(raised.labels(raised.service, raised.namespace), self._began - BEFORE, now)
                continue
            for namespace, service, began in exposures:
                past = pace - began - raised.after
                if past >= 0:
                    since = now - timedelta(seconds=past / self._clock.speed)
                    yield self._raised(raised.labels(raised.service or service, namespace), since, now)
        yield from (one for one in self._posted.values() if one.until > now)

    def _raised(self, labels: Labels, since: datetime, now: datetime) -> _Firing:
        return _Firing(labels, {"summary": f"{labels['alertname']} of {labels['service']}"}, since, now + RESOLVE)

    def _told(self, one: _Firing) -> dict[str, Any]:
        return {
            "annotations": one.annotations,
            "endsAt": _time(one.until),
            "fingerprint": _fingerprint(one.labels),
            "receivers": [{"name": "on-call"}],
            "startsAt": _time(one.since),
            "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
            "updatedAt": _time(self._clock.now()),
            "generatorURL": "",
            "labels": one.labels,
        }


def _matcher(text: str) -> tuple[str, str, str]:
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(text)
    name, sign, quoted = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted)
    if sign.endswith("~"):
        re.compile(value)
    return name, sign, value


def _fits(labels: Mapping[str, str], name: str, sign: str, value: str) -> bool:
    own = labels.get(name, "")
    same = re.fullmatch(value, own) is not None if sign.endswith("~") else own == value
    return same != sign.startswith("!")


def _fingerprint(labels: Mapping[str, str]) -> str:
    return hashlib.blake2b(repr(sorted(labels.items())).encode(), digest_size=8).hexdigest()


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
