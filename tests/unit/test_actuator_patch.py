"""The patch of a mutation: what it makes, what it tests, what takes it back."""

import copy

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.memory_cluster import PatchRefused, apply_patch
from support.rollouts import deployment, virtual_service

from services.actuator.mutation import EPOCH_PATH, Misplaced, Mutation, Write
from services.actuator.patch import decide, epoch_of, newborn, same, written
from services.actuator.undo import fold, locate, plan_restore
from services.model.objects import Json, ObjectRef, pointer, pointer_parts, value_at
from services.model.rollout import Guard

APP = ObjectRef("Deployment", "production", "app")
ROUTE = ObjectRef("VirtualService", "production", "app")
IMAGE = "/spec/template/spec/containers/1/image"
WEIGHT = "/spec/http/0/route/1/weight"

bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])

scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.text(max_size=3))
keys = st.one_of(st.text(alphabet="ab/~ü", min_size=1, max_size=3), st.sampled_from(["name", "destination"]))
values = st.recursive(
    scalars, lambda inner: st.one_of(st.dictionaries(keys, inner, max_size=3), st.lists(inner, max_size=3)), max_leaves=8
)


def stamped(spec: Json, epoch: str | None = "1") -> dict[str, Json]:
    annotations = {} if epoch is None else {"annotations": {"quarterdeck/epoch": epoch, "other": "x"}}
    return {"metadata": {"name": "app", "namespace": "production", "resourceVersion": "7", **annotations}, "spec": spec}


def places(document: Json, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every pointer into a document, and one absent member (with an absent parent) of each object."""
    found: list[tuple[str | int, ...]] = [way] if len(way) > 1 else []
    if isinstance(document, dict):
        for key, inner in document.items():
            found += places(inner, (*way, key))
        if way:
            found += [(*way, "absent"), (*way, "none", "absent")]
    elif isinstance(document, list):
        for index, inner in enumerate(document):
            found += places(inner, (*way, index))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Json], Mutation]:
    spec = draw(st.dictionaries(keys, values, min_size=1, max_size=3))
    document = stamped(spec, draw(st.sampled_from([None, "1", "12", "not a number"])))
    everywhere = [way for way in places(document["spec"], ("spec",)) if way != ("spec",)]
    chosen = draw(st.lists(st.sampled_from(everywhere), min_size=1, max_size=4, unique=True))
    writes = []
    for way in chosen:
        path = pointer(*way)
        in_list = isinstance(way[-1], int) or str(way[-1]).isdigit()
        writes.append(Write(path, draw(values if in_list else st.one_of(st.none(), values))))
    try:
        return document, Mutation(object=APP, writes=tuple(writes), step=2)
    except ValueError:
        assume(False)
        raise


@bounded
@given(cases())
def test_the_patch_makes_exactly_the_wanted_document_and_undo_the_old_one(case: tuple[dict[str, Json], Mutation]) -> None:
    document, mutation = case
    decision = decide(mutation, document, epoch=13)
    after = apply_patch(document, list(decision.operations))
    assert epoch_of(after) == 13
    for write in mutation.writes:
        assert same(value_at(after, write.path), write.value)
    assert same(after, written(document, [*mutation.writes, Write(EPOCH_PATH, "13")]))

    restore = plan_restore(fold(decision.undo), {APP: after}, context="memory", stable=APP)
    assert restore.kept == ()
    back = after
    for phase in restore.phases:
        for undoing in phase.mutations:
            back = apply_patch(back, list(decide(undoing, back, epoch=13).operations))
    assert same(back["spec"], document["spec"])


@bounded
@given(cases())
def test_a_patch_made_twice_changes_nothing_the_second_time(case: tuple[dict[str, Json], Mutation]) -> None:
    document, mutation = case
    after = apply_patch(document, list(decide(mutation, document, epoch=13).operations))
    again = decide(mutation, after, epoch=13)
    assert again.undo == ()


@bounded
@given(cases(), st.integers(14, 20))
def test_a_newer_epoch_refuses_the_patch_whatever_else_is_right(case: tuple[dict[str, Json], Mutation], newer: int) -> None:
    document, mutation = case
    operations = list(decide(mutation, document, epoch=13).operations)
    taken = written(document, [Write(EPOCH_PATH, str(newer)), Write("/metadata/resourceVersion", "8")])
    with pytest.raises(PatchRefused):
        apply_patch(taken, operations)


@bounded
@given(cases(), st.data())
def test_an_old_value_changed_since_it_was_read_refuses_the_patch(
    case: tuple[dict[str, Json], Mutation], data: st.DataObject
) -> None:
    document, mutation = case
    decision = decide(mutation, document, epoch=13)
    changed = [record for record in decision.undo if record.old is not None]
    assume(changed)
    record = data.draw(st.sampled_from(changed))
    moved = written(document, [Write(record.path, "somebody else's")])
    with pytest.raises(PatchRefused):
        apply_patch(moved, list(decision.operations))


def test_the_first_operation_tests_the_epoch_escaped_as_a_pointer() -> None:
    live = deployment(APP, epoch=4)
    decision = decide(Mutation(object=APP, writes=(Write("/spec/replicas", 5),)), live, epoch=4)
    assert decision.operations == (
        {"op": "test", "path": "/metadata/annotations/quarterdeck~1epoch", "value": "4"},
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/spec/replicas", "value": 5},
    )


def test_without_an_epoch_the_patch_is_bound_to_the_resource_version() -> None:
    live = stamped({"replicas": 3}, None)
    decision = decide(Mutation(object=APP, writes=(Write("/spec/replicas", 5),)), live, epoch=1)
    assert decision.operations[:3] == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/quarterdeck~1epoch", "value": "1"},
    )


def test_a_value_that_was_absent_is_bound_to_the_resource_version_too() -> None:
    live = stamped({"replicas": 3})
    operations = decide(Mutation(object=APP, writes=(Write("/spec/paused", True),)), live, epoch=1).operations
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "7"} in operations


def test_the_container_that_is_meant_is_tested_with_its_image() -> None:
    live = deployment(APP, epoch=1)
    operations = decide(Mutation(object=APP, writes=(Write(IMAGE, "app:2"),)), live, epoch=1).operations
    assert {"op": "test", "path": "/spec/template/spec/containers/1/name", "value": "app"} in operations


def test_an_expected_value_that_is_another_one_is_refused_by_name() -> None:
    live = virtual_service(ROUTE, epoch=1)
    wanted = {"host": "app", "subset": "other"}
    mutation = Mutation(object=ROUTE, writes=(Write(WEIGHT, 5),), expects=(Guard("/spec/http/0/route/1/destination", wanted),))
    with pytest.raises(Misplaced, match=r"spec\.http\[0\]\.route\[1\]\.destination"):
        decide(mutation, live, epoch=1)


def test_an_item_that_is_not_there_is_refused() -> None:
    live = virtual_service(ROUTE, epoch=1)
    with pytest.raises(Misplaced, match="no item 7"):
        decide(Mutation(object=ROUTE, writes=(Write("/spec/http/0/route/7/weight", 5),)), live, epoch=1)


def test_a_forced_patch_writes_every_value_without_testing_the_old_one() -> None:
    live = virtual_service(ROUTE, canary=25, epoch=3)
    mutation = Mutation(object=ROUTE, writes=(Write(WEIGHT, 0), Write("/spec/http/0/route/0/weight", 100)))
    operations = list(decide(mutation, live, epoch=4, exact=False).operations)
    assert not any(operation["op"] == "test" and operation["path"].endswith("weight") for operation in operations)
    moved = copy.deepcopy(live)
    moved["spec"]["http"][0]["route"][1]["weight"] = 50
    assert value_at(apply_patch(moved, operations), WEIGHT) == 0


@pytest.mark.parametrize(
    "paths", [("/spec", "/spec/replicas"), ("/spec/replicas", "/spec/replicas"), ("/metadata/annotations",), (EPOCH_PATH,)]
)
def test_writes_that_overlap_or_touch_the_epoch_are_no_mutation(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Mutation(object=APP, writes=tuple(Write(path, 1) for path in paths))


def test_removing_an_item_of_a_list_is_no_mutation() -> None:
    with pytest.raises(ValueError, match="write the list as a whole"):
        Mutation(object=APP, writes=(Write("/spec/http/0", None),))


def test_what_is_created_has_the_epoch_and_no_replicas() -> None:
    body = newborn(APP, deployment(APP, replicas=3), 9)
    assert body["spec"]["replicas"] == 0
    assert epoch_of(body) == 9
    assert "replicas" not in newborn(ROUTE, virtual_service(ROUTE), 9)["spec"]


def test_a_value_is_found_again_where_an_item_was_inserted_before_it() -> None:
    live = deployment(APP)
    guards = (Guard("/spec/template/spec/containers/1/name", "app"),)
    assert locate(live, IMAGE, guards) == IMAGE
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "new", "image": "x"})
    assert locate(live, IMAGE, guards) == "/spec/template/spec/containers/2/image"
    live["spec"]["template"]["spec"]["containers"] = [{"name": "other", "image": "x"}]
    assert locate(live, IMAGE, guards) is None


def test_pointers_of_absent_members_keep_their_parts() -> None:
    assert pointer_parts(EPOCH_PATH) == ["metadata", "annotations", "quarterdeck/epoch"]
    assert msgspec.json.encode(EPOCH_PATH) == b'"/metadata/annotations/quarterdeck~1epoch"'
