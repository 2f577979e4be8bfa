"""A namespace of an API server, real or embedded, as conformance tests use it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.sandbox.errors import ApiError
from services.sandbox.remote import Remote

JSON_PATCH, MERGE, STRATEGIC = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
Json = dict[str, Any]


class Space:
    def __init__(self, remote: Remote, name: str, kubeconfig: Path) -> None:
        self.remote = remote
        self.name = name
        self.kubeconfig = kubeconfig

    def path(self, kind: str, name: str = "") -> str:
        groups = {
            "deployments": "/apis/apps/v1",
            "replicasets": "/apis/apps/v1",
            "leases": "/apis/coordination.k8s.io/v1",
            "horizontalpodautoscalers": "/apis/autoscaling/v1",
        }
        group = groups.get(kind, "/api/v1")
        return f"{group}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    async def get(self, kind: str, name: str) -> Json:
        return await self.remote.call("GET", self.path(kind, name))

    async def items(self, kind: str, query: str = "") -> list[Json]:
        found: list[Json] = (await self.remote.call("GET", self.path(kind) + query))["items"]
        return found

    async def create(self, kind: str, body: Json) -> Json:
        return await self.remote.call("POST", self.path(kind), body)

    async def patch(self, kind: str, name: str, patch: Any, content_type: str = JSON_PATCH) -> Json:
        return await self.remote.call("PATCH", self.path(kind, name), patch, content_type)

    async def until(self, check: Callable[[], Any], what: str) -> Any:
        end = asyncio.get_running_loop().time() + 30
        while asyncio.get_running_loop().time() < end:
            if result := await check():
                return result
            await asyncio.sleep(0.05)
        raise AssertionError(f"not within 30 s: {what}")


@contextlib.contextmanager
def refused(code: int, reason: str) -> Iterator[None]:
    with pytest.raises(ApiError) as caught:
        yield
    assert (caught.value.code, caught.value.reason) == (code, reason)


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def workload(name: str, replicas: int = 2, image: str = "registry.example/web:v1.0.0") -> Json:
    labels = {"app": name, "track": "stable"}
    containers = [{"name": "web", "image": image, "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 8080}]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": {"quarterdeck/epoch": "1"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


async def rolled_out(space: Space, name: str) -> Json:
    """The Deployment once every pod it wants runs its template."""

    async def check() -> Json | None:
        found = await space.get("deployments", name)
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
        return found if counts == [wanted] * 4 and status.get("observedGeneration") == found["metadata"]["generation"] else None

    result: Json = await space.until(check, f"rollout of {name}")
    return result


async def watch(space: Space, kind: str, revision: str, count: int, query: str = "") -> list[tuple[str, str]]:
    """The first ``count`` changes, bookmarks aside, as type and name."""
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(20):
        async for event in space.remote.watch(space.path(kind) + query, revision):
            if event["type"] != "BOOKMARK":
                seen.append(
                    (event["type"], event["object"].get("metadata", {}).get("name", "") or str(event["object"].get("code")))
                )
            if len(seen) >= count:
                break
    return seen
