"""The parts plans are made of: image references, clones, differences."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from services.model.objects import ObjectRef
from services.strategies import clone
from services.strategies.draft import Draft, differences
from services.strategies.images import parse

LABELS = {"app": "pay", "track": "stable"}
SOURCE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "pay",
        "namespace": "production",
        "uid": "u-1",
        "resourceVersion": "7",
        "labels": {"app": "pay", "app.kubernetes.io/instance": "shop"},
        "annotations": {"deployment.kubernetes.io/revision": "4"},
    },
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "pay", "image": "r/pay:v1"}]}},
    },
    "status": {"readyReplicas": 3},
}


@given(
    registry=st.sampled_from(["", "localhost:5000/", "ghcr.io/", "10.0.0.1:443/a/"]),
    name=st.from_regex(r"[a-z][a-z0-9-]{0,8}(/[a-z][a-z0-9-]{0,8})?", fullmatch=True),
    tag=st.from_regex(r"(v?[0-9][A-Za-z0-9._-]{0,8})?", fullmatch=True),
    digest=st.sampled_from(["", "sha256:" + "a" * 64]),
)
def test_image_references_come_apart_and_together(registry, name, tag, digest):
    reference = f"{registry}{name}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    image = parse(reference)
    assert (image.repository, image.tag, image.digest) == (registry + name, tag, digest)


def test_a_clone_differs_by_name_labels_images_and_replicas_alone():
    source = SOURCE
    before = copy.deepcopy(source)
    body = clone(source, "pay-canary", images={"pay": "r/pay:v2"}, labels={"track": "canary"}, replicas=0)
    assert source == before
    assert body["metadata"] == {"name": "pay-canary", "namespace": "production", "labels": {"app": "pay", "track": "canary"}}
    assert {path for path, _, _ in differences(source["spec"], body["spec"])} == {
        "/replicas",
        "/selector/matchLabels/track",
        "/template/metadata/labels/track",
        "/template/spec/containers/0/image",
    }
    assert "status" not in body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~0", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@given(old=json_values.map(without_nulls), new=json_values.map(without_nulls))
def test_differences_played_on_the_old_value_give_the_new(old, new):
    ref = ObjectRef("Deployment", "production", "pay")
    draft = Draft({ref: {"at": old}})
    for path, _, value in differences(old, new, "/at"):
        draft.set(ref, path, value)
    assert draft.at(ref, "/at") == new
