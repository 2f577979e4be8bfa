"""Going back to an earlier revision where nothing was recorded, as ``kubectl rollout undo`` does."""

import pytest

from services.model.errors import Rejected
from services.model.objects import Json
from services.rollout.revisions import choose, template_of


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
