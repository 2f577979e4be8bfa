"""A request to an API server as the ``kubectl`` line that makes the same one, for a log that a person reads.

What a request carries is told only where it is a JSON patch, and of that nothing that must not be told
(:mod:`services.actuator.shown`); data of ConfigMaps and Secrets never is.
"""

import shlex
from collections.abc import Sequence
from urllib.parse import unquote, urlencode

import msgspec

from services.actuator.commands import kubectl_line
from services.actuator.shown import shown
from services.cluster.answers import JSON_PATCH
from services.cluster.transport import Request
from services.model.objects import Json
from services.model.rollout import Guard

HIDDEN = "[hidden: data]"
_KEEPS_DATA = ("configmaps", "secrets")


def command_of(context: str, request: Request) -> str:
    """The command line of a request to the API server of ``context``."""
    place = _Place.of(request.path)
    dry = ["--dry-run=server"] if request.params.get("dryRun") else []
    if request.path.endswith("/selfsubjectaccessreviews"):
        return _review(context, request.body or b"")
    if place is None:
        return _line(context, "", "get", "--raw", _raw(request)) if request.path != "/version" else _line(context, "", "version")
    match request.method:
        case "GET":
            return _read(context, place, request)
        case "PATCH" if request.content_type == JSON_PATCH:
            return _line(context, place.namespace, "patch", *place.both, "--type=json", "-p", _patch(place, request), *dry)
        case "PATCH":
            kind = "strategic" if "strategic" in request.content_type else "merge"
            return _line(context, place.namespace, "patch", *place.both, f"--type={kind}", "-p", "…", *dry)
        case "DELETE":
            return _line(context, place.namespace, "delete", *place.both, *dry)
        case _:
            verb = "create" if request.method == "POST" else "replace"
            name = "/".join(part for part in (place.resource, place.name) if part)
            return f"{_line(context, place.namespace, verb, '-f', '-', *dry)}  # {name}"


class _Place(msgspec.Struct, frozen=True):
    """What a path of the API names. ``resource`` as kubectl takes it: with its group, where the plural alone may be another's."""

    resource: str
    namespace: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str) -> "_Place | None":
        parts = [unquote(part) for part in path.strip("/").split("/")]
        group, rest = ("", parts[2:]) if parts[:1] == ["api"] else (parts[1] if len(parts) > 1 else "", parts[3:])
        if parts[0] not in ("api", "apis") or not rest:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = rest[0] if "." not in group else f"{rest[0]}.{group}"
        return cls(resource, namespace, rest[1] if len(rest) > 1 else "", tuple(rest[2:]))

    @property
    def both(self) -> tuple[str, ...]:
        return (self.resource, self.name) if self.name else (self.resource,)


def _read(context: str, place: _Place, request: Request) -> str:
    params = request.params
    if place.rest == ("log",):
        words = [place.name]
        words += ["-c", params["container"]] if "container" in params else []
        words += ["--previous"] if params.get("previous") == "true" else []
        words += ["-f"] if params.get("follow") == "true" else []
        return _line(context, place.namespace, "logs", *words)
    if place.rest:
        return _line(context, "", "get", "--raw", _raw(request))
    words = list(place.both)
    words += ["-l", params["labelSelector"]] if "labelSelector" in params else []
    words += ["--field-selector", params["fieldSelector"]] if "fieldSelector" in params else []
    words += ["--watch"] if params.get("watch") else []
    words += ["-o", "yaml"] if place.name else []
    return _line(context, place.namespace, "get", *words)


def _review(context: str, body: bytes) -> str:
    """The question whether we may; not more than it: a body that is none of ours is told as the question alone."""
    try:
        asked = msgspec.json.decode(body)["spec"]["resourceAttributes"]
        resource = ".".join(part for part in (asked["resource"], asked.get("group", "")) if part)
        words = [asked["verb"], resource, *([f"--subresource={asked['subresource']}"] if asked.get("subresource") else [])]
    except (msgspec.DecodeError, KeyError, TypeError):
        return _line(context, "", "auth", "can-i", "…")
    return _line(context, asked.get("namespace", ""), "auth", "can-i", *words)


def _patch(place: _Place, request: Request) -> str:
    try:
        operations = msgspec.json.decode(request.body or b"[]", type=list[dict[str, Json]])
    except msgspec.DecodeError:
        return "…"
    guards = [Guard(path=str(each["path"]), value=each.get("value")) for each in operations if each.get("op") == "test"]
    return msgspec.json.encode([_told(place, each, guards) for each in operations]).decode()


def _told(place: _Place, operation: dict[str, Json], guards: Sequence[Guard]) -> dict[str, Json]:
    if "value" not in operation:
        return operation
    path = str(operation.get("path", ""))
    if place.resource in _KEEPS_DATA and not path.startswith("/metadata/"):
        return {**operation, "value": HIDDEN}
    return {**operation, "value": shown(path, operation["value"], guards)}


def _raw(request: Request) -> str:
    return f"{request.path}?{urlencode(dict(request.params))}" if request.params else request.path


def _line(context: str, namespace: str, verb: str, *words: str) -> str:
    if namespace:
        return kubectl_line(context, namespace, verb, *words)
    return shlex.join(["kubectl", verb, *words, "--context", context])
