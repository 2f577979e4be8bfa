"""Going back to an earlier revision where nothing was recorded, as ``kubectl rollout undo`` does."""

import copy
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import NOW, deployment, rollout, target, virtual_service

from services.actuator.accounts import told
from services.actuator.patch import written
from services.actuator.undo import fold, plan_restore
from services.cluster.connection import Connection
from services.cluster.watched import RolloutWatch
from services.model.errors import Rejected
from services.model.objects import Json, ObjectRef
from services.model.rollout import Phase, Rollout
from services.rollout import undoing
from services.rollout.revisions import choose, template_of, to_revision


def template(version: str, *, hashed: str = "") -> dict[str, Json]:
    labels = {"app": "pay", **({"pod-template-hash": hashed} if hashed else {})}
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "pay", "image": f"r/pay:{version}"}]}}


def replica_set(revision: int, version: str) -> dict[str, Json]:
    return {
        "metadata": {"name": f"pay-{revision}", "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
        "spec": {"template": template(version, hashed=f"h{revision}")},
    }


LIVE = {"metadata": {"name": "pay"}, "spec": {"template": template("v3")}}
SETS = [replica_set(2, "v2"), replica_set(10, "v3"), replica_set(9, "v1")]


def test_the_one_before_by_number_not_by_text() -> None:
    assert choose(LIVE, SETS, "") == SETS[2]


def test_a_named_revision() -> None:
    assert choose(LIVE, SETS, "2") == SETS[0]


def test_the_template_is_without_the_controllers_hash() -> None:
    assert template_of(SETS[0]) == template("v2")
    assert "pod-template-hash" in SETS[0]["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(("revision", "rule"), [("10", "runs now"), ("7", "not among"), ("x; id", "not a revision number")])
def test_what_can_not_be_gone_back_to(revision: str, rule: str) -> None:
    with pytest.raises(Rejected) as caught:
        choose(LIVE, SETS, revision)
    assert rule in caught.value.rule
    assert "9 (v1)" in caught.value.accepted


def test_nothing_before_the_first() -> None:
    with pytest.raises(Rejected) as caught:
        choose(LIVE, [replica_set(1, "v3")], "")
    assert "no earlier revision" in caught.value.rule


# ---- as a rollout of its own, against a cluster

TARGET = target()
STABLE = ObjectRef("Deployment", "production", "pay")
CANARY = ObjectRef("Deployment", "production", "pay-canary")
ROUTE = ObjectRef("VirtualService", "production", "pay")
ENV = [{"name": "DB_PASSWORD", "value": "hunter2-Prod"}, {"name": "MODE", "value": "fast"}]


def put_service(memory: MemoryTransport, *, share: int | None = None, canary_pods: int | None = None) -> None:
    live = deployment(STABLE, image="r/pay:v3")
    live["metadata"]["uid"] = "u1"
    live["spec"]["template"]["spec"]["containers"][1]["env"] = ENV
    memory.put(STABLE, live)
    older = copy.deepcopy(live["spec"]["template"])
    older["metadata"]["labels"]["pod-template-hash"] = "h1"
    older["spec"]["containers"][1]["image"] = "r/pay:v2"
    annotations = {"deployment.kubernetes.io/revision": "4"}
    memory.put(
        ObjectRef("ReplicaSet", "production", "pay-h1"),
        {"metadata": {"annotations": annotations, "ownerReferences": [{"uid": "u1"}]}, "spec": {"template": older}},
    )
    if canary_pods is not None:
        memory.put(CANARY, deployment(CANARY, image="r/pay:v3", replicas=canary_pods))
    if share is not None:
        memory.put(ROUTE, virtual_service(ROUTE, canary=share))


async def planned(memory_and_connection: tuple[Connection, MemoryTransport]) -> Rollout:
    connection, _ = memory_and_connection
    return await to_revision(connection, TARGET, "pay", "", id="r1", operator="jane", reason="", created=NOW, pace=0.0)


async def test_only_what_differs_is_recorded_so_no_environment_is_copied_into_the_checkpoint() -> None:
    connection, memory = memory_connection()
    put_service(memory)
    rolling = await planned((connection, memory))
    assert [(record.path, record.old, record.new) for record in rolling.undo] == [
        ("/spec/template/spec/containers/1/image", "r/pay:v2", "r/pay:v3")
    ]
    assert "hunter2-Prod" not in msgspec.json.encode(rolling).decode()
    restore = plan_restore(fold(rolling.undo), {STABLE: memory.at(STABLE)}, context="memory", stable=STABLE)
    command = "kubectl rollout undo deployment/pay --to-revision=4 -n production --context memory"
    assert restore.phases[0].mutations[0].command == command


async def test_an_environment_entry_is_recorded_whole_and_told_without_its_value() -> None:
    connection, memory = memory_connection()
    put_service(memory)
    memory.edit(STABLE, lambda live: live["spec"]["template"]["spec"]["containers"][1]["env"][1].update(value="slow"))
    rolling = await planned((connection, memory))
    entry = rolling.undo[0]
    assert (entry.path, entry.old) == ("/spec/template/spec/containers/1/env/1", ENV[1])
    assert "slow" not in str(told(rolling.undo))


async def test_a_canary_with_a_share_is_taken_back_with_stable() -> None:
    connection, memory = memory_connection()
    put_service(memory, share=25, canary_pods=2)
    rolling = await planned((connection, memory))
    assert (rolling.plan.canary, rolling.plan.route) == (CANARY, ROUTE)
    assert set(rolling.plan.objects) == {STABLE, CANARY, ROUTE}
    objects = {ref: memory.at(ref) for ref in rolling.plan.objects}
    restore = plan_restore(fold(rolling.undo), objects, context="memory", stable=STABLE, canary=CANARY)
    for phase in restore.phases:
        for mutation in phase.mutations:
            objects[mutation.object] = written(objects[mutation.object], mutation.writes)
    assert not restore.kept
    assert [entry["weight"] for entry in objects[ROUTE]["spec"]["http"][0]["route"]] == [100, 0]
    assert objects[CANARY]["spec"]["replicas"] == 0
    assert objects[STABLE]["spec"]["template"]["spec"]["containers"][1]["image"] == "r/pay:v2"
    assert any("All requests go to stable again" in note for note in rolling.plan.notes)


async def test_a_canary_of_another_version_is_taken_back_alone() -> None:
    connection, memory = memory_connection()
    put_service(memory, share=25, canary_pods=2)
    memory.edit(CANARY, lambda live: live["spec"]["template"]["spec"]["containers"][1].update(image="r/pay:v4"))
    rolling = await planned((connection, memory))
    assert {record.object for record in rolling.undo} == {CANARY, ROUTE}, "stable runs what was there before"
    assert (rolling.release.version, rolling.plan.previous_version) == ("v4", "v3")
    assert "is left as it is" in rolling.plan.notes[0]
    asked = await to_revision(connection, TARGET, "pay", "4", id="r1", operator="jane", reason="", created=NOW, pace=0.0)
    assert {record.object for record in asked.undo} == {STABLE, CANARY, ROUTE}


@pytest.mark.parametrize(("share", "pods"), [(None, None), (0, 0), (0, 2), (None, 0)])
async def test_without_a_share_only_stable_is_touched(share: int | None, pods: int | None) -> None:
    connection, memory = memory_connection()
    put_service(memory, share=share, canary_pods=pods)
    assert (await planned((connection, memory))).plan.objects == (STABLE,)


async def test_a_running_canary_whose_share_is_not_known_is_refused_with_what_to_do_by_hand() -> None:
    connection, memory = memory_connection()
    put_service(memory, canary_pods=2)
    with pytest.raises(Rejected) as caught:
        await planned((connection, memory))
    assert "canary of 2 pods" in caught.value.rule
    for command in ("kubectl scale deployment/pay-canary --replicas=0", "kubectl rollout undo deployment/pay -n production"):
        assert command in caught.value.accepted


async def test_a_service_that_was_rolled_back_says_where_it_is_and_which_revisions_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection, memory = memory_connection()
    put_service(memory)
    memory.edit(STABLE, lambda live: live["metadata"].update(annotations={"deployment.kubernetes.io/revision": "6"}))
    plan = msgspec.structs.replace(rollout().plan, stable=STABLE, previous_version="v3")
    last = msgspec.structs.replace(rollout(), plan=plan, phase=Phase.ROLLED_BACK)
    monkeypatch.setattr(undoing, "rollouts", lambda *_, **__: (RolloutWatch(rollout=last),))
    monkeypatch.setattr(undoing, "unfinished", lambda *_: None)
    station: Any = SimpleNamespace(clock=None, home=None)
    inventory: Any = SimpleNamespace(connection=connection)
    with pytest.raises(Rejected) as caught:
        await undoing.start_rollback(station, inventory, TARGET, last.release.service)
    assert f"was brought to v3 by its last rollback (rollout {last.id}; it runs revision 6 now)" in caught.value.rule
    assert "--to REVISION, or on the service screen: REVISIONS, R" in caught.value.accepted
    assert "4 (" in caught.value.accepted
    memory.objects.clear()
    with pytest.raises(Rejected, match="was brought to v3 by its last rollback"):
        await undoing.start_rollback(station, inventory, TARGET, last.release.service)
