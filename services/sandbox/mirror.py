"""A real cluster as the simulation sees it: what runs there, kept up to date by watches."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TypeVar

import aiohttp

from services.clock import Clock
from services.model.errors import Unavailable
from services.sandbox import extension
from services.sandbox.behaviour import Behaviours
from services.sandbox.cluster import all_ready
from services.sandbox.errors import ApiError
from services.sandbox.remote import Remote, path_of
from services.sandbox.reset import Versions, reset, routes_missing, tell_fates
from services.sandbox.resources import DEPLOYMENTS, PODS, SERVICES, Object, Resource, meta
from services.sandbox.routing import ROUTES
from services.sandbox.store import Store

_RETRY_SECONDS = 1.0
_WATCHED = (PODS, SERVICES, DEPLOYMENTS, *ROUTES)

T = TypeVar("T")


async def _answered(work: Awaitable[T]) -> T:
    try:
        return await work
    except ApiError as error:
        raise Unavailable("The API server refused to be set up", f"{error.code} {error.reason}: {error.message}") from error


class RealCluster:
    """The four namespaces of a real API server, each through the context of its name."""

    def __init__(self, remotes: dict[str, Remote], behaviours: Behaviours, deadline: int) -> None:
        self.store = Store()
        self._remotes = remotes
        self._behaviours = behaviours
        self._deadline = deadline
        self._versions: dict[str, Versions] = {}

    async def play(self) -> None:
        """Tell the nodes about the scenario that is on now."""
        await _answered(tell_fates(self._remotes, self._behaviours.scenario))

    async def prepare(self, stack: AsyncExitStack, directory: Path, clock: Clock, random: Random) -> None:
        """Serve the routes from here, until ``stack`` ends, where the API server can't. Raises Unavailable."""
        remote = next(iter(self._remotes.values()))
        if await _answered(routes_missing(remote)) and await _answered(extension.needed(remote)):
            await stack.enter_async_context(extension.serve(remote, directory, clock, random))

    async def reset(self, now: datetime) -> None:
        """Raises Unavailable where the API server refuses or does not answer."""
        self._versions = await _answered(reset(self._remotes, self._behaviours.scenario, self._deadline, now))

    def healthy(self) -> bool:
        """Whether every workload that was reset healthy is ready."""
        return all_ready(self.store)

    async def watch(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._remotes:
                for resource in _WATCHED:
                    group.create_task(self._follow(namespace, resource))

    async def _follow(self, namespace: str, resource: Resource) -> None:
        path = path_of(resource, namespace, version=self._versions[namespace].get(resource.group, ""))
        remote = self._remotes[namespace]
        while True:
            try:
                listed = await remote.call("GET", path)
                self._replace(resource, namespace, listed["items"])
                async for event in remote.watch(path, meta(listed)["resourceVersion"]):
                    if event.get("type") == "ERROR":
                        break
                    self._see(resource, event)
            except (ApiError, Unavailable, aiohttp.ClientError, TimeoutError, KeyError):
                # The server is away, refuses, or cut a line short: what is known stays until it answers again.
                await asyncio.sleep(_RETRY_SECONDS)

    def _replace(self, resource: Resource, namespace: str, items: list[Object]) -> None:
        names = {meta(found)["name"] for found in items}
        for known in self.store.all(resource, namespace):
            if meta(known)["name"] not in names:
                self.store.drop(resource, namespace, meta(known)["name"])
        for found in items:
            self._keep(resource, found)

    def _see(self, resource: Resource, event: Object) -> None:
        found = event["object"]
        if event["type"] == "DELETED":
            self.store.drop(resource, meta(found)["namespace"], meta(found)["name"])
        elif event["type"] in ("ADDED", "MODIFIED"):
            self._keep(resource, found)

    def _keep(self, resource: Resource, found: Object) -> None:
        metadata = {key: value for key, value in meta(found).items() if key != "managedFields"}
        known = self.store.get(resource, metadata["namespace"], metadata["name"])
        if known is None or meta(known)["resourceVersion"] != metadata["resourceVersion"]:
            kind = {"apiVersion": resource.api_version(), "kind": resource.kind, "status": {}, "spec": {}}
            self.store.mirror(resource, {**kind, **found, "metadata": metadata})
