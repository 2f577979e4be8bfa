"""A canary through each way of splitting requests, without a screen: good ones get through, bad ones take themselves back, and
the routes are what they were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.control_plane import ABSENT, CLUSTER, of_its_own
from support.harness import Running, Sandbox

from services.model.objects import ObjectRef
from services.sandbox import fleet

pytestmark = pytest.mark.long

SPEED = {"embedded": 60.0, "real": 20.0}
OFFERS = {offer.service: offer for offer in fleet.OFFERS if offer.service != fleet.OFFER_SERVICE}
ROUTES = {"catalog": "HTTPRoute", "web-frontend": "Ingress", "cart": "Service"}
SHARES = {"catalog": ["5 %", "10 %", "25 %", "50 %"], "web-frontend": ["5 %", "10 %", "25 %", "50 %"]}
SHARES["cart"] = ["20 % (5, 10, 25 % wanted)", "50 %"]


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Path]:
    with of_its_own("routers") as (_, kubeconfig):
        yield kubeconfig


REAL = (pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT))


@pytest.fixture(
    params=[
        ("embedded", "good"),
        ("embedded", "errors"),
        pytest.param(("real", "good"), marks=REAL),
        pytest.param(("real", "errors"), marks=REAL),
    ],
    ids="-".join,
)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Sandbox]]:
    where, scenario = request.param
    cluster = request.getfixturevalue("control_plane") if where == "real" else None
    running = Sandbox(tmp_path / "sandbox", scenario, SPEED[where], cluster=cluster, shipping=False)
    yield scenario, running
    running.stop()


def deploy(sandbox: Sandbox, service: str) -> Running:
    offer = OFFERS[service]
    return sandbox.start(
        *("deploy", service, offer.version, "-e", "production", "--strategy", "canary"),
        *("--ticket", offer.ticket, "--confirm", "production"),
    )


def restorable(sandbox: Sandbox, service: str) -> tuple[Any, ...]:
    """Everything that neither a rollback nor the end of a rollout may leave changed."""
    route = sandbox.get(ObjectRef(ROUTES[service], "production", service))
    made = [
        found["metadata"]["name"]
        for kind in ("Service", "Ingress")
        for found in sandbox.listed(kind, "")
        if found["metadata"]["name"].endswith("-canary")
    ]
    kept = {key: value for key, value in route["metadata"].get("annotations", {}).items() if key != "quarterdeck/epoch"}
    return route["spec"], kept, [name for name in made if name.startswith(service)]


def image(sandbox: Sandbox, service: str) -> str:
    found = sandbox.get(ObjectRef("Deployment", "production", service))
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def test_each_router_carries_a_canary_to_its_end(sandbox: tuple[str, Sandbox]) -> None:
    scenario, running = sandbox
    before = {service: (restorable(running, service), image(running, service)) for service in OFFERS}
    commands = {service: deploy(running, service) for service in OFFERS}
    for service, command in commands.items():
        done = command.ended(280.0)
        document = done.document
        assert done.code == (0 if scenario == "good" else 4), done.err
        assert restorable(running, service) == before[service][0]
        assert running.get(ObjectRef("Deployment", "production", f"{service}-canary"))["spec"]["replicas"] == 0
        names = [step["name"] for step in document["steps"]]
        assert [name for name in names if name in SHARES[service]] == SHARES[service]
        if scenario == "good":
            assert document["outcome"] == "succeeded"
            assert {step["outcome"] for step in document["steps"]} == {"done"}
            assert image(running, service) == OFFERS[service].version
        else:
            assert document["outcome"] == "rolled_back"
            assert document["reason"]["name"] == "error-rate"
            assert document["rollback"]["restored"] is True
            assert document["rollback"]["left"] == []
            assert image(running, service) == before[service][1]
    assert running.run("journal", "verify").code == 0
