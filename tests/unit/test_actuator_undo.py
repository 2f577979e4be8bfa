"""Taking a rollout back: what is restored, in which order, and what is left to others."""

import shlex

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rollouts import deployment, virtual_service

from services.actuator.mutation import Mutation, Write
from services.actuator.patch import decide, same, written
from services.actuator.undo import Stage, fold, plan_restore
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import UndoRecord

STABLE = ObjectRef("Deployment", "production", "app")
CANARY = ObjectRef("Deployment", "production", "app-canary")
ROUTE = ObjectRef("VirtualService", "production", "app")
IMAGE = "/spec/template/spec/containers/1/image"
TO_STABLE = "/spec/http/0/route/0/weight"
TO_CANARY = "/spec/http/0/route/1/weight"

World = dict[ObjectRef, dict[str, Json]]


def world() -> World:
    return {STABLE: deployment(STABLE), CANARY: deployment(CANARY, replicas=0), ROUTE: virtual_service(ROUTE)}


def act(world: World, records: list[UndoRecord], ref: ObjectRef, *writes: tuple[str, Json], step: int = 0) -> None:
    mutation = Mutation(object=ref, writes=tuple(Write(path, value) for path, value in writes), step=step)
    records += decide(mutation, world[ref], epoch=1).undo
    world[ref] = written(world[ref], mutation.writes)


def canary_at_25(world: World, records: list[UndoRecord]) -> None:
    act(world, records, CANARY, (IMAGE, "registry.example/app:v2.15.0"), ("/spec/replicas", 1), step=1)
    act(world, records, ROUTE, (TO_STABLE, 90), (TO_CANARY, 10), step=2)
    act(world, records, CANARY, ("/spec/replicas", 2), step=3)
    act(world, records, ROUTE, (TO_STABLE, 75), (TO_CANARY, 25), step=4)


def test_before_promotion_traffic_comes_first_and_objects_last() -> None:
    now, records = world(), list[UndoRecord]()
    canary_at_25(now, records)
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    assert [phase.stage for phase in restore.phases] == [Stage.TRAFFIC, Stage.OBJECTS]
    traffic, objects = restore.phases
    assert {write.path: write.value for write in traffic.mutations[0].writes} == {TO_STABLE: 100, TO_CANARY: 0}
    assert {write.path: write.value for write in objects.mutations[0].writes} == {
        IMAGE: "registry.example/app:v2.14.1",
        "/spec/replicas": 0,
    }
    assert restore.kept == ()


def test_once_promotion_has_begun_capacity_comes_before_traffic() -> None:
    now, records = world(), list[UndoRecord]()
    canary_at_25(now, records)
    act(now, records, STABLE, (IMAGE, "registry.example/app:v2.15.0"), step=5)
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    assert [phase.stage for phase in restore.phases] == [Stage.CAPACITY, Stage.TRAFFIC, Stage.OBJECTS]
    assert restore.phases[0].wait_for == (STABLE,)


def test_a_value_somebody_else_changed_is_kept_and_named_with_its_command() -> None:
    now, records = world(), list[UndoRecord]()
    act(now, records, STABLE, ("/spec/replicas", 4))
    now[STABLE]["spec"]["replicas"] = 9
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE)
    assert restore.phases == ()
    (kept,) = restore.kept
    assert (kept.path, kept.original, kept.ours, kept.found) == ("/spec/replicas", 3, 4, 9)
    assert kept.command == "kubectl scale deployment/app --replicas=3 -n production --context memory"


def test_routes_and_the_replicas_of_the_canary_are_restored_whoever_changed_them() -> None:
    now, records = world(), list[UndoRecord]()
    canary_at_25(now, records)
    now[ROUTE]["spec"]["http"][0]["route"][1]["weight"] = 60
    now[CANARY]["spec"]["replicas"] = 7
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    wanted = {
        (mutation.object, write.path) for phase in restore.phases for mutation in phase.mutations for write in mutation.writes
    }
    assert {(ROUTE, TO_CANARY), (CANARY, "/spec/replicas")} <= wanted


def test_a_route_rule_inserted_in_front_does_not_divert_the_restored_weight() -> None:
    now, records = world(), list[UndoRecord]()
    canary_at_25(now, records)
    now[ROUTE]["spec"]["http"].insert(0, {"route": [{"destination": {"host": "elsewhere"}, "weight": 100}]})
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    assert {write.path: write.value for write in restore.phases[0].mutations[0].writes} == {
        "/spec/http/1/route/0/weight": 100,
        "/spec/http/1/route/1/weight": 0,
    }


def test_an_object_that_is_gone_is_named() -> None:
    now, records = world(), list[UndoRecord]()
    act(now, records, CANARY, ("/spec/replicas", 1))
    restore = plan_restore(fold(records), {CANARY: None}, context="memory", stable=STABLE, canary=CANARY)
    assert restore.phases == ()
    assert [kept.why for kept in restore.kept] == ["the object is gone"]


def test_a_value_inside_another_is_restored_once_whatever_came_first() -> None:
    now, records = world(), list[UndoRecord]()
    before = now[STABLE]
    act(now, records, STABLE, (IMAGE, "app:2"))
    act(now, records, STABLE, ("/spec/template", {"spec": {"containers": []}}))
    act(now, records, STABLE, ("/spec/template/spec/nodeName", "n1"))
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE)
    assert restore.kept == ()
    assert [write.path for write in restore.phases[0].mutations[0].writes] == ["/spec/template"]
    assert same(written(now[STABLE], restore.phases[0].mutations[0].writes), before)


choices = st.lists(
    st.tuples(
        st.sampled_from(
            [(STABLE, IMAGE), (STABLE, "/spec/replicas"), (CANARY, "/spec/replicas"), (ROUTE, TO_CANARY), (ROUTE, TO_STABLE)]
        ),
        st.integers(0, 5),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(choices, st.integers(0, 12))
def test_any_number_of_changes_folds_to_the_world_as_it_was(steps: list[tuple[tuple[ObjectRef, str], int]], again: int) -> None:
    now, records = world(), list[UndoRecord]()
    for number, ((ref, path), value) in enumerate(steps):
        act(now, records, ref, (path, f"app:{value}" if path == IMAGE else value), step=number)
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    sent = [mutation for phase in restore.phases for mutation in phase.mutations]
    for mutation in sent[:again]:
        now[mutation.object] = written(now[mutation.object], mutation.writes)
    # Interrupted anywhere and planned again, it ends in the same place.
    for phase in plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY).phases:
        for mutation in phase.mutations:
            now[mutation.object] = written(now[mutation.object], mutation.writes)
    assert now == world()


def test_the_command_of_a_restore_is_one_shell_line_with_the_exact_patch() -> None:
    now, records = world(), list[UndoRecord]()
    canary_at_25(now, records)
    restore = plan_restore(fold(records), now, context="memory", stable=STABLE, canary=CANARY)
    words = shlex.split(restore.phases[0].mutations[0].command)
    assert words[:4] == ["kubectl", "patch", "virtualservice", "app"]
    assert words[-4:] == ["-n", "production", "--context", "memory"], "pasted, it reaches the cluster that was meant"
    assert msgspec.json.decode(words[words.index("-p") + 1]) == [
        {"op": "add", "path": TO_STABLE, "value": 100},
        {"op": "add", "path": TO_CANARY, "value": 0},
    ]
    assert value_at(now[ROUTE], TO_CANARY) == 25
