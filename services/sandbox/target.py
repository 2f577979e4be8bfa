"""Which resource, object and subresource the path of an API request means."""

from dataclasses import dataclass

from services.sandbox.errors import unknown_path
from services.sandbox.resources import NAMESPACES, Resource, find


@dataclass(frozen=True, slots=True)
class Target:
    resource: Resource
    version: str
    namespace: str | None
    """None: all namespaces, or a resource without namespaces."""
    name: str
    subresource: str
    rest: str
    """What follows ``proxy``, with its leading slash."""

    @property
    def space(self) -> str:
        return self.namespace or ""

    @property
    def api_version(self) -> str:
        return self.resource.api_version(self.version)


def target(path: str) -> Target:
    """Read ``/api/v1/…`` and ``/apis/GROUP/VERSION/…``; ApiError 404 where nothing is served there."""
    parts = path.lstrip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path()
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource = find(group, version, parts[0])
    if resource is None or (namespace is not None and not resource.namespaced):
        raise unknown_path()
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    allowed = {"status": resource.status, "scale": resource.scale, "finalize": resource is NAMESPACES}
    if subresource and not allowed.get(subresource, subresource in resource.subresources):
        raise unknown_path()
    if len(parts) > 3 and subresource != "proxy":
        raise unknown_path()
    return Target(resource, version, namespace, name, subresource, "/" + "/".join(parts[3:]))
