"""The three kinds of patch, against their specifications and against each other."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.objects import pointer
from services.sandbox.patches import PatchFailed, PatchMalformed, json_patch, merge_patch, strategic_merge

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~é", max_size=3)
keys = st.text("ab/~", max_size=2)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(keys, documents, max_size=4)


def paths(document: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where there is a value in a document, the root included."""
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [at, *(path for key, value in inner for path in paths(value, (*at, key)))]


def test_operations_of_the_specification() -> None:
    """The examples of RFC 6902, appendix A."""
    cases: list[tuple[Any, list[Any], Any]] = [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        (
            {"baz": "qux", "foo": ["a", 2, "c"]},
            [{"op": "test", "path": "/foo/1", "value": 2}],
            {"baz": "qux", "foo": ["a", 2, "c"]},
        ),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
            {"foo": "bar", "child": {"grandchild": {}}},
        ),
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ]
    for document, patch, wanted in cases:
        assert json_patch(document, patch) == wanted


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/foo", "value": "other"},
        {"op": "test", "path": "/absent", "value": None},
        {"op": "test", "path": "/one", "value": True},
        {"op": "test", "path": "/one", "value": "1"},
        {"op": "remove", "path": "/absent"},
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "add", "path": "/absent/deeper", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "remove", "path": "/list/-"},
        {"op": "move", "from": "/map", "path": "/map/inside"},
        {"op": "add", "path": "/foo/inside", "value": 1},
    ],
)
def test_what_does_not_hold_fails_and_changes_nothing(operation: dict[str, Any]) -> None:
    document = {"foo": "bar", "one": 1, "list": [1, 2], "map": {}}
    before = copy.deepcopy(document)
    with pytest.raises(PatchFailed):
        json_patch(document, [{"op": "add", "path": "/new", "value": 1}, operation])
    assert document == before


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "test"},
        [{"op": "add", "path": "/a"}],
        [{"op": "jump", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        ["remove"],
        None,
    ],
)
def test_what_is_no_patch_is_told_apart_from_one_that_fails(patch: Any) -> None:
    with pytest.raises(PatchMalformed):
        json_patch({"a": 1}, patch)


@given(objects, st.data())
def test_every_value_can_be_tested_replaced_and_taken_back(document: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(paths(document)))
    value = data.draw(documents)
    old = document
    for part in path:
        old = old[part]
    where = pointer(*path)
    swapped = json_patch(
        document, [{"op": "test", "path": where, "value": old}, {"op": "replace", "path": where, "value": value}]
    )
    assert (
        json_patch(swapped, [{"op": "test", "path": where, "value": value}, {"op": "replace", "path": where, "value": old}])
        == document
    )


@given(objects, st.data())
def test_removing_and_adding_again_changes_nothing(document: Any, data: st.DataObject) -> None:
    places = [path for path in paths(document) if path]
    if not places:
        return
    path = data.draw(st.sampled_from(places))
    value = document
    for part in path:
        value = value[part]
    where = pointer(*path)
    assert json_patch(document, [{"op": "remove", "path": where}, {"op": "add", "path": where, "value": value}]) == document


@given(objects, documents)
def test_a_patched_document_shares_nothing_with_its_patch(document: Any, value: Any) -> None:
    patch = [{"op": "add", "path": "/a", "value": [value]}, {"op": "copy", "from": "/a", "path": "/b"}]
    patched = json_patch(document, patch)
    patched["a"].append("changed")
    assert patch[0]["value"] == [value]
    assert patched["b"] == [value]


def test_merge_patches_of_the_specification() -> None:
    """The examples of RFC 7386, appendix A."""
    cases = [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ]
    for document, patch, wanted in cases:
        assert merge_patch(json.loads(document), json.loads(patch)) == json.loads(wanted)


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_containers_and_their_variables_are_merged_by_name() -> None:
    current = pod(
        {"name": "main", "image": "main:v1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "proxy", "image": "proxy:v1"},
    )
    change = pod({"name": "main", "image": "main:v2", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]})
    main, proxy = strategic_merge(current, change)["spec"]["containers"]
    assert main["image"] == "main:v2"
    assert main["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    assert proxy == {"name": "proxy", "image": "proxy:v1"}


def test_directives_delete_replace_and_order() -> None:
    current = pod({"name": "a"}, {"name": "b"}, {"name": "c"})
    deleted = strategic_merge(current, pod({"name": "b", "$patch": "delete"}))
    assert [container["name"] for container in deleted["spec"]["containers"]] == ["a", "c"]
    replaced = strategic_merge(current, pod({"name": "z"}, {"$patch": "replace"}))
    assert [container["name"] for container in replaced["spec"]["containers"]] == ["z"]
    order = [{"name": name} for name in ("c", "b", "a", "d")]
    ordered = strategic_merge(current, {"spec": {"$setElementOrder/containers": order, "containers": [{"name": "d"}]}})
    assert [container["name"] for container in ordered["spec"]["containers"]] == ["c", "b", "a", "d"]
    kept = strategic_merge(
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}, {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    )
    assert kept == {"strategy": {"type": "Recreate"}}


@given(objects, objects)
def test_without_its_special_lists_strategic_merge_is_merge_patch(document: Any, patch: Any) -> None:
    assert strategic_merge(document, patch) == merge_patch(document, patch)


def test_a_list_over_something_that_is_none_replaces_it() -> None:
    assert strategic_merge({"": 1, "ports": "x"}, {"": [], "ports": [{"containerPort": 1}]}) == {
        "": [],
        "ports": [{"containerPort": 1}],
    }
