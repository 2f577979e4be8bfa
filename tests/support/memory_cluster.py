"""A cluster in memory below the real connection and writer: objects, resourceVersions, JSON patches, and faults on demand."""

import copy
from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from services.cluster.answers import refusal
from services.cluster.connection import Connection
from services.cluster.objects import RESOURCES, path_of
from services.cluster.transport import Answer, Request
from services.model.errors import OutcomeUnknown, QuarterdeckError
from services.model.objects import Json, ObjectRef, pointer_parts

Fault = Callable[[Request], "str"]
"""Told a write about to be made; answers "" (let it through), "lose" (make it, lose the answer), "drop" (lose the request)."""


class PatchRefused(Exception):
    pass


def apply_patch(document: Json, operations: list[dict[str, Json]]) -> Json:
    """RFC 6902 for the operations used here, written from the RFC. Raises :class:`PatchRefused`."""
    document = copy.deepcopy(document)
    for operation in operations:
        *way, last = pointer_parts(operation["path"])
        here = document
        for part in way:
            try:
                here = here[int(part)] if isinstance(here, list) else here[part]
            except (KeyError, IndexError, TypeError) as error:
                raise PatchRefused(f"{operation['op']} does not apply: {operation['path']}") from error
        kind = operation["op"]
        if isinstance(here, list):
            index = int(last)
            if index > len(here) or (index == len(here) and kind != "add"):
                raise PatchRefused(f"index out of range: {operation['path']}")
            if kind == "add":
                here.insert(index, copy.deepcopy(operation["value"]))
            elif kind == "replace":
                here[index] = copy.deepcopy(operation["value"])
            elif kind == "remove":
                del here[index]
            elif not _equal(here[index], operation["value"]):
                raise PatchRefused(f"testing value {operation['path']} failed")
            continue
        if kind != "add" and last not in here:
            raise PatchRefused(f"{kind} does not apply: missing {operation['path']}")
        if kind in ("add", "replace"):
            here[last] = copy.deepcopy(operation["value"])
        elif kind == "remove":
            del here[last]
        elif not _equal(here[last], operation["value"]):
            raise PatchRefused(f"testing value {operation['path']} failed")
    return document


def _equal(one: Json, other: Json) -> bool:
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


class MemoryTransport:
    """What ``Transport`` is to the connection, over a dictionary instead of a network."""

    context = "memory"
    server = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {}
        self.log: list[str] = []
        self.writes: list[tuple[str, str, Json]] = []
        self.faults: list[Fault] = []
        self.before_write: list[Callable[[], None]] = []
        """Each runs once, just before a write arrives: what somebody else does meanwhile."""
        self.unreadable = 0
        """How many reads are to be lost."""
        self.versions: dict[str, str] = {}
        """API versions by kind, where the server has an older one only."""
        self._version = 100

    async def request(self, request: Request, seconds: float = 10.0) -> Answer:
        self.log.append(f"{request.method} {request.path}")
        if request.method == "GET":
            if self.unreadable:
                self.unreadable -= 1
                raise refusal_of(503, request)
            return self._read(request)
        body = msgspec.json.decode(request.body or b"null")
        if self.before_write:
            self.before_write.pop(0)()
        fate = self.faults.pop(0)(request) if self.faults else ""
        if fate == "drop":
            raise OutcomeUnknown("the connection broke", f"{request.what} was sent.")
        self.writes.append((request.method, request.path, body))
        answer = self._write(request, body)
        if fate == "lose":
            raise OutcomeUnknown("the connection broke", f"{request.what} was sent.")
        return answer

    async def close(self) -> None:
        self.objects.clear()

    def put(self, ref: ObjectRef, body: dict[str, Json]) -> dict[str, Json]:
        """Somebody else's hand: store the object as it is, with a new resourceVersion."""
        self._version += 1
        stored = copy.deepcopy(body)
        stored.setdefault("metadata", {}).update(name=ref.name, namespace=ref.namespace, resourceVersion=str(self._version))
        self.objects[path_of(ref.kind, ref.namespace, ref.name)] = stored
        return copy.deepcopy(stored)

    def at(self, ref: ObjectRef) -> dict[str, Json]:
        return self.objects[path_of(ref.kind, ref.namespace, ref.name)]

    def has(self, ref: ObjectRef) -> bool:
        return path_of(ref.kind, ref.namespace, ref.name) in self.objects

    def edit(self, ref: ObjectRef, change: Callable[[dict[str, Json]], None]) -> None:
        document = copy.deepcopy(self.at(ref))
        change(document)
        self.put(ref, document)

    def _read(self, request: Request) -> Answer:
        if request.path in self.objects:
            return _answer(200, self.objects[request.path])
        if request.path.rpartition("/")[2] in {resource.plural for resource in RESOURCES.values()}:
            wanted = dict(pair.split("=") for pair in request.params.get("labelSelector", "").split(",") if pair)
            items = [
                document
                for path, document in sorted(self.objects.items())
                if path.startswith(f"{request.path}/") and wanted.items() <= (document["metadata"].get("labels") or {}).items()
            ]
            return _answer(200, {"metadata": {"resourceVersion": str(self._version)}, "items": items})
        raise refusal_of(404, request)

    def _write(self, request: Request, body: Json) -> Answer:
        path = request.path
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise refusal_of(409, request)
            return self._store(201, path, body)
        if path not in self.objects:
            raise refusal_of(404, request)
        stored = self.objects[path]
        if request.method == "DELETE":
            return _answer(200, self.objects.pop(path))
        if request.method == "PUT":
            version = body["metadata"].get("resourceVersion")
            if version is not None and version != stored["metadata"]["resourceVersion"]:
                raise refusal_of(409, request)
            return self._store(200, path, body)
        try:
            return self._store(200, path, apply_patch(stored, body))
        except PatchRefused as error:
            raise refusal_of(422, request, str(error)) from error

    def _store(self, status: int, path: str, body: dict[str, Json]) -> Answer:
        self._version += 1
        stored = copy.deepcopy(body)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.objects[unquote(path)] = stored
        return _answer(status, stored)


def memory_connection() -> tuple[Connection, MemoryTransport]:
    transport = MemoryTransport()
    return Connection(transport), transport  # type: ignore[arg-type]


def refusal_of(code: int, request: Request, message: str = "") -> QuarterdeckError:
    body = msgspec.json.encode({"kind": "Status", "code": code, "message": message})
    return refusal(code, body, {}, context="memory", server="memory", what=request.what, content_type=request.content_type)


def _answer(status: int, document: Json) -> Answer:
    return Answer(status, {}, msgspec.json.encode(document))
