"""HTTPRoutes, nginx Ingresses and replica counts: found, read, written, and nothing else touched."""

import copy
import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.actuator import Mutation, Write
from services.actuator.patch import decide
from services.actuator.undo import fold, plan_restore
from services.model.objects import ObjectRef
from services.model.rollout import Guard
from services.traffic import nginx, replicas
from services.traffic.choose import ROUTERS, choose, shares
from services.traffic.router import NotRoutable, Pods, Surroundings

SCHEMA = Path(__file__).parents[2] / "../shared/specs/crd-schemas/gateway.networking.k8s.io_httproute_v1.json"
STABLE = ObjectRef("Deployment", "production", "web")
NONE = Pods(0, 0)
GATEWAY, NGINX = ROUTERS["gateway"], ROUTERS["nginx"]


@functools.cache
def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def deployment(name: str = "web", labels: dict[str, str] | None = None, replicas: int = 3) -> dict[str, Any]:
    labels = labels if labels is not None else {"app": "web", "track": "stable"}
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "production"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
    }


def service(name: str = "web", track: str = "stable", **more: str) -> dict[str, Any]:
    selector = {"app": "web", **({"track": track} if track else {}), **more}
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 31000}]
    return {
        "metadata": {"name": name, "namespace": "production", "labels": {"app": "web"}},
        "spec": {"selector": selector, "ports": ports},
    }


def backend(name: str = "web", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **more}


def http_route(*rules: dict[str, Any], name: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "production", "resourceVersion": "7", "annotations": {"team": "shop"}},
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": ["shop.example.com"], "rules": list(rules)},
    }


def ingress(name: str = "web", backend_name: str = "web", *, class_name: str = "nginx", **annotations: str) -> dict[str, Any]:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": backend_name, "port": {"number": 80}}}}
    admin = {"path": "/admin", "pathType": "Prefix", "backend": {"service": {"name": "admin", "port": {"number": 80}}}}
    return {
        "metadata": {
            "name": name,
            "namespace": "production",
            "resourceVersion": "7",
            "annotations": {nginx.PREFIX + key.replace("_", "-"): value for key, value in annotations.items()},
        },
        "spec": {
            "ingressClassName": class_name,
            "tls": [{"hosts": ["shop.example.com"], "secretName": "shop"}],
            "rules": [{"host": "shop.example.com", "http": {"paths": [path, admin] if backend_name == "web" else [path]}}],
        },
    }


def around(**more: Any) -> Surroundings:
    found = {"own": service(), "classes": {"nginx": nginx.CONTROLLER, "f5": "nginx.org/ingress-controller"}, **more}
    return Surroundings(
        service="web",
        namespace="production",
        stable=more.pop("stable", deployment()),
        **{k: v for k, v in found.items() if k != "stable"},
    )


def applied(document: dict[str, Any], operations: Any) -> dict[str, Any]:
    """What an API server makes of a JSON patch; a failed test is an assertion."""
    result = copy.deepcopy(document)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = result
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key: Any = int(last) if isinstance(place, list) else last
        if operation["op"] == "test":
            assert place[key] == operation["value"], operation
        elif operation["op"] == "remove":
            del place[key]
        else:
            place[key] = copy.deepcopy(operation["value"])
    return result


def sent(
    router: Any, ref: ObjectRef, live: dict[str, Any], weight: int, epoch: int = 1
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """One change of weight as the actuator sends it: the object afterwards, and the undo records."""
    mutation = Mutation(
        object=ref,
        writes=tuple(Write(path, value) for path, value in router.writes(live, "web", weight, NONE)),
        expects=tuple(Guard(path, value) for path, value in router.guards(live, "web")),
    )
    decision = decide(mutation, live, epoch=epoch)
    return applied(live, decision.operations), decision.undo


def restored(live: dict[str, Any], records: Any) -> dict[str, Any]:
    ref = records[0].object if records else ObjectRef("HTTPRoute", "production", "web")
    restore = plan_restore(fold(records), {ref: live}, context="production", stable=STABLE)
    assert not restore.kept
    mutations = [mutation for phase in restore.phases for mutation in phase.mutations]
    assert len(mutations) <= 1  # one patch puts a route back
    for mutation in mutations:
        live = applied(live, decide(mutation, live, epoch=2).operations)
    return live


matches = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "path": st.sampled_from([{"type": "PathPrefix", "value": "/"}, {"type": "Exact", "value": "/v2/[x]~1"}]),
            "headers": st.just([{"type": "Exact", "name": "x-beta", "value": "1"}]),
            "method": st.sampled_from(["GET", "POST"]),
        },
    ),
    min_size=1,
    max_size=2,
)
filters = st.just([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}])
extras = st.fixed_dictionaries(
    {"matches": matches},
    optional={
        "filters": filters,
        "timeouts": st.just({"request": "3s"}),
        "sessionPersistence": st.just({"sessionName": "s", "type": "Cookie"}),
    },
)
weights = st.integers(0, 100)
ours = st.one_of(
    st.builds(lambda weight: [backend(weight=weight)], st.integers(1, 100)),
    st.just([backend()]),
    st.builds(lambda stable: [backend(weight=stable), backend("web-canary", weight=0)], st.integers(1, 1000)),
    st.just([backend("web-canary", weight=0, port=8080), backend()]),
)
theirs = st.lists(
    st.builds(
        lambda name, weight, namespace: backend(name, weight=weight, **({"namespace": namespace} if namespace else {})),
        st.sampled_from(["search", "web-api", "other"]),
        weights,
        st.sampled_from(["", "staging"]),
    )
    | st.just(backend("web", namespace="staging", weight=40)),
    min_size=1,
    max_size=3,
)


@st.composite
def routes(draw: Any) -> dict[str, Any]:
    rules = [{**draw(extras), "backendRefs": draw(ours)}]
    rules += [{**draw(extras), "backendRefs": draw(st.one_of(ours, theirs))} for _ in range(draw(st.integers(0, 5)))]
    rules = draw(st.permutations(rules))
    # Through JSON: strategies hand out the same list twice, which no document does.
    return json.loads(json.dumps(_named(draw, rules)))  # type: ignore[no-any-return]


def _named(draw: Any, rules: Any) -> dict[str, Any]:
    return http_route(*[{"name": f"rule-{index}", **rule} if draw(st.booleans()) else rule for index, rule in enumerate(rules)])


def is_ours(rule: dict[str, Any]) -> bool:
    return any(ref["name"] == "web" and "namespace" not in ref for ref in rule["backendRefs"])


def foreign(route: dict[str, Any]) -> dict[str, Any]:
    """All of a route but the backends of our rules, as bytes would be compared."""
    kept = copy.deepcopy(route)
    for rule in kept["spec"]["rules"]:
        if is_ours(rule):
            rule["backendRefs"] = None
    kept["metadata"]["annotations"].pop("quarterdeck/epoch", None)
    return kept


@given(route=routes(), course=st.lists(weights, min_size=1, max_size=5))
def test_an_http_route_keeps_what_is_not_ours_through_any_course_and_comes_back_exactly(
    route: dict[str, Any], course: list[int]
) -> None:
    before, live = json.dumps(route["spec"]), route
    records: tuple[Any, ...] = ()
    for weight in course:
        live, undo = sent(GATEWAY, ObjectRef("HTTPRoute", "production", "web"), live, weight)
        records += undo
        assert json.dumps(foreign(live)) == json.dumps(foreign(route))
        assert GATEWAY.weight_of(live, "web", NONE) == weight
        for rule, old in zip(live["spec"]["rules"], route["spec"]["rules"], strict=True):
            if is_ours(old):
                refs = {ref["name"]: ref.get("weight", 1) for ref in rule["backendRefs"]}
                assert refs["web-canary"] + refs["web"] == 100 if "web-canary" in refs else weight == 0
                # Ports and filters of a backend stay; nothing that is not one of both Services gets anything.
                assert set(refs) <= {"web", "web-canary"}
    live = restored(live, records)
    assert json.dumps(live["spec"]) == before


@given(route=routes(), weight=weights)
def test_what_is_written_is_a_valid_http_route(route: dict[str, Any], weight: int) -> None:
    if not SCHEMA.exists():
        pytest.skip("the published schemas are not here")
    live, _ = sent(GATEWAY, ObjectRef("HTTPRoute", "production", "web"), route, weight)
    assert not list(validator().iter_errors(live))


def six_rules() -> dict[str, Any]:
    header = [{"headers": [{"type": "Exact", "name": "x-beta", "value": "1"}], "path": {"type": "PathPrefix", "value": "/"}}]
    prefix = [{"path": {"type": "PathPrefix", "value": "/"}}]
    return http_route(
        {
            "name": "admin",
            "matches": [{"path": {"type": "Exact", "value": "/admin"}}],
            "backendRefs": [backend("admin", weight=3)],
        },
        {"matches": header, "backendRefs": [backend()], "timeouts": {"request": "3s"}},
        {
            "matches": [{"method": "POST"}],
            "filters": [{"type": "URLRewrite"}],
            "backendRefs": [backend("search"), backend("other")],
        },
        {"matches": [{"path": {"type": "Exact", "value": "/beta"}}], "backendRefs": [backend("web-canary", weight=5)]},
        {"matches": prefix, "backendRefs": [backend(weight=100), backend("web-canary", weight=0)]},
        {"matches": [{"path": {"type": "Exact", "value": "/eu"}}], "backendRefs": [backend("web", namespace="eu")]},
    )


def test_six_rules_of_which_two_are_ours() -> None:
    route = six_rules()
    live, undo = sent(GATEWAY, ObjectRef("HTTPRoute", "production", "web"), route, 25)
    assert [index for index, (a, b) in enumerate(zip(live["spec"]["rules"], route["spec"]["rules"], strict=True)) if a != b] == [
        1,
        4,
    ]
    assert live["spec"]["rules"][1]["backendRefs"] == [backend(weight=75), backend("web-canary", weight=25)]
    assert json.dumps(restored(live, undo)["spec"]) == json.dumps(route["spec"])
    chosen = choose(around(http_routes=(route,)))
    assert chosen.router is GATEWAY
    assert any("rule 4" in note and "whatever the weight" in note for note in chosen.route.notes)


def test_a_rule_inserted_meanwhile_is_found_again_by_its_matches() -> None:
    route = six_rules()
    live, undo = sent(GATEWAY, ObjectRef("HTTPRoute", "production", "web"), route, 25)
    new = {"matches": [{"path": {"type": "Exact", "value": "/new"}}], "backendRefs": [backend("new"), backend("other")]}
    live["spec"]["rules"].insert(0, new)
    live = restored(live, undo)
    assert live["spec"]["rules"] == [new, *route["spec"]["rules"]]


@pytest.mark.parametrize(
    ("refs", "words"),
    [
        ([backend(), backend("other")], "ambiguous in rule 1"),
        ([backend(), backend("web", port=81)], "ambiguous in rule 1"),
        ([backend(weight=0), backend("web-canary", weight=0)], "no weights"),
        ([backend("other")], "no rule"),
    ],
)
def test_an_http_route_that_can_carry_no_canary_says_why(refs: list[Any], words: str) -> None:
    with pytest.raises(NotRoutable, match=words):
        GATEWAY.weight_of(http_route({"backendRefs": refs}), "web", NONE)


def test_a_route_that_its_gateway_refused_is_refused() -> None:
    route = http_route({"backendRefs": [backend()]})
    condition = {"type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no listener"}
    route["status"] = {"parents": [{"conditions": [condition]}]}
    with pytest.raises(NotRoutable, match="not accepted by its Gateway"):
        choose(around(http_routes=(route,)))


# nginx ---------------------------------------------------------------------------------------------------------------


def test_the_canary_ingress_repeats_the_services_paths_and_nothing_else() -> None:
    chosen = choose(around(ingresses=(ingress(proxy_body_size="8m"),)))
    assert chosen.router is NGINX
    assert [found["kind"] for found in chosen.route.created] == ["Service", "Ingress"]
    made, second = chosen.route.created
    assert made["spec"] == {
        "selector": {"app": "web", "track": "canary"},
        "ports": [{"port": 80, "targetPort": 8080, "name": "http"}],
    }
    assert second["metadata"]["annotations"] == {nginx.PREFIX + "canary": "true", nginx.PREFIX + "canary-weight": "0"}
    assert second["spec"] == {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": "shop.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "web-canary", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ],
    }
    assert NGINX.weight_of(second, "web", NONE) == 0
    assert any("retired" in note for note in chosen.route.notes)


@given(total=st.sampled_from([None, "100", "1000", "7", "40"]), weight=weights, start=st.integers(0, 7))
def test_a_canary_ingress_keeps_its_annotations_and_comes_back_exactly(total: str | None, weight: int, start: int) -> None:
    found = ingress("web-canary", "web-canary", canary="true", canary_weight=str(start), limit_rps="9")
    if total:
        found["metadata"]["annotations"][nginx.PREFIX + "canary-weight-total"] = total
    live, undo = sent(NGINX, ObjectRef("Ingress", "production", "web-canary"), found, weight)
    assert NGINX.weight_of(live, "web", NONE) == weight
    assert live["spec"] == found["spec"]
    kept = (nginx.PREFIX + "limit-rps", nginx.PREFIX + "canary")
    assert all(live["metadata"]["annotations"][key] == found["metadata"]["annotations"][key] for key in kept)
    assert all(isinstance(value, str) for value in live["metadata"]["annotations"].values())
    back = restored(live, undo) if undo else live
    back["metadata"]["annotations"].pop("quarterdeck/epoch", None)
    assert back == found


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"class_name": "f5"}, "served by nginx.org/ingress-controller, which ignores canary annotations"),
        ({"class_name": "traefik"}, "which nothing defines"),
    ],
)
def test_a_controller_that_would_ignore_the_annotations_is_not_used(more: dict[str, Any], words: str) -> None:
    place = around(ingresses=(ingress(**more),), own=service(track=""))
    assert choose(place).router.name == "replicas"
    assert words in choose(place).reason
    with pytest.raises(NotRoutable) as refused:
        choose(place, "nginx")
    assert words in refused.value.detail


def test_classes_that_cannot_be_read_leave_the_name() -> None:
    place = around(ingresses=(ingress(),), classes=None)
    assert any("taken for ingress-nginx by its name" in note for note in choose(place).route.notes)
    assert choose(around(ingresses=(ingress(class_name="edge"),), classes=None, own=service(track=""))).router.name == "replicas"


def test_another_canary_of_the_same_path_stands_in_the_way() -> None:
    rival = ingress("old", "experiment", canary="true", canary_weight="5")
    with pytest.raises(NotRoutable, match="canary of the same paths"):
        choose(around(ingresses=(ingress(), rival)))


def test_an_ingress_of_that_name_that_is_no_canary_is_not_taken_over() -> None:
    with pytest.raises(NotRoutable, match="not a canary of web's paths"):
        choose(around(ingresses=(ingress(), ingress("web-canary", "web-canary"))))


# replica counts ------------------------------------------------------------------------------------------------------


@given(weight=st.integers(1, 99), stable=st.integers(1, 300))
def test_a_share_by_pods_exceeds_what_is_wanted_only_where_one_pod_does(weight: int, stable: int) -> None:
    pods = replicas.pods_for(weight, stable)
    had = replicas.share(Pods(stable, pods))
    assert pods >= 1
    assert had <= weight or pods == 1
    assert replicas.share(Pods(stable, pods + 1)) > weight or had > weight or pods >= stable * 99
    assert had >= 100 * pods / (stable + pods)  # never understated
    assert replicas.achievable(weight, stable) == had


def test_five_percent_of_three_pods_can_not_be_had() -> None:
    assert replicas.achievable(5, 3) == 25
    router = ROUTERS["replicas"]
    with pytest.raises(NotRoutable, match="5 % can't be had with 3 pods"):
        router.writes({}, "web", 5, Pods(3, 0))
    assert router.writes({}, "web", 25, Pods(3, 0)) == (("/spec/replicas", 1),)
    assert router.writes({}, "web", 0, Pods(3, 1)) == (("/spec/replicas", 0),)


def test_replica_counts_need_a_service_that_selects_both_versions() -> None:
    with pytest.raises(NotRoutable, match="which the canary's pods"):
        choose(around())
    assert choose(around(own=service(track=""))).router.name == "replicas"


# choosing ------------------------------------------------------------------------------------------------------------


def virtual_service(name: str = "web", host: str = "web") -> dict[str, Any]:
    route = [
        {"destination": {"host": host, "subset": subset}, "weight": weight} for subset, weight in (("stable", 100), ("canary", 0))
    ]
    return {"metadata": {"name": name, "namespace": "production"}, "spec": {"hosts": [host], "http": [{"route": route}]}}


def destination_rule() -> dict[str, Any]:
    subsets = [{"name": track, "labels": {"track": track}} for track in ("stable", "canary")]
    return {"metadata": {"name": "web", "namespace": "production"}, "spec": {"host": "web", "subsets": subsets}}


MESH = {"virtual_services": (virtual_service(),), "destination_rules": (destination_rule(),)}


def test_each_route_that_is_there_chooses_its_router() -> None:
    split = http_route({"backendRefs": [backend()]})
    mesh = around(**MESH, own=service(track=""))
    assert choose(mesh).router.name == "istio"
    assert "virtualservice/web routes to it" in choose(mesh).reason
    assert choose(around(http_routes=(split,))).router.name == "gateway"
    assert choose(around(ingresses=(ingress(),))).router.name == "nginx"
    others = {
        "virtual_services": (virtual_service("search", "search"),),
        "http_routes": (http_route({"backendRefs": [backend("x")]}),),
    }
    assert choose(around(**others, own=service(track=""))).router.name == "replicas"


def test_two_ways_in_are_refused_unless_the_configuration_says_which() -> None:
    both = around(**MESH, http_routes=(http_route({"backendRefs": [backend()]}),))
    with pytest.raises(NotRoutable) as refused:
        choose(both)
    assert "virtualservice/web (istio) and httproute/web (gateway)" in refused.value.title
    assert "router: istio or gateway" in refused.value.hint
    chosen = choose(both, "gateway")
    assert chosen.router is GATEWAY
    assert "what comes through virtualservice/web is not split" in chosen.reason


def test_two_routes_of_one_kind_are_refused_unless_one_is_named() -> None:
    two = around(
        http_routes=tuple(
            http_route(
                {"backendRefs": [backend()]},
            )
            | {"metadata": {"name": name, "namespace": "production"}}
            for name in ("in", "out")
        )
    )
    with pytest.raises(NotRoutable, match=r"httproute/in \(gateway\) and httproute/out"):
        choose(two)
    with pytest.raises(NotRoutable):
        choose(two, "gateway")
    assert choose(two, "gateway/out").route.ref.name == "out"
    with pytest.raises(NotRoutable, match="no HTTPRoute elsewhere"):
        choose(two, "gateway/elsewhere")


def test_what_may_not_be_read_is_not_taken_for_absent() -> None:
    blind = around(own=service(track=""), unseen=("HTTPRoute",))
    with pytest.raises(NotRoutable, match="it can't be told what routes to web: HTTPRoute may not be read"):
        choose(blind)
    assert choose(blind, "replicas").router.name == "replicas"
    assert choose(around(**MESH, own=service(track=""), unseen=("HTTPRoute",))).router.name == "istio"


def test_pods_that_could_not_be_told_apart_are_refused() -> None:
    mixed = around(own=service(track=""), http_routes=(http_route({"backendRefs": [backend()]}),))
    with pytest.raises(NotRoutable, match="could not be told apart") as refused:
        choose(mixed)
    assert "service/web" in refused.value.title


def test_a_share_that_was_left_over_is_found_whoever_routes_it() -> None:
    left = http_route({"backendRefs": [backend(weight=70), backend("web-canary", weight=30)]})
    found = shares(around(http_routes=(left,)), NONE)
    assert [(held.router.name, str(held.ref), held.weight) for held in found] == [("gateway", "httproute/web", 30)]
    second = ingress("web-canary", "web-canary", canary="true", canary_weight="10")
    assert [held.weight for held in shares(around(ingresses=(ingress(), second)), NONE)] == [10]
    pods = shares(around(own=service(track=""), canary=deployment("web-canary", replicas=1)), Pods(3, 1))
    assert [(held.router.name, held.weight) for held in pods] == [("replicas", 25)]
    assert shares(around(http_routes=(http_route({"backendRefs": [backend()]}),)), NONE) == ()


@pytest.mark.parametrize(("own", "reached"), [(service(track="stable"), False), (None, True)])
def test_a_subset_has_only_the_pods_that_the_service_selects(own: dict[str, Any] | None, reached: bool) -> None:
    seen = around(own=own, virtual_services=(virtual_service(),), destination_rules=(destination_rule(),))
    if reached:
        assert choose(seen).route.labels == {"track": "canary"}
        return
    with pytest.raises(NotRoutable, match=r"service/web selects .*track=stable.*which the canary's pods") as refused:
        choose(seen)
    assert "503" in refused.value.detail
    assert "without track=stable" in refused.value.hint
