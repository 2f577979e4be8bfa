"""The embedded Kubernetes API and a real one, asked the same questions: what the sandbox answers is measured, not assumed."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.apispace import MERGE, STRATEGIC, Space, config_map, refused, rolled_out, watch, workload
from support.control_plane import ABSENT, CLUSTER, settled, up
from support.processes import stop

from services.sandbox.launch import control, start_detached
from services.sandbox.remote import Remote


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("sandbox")
    document = start_detached(home, "good", 50.0)
    yield Path(document["kubeconfig"])
    stop(document["pid"])


@pytest.fixture(scope="module")
def real() -> Path:
    if given := os.environ.get("QUARTERDECK_TEST_KUBECONFIG"):
        settled(Path(given))
        return Path(given)
    return up()


absent = pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT)


@pytest.fixture(params=["embedded", pytest.param("real", marks=[pytest.mark.cluster, absent])])
async def space(request: pytest.FixtureRequest) -> AsyncIterator[Space]:
    """A namespace of its own on one of the two servers."""
    kubeconfig: Path = request.getfixturevalue(request.param)
    remote = await Remote.open(kubeconfig, "production")
    name = f"t-sandbox-{os.urandom(4).hex()}"
    await remote.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    try:
        yield Space(remote, name, kubeconfig)
    finally:
        await remote.call("DELETE", f"/api/v1/namespaces/{name}")
        await remote.close()


async def test_an_object_is_created_read_changed_and_deleted(space: Space) -> None:
    made = await space.create("configmaps", config_map("a", x="1"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert made["metadata"]["namespace"] == space.name
    read = await space.get("configmaps", "a")
    assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    changed = await space.remote.call("PUT", space.path("configmaps", "a"), {**read, "data": {"x": "2"}})
    assert changed["metadata"]["resourceVersion"] != read["metadata"]["resourceVersion"]
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    status = await space.remote.call("DELETE", space.path("configmaps", "a"))
    assert (status["kind"], status["status"]) == ("Status", "Success")
    with refused(404, "NotFound"):
        await space.get("configmaps", "a")


async def test_refusals_carry_their_reason(space: Space) -> None:
    await space.create("configmaps", config_map("a"))
    with refused(409, "AlreadyExists"):
        await space.create("configmaps", config_map("a"))
    with refused(422, "Invalid"):
        await space.create("configmaps", config_map("A_B"))
    with refused(404, "NotFound"):
        await space.remote.call("POST", "/api/v1/namespaces/t-no-such-namespace/configmaps", config_map("b"))
    with refused(400, "BadRequest"):
        await space.items("configmaps", "?labelSelector=a%20b%20c")
    with refused(400, "BadRequest"):
        await space.items("configmaps", "?fieldSelector=data.x%3D1")
    with refused(404, "NotFound"):
        await space.remote.call("GET", "/api/v1/nonsense")


async def test_a_stale_write_conflicts_and_an_unchanged_one_is_no_change(space: Space) -> None:
    first = await space.create("configmaps", config_map("a", x="1"))
    await space.patch("configmaps", "a", {"data": {"x": "2"}}, MERGE)
    with refused(409, "Conflict"):
        await space.remote.call("PUT", space.path("configmaps", "a"), {**first, "data": {"x": "3"}})
    with refused(409, "Conflict"):
        stale = first["metadata"]["resourceVersion"]
        await space.patch("configmaps", "a", {"metadata": {"resourceVersion": stale}, "data": {"x": "3"}}, MERGE)
    before = await space.get("configmaps", "a")
    after = await space.patch("configmaps", "a", {"data": {"x": "2"}}, MERGE)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_a_failed_test_of_a_json_patch_is_422_and_changes_nothing(space: Space) -> None:
    made = await space.create("configmaps", config_map("a", x="1"))
    for path, value in (("/data/x", "2"), ("/metadata/resourceVersion", "1"), ("/data/absent", "1")):
        with refused(422, "Invalid"):
            await space.patch(
                "configmaps",
                "a",
                [{"op": "replace", "path": "/data/x", "value": "9"}, {"op": "test", "path": path, "value": value}],
            )
    with refused(422, "Invalid"):
        await space.patch("configmaps", "a", [{"op": "remove", "path": "/metadata/absent"}])
    with refused(400, "BadRequest"):
        await space.patch("configmaps", "a", {"op": "test"})
    version = made["metadata"]["resourceVersion"]
    guarded = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "add", "path": "/metadata/annotations", "value": {"y/z": "2"}},
        {"op": "replace", "path": "/metadata/annotations/y~1z", "value": "3"},
    ]
    patched = await space.patch("configmaps", "a", guarded)
    assert patched["metadata"]["annotations"] == {"y/z": "3"}
    with refused(422, "Invalid"):
        await space.patch("configmaps", "a", [{"op": "add", "path": "/data/no~1key", "value": "3"}])


async def test_lists_select_by_label_and_by_field(space: Space) -> None:
    await space.create("configmaps", config_map("a", {"app": "one", "track": "stable"}))
    await space.create("configmaps", config_map("b", {"app": "one"}))
    await space.create("configmaps", config_map("c", {"app": "two"}))

    async def names(query: str) -> list[str]:
        return [found["metadata"]["name"] for found in await space.items("configmaps", query)]

    assert await names("?labelSelector=app%3Done") == ["a", "b"]
    assert await names("?labelSelector=app%20in%20(one,two),!track") == ["b", "c"]
    assert await names("?labelSelector=app!%3Done,app") == ["c"]
    assert await names("?fieldSelector=metadata.name%3Dc") == ["c"]


async def test_pages_go_on_where_the_first_began(space: Space) -> None:
    for number in range(5):
        await space.create("configmaps", config_map(f"page-{number}", {"paged": "yes"}))
    query = "?labelSelector=paged%3Dyes&limit=2"
    first = await space.remote.call("GET", space.path("configmaps") + query)
    await space.create("configmaps", config_map("page-3a", {"paged": "yes"}))
    names, page = [found["metadata"]["name"] for found in first["items"]], first
    while token := page["metadata"].get("continue"):
        page = await space.remote.call("GET", space.path("configmaps") + f"{query}&continue={token}")
        names += [found["metadata"]["name"] for found in page["items"]]
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert names == [f"page-{number}" for number in range(5)]
    with refused(400, "BadRequest"):
        await space.items("configmaps", "?limit=1&continue=xx")


async def test_a_watch_tells_every_change_since_a_revision(space: Space) -> None:
    start = (await space.remote.call("GET", space.path("configmaps")))["metadata"]["resourceVersion"]
    following = asyncio.create_task(watch(space, "configmaps", start, 4, "?labelSelector=seen%3Dyes"))
    await space.create("configmaps", config_map("a", {"seen": "yes"}, x="1"))
    await space.create("configmaps", config_map("other"))
    await space.patch("configmaps", "a", {"data": {"x": "2"}}, MERGE)
    await space.patch("configmaps", "a", {"metadata": {"labels": {"seen": "no"}}}, MERGE)
    await space.patch("configmaps", "a", {"metadata": {"labels": {"seen": "yes"}}}, MERGE)
    wanted = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "a")]
    assert await following == wanted
    assert await watch(space, "configmaps", start, 4, "?labelSelector=seen%3Dyes") == wanted
    assert await watch(space, "configmaps", "0", 1, "?labelSelector=seen%3Dyes") == [("ADDED", "a")]


async def test_long_lines_come_through_a_watch_whole(space: Space) -> None:
    start = (await space.remote.call("GET", space.path("configmaps")))["metadata"]["resourceVersion"]
    await space.create("configmaps", config_map("long", x="y" * 300_000))
    assert await watch(space, "configmaps", start, 1, "?fieldSelector=metadata.name%3Dlong") == [("ADDED", "long")]


async def test_a_dry_run_changes_nothing(space: Space) -> None:
    made = await space.create("configmaps", config_map("a", x="1"))
    patched = await space.remote.call("PATCH", space.path("configmaps", "a") + "?dryRun=All", {"data": {"x": "2"}}, MERGE)
    assert patched["data"] == {"x": "2"}
    await space.remote.call("DELETE", space.path("configmaps", "a") + "?dryRun=All")
    assert (await space.get("configmaps", "a"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_lease_is_taken_by_the_first_only(space: Space) -> None:
    body = {"metadata": {"name": "quarterdeck-x"}, "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15}}
    made = await space.create("leases", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **body})
    made["spec"]["holderIdentity"] = "two"
    await space.remote.call("PUT", space.path("leases", "quarterdeck-x"), made)
    made["spec"]["holderIdentity"] = "three"
    with refused(409, "Conflict"):
        await space.remote.call("PUT", space.path("leases", "quarterdeck-x"), made)
    assert (await space.get("leases", "quarterdeck-x"))["spec"]["holderIdentity"] == "two"


async def test_a_deployment_rolls_out_and_back_under_revisions(space: Space) -> None:
    await space.create("deployments", workload("web"))
    first = await rolled_out(space, "web")
    assert first["metadata"]["generation"] == 1
    assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    conditions = {found["type"]: (found["status"], found["reason"]) for found in first["status"]["conditions"]}
    assert conditions == {"Available": ("True", "MinimumReplicasAvailable"), "Progressing": ("True", "NewReplicaSetAvailable")}
    image = "/spec/template/spec/containers/0/image"
    patched = await space.patch("deployments", "web", [{"op": "replace", "path": image, "value": "registry.example/web:v2.0.0"}])
    assert patched["metadata"]["generation"] == 2
    second = await rolled_out(space, "web")
    assert second["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = await space.items("replicasets")
    assert sorted(
        (found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], found["spec"]["replicas"]) for found in sets
    ) == [("1", 0), ("2", 2)]
    for found in sets:
        assert found["metadata"]["ownerReferences"][0]["uid"] == first["metadata"]["uid"]
        assert found["metadata"]["labels"]["pod-template-hash"] == found["spec"]["selector"]["matchLabels"]["pod-template-hash"]
        assert found["metadata"]["name"] == f"web-{found['metadata']['labels']['pod-template-hash']}"
    newest = next(found for found in sets if found["spec"]["replicas"])
    for pod in await space.items("pods"):
        if "deletionTimestamp" not in pod["metadata"]:
            assert pod["metadata"]["ownerReferences"][0]["name"] == newest["metadata"]["name"]
            assert pod["spec"]["nodeName"]
            assert pod["status"]["podIP"]
    await space.patch("deployments", "web", [{"op": "replace", "path": image, "value": "registry.example/web:v1.0.0"}])
    third = await rolled_out(space, "web")
    assert third["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(await space.items("replicasets")) == 2


async def test_status_and_spec_are_written_apart(space: Space) -> None:
    await space.create("deployments", workload("web", replicas=1))
    found = await rolled_out(space, "web")
    generation = found["metadata"]["generation"]
    ignored = await space.patch("deployments", "web", {"status": {"replicas": 99}}, MERGE)
    assert (ignored["status"]["replicas"], ignored["metadata"]["generation"]) == (1, generation)
    labelled = await space.patch("deployments", "web", {"metadata": {"labels": {"team": "pay"}}}, MERGE)
    assert labelled["metadata"]["generation"] == generation
    # A Deployment's annotations count as its specification: they are copied to its ReplicaSets.
    annotated = await space.patch("deployments", "web", {"metadata": {"annotations": {"quarterdeck/epoch": "2"}}}, MERGE)
    assert annotated["metadata"]["generation"] == generation + 1
    assert annotated["metadata"]["annotations"]["quarterdeck/epoch"] == "2"
    assert (await rolled_out(space, "web"))["status"]["observedGeneration"] == generation + 1


async def test_strategic_merge_changes_one_container_by_name(space: Space) -> None:
    await space.create("deployments", workload("web", replicas=0))
    container = {"name": "web", "image": "registry.example/web:v3.0.0", "env": [{"name": "B", "value": "2"}]}
    patched = await space.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [container]}}}}, STRATEGIC)
    (merged,) = patched["spec"]["template"]["spec"]["containers"]
    assert merged["image"] == "registry.example/web:v3.0.0"
    assert {entry["name"]: entry["value"] for entry in merged["env"]} == {"A": "1", "B": "2"}
    assert merged["ports"][0]["containerPort"] == 8080


async def test_scale_is_a_subresource(space: Space) -> None:
    await space.create("deployments", workload("web", replicas=1))
    await rolled_out(space, "web")
    path = space.path("deployments", "web") + "/scale"
    scale = await space.remote.call("GET", path)
    assert (scale["kind"], scale["apiVersion"], scale["spec"]["replicas"]) == ("Scale", "autoscaling/v1", 1)
    await space.remote.call("PATCH", path, {"spec": {"replicas": 3}}, MERGE)
    assert (await rolled_out(space, "web"))["spec"]["replicas"] == 3
    await space.remote.call("PUT", path, {**await space.remote.call("GET", path), "spec": {"replicas": 0}})
    assert (await rolled_out(space, "web"))["spec"]["replicas"] == 0

    async def gone() -> bool:
        return not await space.items("pods")

    await space.until(gone, "all pods gone")


async def test_a_selector_is_immutable_and_must_match(space: Space) -> None:
    await space.create("deployments", workload("web", replicas=0))
    body = workload("other")
    body["spec"]["selector"] = {"matchLabels": {"app": "elsewhere"}}
    with refused(422, "Invalid"):
        await space.create("deployments", body)
    with refused(422, "Invalid"):
        await space.patch(
            "deployments", "web", [{"op": "replace", "path": "/spec/selector/matchLabels/track", "value": "canary"}]
        )
    with refused(422, "Invalid"):
        await space.patch("deployments", "web", [{"op": "replace", "path": "/spec/replicas", "value": -1}])


async def test_what_a_deployment_owns_goes_with_it(space: Space) -> None:
    await space.create("deployments", workload("web"))
    await rolled_out(space, "web")
    await space.remote.call("DELETE", space.path("deployments", "web"), {"propagationPolicy": "Background"})

    async def gone() -> bool:
        return not await space.items("replicasets") and not await space.items("pods")

    await space.until(gone, "ReplicaSets and pods collected")


async def test_endpoints_follow_the_ready_pods(space: Space) -> None:
    await space.create("deployments", workload("web"))
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}
    made = await space.create("services", {"apiVersion": "v1", "kind": "Service", **service})
    assert made["spec"]["clusterIP"]
    assert made["spec"]["type"] == "ClusterIP"
    await rolled_out(space, "web")

    async def addresses() -> list[str] | None:
        subsets = (await space.get("endpoints", "web")).get("subsets") or []
        found = [address["ip"] for subset in subsets for address in subset.get("addresses") or ()]
        return found if len(found) == 2 else None

    found = await space.until(addresses, "two addresses")
    assert set(found) == {pod["status"]["podIP"] for pod in await space.items("pods")}


async def test_an_autoscaler_is_kept_with_its_bounds(space: Space) -> None:
    kind = "horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}}
    made = await space.create(kind, body)
    assert made["apiVersion"] == "autoscaling/v1"
    assert (made["spec"]["scaleTargetRef"], made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (target, 1, 5)
    await space.patch(kind, "web", [{"op": "replace", "path": "/spec/minReplicas", "value": 2}])
    assert [item["spec"]["minReplicas"] for item in await space.items(kind)] == [2]
    for spec in ({"maxReplicas": 1}, {"minReplicas": -1}, {"scaleTargetRef": {"kind": "Deployment", "name": ""}}):
        with refused(422, "Invalid"):
            await space.patch(kind, "web", {"spec": spec}, MERGE)
    await space.remote.call("DELETE", space.path(kind, "web"))
    assert await space.items(kind) == []


async def test_access_reviews_tell_who_may_write(space: Space) -> None:
    asked = {"namespace": "production", "verb": "patch", "group": "apps", "resource": "deployments"}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    viewer = await Remote.open(space.kubeconfig, "production-viewer")
    try:
        assert (await space.remote.call("POST", path, review))["status"]["allowed"] is True
        assert (await viewer.call("POST", path, review))["status"]["allowed"] is False
        assert (await viewer.call("GET", space.path("configmaps")))["kind"] == "ConfigMapList"
        with refused(403, "Forbidden"):
            await viewer.call("POST", space.path("configmaps"), config_map("a"))
    finally:
        await viewer.close()


async def test_what_was_forgotten_is_410(embedded: Path) -> None:
    """A real server compacts after minutes only: this one when told to."""
    remote = await Remote.open(embedded, "production")
    space = Space(remote, "production", embedded)
    try:
        first = await remote.call("GET", space.path("pods") + "?limit=5")
        assert first["metadata"]["continue"]
        await space.create("configmaps", config_map("moves-on"))
        document = start_detached(embedded.parent, "good", 50.0)
        control(document, embedded.parent, "compact", {})
        with refused(410, "Expired"):
            await remote.call("GET", space.path("pods") + f"?limit=5&continue={first['metadata']['continue']}")
        assert await watch(space, "pods", first["metadata"]["resourceVersion"], 1) == [("ERROR", "410")]
    finally:
        await remote.call("DELETE", space.path("configmaps", "moves-on"))
        await remote.close()


async def test_pods_are_reached_through_the_proxy(embedded: Path) -> None:
    remote = await Remote.open(embedded, "production")
    space = Space(remote, "production", embedded)
    try:
        pod = (await space.items("pods", "?labelSelector=app%3Dpayment-service"))[0]["metadata"]["name"]
        answer = await remote.call("GET", space.path("services", "payment-service:80") + "/proxy/api/v1/ping")
        assert answer["ok"]
        assert answer["version"] == "v2.14.1"
        listed = await remote.call("GET", "/api/v1/namespaces/dev/pods?labelSelector=app%3Drecommendations")
        broken = next(found for found in listed["items"] if not found["status"]["containerStatuses"][0]["ready"])
        path = f"/api/v1/namespaces/dev/pods/{broken['metadata']['name']}/proxy/api/v1/ping"
        with refused(503, "ServiceUnavailable"):
            while True:  # between its crashes the process runs for moments
                await remote.call("GET", path)
        with refused(404, "NotFound"):
            await remote.call("GET", space.path("pods", f"{pod}x:8080") + "/proxy/metrics")
    finally:
        await remote.close()


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [("forbidden", 403, "Forbidden"), ("unauthorized", 401, "Unauthorized"), ("throttle", 429, "TooManyRequests")],
)
async def test_the_api_misbehaves_when_told_to(embedded: Path, fault: str, code: int, reason: str) -> None:
    document = start_detached(embedded.parent, "good", 50.0)
    remote = await Remote.open(embedded, "production")
    try:
        control(document, embedded.parent, "faults", {"api": fault})
        with refused(code, reason):
            await remote.call("GET", "/api/v1/namespaces/production/pods")
    finally:
        control(document, embedded.parent, "faults", {"api": ""})
        assert (await remote.call("GET", "/api/v1/namespaces/production/pods"))["items"]
        await remote.close()
