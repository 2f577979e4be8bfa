"""What the containers of simulated pods write: a line at a time, at a steady rate, the same ones whenever they are asked for."""

import asyncio
import math
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from aiohttp import web

from services.clock import Clock
from services.sandbox import fleet
from services.sandbox.behaviour import WELL, Behaviour, Behaviours, split_image
from services.sandbox.errors import ApiError, bad_request
from services.sandbox.faults import Faults
from services.sandbox.resources import PODS, Object, labels, meta
from services.sandbox.store import Store
from services.sandbox.traffic import Traffic

RATE = 3.0
"""Lines a second of a pod that serves."""
RATE_ANNOTATION = "sandbox/log-lines-per-second"
"""On a pod: its own rate."""
KEPT_SECONDS = 3600.0
"""What was written before is rotated away."""
MOST = 200_000
"""Lines of the past that are made at most for one answer."""
LOOK_SECONDS = 0.2
"""Wall seconds between looks for new lines of a followed log."""

_WARNINGS = ("upstream settlement-gateway: 1 retry", "connection pool: 18 of 20 in use", "slow query: 412 ms")
_ERRORS = (
    "upstream settlement-gateway: 502 Bad Gateway",
    "could not serialise the answer: field 'currency' is missing",
    "context deadline exceeded while waiting for the connection pool",
)


class PodLog:
    """The logs below ``/api/v1/namespaces/NAMESPACE/pods/NAME/log``."""

    def __init__(self, store: Store, behaviours: Behaviours, traffic: Traffic, faults: Faults, clock: Clock) -> None:
        self._store = store
        self._behaviours = behaviours
        self._traffic = traffic
        self._faults = faults
        self._clock = clock

    async def serve(self, request: web.Request, pod: Object) -> web.StreamResponse:
        """Answer as an API server does (PodLogOptions); ApiError 400 where the container has written nothing yet."""
        query = request.query
        container = _container(pod, query.get("container", ""))
        if query.get("previous") == "true":
            return web.Response(text=self._text(self._before_restart(pod, container), query))
        state, last = _states(pod, container)
        if "running" not in state and "terminated" not in (state | last):
            reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
            raise bad_request(f'container "{container}" in pod "{meta(pod)["name"]}" is waiting to start: {reason}')
        since = self._since(query)
        upto = self._clock.unix()
        lines = list(self._lines(pod, container, since, upto))
        if tail := query.get("tailLines"):
            lines = lines[-_number(tail) :] if _number(tail) else []
        if query.get("follow") != "true":
            return web.Response(text=_joined(lines, query))
        return await self._followed(request, pod, container, lines, upto)

    async def _followed(
        self, request: web.Request, pod: Object, container: str, lines: list[tuple[float, str]], upto: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._faults.watch_begins(request)
        try:
            while True:
                if lines:
                    await response.write(_joined(lines, request.query).encode())
                now = self._store.get(PODS, meta(pod)["namespace"], meta(pod)["name"])
                if now is None or meta(now)["uid"] != meta(pod)["uid"] or "running" not in _states(now, container)[0]:
                    return response
                await asyncio.sleep(LOOK_SECONDS)
                upto, before = self._clock.unix(), upto
                lines = [line for line in self._lines(now, container, before, upto) if line[0] > before]
        except ConnectionResetError:
            return response
        finally:
            self._faults.watch_ends(request)

    def _since(self, query: Mapping[str, str]) -> float:
        if seconds := query.get("sinceSeconds"):
            return self._clock.unix() - _number(seconds)
        if stamp := query.get("sinceTime"):
            try:
                # a kubelet is told whole seconds
                return math.floor(datetime.fromisoformat(stamp).timestamp())
            except ValueError:
                raise bad_request(f"invalid sinceTime: {stamp}") from None
        return 0.0

    def _lines(self, pod: Object, container: str, since: float, upto: float) -> Iterator[tuple[float, str]]:
        """The lines with a stamp between ``since`` and ``upto`` (Unix seconds), both included."""
        spec = next(each for each in pod["spec"]["containers"] if each["name"] == container)
        behaviour = self._behaviours.of(meta(pod)["namespace"], spec["image"])
        state, last = _states(pod, container)
        running = state.get("running")
        began = _unix((running or last.get("terminated") or state.get("terminated") or {}).get("startedAt"), pod)
        service, version = split_image(spec["image"])
        first = [f"INFO starting {service} {version}", f"INFO listening on :{fleet.PORT}"]
        if behaviour.crash:
            first.append("FATAL configuration: key 'settlement.currency' is missing: exiting with 1")
        elif behaviour.stuck:
            first.append("WARN readiness: waiting for the connection pool (0 of 20)")
        for place, text in enumerate(first):
            if since <= (at := began + 0.001 * place) <= upto:
                yield at, text
        if behaviour.crash or behaviour.stuck or running is None:
            return
        rate = float((meta(pod).get("annotations") or {}).get(RATE_ANNOTATION) or RATE)
        workload = fleet.BY_NAME.get(labels(pod).get("app", ""), fleet.WORKLOADS[-1])
        oldest = max(since, began + 0.01, upto - KEPT_SECONDS, upto - MOST / rate)
        faulty = self._faulty_since(pod)
        for number in range(math.ceil(oldest * rate), math.floor(upto * rate) + 1):
            now = behaviour if number / rate >= faulty else WELL
            yield number / rate, _line(number, meta(pod)["uid"], service, workload, now)

    def _faulty_since(self, pod: Object) -> float:
        """The Unix second from which on the pod's version has the faults of the scenario."""
        since = self._traffic.faulty_since(pod)
        return math.inf if since is None else self._clock.unix() + (since - self._clock.pace()) / self._clock.speed

    def _before_restart(self, pod: Object, container: str) -> list[tuple[float, str]]:
        ended = _states(pod, container)[1].get("terminated")
        if ended is None:
            raise bad_request(f'previous terminated container "{container}" in pod "{meta(pod)["name"]}" not found')
        began = _unix(ended.get("startedAt"), pod)
        spec = next(each for each in pod["spec"]["containers"] if each["name"] == container)
        service, version = split_image(spec["image"])
        return [
            (began, f"INFO starting {service} {version}"),
            (began + 0.001, f"INFO listening on :{fleet.PORT}"),
            (began + 0.002, "FATAL configuration: key 'settlement.currency' is missing: exiting with 1"),
        ]

    def _text(self, lines: list[tuple[float, str]], query: Mapping[str, str]) -> str:
        tail = query.get("tailLines")
        return _joined(lines[-_number(tail) :] if tail and _number(tail) else lines, query)


def _line(number: int, uid: str, service: str, workload: fleet.Workload, behaviour: Behaviour) -> str:
    """Line ``number`` of a pod: a request answered, as well as the version answers; now and then something beside it."""
    seed = zlib.crc32(f"{uid}{number}".encode())
    share = (seed % 100_000) / 100_000
    path = f"/api/v1/{service.split('-')[0]}"
    took = workload.p99 * behaviour.latency * 1000 * (0.2 + 0.9 * ((seed >> 8) % 1000 / 1000) ** 3)
    request = f"{seed:08x}"
    if share < behaviour.errors + workload.errors:
        why = _ERRORS[(seed >> 4) % len(_ERRORS)]
        return f"ERROR POST {path} 500 {took:.0f}ms request={request} {why}"
    if share > 0.985:
        return f"WARN {_WARNINGS[(seed >> 4) % len(_WARNINGS)]} request={request}"
    if behaviour.leak and share > 0.9:
        return "WARN memory: the cache holds 1.2 million entries and gives none back"
    verb = "POST" if seed % 3 == 0 else "GET"
    return f"INFO {verb} {path} 200 {took:.0f}ms request={request}"


def _joined(lines: list[tuple[float, str]], query: Mapping[str, str]) -> str:
    stamped = query.get("timestamps") == "true"
    return "".join(f"{_stamp(at) + ' ' if stamped else ''}{text}\n" for at, text in lines)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _container(pod: Object, wanted: str) -> str:
    names = [each["name"] for each in pod["spec"]["containers"]]
    name = meta(pod)["name"]
    if not wanted and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: {names}")
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    return wanted or str(names[0])


def _states(pod: Object, container: str) -> tuple[dict[str, Object], dict[str, Object]]:
    """The container's state now and the one before."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == container:
            return status.get("state") or {}, status.get("lastState") or {}
    return {}, {}


def _unix(stamp: object, pod: Object) -> float:
    return datetime.fromisoformat(str(stamp or meta(pod)["creationTimestamp"])).timestamp()


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, "BadRequest", f"{text!r} is not a number") from None
