"""Plans of the rolling and canary strategies: what they change, in which order, and when they refuse."""

import shlex

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.errors import Rejected
from services.model.objects import ObjectRef, value_at
from services.model.release import Release, Strategy, Target, Tier
from services.model.steps import (
    Analyse,
    EnsureWorkload,
    MeasureBaseline,
    PatchImage,
    Plan,
    Scale,
    SetTraffic,
    SmokeTest,
    WaitReady,
)
from services.settings import CanaryPlan, CanaryStep, Environment, Settings
from services.strategies import ServiceState, clone, compile_plan
from services.strategies.draft import Draft

IMAGE = "/spec/template/spec/containers/0/image"
STABLE = ObjectRef("Deployment", "production", "pay")
CANARY = ObjectRef("Deployment", "production", "pay-canary")
ROUTE = ObjectRef("VirtualService", "production", "pay")


def deployment(replicas=3, image="registry:5000/shop/pay:v1.4.0", name="pay", track="stable", **spec):
    labels = {"app": "pay", "track": track}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "production",
            "uid": "u-1",
            "resourceVersion": "7",
            "labels": {"app": "pay", "app.kubernetes.io/instance": "shop"},
            "annotations": {"deployment.kubernetes.io/revision": "4"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "pay", "image": image, "resources": {"limits": {"cpu": "1"}}}]},
            },
            **spec,
        },
        "status": {"readyReplicas": replicas},
    }


def route(weight=0):
    return {
        "metadata": {"name": "pay", "namespace": "production"},
        "spec": {
            "hosts": ["pay"],
            "http": [
                {
                    "route": [
                        {"destination": {"host": "pay", "subset": "stable"}, "weight": 100 - weight},
                        {"destination": {"host": "pay", "subset": "canary"}, "weight": weight},
                    ]
                }
            ],
        },
    }


def rule(stable=None, canary=None):
    return {
        "metadata": {"name": "pay", "namespace": "production"},
        "spec": {
            "host": "pay",
            "subsets": [
                {"name": "stable", "labels": stable or {"track": "stable"}},
                {"name": "canary", "labels": canary or {"track": "canary"}},
            ],
        },
    }


def release(strategy=Strategy.CANARY, version="v2.0.0", **target):
    where = {"environment": "production", "tier": Tier.PRODUCTION, "context": "prod-eu", "namespace": "production", **target}
    return Release(service="pay", version=version, target=Target(**where), strategy=strategy)


def settings(steps=((5, 120), (10, 120), (25, 180), (50, 180)), smoke=2, **canary):
    course = CanaryPlan(steps=tuple(CanaryStep(weight=weight, seconds=seconds) for weight, seconds in steps), **canary)
    checks = tuple({"name": f"check {number}", "path": f"/{number}"} for number in range(smoke))
    return Settings(
        environments={"production": Environment(tier=Tier.PRODUCTION, context="prod-eu", namespaces=("production",))},
        smoke_tests={"pay": checks} if checks else {},
        canary=course,
    )


def state(**parts):
    found = {"stable": deployment(), "route": route(), "destination": rule(), **parts}
    routes, rules = (tuple(each for each in (found.pop(kind),) if each is not None) for kind in ("route", "destination"))
    return ServiceState(virtual_services=routes, destination_rules=rules, **found)


ONLY_STABLE = {"metadata": {"name": "pay"}, "spec": {"selector": {"app": "pay", "track": "stable"}}}
"""A Service that would send a canary nothing."""


def kinds(plan: Plan):
    return [type(step) for step in plan.steps]


def test_a_canary_rises_step_by_step_then_stable_takes_over():
    plan = compile_plan(release(), state(), settings())
    assert [step.name for step in plan.steps] == [
        "measure baseline 60 s",
        "canary v2.0.0, 1 replica",
        "canary ready",
        "5 %",
        "analyse 120 s",
        "10 %",
        "analyse 120 s",
        "25 %",
        "analyse 180 s",
        "scale canary to 2",
        "canary ready, 2 replicas",
        "50 %",
        "analyse 180 s",
        "promote stable to v2.0.0",
        "stable ready on v2.0.0",
        "traffic back to stable",
        "watch 60 s",
        "scale canary to 0",
        "smoke tests (2)",
    ]
    assert plan.objects == (STABLE, CANARY, ROUTE)
    assert (plan.stable, plan.canary, plan.route) == (STABLE, CANARY, ROUTE)
    assert plan.previous_version == "v1.4.0"
    assert plan.new_images == {"pay": "registry:5000/shop/pay:v2.0.0"}
    assert 0 < plan.rollback_seconds < 300


def test_weights_chain_from_old_to_new_and_return_to_stable():
    plan = compile_plan(release(), state(), settings())
    canary = [
        (change.old, change.new)
        for step in plan.steps
        if isinstance(step, SetTraffic)
        for change in step.changes
        if change.path == "/spec/http/0/route/1/weight"
    ]
    assert canary == [(0, 5), (5, 10), (10, 25), (25, 50), (50, 0)]


def test_a_rolling_update_patches_waits_watches_and_tests():
    plan = compile_plan(release(Strategy.ROLLING), state(route=None, destination=None), settings())
    assert kinds(plan) == [MeasureBaseline, PatchImage, WaitReady, Analyse, SmokeTest]
    patch = plan.steps[1]
    assert patch.promotes
    assert [(change.path, change.old, change.new) for change in patch.changes] == [
        (IMAGE, "registry:5000/shop/pay:v1.4.0", "registry:5000/shop/pay:v2.0.0")
    ]
    assert shlex.split(patch.command) == [
        *("kubectl", "set", "image", "deployment/pay", "pay=registry:5000/shop/pay:v2.0.0"),
        *("-n", "production", "--context", "prod-eu"),
    ]
    assert plan.objects == (STABLE,)


def courses():
    return st.lists(st.integers(1, 100), min_size=1, max_size=8, unique=True).map(
        lambda weights: tuple((weight, 60.0) for weight in sorted(weights))
    )


@given(replicas=st.integers(1, 500), steps=courses())
def test_capacity_comes_before_traffic(replicas, steps):
    plan = compile_plan(release(), state(stable=deployment(replicas)), settings(steps))
    capacity, ready, promoted = 0, False, False
    for step in plan.steps:
        match step:
            case EnsureWorkload(replicas=count) | Scale(replicas=count):
                capacity, ready = count, False
            case WaitReady(workload=workload):
                ready = ready or workload == CANARY
                promoted = promoted or workload == STABLE
            case SetTraffic(weight=0):
                assert promoted
            case SetTraffic(weight=weight):
                assert ready
                assert capacity * 100 >= weight * replicas
            case PatchImage(promotes=True):
                assert capacity * 100 >= steps[-1][0] * replicas
            case _:
                pass
    assert capacity == 0


@given(replicas=st.integers(1, 500), steps=courses(), existing=st.sampled_from([None, "v1.3.0", "v2.0.0"]))
def test_the_changes_played_in_order_give_the_promised_end(replicas, steps, existing):
    old = deployment(0, f"registry:5000/shop/pay:{existing}", "pay-canary", "canary") if existing else None
    objects = {STABLE: deployment(replicas), CANARY: old, ROUTE: route()}
    plan = compile_plan(release(), state(stable=objects[STABLE], canary=old), settings(steps))
    objects[CANARY] = old or clone(objects[STABLE], "pay-canary", images=plan.new_images, labels={"track": "canary"}, replicas=0)
    draft = Draft(objects)
    for step in plan.steps:
        for change in step.changes:
            if old is not None or change.object != CANARY or change.old is not None:
                assert draft.at(change.object, change.path) == change.old
            draft.set(change.object, change.path, change.new)
        if isinstance(step, EnsureWorkload):
            assert draft.at(CANARY, IMAGE) == "registry:5000/shop/pay:v2.0.0"
            assert draft.at(CANARY, "/spec/replicas") == step.replicas
    assert draft.at(STABLE, IMAGE) == "registry:5000/shop/pay:v2.0.0"
    assert draft.at(STABLE, "/spec/replicas") == replicas
    assert draft.at(CANARY, "/spec/replicas") == 0
    assert draft.at(ROUTE, "/spec") == route()["spec"]


@pytest.mark.parametrize("strategy", list(Strategy))
@given(first=st.integers(1, 300), second=st.integers(1, 300))
def test_replica_counts_do_not_change_the_digest(strategy, first, second):
    plans = [compile_plan(release(strategy), state(stable=deployment(count)), settings()) for count in (first, second)]
    assert plans[0].digest == plans[1].digest


def changed_states():
    template = deployment()
    template["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "FLAG", "value": "1"}]
    other_route = route()
    other_route["spec"]["http"][0]["timeout"] = "1s"
    other_rule = rule()
    other_rule["spec"]["trafficPolicy"] = {"loadBalancer": {"simple": "RANDOM"}}
    return {
        "image": state(stable=deployment(image="registry:5000/shop/pay:v1.5.0")),
        "template": state(stable=template),
        "route": state(route=other_route),
        "subsets": state(destination=other_rule),
        "leftover": state(canary=deployment(0, "registry:5000/shop/pay:v1.0.0", "pay-canary", "canary")),
    }


def test_anything_that_is_changed_or_built_on_changes_the_digest():
    digests = [compile_plan(release(), state(), settings()).digest]
    digests += [compile_plan(release(), other, settings()).digest for other in changed_states().values()]
    digests += [
        compile_plan(asked, state(), settings()).digest
        for asked in (
            release(version="v2.0.1"),
            release(context="prod-us"),
            release(environment="canary"),
            msgspec.structs.replace(release(), ticket="CHG-1"),
            release(Strategy.ROLLING),
        )
    ]
    digests += [compile_plan(release(), state(), settings(((5, 60), (50, 60)))).digest]
    digests += [compile_plan(release(), state(), settings(smoke=1)).digest]
    assert len(set(digests)) == len(digests)
    assert compile_plan(release(), state(), settings()).digest == digests[0]
    assert len(digests[0]) == 64


def test_a_plan_survives_the_checkpoint():
    plan = compile_plan(release(), state(), settings())
    encoded = msgspec.json.encode(plan)
    assert msgspec.json.decode(encoded, type=Plan) == plan
    assert len(encoded) < 24 * 1024


@pytest.mark.parametrize(
    ("asked", "parts", "field", "says"),
    [
        (release(version="v1.4.0"), {}, "version", "runs it already"),
        (release(Strategy.ROLLING, "v1.4.0"), {}, "version", "runs it already"),
        (release(), {"stable": deployment(0)}, "service", "has 0 replicas"),
        (release(), {"stable": deployment(paused=True)}, "service", "is paused"),
        (release(), {"stable": deployment(strategy={"type": "Recreate"})}, "strategy", "stops all its pods"),
        (release(), {"stable": deployment(image="pay@sha256:abc")}, "version", "pinned by digest"),
        (release(), {"stable": deployment(image="registry:5000/pay")}, "version", "without a tag"),
        (release(), {"route": None, "own": ONLY_STABLE}, "strategy", "which the canary's pods"),
        (release(), {"destination": None}, "strategy", "no DestinationRule"),
        (release(), {"route": route(25)}, "service", "sends 25 % of its requests to the canary"),
        (release(Strategy.ROLLING), {"route": route(25)}, "service", "sends 25 % of its requests to the canary"),
        (release(), {"stable": deployment(track="v1")}, "strategy", "could not be told apart"),
        (release(), {"destination": rule(canary={"app": "pay"})}, "strategy", "could not be told apart"),
        (release(), {"destination": rule(stable={"app": "pay"})}, "strategy", "could not be told apart"),
        (release(), {"canary": deployment(0, name="pay-canary", track="v9")}, "service", "can't be changed"),
    ],
)
def test_what_can_not_be_planned_is_rejected_by_name(asked, parts, field, says):
    with pytest.raises(Rejected) as refused:
        compile_plan(asked, state(**parts), settings())
    assert refused.value.field == field
    assert says in refused.value.rule
    assert refused.value.accepted
    assert refused.value.exit_code == 2


def test_a_service_without_a_route_is_told_of_rolling():
    with pytest.raises(Rejected, match="--strategy rolling"):
        compile_plan(release(), state(route=None, own=ONLY_STABLE), settings())


def test_a_leftover_split_says_how_to_restore_it():
    with pytest.raises(Rejected) as refused:
        compile_plan(release(), state(route=route(25)), settings())
    assert "kubectl patch virtualservice pay" in refused.value.accepted
    assert "--context" in refused.value.accepted
    assert "--context CONTEXT" not in refused.value.accepted
    assert '"value":100' in refused.value.accepted


def containers(*images, init=()):
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] = [{"name": name, "image": image} for name, image in images]
    body["spec"]["template"]["spec"]["initContainers"] = [{"name": name, "image": image} for name, image in init]
    return body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (containers(("app", "shop/pay:v1"), ("proxy", "istio/proxy:1.20")), {"app": "shop/pay:v2.0.0"}),
        (containers(("main", "shop/payments-server:v1")), {"main": "shop/payments-server:v2.0.0"}),
        (containers(("a", "x/pay:v1"), ("b", "x/pay:v1")), {"a": "x/pay:v2.0.0", "b": "x/pay:v2.0.0"}),
        (
            containers(("app", "x/pay:v1"), init=[("migrate", "x/pay:v1"), ("wait", "busybox:1")]),
            {"app": "x/pay:v2.0.0", "migrate": "x/pay:v2.0.0"},
        ),
    ],
)
def test_which_containers_get_the_new_image(body, expected):
    plan = compile_plan(release(Strategy.ROLLING), state(stable=body), settings())
    assert plan.new_images == expected


def test_containers_that_could_all_be_meant_are_named():
    body = containers(("web", "shop/web:v1"), ("worker", "shop/worker:v1"))
    with pytest.raises(Rejected) as refused:
        compile_plan(release(Strategy.ROLLING), state(stable=body), settings())
    assert "web (shop/web:v1), worker (shop/worker:v1)" in refused.value.accepted


def test_an_existing_canary_with_another_template_is_made_the_clone():
    leftover = deployment(2, "registry:5000/shop/pay:v1.0.0", "pay-canary", "canary")
    leftover["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2", "memory": "1Gi"}}
    plan = compile_plan(release(), state(canary=leftover), settings())
    changes = {change.path: (change.old, change.new) for change in plan.steps[1].changes}
    assert changes == {
        IMAGE: ("registry:5000/shop/pay:v1.0.0", "registry:5000/shop/pay:v2.0.0"),
        "/spec/template/spec/containers/0/resources/limits/cpu": ("2", "1"),
        "/spec/template/spec/containers/0/resources/limits/memory": ("1Gi", None),
        "/spec/replicas": (2, 1),
    }
    assert any("still has 2 replicas" in note for note in plan.notes)


def test_commands_name_context_and_namespace():
    plan = compile_plan(release(), state(), settings())
    for step in plan.steps:
        if step.changes:
            words = shlex.split(step.command)
            assert words[0] == "kubectl"
            assert words[-4:] == ["-n", "production", "--context", "prod-eu"]
    traffic = next(step for step in plan.steps if isinstance(step, SetTraffic))
    operations = msgspec.json.decode(shlex.split(traffic.command)[6])
    assert [operation["op"] for operation in operations] == ["test", "test", "replace", "replace"]
    assert value_at(route(), operations[0]["path"]) == operations[0]["value"]


def test_an_autoscaler_is_mentioned():
    plan = compile_plan(release(), state(autoscaled=True), settings())
    assert any("autoscaler" in note for note in plan.notes)


def test_no_smoke_tests_no_step():
    assert SmokeTest not in kinds(compile_plan(release(), state(), settings(smoke=0)))
