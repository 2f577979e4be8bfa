"""Writing to a cluster. Only the two doors may hold one of these: the actuator and coordination (design, section 3)."""

import msgspec

from services.cluster.answers import JSON_PATCH
from services.cluster.connection import Connection
from services.cluster.objects import path_of
from services.cluster.transport import DEFAULT_SECONDS, Request
from services.model.errors import OutcomeUnknown
from services.model.objects import Json, ObjectRef


class Writer:
    """Writes to the cluster of a connection. Nothing is sent twice, but after 429 (which means: not applied) and 401.

    Every method raises the errors of ``services/model/errors``: Conflict where the object is not what the write expects (409, or
    a failed ``test`` of a JSON patch), OutcomeUnknown where the write left and no answer came, Invalid where the server refuses
    it for its content. ``timeout`` is in wall seconds, retries included.
    """

    def __init__(self, connection: Connection) -> None:
        self._transport = connection._transport

    async def patch(
        self, ref: ObjectRef, operations: list[dict[str, Json]], *, timeout: float = DEFAULT_SECONDS
    ) -> dict[str, Json]:
        """Apply a JSON patch (RFC 6902), all of it or nothing; the object afterwards."""
        return await self._send("PATCH", ref, operations, JSON_PATCH, timeout)

    async def create(self, ref: ObjectRef, body: dict[str, Json], *, timeout: float = DEFAULT_SECONDS) -> dict[str, Json]:
        """Create the object; raises Conflict where it exists."""
        return await self._send("POST", ref, body, "application/json", timeout)

    async def replace(self, ref: ObjectRef, body: dict[str, Json], *, timeout: float = DEFAULT_SECONDS) -> dict[str, Json]:
        """Replace the object; with a resourceVersion in ``body`` only if it still has that version."""
        return await self._send("PUT", ref, body, "application/json", timeout)

    async def delete(self, ref: ObjectRef, *, resource_version: str = "", timeout: float = DEFAULT_SECONDS) -> None:
        """Delete the object and, in the background, what it owns; where ``resource_version`` is given, only that version."""
        options: dict[str, Json] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if resource_version:
            options["preconditions"] = {"resourceVersion": resource_version}
        await self._send("DELETE", ref, options, "application/json", timeout)

    async def _send(self, method: str, ref: ObjectRef, body: Json, content_type: str, timeout: float) -> dict[str, Json]:
        path = path_of(
            ref.kind, ref.namespace, "" if method == "POST" else ref.name, version=self._transport.versions.get(ref.kind, "")
        )
        what = f"{method} {ref} in {ref.namespace}"
        request = Request(method, path, what, body=msgspec.json.encode(body), content_type=content_type)
        answer = await self._transport.request(request, timeout)
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Json])
        except msgspec.DecodeError as error:
            raise OutcomeUnknown(
                f"{self._transport.server} answered {answer.status} with what can't be read: {error}",
                f"{what} was sent.",
                "Look at the object before doing anything else.",
            ) from error
