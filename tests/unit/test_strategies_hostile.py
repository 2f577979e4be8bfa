"""Plans for workloads that are not as simple as one container with a tag: what is changed, cloned and confirmed."""

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.errors import Rejected
from services.model.objects import value_at
from services.model.release import Release, Strategy, Target, Tier
from services.settings import CanaryPlan, CanaryStep, Environment, Settings
from services.strategies import ServiceState, clone, compile_plan
from services.traffic.selector import selects

LABELS = {"app": "pay", "track": "stable"}
RELEASE = Release(
    service="pay",
    version="v2.0.0",
    target=Target(environment="production", tier=Tier.PRODUCTION, context="prod-eu", namespace="production"),
    strategy=Strategy.CANARY,
)
ROLLING = msgspec.structs.replace(RELEASE, strategy=Strategy.ROLLING)
SETTINGS = Settings(
    environments={"production": Environment(tier=Tier.PRODUCTION, context="prod-eu", namespaces=("production",))},
    canary=CanaryPlan(steps=(CanaryStep(weight=10, seconds=60),)),
)


def deployment(*containers, name="pay", track="stable", init=(), **spec):
    labels = {**LABELS, "track": track}
    pods = {
        "containers": [{"name": each, "image": image} for each, image in containers or (("pay", "r:5000/shop/pay:v1"),)],
        "initContainers": [{"name": each, "image": image} for each, image in init],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "production"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pods},
            **spec,
        },
    }


def state(stable=None, canary=None):
    both = [
        {"destination": {"host": "pay", "subset": each}, "weight": weight} for each, weight in (("stable", 100), ("canary", 0))
    ]
    subsets = [{"name": each, "labels": {"track": each}} for each in ("stable", "canary")]
    where = {"name": "pay", "namespace": "production"}
    return ServiceState(
        stable=stable or deployment(),
        canary=canary,
        virtual_services=({"metadata": where, "spec": {"hosts": ["pay"], "http": [{"route": both}]}},),
        destination_rules=({"metadata": where, "spec": {"host": "pay", "subsets": subsets}},),
    )


@pytest.mark.parametrize("release", [RELEASE, ROLLING])
@pytest.mark.parametrize(
    "spec",
    [
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}},
        {"minReadySeconds": 30},
        {"selector": {"matchLabels": LABELS, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
    ],
)
def test_a_confirmation_is_void_where_the_pods_would_be_replaced_or_selected_otherwise(release, spec):
    before = compile_plan(release, state(), SETTINGS).digest
    assert compile_plan(release, state(deployment(**spec)), SETTINGS).digest != before


def test_a_confirmation_stays_valid_while_only_counts_and_status_move():
    busy = deployment(replicas=9)
    busy["status"] = {"readyReplicas": 8}
    busy["metadata"] |= {"resourceVersion": "99", "generation": 7, "annotations": {"quarterdeck/epoch": "4"}}
    assert compile_plan(RELEASE, state(busy), SETTINGS).digest == compile_plan(RELEASE, state(), SETTINGS).digest


EXPRESSIONS = [
    {"key": "track", "operator": "NotIn", "values": ["canary"]},
    {"key": "app", "operator": "In", "values": ["pay"]},
]


@pytest.mark.parametrize("matched", [{"app": "pay"}, LABELS])
def test_a_selector_with_expressions_tells_both_apart_and_its_clone_selects_its_own_pods_alone(matched):
    selector = {"matchLabels": matched, "matchExpressions": EXPRESSIONS}
    stable = deployment(selector=selector)
    compile_plan(RELEASE, state(stable), SETTINGS)
    body = clone(stable, "pay-canary", images={}, labels={"track": "canary"}, replicas=0)
    pods = body["spec"]["template"]["metadata"]["labels"]
    assert selects(body["spec"]["selector"], pods), "the API server refuses a selector that does not match its own template"
    assert not selects(body["spec"]["selector"], LABELS)
    assert not selects(selector, pods)
    assert EXPRESSIONS[1] in body["spec"]["selector"]["matchExpressions"]


def test_a_selector_that_would_take_the_canarys_pods_is_refused_whatever_it_is_written_in():
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["pay"]}, {"key": "track", "operator": "Exists"}]}
    with pytest.raises(Rejected, match="track Exists"):
        compile_plan(RELEASE, state(deployment(selector=selector)), SETTINGS)


label_sets = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)
expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from("abc"),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from("xyz"), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from("abc"),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)


@given(pods=label_sets, found=st.lists(expressions, max_size=3), own=label_sets.filter(bool))
def test_every_clone_of_a_workload_the_api_server_took_is_one_it_takes(pods, found, own):
    stable = deployment()
    stable["spec"]["template"]["metadata"]["labels"] = pods
    stable["spec"]["selector"] = {"matchLabels": dict(list(pods.items())[:1]), "matchExpressions": found}
    if not selects(stable["spec"]["selector"], pods):
        return
    before = copy.deepcopy(stable)
    body = clone(stable, "pay-canary", images={}, labels=own, replicas=0)
    assert selects(body["spec"]["selector"], body["spec"]["template"]["metadata"]["labels"])
    assert stable == before


@pytest.mark.parametrize(
    "label", ["applyset.kubernetes.io/part-of", "kapp.k14s.io/app", "objectset.rio.cattle.io/hash", "argocd.argoproj.io/instance"]
)
def test_a_clone_carries_no_label_by_which_somebody_would_prune_it(label):
    stable = deployment()
    stable["metadata"] |= {"labels": {"app": "pay", label: "x"}, "annotations": {"meta.helm.sh/release-name": "pay"}}
    stable["metadata"] |= {"ownerReferences": [{"uid": "u"}], "finalizers": ["a/b"]}
    body = clone(stable, "pay-canary", images={}, labels={"track": "canary"}, replicas=0)
    assert body["metadata"] == {"name": "pay-canary", "namespace": "production", "labels": {"app": "pay", "track": "canary"}}


def test_an_init_container_with_another_build_of_the_repository_keeps_it_and_the_plan_says_so():
    stable = deployment(("pay", "shop/pay:v1"), init=[("migrate", "shop/pay:v1"), ("seed", "shop/pay:seed-7")])
    plan = compile_plan(ROLLING, state(stable), SETTINGS)
    assert plan.new_images == {"pay": "shop/pay:v2.0.0", "migrate": "shop/pay:v2.0.0"}
    assert any("seed (shop/pay:seed-7)" in note for note in plan.notes)


@pytest.mark.parametrize(
    "found",
    [
        (("a", "x/pay:v1"), ("b", "y/pay:v1")),
        (("a", "x/pay:v1"), ("b", "x/pay:v1-alpine")),
        (("web", "x/site:v1"), ("worker", "x/site:v1")),
    ],
)
def test_containers_of_which_more_than_one_build_could_be_meant_are_refused(found):
    with pytest.raises(Rejected, match="can't tell which container") as refused:
        compile_plan(ROLLING, state(deployment(*found)), SETTINGS)
    assert found[1][1] in refused.value.accepted


def test_the_container_named_like_the_service_is_meant_where_no_repository_is():
    stable = deployment(("proxy", "envoy:1.20"), ("pay", "localhost:5000/shop/payments-server:v1"))
    plan = compile_plan(ROLLING, state(stable), SETTINGS)
    assert plan.new_images == {"pay": "localhost:5000/shop/payments-server:v2.0.0"}
    assert plan.previous_version == "v1"


def test_a_tag_that_moves_is_said_to_be_no_way_back():
    plan = compile_plan(ROLLING, state(deployment(("pay", "shop/pay:latest"))), SETTINGS)
    assert any("tag latest, which moves" in note for note in plan.notes)


def test_an_image_with_tag_and_digest_is_refused():
    with pytest.raises(Rejected, match="pinned by digest"):
        compile_plan(ROLLING, state(deployment(("pay", "r:5000/pay:v1@sha256:" + "a" * 64))), SETTINGS)


def test_a_paused_canary_is_refused_with_the_command_that_resumes_it():
    with pytest.raises(Rejected, match="is paused") as refused:
        compile_plan(RELEASE, state(canary=deployment(name="pay-canary", track="canary", paused=True)), SETTINGS)
    assert "kubectl rollout resume deployment/pay-canary" in refused.value.accepted


def test_a_volume_that_both_versions_write_to_is_said():
    stable = deployment()
    stable["spec"]["template"]["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "ledger"}}]
    assert any("ledger" in note for note in compile_plan(RELEASE, state(stable), SETTINGS).notes)
    assert not any("mounts" in note for note in compile_plan(RELEASE, state(), SETTINGS).notes)
    assert value_at(stable, "/spec/template/spec/volumes/0/name") == "d"
