"""Label and field selectors as clients write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sandbox.errors import ApiError
from services.sandbox.selectors import field_selector, label_selector, matches


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "x", "namespace": "dev", "labels": labels}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ("", {"a": "b"}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b,c=d", {"a": "b"}, False),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c),d", {"a": "c"}, False),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a notin (b)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": "b"}, False),
        ("quarterdeck/kind=checkpoint", {"quarterdeck/kind": "checkpoint"}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], selected: bool) -> None:
    assert label_selector(selector)(labelled(**labels)) is selected


@pytest.mark.parametrize("selector", ["a b c", "=b", "a in b", "a=b=c", "(a)"])
def test_a_malformed_label_selector_is_a_bad_request(selector: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(selector)
    assert refused.value.code == 400


def test_field_selectors() -> None:
    assert field_selector("metadata.name=x,status.phase!=Pending", "pods")(labelled())
    assert not field_selector("metadata.name=y", "configmaps")(labelled())
    with pytest.raises(ApiError, match="not a known field selector"):
        field_selector("data.key=1", "configmaps")


names = st.sampled_from(["a", "b", "c"])


@given(st.dictionaries(names, names), names, st.lists(names, min_size=1))
def test_text_and_expressions_say_the_same(labels: dict[str, str], key: str, values: list[str]) -> None:
    found = labelled(**labels)
    joined = ",".join(values)
    for operator, text in (
        ("In", f"{key} in ({joined})"),
        ("NotIn", f"{key} notin ({joined})"),
        ("Exists", key),
        ("DoesNotExist", f"!{key}"),
    ):
        expression = {"key": key, "operator": operator, "values": values}
        assert matches({"matchExpressions": [expression]}, labels) == label_selector(text)(found)
