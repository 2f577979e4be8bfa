"""The sandbox's HTTPRoutes and Ingresses: which pods get the requests, and what its API refuses as a real one does."""

import json
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from support.clock import ManualClock

from services.sandbox import fleet
from services.sandbox.behaviour import Behaviours, scenarios
from services.sandbox.cluster import EmbeddedCluster
from services.sandbox.errors import ApiError
from services.sandbox.manifests import deployment, manifests
from services.sandbox.resources import DEPLOYMENTS, HTTPROUTES, INGRESSES, PODS, SERVICES, VIRTUALSERVICES, Object, labels, meta
from services.sandbox.routing import arms, services_of
from services.sandbox.traffic import Traffic
from services.traffic.choose import choose
from services.traffic.router import Surroundings

SCHEMAS = Path(__file__).parents[2] / "../shared/specs/crd-schemas"
ROUTED = {workload.router: workload for workload in fleet.WORKLOADS if workload.name in {offer.service for offer in fleet.OFFERS}}


class Beside:
    """A seeded fleet with two canary pods of one of its services."""

    def __init__(self, service: str, *, own_service: bool = True) -> None:
        self.clock = ManualClock()
        self.cluster = EmbeddedCluster(self.clock, Random(3), Behaviours(scenarios()["good"]))
        self.cluster.seed()
        self.service = service
        body = deployment(fleet.BY_NAME[service], "production", fleet.PROGRESS_DEADLINE)
        marks = {"app": service, "track": "canary"}
        body["metadata"] = {"name": f"{service}-canary", "labels": marks}
        body["spec"] |= {"replicas": 2, "selector": {"matchLabels": marks}}
        body["spec"]["template"]["metadata"]["labels"] = marks
        self.registry = self.cluster.registry
        self.registry.create(DEPLOYMENTS, "production", body)
        if own_service:
            spec = {"selector": marks, "ports": [{"port": 80}]}
            self.registry.create(SERVICES, "production", {"metadata": {"name": f"{service}-canary"}, "spec": spec})

    async def started(self) -> "Beside":
        for _ in range(15):
            self.cluster.controllers.settle()
            await self.clock.advance(1)
            self.cluster.schedule.run_due()
        self.cluster.controllers.settle()
        return self

    def shares(self) -> dict[str, float]:
        """Each track's share of the requests."""
        found = {"stable": 0.0, "canary": 0.0, "lost": 0.0}
        for pods, share in arms(self.cluster.store, "production", self.service):
            tracks = [labels(pod)["track"] for pod in pods]
            for track in ("stable", "canary"):
                found[track] += share * tracks.count(track) / len(tracks) if tracks else 0.0
            found["lost"] += 0.0 if tracks else share
        return {track: round(share, 4) for track, share in found.items()}

    def route(self) -> Object:
        return self.registry.read(HTTPROUTES, "production", self.service)

    def weights(self, stable: int, canary: int) -> None:
        route = self.route()
        refs = [
            {"name": self.service, "port": 80, "weight": stable},
            {"name": f"{self.service}-canary", "port": 80, "weight": canary},
        ]
        rules = [{**rule, "backendRefs": refs} for rule in route["spec"]["rules"]]
        self.registry.update(HTTPROUTES, "production", self.service, {**route, "spec": {**route["spec"], "rules": rules}})

    def surroundings(self) -> Surroundings:
        store = self.cluster.store
        stable = store.get(DEPLOYMENTS, "production", self.service)
        assert stable is not None
        return Surroundings(
            service=self.service,
            namespace="production",
            stable=stable,
            own=store.get(SERVICES, "production", self.service),
            http_routes=tuple(store.each(HTTPROUTES, "production")),
            ingresses=tuple(store.each(INGRESSES, "production")),
            classes={"nginx": "k8s.io/ingress-nginx"},
        )


async def test_an_http_route_splits_by_its_weights_and_loses_what_goes_nowhere() -> None:
    beside = await Beside("catalog").started()
    assert beside.shares() == {"stable": 1.0, "canary": 0.0, "lost": 0.0}
    beside.weights(3, 1)
    assert beside.shares() == {"stable": 0.75, "canary": 0.25, "lost": 0.0}
    beside.registry.delete(SERVICES, "production", "catalog-canary")
    assert beside.shares() == {"stable": 0.75, "canary": 0.0, "lost": 0.25}


async def test_of_a_virtual_services_rules_the_first_that_takes_any_request_counts() -> None:
    beside = await Beside("payment-service", own_service=False).started()

    def split(stable: int, canary: int) -> list[dict[str, Any]]:
        shares = (("stable", stable), ("canary", canary))
        return [{"destination": {"host": beside.service, "subset": subset}, "weight": weight} for subset, weight in shares]

    route = beside.registry.read(VIRTUALSERVICES, "production", beside.service)
    beta = {"match": [{"headers": {"x-beta": {"exact": "1"}}}], "route": split(0, 100)}
    anybody = {"match": [{"uri": {"exact": "/a"}}, {"name": "all", "uri": {"prefix": "/"}}], "route": split(75, 25)}
    rules = [{"match": [{"uri": {"prefix": "/old"}}], "redirect": {"uri": "/"}}, beta, anybody, {"route": split(0, 100)}]
    hosts = ["pay.example.com", "payment-service.production.svc.cluster.local"]
    found = beside.registry.update(
        VIRTUALSERVICES, "production", beside.service, {**route, "spec": {"hosts": hosts, "http": rules}}
    )
    assert beside.shares() == {"stable": 0.75, "canary": 0.25, "lost": 0.0}
    assert beside.service in services_of(VIRTUALSERVICES, found)


async def test_a_canary_ingress_splits_by_its_weight_and_total() -> None:
    beside = await Beside("web-frontend").started()
    assert beside.shares()["canary"] == 0.0
    (_, second) = choose(Beside("web-frontend", own_service=False).surroundings()).route.created
    keys = second["metadata"]["annotations"]
    for weight, total, share in (("0", None, 0.0), ("10", None, 0.1), ("10", "1000", 0.01)):
        annotations = {**keys, "nginx.ingress.kubernetes.io/canary-weight": weight}
        if total:
            annotations["nginx.ingress.kubernetes.io/canary-weight-total"] = total
        beside.registry.upsert(
            INGRESSES, "production", {**second, "metadata": {**second["metadata"], "annotations": annotations}}
        )
        assert beside.shares()["canary"] == share
    beside.registry.delete(INGRESSES, "production", "web-frontend-canary")
    assert beside.shares() == {"stable": 1.0, "canary": 0.0, "lost": 0.0}


async def test_without_a_route_the_ready_pods_share_the_requests() -> None:
    beside = await Beside("cart", own_service=False).started()
    assert beside.shares() == {"stable": round(4 / 6, 4), "canary": round(2 / 6, 4), "lost": 0.0}


async def test_requests_are_counted_under_the_weights_of_their_time() -> None:
    beside = await Beside("catalog").started()
    traffic = Traffic(beside.cluster.store, beside.clock, Random(4), Behaviours(scenarios()["good"]))
    pods = [pod for pod in beside.cluster.store.all(PODS, "production") if labels(pod).get("app") == "catalog"]

    def served() -> float:
        lines = [line for pod in pods if labels(pod)["track"] == "canary" for line in traffic.page(pod).splitlines()]
        return sum(float(line.split()[-1]) for line in lines if line.startswith("http_requests_total"))

    served()
    beside.weights(1, 1)
    await beside.clock.advance(10)
    beside.weights(1, 0)
    await beside.clock.advance(10)
    assert served() == pytest.approx(10 * fleet.BY_NAME["catalog"].rate / 2, rel=0.05)


def test_the_objects_of_the_fleet_are_valid_by_the_published_schemas() -> None:
    if not SCHEMAS.exists():
        pytest.skip("the published schemas are not here")
    files = {
        "HTTPRoute": "gateway.networking.k8s.io_httproute_v1",
        "VirtualService": "networking.istio.io_virtualservice_v1",
        "DestinationRule": "networking.istio.io_destinationrule_v1",
    }
    schemas = {kind: json.loads((SCHEMAS / f"{name}.json").read_text()) for kind, name in files.items()}
    seen = set()
    for resource, _, body in manifests():
        if resource.kind in schemas:
            seen.add(resource.kind)
            jsonschema.validate(body, schemas[resource.kind])
    assert seen == set(schemas)


def http_route(*refs: dict[str, Any], **more: Any) -> Object:
    rule = {"backendRefs": list(refs), **more}
    return {
        "apiVersion": HTTPROUTES.api_version(),
        "kind": "HTTPRoute",
        "metadata": {"name": "x"},
        "spec": {"rules": [rule]},
    }


REFUSED = [
    http_route({"name": "a", "port": 80, "weight": -1}),
    http_route({"name": "a", "port": 80, "weight": 1_000_001}),
    http_route({"name": "a", "port": 80, "weight": "5"}),
    http_route({"name": "a", "port": 70_000}),
    http_route({"port": 80}),
    http_route({"name": "a", "port": 80, "subset": "canary"}),
    http_route(*({"name": f"a{index}", "port": 80} for index in range(17))),
    http_route({"name": "a", "port": 80}, route=[]),
]


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
async def test_what_the_published_schema_refuses_is_refused(body: Object) -> None:
    registry = Beside("cart").registry
    with pytest.raises(ApiError) as refused:
        registry.create(HTTPROUTES, "production", body)
    assert refused.value.code == 422
    file = SCHEMAS / "gateway.networking.k8s.io_httproute_v1.json"
    if file.exists():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body, json.loads(file.read_text()))


async def test_an_http_route_is_stored_with_the_defaults_of_its_schema() -> None:
    registry = Beside("cart").registry
    stored = registry.create(HTTPROUTES, "production", http_route({"name": "a", "port": 80}))
    (rule,) = stored["spec"]["rules"]
    assert rule["backendRefs"] == [{"group": "", "kind": "Service", "weight": 1, "name": "a", "port": 80}]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    with pytest.raises(ApiError, match="Must have port"):
        registry.create(HTTPROUTES, "production", {**http_route({"name": "a"}), "metadata": {"name": "y"}})


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ({"path": "/", "backend": {"service": {"name": "a", "port": {"number": 80}}}}, "pathType"),
        ({"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}, "path"),
        ({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {}}}}, "port"),
        ({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "A", "port": {"number": 80}}}}, "name"),
        ({"path": "/", "pathType": "Prefix"}, "backend"),
    ],
)
async def test_an_ingress_that_a_real_server_refuses_is_refused(path: Object, field: str) -> None:
    body = {"metadata": {"name": "x"}, "spec": {"rules": [{"http": {"paths": [path]}}]}}
    with pytest.raises(ApiError) as refused:
        Beside("cart").registry.create(INGRESSES, "production", body)
    assert refused.value.code == 422
    assert field in refused.value.message


async def test_a_status_that_nothing_has_given_is_given_by_no_other_write() -> None:
    registry = Beside("web-frontend").registry
    before = registry.read(INGRESSES, "production", "web-frontend")
    assert "status" not in before
    labelled = {**before, "metadata": {**meta(before), "labels": {"a": "b"}}, "status": {"loadBalancer": {}}}
    written = registry.update(INGRESSES, "production", "web-frontend", labelled)
    assert meta(written)["labels"] == {"a": "b"}
    assert "status" not in written
    told = {**written, "status": {"loadBalancer": {}}}
    assert registry.update(INGRESSES, "production", "web-frontend", told, subresource="status")["status"]


async def test_each_way_of_splitting_has_a_release_on_offer() -> None:
    assert set(ROUTED) == {"istio", "gateway", "nginx", ""}
    store = Beside("cart").cluster.store
    for offer in fleet.OFFERS:
        found = store.get(DEPLOYMENTS, "production", offer.service)
        assert found is not None
        for name, scenario in scenarios().items():
            image = fleet.image(offer.service, offer.version)
            assert Behaviours(scenario).of("production", image) == scenario.behaviour, name
        own = [route for kind in (HTTPROUTES, INGRESSES) for route in store.each(kind, "production")]
        named = {
            meta(route)["name"]
            for route in own
            if offer.service in services_of(HTTPROUTES if "parentRefs" in route["spec"] else INGRESSES, route)
        }
        assert named == ({offer.service} if fleet.BY_NAME[offer.service].router in ("gateway", "nginx") else set())
