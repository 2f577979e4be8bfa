"""Connection, writer and inventory against a real control plane, outages of it included."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.clock import running_seconds
from support.control_plane import ABSENT, CLUSTER, of_its_own, tell, up
from support.fake_api import eventually

from services.clock import SystemClock
from services.cluster.connection import Clusters, Connection
from services.cluster.inventory import Inventory
from services.cluster.workloads import Failed, deployment_ready, pods_by_version
from services.cluster.writer import Writer
from services.model.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from services.model.objects import Json, ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT)]


@pytest.fixture(scope="module")
def kubeconfig() -> Path:
    return up()


@pytest.fixture(scope="module")
def namespace(kubeconfig: Path) -> Iterator[str]:
    name = f"t-cluster-{os.urandom(4).hex()}"
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig)]
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    yield name
    subprocess.run([*kubectl, "delete", "namespace", name, "--wait=false"], check=True, capture_output=True)


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path, context: str = "dev") -> AsyncIterator[Connection]:
    clusters = Clusters(kubeconfig, SystemClock())
    try:
        yield await clusters.connect(context)
    finally:
        await clusters.close()


@contextlib.asynccontextmanager
async def watching(
    connection: Connection, *namespaces: str, on_change: Callable[[], None] | None = None
) -> AsyncIterator[Inventory]:
    inventory = Inventory(connection, namespaces, SystemClock(), on_change=on_change)
    task = asyncio.create_task(inventory.run())
    try:
        assert await inventory.wait_synced(20)
        yield inventory
    finally:
        with running_seconds() as ran:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert ran() < 0.2


def changed(kubeconfig: Path, directory: Path, change: Callable[[Json], None]) -> Path:
    document = yaml.safe_load(kubeconfig.read_text())
    change(document)
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def workload(namespace: str, name: str, image: str, replicas: int = 2) -> dict[str, Json]:
    labels = {"app": name}
    containers = [{"name": name, "image": image}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


async def test_what_a_real_server_answers_means_what_we_say_it_means(kubeconfig: Path, namespace: str) -> None:
    async with connected(kubeconfig) as connection:
        writer = Writer(connection)
        ref = ObjectRef("ConfigMap", namespace, "notes")
        body: dict[str, Json] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"x": "1"}}
        created = await writer.create(ref, body)
        with pytest.raises(Conflict):
            await writer.create(ref, body)
        with pytest.raises(Conflict):
            await writer.patch(ref, [{"op": "test", "path": "/data/x", "value": "2"}])
        with pytest.raises(Conflict):
            await writer.patch(ref, [{"op": "remove", "path": "/data/none"}])
        with pytest.raises(Invalid, match="valid label"):
            await writer.patch(ref, [{"op": "add", "path": "/metadata/labels", "value": {"a": "b c"}}])
        with pytest.raises(Invalid):
            await writer.patch(ref, [{"op": "replace", "path": "/data/x", "value": {"a": 1}}])
        dry = await connection.dry_run(
            "PATCH", ref, [{"op": "replace", "path": "/data/x", "value": "3"}], "application/json-patch+json"
        )
        assert dry["data"] == {"x": "3"}
        assert (await connection.get(ref))["data"] == {"x": "1"}
        after = await writer.patch(ref, [{"op": "replace", "path": "/data/x", "value": "2"}])
        assert after["data"] == {"x": "2"}
        with pytest.raises(Conflict):
            await writer.replace(ref, created)
        with pytest.raises(Conflict):
            await writer.delete(ref, resource_version=created["metadata"]["resourceVersion"])
        await writer.delete(ref)
        with pytest.raises(NotFound):
            await connection.get(ref)
        assert await connection.latency() < 5


async def test_a_viewer_may_look_and_is_told_what_it_may_not(kubeconfig: Path) -> None:
    async with connected(kubeconfig, "production-viewer") as connection:
        assert await connection.review("list", "apps", "deployments", "production")
        assert not await connection.review("patch", "apps", "deployments", "production")
        with pytest.raises(Forbidden, match='User "viewer" cannot create'):
            await Writer(connection).create(ObjectRef("ConfigMap", "production", "x"), {"metadata": {"name": "x"}})
        async with watching(connection, "production") as inventory:
            assert {one.kind for one in inventory.unreadable if not one.absent} >= {"Lease"}
            assert inventory.can_read("Deployment", "production")
            assert inventory.age() is not None


async def test_a_server_whose_certificate_is_not_trusted_is_refused(kubeconfig: Path, tmp_path: Path) -> None:
    def forget(document: Json) -> None:
        for cluster in document["clusters"]:
            del cluster["cluster"]["certificate-authority-data"]

    async with connected(changed(kubeconfig, tmp_path, forget)) as connection:
        with pytest.raises(Unavailable, match=r"certificate of https://127\.0\.0\.1:\d+ is not trusted"):
            await connection.latency()


async def test_wrong_credentials_are_said_to_be(kubeconfig: Path, tmp_path: Path) -> None:
    def mistake(document: Json) -> None:
        for user in document["users"]:
            user["user"]["token"] = "wrong"

    async with connected(changed(kubeconfig, tmp_path, mistake)) as connection:
        with pytest.raises(Forbidden, match=r"expired or are not accepted \(401\)"):
            await connection.get(ObjectRef("ConfigMap", "dev", "x"))


async def test_a_rollout_is_followed_to_ready_and_a_crash_to_its_loop(kubeconfig: Path, namespace: str) -> None:
    async with connected(kubeconfig) as connection, watching(connection, namespace) as inventory:
        writer = Writer(connection)
        ref = ObjectRef("Deployment", namespace, "cart")
        await writer.create(ref, workload(namespace, "cart", "registry.example/cart:v1.0.0"))
        await eventually(lambda: deployment_ready(inventory, ref).ready, 30)
        assert {version: len(pods) for version, pods in pods_by_version(inventory, ref).items()} == {"v1.0.0": 2}
        raw = inventory.raw(ref)
        assert raw is not None
        assert (raw["kind"], raw["apiVersion"]) == ("Deployment", "apps/v1")
        image = "/spec/template/spec/containers/0/image"
        await writer.patch(ref, [{"op": "replace", "path": image, "value": "registry.example/cart:v1.1.0"}])
        await eventually(lambda: not deployment_ready(inventory, ref).ready, 10)
        await eventually(lambda: deployment_ready(inventory, ref).ready, 30)
        await eventually(lambda: set(pods_by_version(inventory, ref)) == {"v1.1.0"}, 10)
        await writer.patch(ref, [{"op": "replace", "path": image, "value": "registry.example/crash-cart:v1.2.0"}])
        await eventually(lambda: deployment_ready(inventory, ref).failed is Failed.CRASH_LOOP, 30)
        await writer.delete(ref)
        await eventually(lambda: not inventory.deployments and not inventory.pods, 30)


@pytest.fixture
def of_ours() -> Iterator[tuple[str, Path]]:
    with of_its_own("heals") as found:
        yield found


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_it_heals_within_seconds_after_a_frozen_and_after_a_dead_server(of_ours: tuple[str, Path]) -> None:
    name, kubeconfig = of_ours
    async with connected(kubeconfig) as connection, watching(connection, "dev") as inventory:
        await asyncio.to_thread(tell, "pause", name)
        await eventually(lambda: (inventory.age() or 0) > 15, 30)
        assert "did not answer" in inventory.problem
        await asyncio.to_thread(tell, "resume", name)
        started = time.monotonic()
        await eventually(lambda: inventory.problem == "" and (inventory.age() or 99) < 6, 15)
        assert time.monotonic() - started < 5
        ref = ObjectRef("Service", "dev", "after")
        ports = [{"port": 80}]
        body: dict[str, Json] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "after"},
            "spec": {"ports": ports},
        }
        await Writer(connection).create(ref, body)
        await eventually(lambda: ("dev", "after") in inventory.services, 5)
        await asyncio.to_thread(tell, "down", name)
        await eventually(lambda: "connection refused by https://127.0.0.1" in inventory.problem, 20)
        assert ("dev", "after") in inventory.services
