"""Bringing the fleet of a real cluster to its first state, whatever an earlier rehearsal left behind."""

import asyncio
from datetime import datetime
from typing import Any

from services.sandbox import fleet
from services.sandbox.behaviour import Scenario
from services.sandbox.errors import ApiError
from services.sandbox.manifests import Manifest, manifests, rehearsals
from services.sandbox.registry import config_map
from services.sandbox.remote import Remote, path_of
from services.sandbox.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    INGRESSES,
    LEASES,
    NAMESPACES,
    RESOURCES,
    SERVICES,
    Object,
    Resource,
    meta,
)

FATES = "sim-fates"
"""The ConfigMap in ``default`` that tells simulated nodes which images start badly."""
CUSTOM = tuple(resource for resource in RESOURCES if resource.custom)
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SETTLE_SECONDS, _PATIENCE = 0.1, 300
"""How often, and how many times, to look again for what a controller has to do first."""
_MISREADINGS = 3


Versions = dict[str, str]
"""The served version of each group of custom resources."""


async def reset(remotes: dict[str, Remote], scenario: Scenario, deadline: int, now: datetime) -> dict[str, Versions]:
    """Reset every namespace through its context; returns the served versions of the routes by namespace. Raises ApiError."""
    versions: dict[str, Versions] = {}
    for namespace, remote in remotes.items():
        await ensure_namespace(remote, namespace)
        versions[namespace] = await ensure_routes(remote)
    await tell_fates(remotes, scenario)
    wanted = [*manifests(deadline), *rehearsals(now)]
    for resource, space, body in wanted:
        if not space:
            await put(next(iter(remotes.values())), (resource, space, body))

    async def one(namespace: str) -> None:
        await clear(remotes[namespace], namespace)
        for resource, space, body in wanted:
            if space == namespace:
                await put(remotes[namespace], (resource, space, body), versions[namespace].get(resource.group, ""))

    await asyncio.gather(*(one(namespace) for namespace in remotes))
    return versions


async def ensure_namespace(remote: Remote, name: str) -> None:
    """The namespace is there and not on its way out."""
    for _ in range(_PATIENCE):
        found = await remote.find(path_of(NAMESPACES, name=name))
        if found is None:
            await remote.call("POST", path_of(NAMESPACES), {"metadata": {"name": name}})
            return
        if "deletionTimestamp" not in meta(found):
            return
        await asyncio.sleep(_SETTLE_SECONDS)
    raise ApiError(409, "Conflict", f"namespace {name} is being deleted and does not go")


async def routes_missing(remote: Remote) -> bool:
    """Whether nobody serves the routes yet. One left by a sandbox that was killed answers 503: nobody serves it either."""
    try:
        return None in [await served(remote, resource) for resource in CUSTOM]
    except ApiError as error:
        if error.code != 503:
            raise
        return True


async def ensure_routes(remote: Remote) -> Versions:
    """The custom kinds of routes are served, if need be by definitions without a schema; returns their versions."""
    for resource in CUSTOM:
        if await served(remote, resource) is None:
            await _define(remote, resource)
    missing = ""
    for _ in range(_PATIENCE):
        versions = {resource: await served(remote, resource) for resource in CUSTOM}
        missing = ", ".join(resource.kind for resource, version in versions.items() if version is None)
        if not missing:
            return {resource.group: version for resource, version in versions.items() if version is not None}
        await asyncio.sleep(_SETTLE_SECONDS)
    raise ApiError(404, "NotFound", f"{missing} is defined but not served")


async def _define(remote: Remote, resource: Resource) -> None:
    try:
        await remote.call("POST", _CRDS, definition(resource))
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


async def served(remote: Remote, resource: Resource) -> str | None:
    """The first of the resource's versions that can be listed."""
    for version in resource.versions:
        if await remote.find(path_of(resource, version=version) + "?limit=1") is not None:
            return version
    return None


def definition(resource: Resource) -> Object:
    """A CustomResourceDefinition that takes any content."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": version, "served": True, "storage": version == resource.versions[0], "schema": schema}
        for version in resource.versions
    ]
    names = {"plural": resource.plural, "singular": resource.singular, "kind": resource.kind, "shortNames": list(resource.short)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {"group": resource.group, "scope": "Namespaced", "names": names, "versions": versions},
    }


async def tell_fates(remotes: dict[str, Remote], scenario: Scenario) -> None:
    """Tell the simulated nodes which images start badly now."""
    fates = {image.replace(":", "_"): "crash" for image in fleet.BROKEN}
    if fate := scenario.behaviour.fate:
        fates |= {f"{offer.service}_{offer.version}": fate for offer in fleet.OFFERS}
    for remote in remotes.values():
        await put(remote, (CONFIGMAPS, "default", config_map(FATES, fates)))


async def clear(remote: Remote, namespace: str) -> None:
    """Delete canaries, their Services and Ingresses, leases, checkpoints and records that rollouts left."""
    canaries = [f"{workload.name}-canary" for workload in fleet.WORKLOADS]
    own = tuple((resource, canaries) for resource in (INGRESSES, SERVICES, DEPLOYMENTS))
    for resource, mine in (*own, (LEASES, None), (CONFIGMAPS, None)):
        listed = await remote.call("GET", path_of(resource, namespace))
        for found in listed["items"]:
            name, marks = meta(found)["name"], meta(found).get("labels") or {}
            if name in mine if mine is not None else name.startswith("quarterdeck-") or "quarterdeck/kind" in marks:
                await _delete(remote, path_of(resource, namespace, name))


async def _delete(remote: Remote, path: str) -> None:
    try:
        await remote.call("DELETE", path, {"propagationPolicy": "Background"})
    except ApiError as error:
        if error.code != 404:
            raise


async def put(remote: Remote, manifest: Manifest, version: str = "") -> None:
    """Make the object what the manifest says and nothing else: annotations of earlier rollouts go."""
    resource, namespace, body = manifest
    if version:
        body = {**body, "apiVersion": resource.api_version(version)}
    body = {"apiVersion": resource.api_version(version), "kind": resource.kind, **body}
    path = path_of(resource, namespace, meta(body)["name"], version)
    for attempt in range(_PATIENCE):
        current = await remote.find(path)
        try:
            if current is None:
                await remote.call("POST", path_of(resource, namespace, version=version), body)
            elif resource is DEPLOYMENTS and current["spec"]["selector"] != body["spec"]["selector"]:
                await _delete(remote, path)
                continue
            else:
                await remote.call("PUT", path, _over(resource, current, body))
            return
        except ApiError as error:
            # Its controller was quicker, or it is just being deleted: look again. The servers of `extension.needed` now and
            # then misread a valid document, too; what is really invalid stays so.
            if error.code != 409 and (error.code != 422 or attempt >= _MISREADINGS):
                raise
        await asyncio.sleep(_SETTLE_SECONDS)
    raise ApiError(409, "Conflict", f"{resource.kind} {namespace}/{meta(body)['name']} changes faster than it can be reset")


def _over(resource: Resource, current: Object, body: Object) -> Object:
    metadata: dict[str, Any] = {**meta(body), "resourceVersion": meta(current)["resourceVersion"]}
    if resource is SERVICES:
        kept = {key: current["spec"][key] for key in ("clusterIP", "clusterIPs") if key in current["spec"]}
        body = {**body, "spec": {**body["spec"], **kept}}
    return {**body, "metadata": metadata}
