"""Readiness as ``kubectl rollout status`` decides it, crash loops, and pods by owner reference."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.objects import image_version
from services.cluster.picture import Picture
from services.cluster.workloads import (
    Failed,
    current_pods,
    deployment_ready,
    pod_problem,
    pods_by_version,
    pods_of_deployment,
)
from services.model.objects import ObjectRef

REF = ObjectRef("Deployment", "shop", "cart")


def owner(uid: str) -> list[dict[str, object]]:
    return [{"kind": "x", "name": "x", "uid": uid, "controller": True}]


def template(version: str) -> dict[str, object]:
    containers = [
        {"name": "proxy", "image": "registry:5000/proxy:v9"},
        {"name": "cart", "image": f"registry:5000/cart:{version}"},
    ]
    return {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": containers}}


def deployment(version: str = "v2", *, replicas: int = 2, generation: int = 3, **status: object) -> dict[str, object]:
    full = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, **status}
    return {
        "metadata": {"name": "cart", "namespace": "shop", "uid": "d", "generation": generation},
        "spec": {"replicas": replicas, "template": template(version)},
        "status": full,
    }


def replicaset(name: str, version: str, revision: int, uid: str = "d") -> dict[str, object]:
    meta = {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner(uid)}
    meta["annotations"] = {"deployment.kubernetes.io/revision": str(revision)}
    return {"metadata": meta, "spec": {"template": template(version)}}


def pod(name: str, of: str, *, meta: dict[str, object] | None = None, **container: object) -> dict[str, object]:
    full = {"name": "cart", "ready": True, "restartCount": 0, "state": {"running": {}}, **container}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "labels": {"app": "cart"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": owner(of),
            **(meta or {}),
        },
        "status": {"phase": "Running", "containerStatuses": [full]},
    }


def picture(
    cart: dict[str, object],
    *pods: dict[str, object],
    sets: tuple[tuple[str, str, int], ...] = (("rs1", "v1", 1), ("rs2", "v2", 2)),
) -> Picture:
    made = Picture()
    made.put("Deployment", json.dumps(cart).encode())
    for name, version, revision in sets:
        made.put("ReplicaSet", json.dumps(replicaset(name, version, revision)).encode())
    for one in pods:
        made.put("Pod", json.dumps(one).encode())
    return made


@pytest.mark.parametrize(
    ("cart", "detail"),
    [
        (deployment(generation=4), "waiting for the change to be observed"),
        (deployment(updatedReplicas=1), "1 of 2 new pods are there"),
        (deployment(replicas=2, updatedReplicas=2) | {"status": {"observedGeneration": 3}}, "0 of 2 new pods are there"),
        (deployment(availableReplicas=1), "1 of 2 new pods are available"),
    ],
)
def test_not_ready_says_what_it_waits_for(cart: dict[str, object], detail: str) -> None:
    found = deployment_ready(picture(cart), REF)
    assert (found.ready, found.detail, found.failed) == (False, detail, Failed.NO)


def test_old_pods_still_there_is_not_ready() -> None:
    cart = deployment()
    cart["status"]["replicas"] = 3  # type: ignore[index]
    assert deployment_ready(picture(cart), REF).detail == "1 old pods are still there"


def test_ready_when_every_pod_is_new_and_available_and_also_with_none_wanted() -> None:
    found = deployment_ready(picture(deployment()), REF)
    assert found.ready
    assert found.detail == "2 of 2 pods are available"
    none = deployment(replicas=0) | {"status": {"observedGeneration": 3}}
    assert deployment_ready(picture(none), REF).ready
    assert not deployment_ready(Picture(), REF).ready


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 4))
def test_ready_means_exactly_what_rollout_status_means(desired: int, total: int, updated: int, available: int, seen: int) -> None:
    cart = deployment(replicas=desired, observedGeneration=seen, availableReplicas=available)
    cart["status"].update(replicas=total, updatedReplicas=updated)  # type: ignore[attr-defined]
    wanted = seen >= 3 and updated >= desired and total <= updated and available >= updated
    assert deployment_ready(picture(cart), REF).ready == wanted


BACKOFF = {"waiting": {"reason": "CrashLoopBackOff"}}
EARLY = {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-01-01T00:05:00Z"}}
LATE = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-03-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("container", "loops"),
    [
        ({"ready": False, "restartCount": 1, "state": BACKOFF}, True),
        ({"ready": False, "restartCount": 3}, True),
        ({"ready": True, "restartCount": 3, "lastState": EARLY}, True),
        ({"ready": True, "restartCount": 7, "lastState": LATE}, False),
        ({"ready": False, "restartCount": 2}, False),
        ({"ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}, False),
    ],
)
def test_crash_loops_of_new_pods_fail_the_rollout(container: dict[str, object], loops: bool) -> None:
    found = deployment_ready(picture(deployment(), pod("a", "rs2", **container), pod("b", "rs2")), REF)
    assert (found.failed is Failed.CRASH_LOOP) == loops
    assert "1 pod is in a crash loop" in found.detail if loops else found.ready


def test_crash_loops_of_old_pods_and_of_pods_on_their_way_out_do_not() -> None:
    leaving = {"deletionTimestamp": "2026-01-01T00:10:00Z"}
    crashing = {"ready": False, "restartCount": 9, "state": BACKOFF}
    seen = picture(deployment(), pod("a", "rs1", **crashing), pod("b", "rs2", meta=leaving, **crashing))
    assert deployment_ready(seen, REF).failed is Failed.NO


def test_before_the_change_is_observed_the_old_pods_are_not_blamed_on_it() -> None:
    crashing = pod("a", "rs2", ready=False, restartCount=9, state=BACKOFF)
    assert deployment_ready(picture(deployment(generation=4), crashing), REF).failed is Failed.NO


def test_an_image_that_cannot_be_had_and_a_missed_deadline_fail_the_rollout() -> None:
    without = pod("a", "rs2", ready=False, state={"waiting": {"reason": "ImagePullBackOff"}})
    found = deployment_ready(picture(deployment(availableReplicas=1), without), REF)
    assert found.failed is Failed.PROGRESS_DEADLINE
    assert found.detail == "1 pod is without an image: ImagePullBackOff"
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    found = deployment_ready(picture(deployment(updatedReplicas=1, conditions=[late])), REF)
    assert (found.failed, found.detail) == (Failed.PROGRESS_DEADLINE, "timed out")


def test_pods_belong_by_owner_reference_alone() -> None:
    stranger = pod("stranger", "elsewhere")
    seen = picture(deployment(), pod("old", "rs1"), pod("new", "rs2"), stranger)
    assert [one.metadata.name for one in pods_of_deployment(seen, REF)] == ["new", "old"]
    assert {v: [p.metadata.name for p in pods] for v, pods in pods_by_version(seen, REF).items()} == {
        "v1": ["old"],
        "v2": ["new"],
    }
    assert [one.metadata.name for one in current_pods(seen, REF)] == ["new"]


def test_after_a_rollback_the_old_replicaset_is_the_current_one() -> None:
    sets = (("rs1", "v1", 3), ("rs2", "v2", 2))
    seen = picture(deployment("v1"), pod("old", "rs1"), pod("new", "rs2"), sets=sets)
    assert [one.metadata.name for one in current_pods(seen, REF)] == ["old"]


def test_why_a_pod_waits_is_said_in_the_kubelets_words() -> None:
    def problem(**more: object) -> str:
        seen = picture(deployment(), pod("a", "rs2", **more))
        return pod_problem(seen.pods["shop", "a"])

    assert problem() == ""
    assert problem(state=BACKOFF) == "CrashLoopBackOff"
    assert problem(state=LATE) == "OOMKilled"
    assert problem(meta={"deletionTimestamp": "2026-01-01T00:10:00Z"}) == "Terminating"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry:5000/cart:v2.1.0", "v2.1.0"),
        ("registry:5000/cart", ""),
        ("cart:v1", "v1"),
        ("cart@sha256:0123456789abcdef0123", "0123456789ab"),
        ("registry:5000/cart:v1@sha256:0123456789abcdef", "v1"),
        ("", ""),
    ],
)
def test_the_version_is_the_tag(image: str, version: str) -> None:
    assert image_version(image) == version
