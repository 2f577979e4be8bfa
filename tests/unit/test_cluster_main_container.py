"""Which container's image is the version that is shown: the one that a plan would replace."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.objects import PodTemplate, main_container, template_version
from services.model.errors import Rejected
from services.rollout.revisions import _version
from services.strategies.images import image_changes

REPOSITORIES = st.sampled_from(("registry:5000/team/cart", "cart", "istio/proxyv2", "registry.example/cart-db", "busybox"))
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(("cart", "proxy", "app", "cart-db")),
            "image": st.tuples(REPOSITORIES, st.sampled_from((":v1", ":v2", "@sha256:" + "ab" * 32))).map("".join),
        }
    ),
    max_size=4,
    unique_by=lambda container: container["name"],
)


def template(containers: list[dict[str, Any]]) -> PodTemplate:
    return msgspec.convert({"spec": {"containers": containers}}, PodTemplate)


def test_a_proxy_listed_first_is_not_the_service() -> None:
    listed = [{"name": "proxy", "image": "istio/proxyv2:1.20"}, {"name": "app", "image": "registry:5000/team/cart:v2.1"}]
    assert template_version(template(listed), "cart") == "v2.1"
    assert _version({"spec": {"containers": listed}}, "cart") == "v2.1", "the version that a rollback to a revision names"
    assert template_version(template(listed), "orders") == "1.20", "none is told by its name: the first"
    assert template_version(template([]), "cart") == ""


@given(CONTAINERS)
def test_what_is_shown_is_what_a_plan_replaces(containers: list[dict[str, Any]]) -> None:
    workload = {"metadata": {"name": "cart"}, "spec": {"template": {"spec": {"containers": containers}}}}
    try:
        changes = image_changes(workload, "cart", "v3")
    except Rejected:
        return
    main = main_container(template(containers).spec.containers, "cart")
    assert main is not None
    assert main.name in [change.container for change in changes]
