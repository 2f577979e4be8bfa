"""Weights of an Istio VirtualService: found, read, written, and nothing else touched."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.errors import QuarterdeckError
from services.model.objects import pointer_parts, value_at
from services.traffic import istio

SCHEMA = Path(__file__).parents[2] / "../shared/specs/crd-schemas/networking.istio.io_virtualservice_v1.json"


def destination(subset, host="pay", weight=None, **more):
    entry = {"destination": {"host": host, "subset": subset, **more}}
    return entry if weight is None else {**entry, "weight": weight}


def virtual_service(*rules):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "pay", "namespace": "production"},
        "spec": {"hosts": ["pay"], "http": list(rules)},
    }


def split_rule(weight=0, **more):
    return {"route": [destination("stable", weight=100 - weight), destination("canary", weight=weight)], **more}


def three(*subsets):
    return {"route": [destination(subset, weight=weight) for subset, weight in zip(subsets, (50, 40, 10), strict=True)]}


def put(document, writes):
    document = copy.deepcopy(document)
    for path, value in writes:
        *way, last = pointer_parts(path)
        place = value_at(document, "".join(f"/{part}" for part in way))
        place[last] = value
    return document


hosts = st.sampled_from(["pay", "pay.production.svc", "pay.production.svc.cluster.local", "pay.production.svc.cluster.local."])
others = st.sampled_from(["search", "pay.staging.svc.cluster.local", "pay-api", "example.com"])
extras = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["main", "beta users"]),
        "match": st.just([{"headers": {"x-beta": {"exact": "1"}}, "uri": {"prefix": "/v2"}}]),
        "timeout": st.just("3s"),
        "mirror": st.just({"host": "shadow", "subset": "v3"}),
        "mirrorPercentage": st.just({"value": 12.5}),
        "headers": st.just({"request": {"set": {"x-route": "a"}}}),
        "retries": st.just({"attempts": 2, "perTryTimeout": "1s"}),
    },
)


@st.composite
def split_rules(draw):
    weight = draw(st.integers(0, 100))
    host = draw(hosts)
    route = [
        {**destination("stable", host, 100 - weight, port={"number": 80}), "headers": {"response": {"remove": ["x"]}}},
        destination("canary", host, weight),
    ]
    if weight == 0 and draw(st.booleans()):
        del route[1]["weight"]
    return {**draw(extras), "route": route if draw(st.booleans()) else route[::-1]}


@st.composite
def foreign_rules(draw):
    route = draw(
        st.one_of(
            st.just([destination("stable")]),
            st.just([destination("canary")]),
            st.builds(lambda host: [destination("stable", host, 60), destination("canary", host, 40)], others),
        )
    )
    return {**draw(extras), "route": route}


@st.composite
def routable(draw):
    rules = draw(st.lists(foreign_rules(), max_size=3)) + draw(st.lists(split_rules(), min_size=1, max_size=3))
    return virtual_service(*draw(st.permutations(rules)))


@pytest.fixture(scope="module")
def validator():
    if not SCHEMA.exists():
        pytest.skip("the published VirtualService schema (../shared/specs) is not here")
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


@given(document=routable(), weight=st.integers(0, 100))
def test_written_weights_are_read_back_and_nothing_else_changes(validator, document, weight):
    before = copy.deepcopy(document)
    split = istio.locate(document, "pay")
    writes = istio.writes(document, split, weight)
    after = put(document, writes)
    assert document == before
    assert istio.weight_of(after, split) == weight
    assert istio.locate(after, "pay") == split
    validator.validate(after)
    for rule in split.rules:
        route = after["spec"]["http"][rule.index]["route"]
        assert sum(entry["weight"] for entry in route) == 100
    for path, _ in writes:
        assert path.endswith("/weight")
    for tree in (before, after):
        for rule in split.rules:
            for entry in tree["spec"]["http"][rule.index]["route"]:
                entry.pop("weight", None)
    assert after == before


@given(document=routable())
def test_every_split_rule_gets_the_weights_and_no_other_is_touched(document):
    split = istio.locate(document, "pay")
    elsewhere = ("search", "pay.staging.svc.cluster.local", "pay-api", "example.com")
    rules = enumerate(document["spec"]["http"])
    expected = {at for at, rule in rules if len(rule["route"]) == 2 and rule["route"][0]["destination"]["host"] not in elsewhere}
    assert {rule.index for rule in split.rules} == expected
    touched = {path.rsplit("/", 1)[0] for path, _ in istio.writes(document, split, 30)}
    assert touched == {path.rsplit("/", 1)[0] for path, _ in istio.guards(document, split)}


@given(document=routable())
def test_a_reordered_list_is_refused(document):
    split = istio.locate(document, "pay")
    for rule in split.rules:
        document["spec"]["http"][rule.index]["route"].reverse()
    for use in (lambda: istio.writes(document, split, 10), lambda: istio.weight_of(document, split)):
        with pytest.raises(istio.NotRoutable, match="rearranged"):
            use()


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([], "None of its http rules routes to host pay"),
        ([{"route": [destination("stable", "search")]}], "None of its http rules"),
        ([{"redirect": {"uri": "/x"}}], "None of its http rules"),
        ([{"route": [{"destination": {"host": "pay"}}]}], "without these two subsets"),
        ([{"route": [destination("stable")]}], "there is no canary destination"),
        ([{"route": [destination("canary")]}], "None of its http rules"),
        (
            [{"route": [destination("stable", weight=50), destination("stable", weight=40), destination("canary", weight=10)]}],
            "ambig",
        ),
        (
            [{"route": [destination("stable", weight=50), destination("canary", weight=40), destination("v3", weight=10)]}],
            "ambig",
        ),
        ([{"route": [destination("stable", weight=90), destination("canary", weight=0), destination("a", "b", 10)]}], "ambig"),
        ([{"route": [destination("stable"), destination("canary")]}], "gives no weights"),
        ([{"route": [{}, "what", {"destination": None}]}], "None of its http rules"),
    ],
)
def test_what_can_not_be_split_is_refused_with_what_to_add(rules, says):
    with pytest.raises(istio.NotRoutable) as refused:
        istio.locate(virtual_service(*rules), "pay")
    assert says in str(refused.value)
    assert refused.value.hint
    assert refused.value.exit_code == 2
    assert isinstance(refused.value, QuarterdeckError)


def test_a_route_without_canary_says_the_command_that_adds_it():
    with pytest.raises(istio.NotRoutable) as refused:
        istio.locate(virtual_service({"name": "main", "route": [destination("stable", port={"number": 80})]}), "pay")
    command = refused.value.hint
    assert "kubectl patch virtualservice pay -n production --type=json" in command
    assert command.endswith(" --context CONTEXT"), "pasted, it must not go to whatever cluster is the current one"
    operations = json.loads(command[command.index("[{") : command.rindex("]") + 1])
    assert operations[-1]["value"] == {"destination": {"host": "pay", "subset": "canary", "port": {"number": 80}}, "weight": 0}


def test_rules_that_send_everything_to_the_canary_are_named_and_left_alone():
    pinned = {"name": "beta", "match": [{"headers": {"x": {"exact": "1"}}}], "route": [destination("canary")]}
    split = istio.locate(virtual_service(pinned, split_rule()), "pay")
    assert split.pinned == ("rule 'beta'",)
    assert [rule.index for rule in split.rules] == [1]


@pytest.mark.parametrize(("stable", "canary", "share"), [(95, 5, 5), (900, 1, 1), (1, 1, 50), (100, None, 0), (0, 100, 100)])
def test_the_share_is_a_share_and_a_little_is_never_nothing(stable, canary, share):
    document = virtual_service({"route": [destination("stable", weight=stable), destination("canary", weight=canary)]})
    assert istio.weight_of(document, istio.locate(document, "pay")) == share


def test_where_rules_differ_the_largest_share_counts():
    document = virtual_service(split_rule(5), split_rule(30), split_rule(0))
    assert istio.weight_of(document, istio.locate(document, "pay")) == 30


@pytest.mark.parametrize("weight", [-1, 101])
def test_weights_outside_a_hundred_are_an_error(weight):
    document = virtual_service(split_rule())
    with pytest.raises(ValueError, match="outside"):
        istio.writes(document, istio.locate(document, "pay"), weight)


def test_undefined_subsets_are_refused_before_requests_get_503():
    split = istio.locate(virtual_service(split_rule()), "pay")
    rule = {"metadata": {"name": "pay"}, "spec": {"host": "pay", "subsets": [{"name": "stable", "labels": {"track": "stable"}}]}}
    with pytest.raises(istio.NotRoutable, match="no DestinationRule"):
        istio.subset_labels(None, split)
    with pytest.raises(istio.NotRoutable, match="no subset canary"):
        istio.subset_labels(rule, split)
    rule["spec"]["subsets"].append({"name": "canary", "labels": {"track": "canary"}})
    assert istio.subset_labels(rule, split) == ({"track": "stable"}, {"track": "canary"})
