"""A guarded deploy without a screen: good releases get through, bad ones take themselves back, the rest is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.harness import CANARY, CONFIRMED, DEPLOY, NEW, OLD, ROUTE, STABLE, Ended, Sandbox

from services.model.objects import ObjectRef

BUDGET = 300.0
SPEED = 20.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    running: list[Sandbox] = []

    def starting(scenario: str, speed: float = SPEED) -> Sandbox:
        running.append(Sandbox(tmp_path / "sandbox", scenario, speed))
        return running[-1]

    yield starting
    for sandbox in running:
        sandbox.stop()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox in which nothing is ever changed."""
    sandbox = Sandbox(tmp_path_factory.mktemp("quiet") / "sandbox", "good", SPEED)
    yield sandbox
    sandbox.stop()


def image(document: dict[str, Any]) -> str:
    return str(document["spec"]["template"]["spec"]["containers"][0]["image"])


def weights(route: dict[str, Any]) -> dict[str, int]:
    return {entry["destination"]["subset"]: entry.get("weight", 0) for entry in route["spec"]["http"][0]["route"]}


def restorable(sandbox: Sandbox) -> tuple[object, ...]:
    """Everything that a rollback has to put back exactly."""
    stable, route = sandbox.get(STABLE), sandbox.get(ROUTE)
    return stable["spec"]["template"], stable["spec"]["replicas"], route["spec"]


def test_a_good_release_reaches_every_pod_and_can_be_taken_back(start: Callable[..., Sandbox]) -> None:
    sandbox = start("good")
    before = restorable(sandbox)
    done = sandbox.run(*CONFIRMED)
    assert done.code == 0, done.err
    assert done.document["outcome"] == "succeeded"
    assert done.seconds < 120
    assert {gate["outcome"] for gate in done.document["gates"]} == {"pass"}
    assert {step["outcome"] for step in done.document["steps"]} == {"done"}
    pods = [pod for pod in sandbox.listed("Pod", "app=payment-service") if not pod["metadata"].get("deletionTimestamp")]
    assert pods
    assert {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in pods} == {NEW}
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0
    assert weights(sandbox.get(ROUTE)) == {"stable": 100, "canary": 0}
    verified = sandbox.run("journal", "verify")
    assert verified.code == 0
    assert verified.document["ok"] is True
    entries = sandbox.journal("--rollout", done.document["rollout"])
    events = {entry["event"] for entry in entries}
    assert events == {f"deployment.{name}" for name in ("started", "approval_checked", "executed", "health_check", "completed")}
    assert done.document["journal"] == {"first": entries[0]["seq"], "last": entries[-1]["seq"]}

    back = sandbox.run("rollback", "payment-service", "-e", "production", "--reason", "second thoughts")
    assert back.code == 0, back.err
    assert back.document["rollback"]["restored"] is True
    assert restorable(sandbox) == before
    again = sandbox.run("rollback", "payment-service", "-e", "production")
    assert again.code == 2  # the revision before the restored one is the release that was taken back


@pytest.mark.parametrize(
    ("scenario", "trigger", "limit"),
    [
        ("errors", "error-rate", 0.05),
        ("slow", "latency-p99", None),
        ("crash", "crash-loop", 0),
        ("stuck", "progress-deadline", 300),
        ("leak", "memory", 0.9),
    ],
)
def test_a_bad_release_takes_itself_back(start: Callable[..., Sandbox], scenario: str, trigger: str, limit: float | None) -> None:
    # the deadline is missed by seconds of the clock on the wall, which are fewer of the sandbox's where it is slower
    sandbox = start(scenario, SPEED / 2 if scenario == "stuck" else SPEED)
    before = restorable(sandbox)
    done = sandbox.run(*CONFIRMED)
    assert done.code == 4, done.err
    document = done.document
    assert document["outcome"] == "rolled_back"
    assert (document["reason"]["kind"], document["reason"]["name"]) == ("trigger", trigger)
    assert document["reason"]["value"] > document["reason"]["limit"]
    assert limit is None or document["reason"]["limit"] == limit
    if scenario == "stuck":
        assert document["reason"]["value"] < 1.2 * 300  # noticed when it is over, not when the machine has time
    assert document["rollback"]["trigger"] == trigger
    assert document["rollback"]["restored"] is True
    assert document["rollback"]["left"] == []
    assert document["rollback"]["seconds"] < BUDGET
    assert restorable(sandbox) == before
    assert weights(sandbox.get(ROUTE))["canary"] == 0
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0
    events = [(entry["event"], entry["outcome"]) for entry in sandbox.journal("--rollout", document["rollout"])]
    assert ("deployment.rollback", "restored") in events
    assert events[-1] == ("deployment.completed", "rolled_back")
    assert sandbox.run("journal", "verify").code == 0


@pytest.mark.parametrize(("scenario", "trigger"), [("errors", "error-rate"), ("slow", "latency-p99")])
def test_a_bad_rolling_update_takes_itself_back(start: Callable[..., Sandbox], scenario: str, trigger: str) -> None:
    """Without a route the new version is exposed as soon as its first pod takes its place."""
    sandbox = start(scenario)
    stable = ObjectRef("Deployment", "dev", "payment-service")
    before = sandbox.get(stable)["spec"]
    done = sandbox.run("deploy", "payment-service", NEW, "-e", "dev", "--strategy", "rolling")
    assert done.code == 4, done.err
    assert done.document["outcome"] == "rolled_back"
    assert (done.document["reason"]["kind"], done.document["reason"]["name"]) == ("trigger", trigger)
    assert done.document["reason"]["value"] > done.document["reason"]["limit"]
    assert done.document["rollback"]["restored"] is True
    assert sandbox.get(stable)["spec"] == before


@pytest.mark.parametrize(
    ("arguments", "code", "outcome", "name"),
    [
        (("deploy", "payment-service", NEW, "-e", "production", "--confirm", "production"), 3, "gate_unmet", "ticket"),
        ((*DEPLOY, "--confirm", "prod"), 3, "gate_unmet", "environment"),
        (DEPLOY, 3, "gate_unmet", "environment"),
        (("deploy", "payment-service", NEW, "-e", "production", "--strategy", "recreate"), 2, "rejected", "strategy"),
        (("deploy", "payment-service", NEW, "-e", "prod; rm -rf /"), 2, "rejected", "environment"),
        (("deploy", "payment-service", NEW, "-e", "../staging"), 2, "rejected", "environment"),
        (("deploy", "payment-service", NEW, "-e", ""), 2, "rejected", "environment"),
        (("deploy", "payment-service", NEW, "-e", "PRODUCTION"), 2, "rejected", "environment"),
        (("deploy", "payment-service", "latest", "-e", "dev"), 2, "rejected", "version"),
        (("deploy", "payment-service", "1.2", "-e", "dev"), 2, "rejected", "version"),
        (("deploy", "payment-service", "v1.2.3 && id", "-e", "dev"), 2, "rejected", "version"),
        (("deploy", "payment-service", "1.2.3\n", "-e", "dev"), 2, "rejected", "version"),
        (("deploy", "payment", NEW, "-e", "dev"), 2, "rejected", "service"),
        (("deploy", "payment-service", NEW, "-e", "dev", "-n", "Kube_System"), 2, "rejected", "namespace"),
        (("deploy", "payment-service", NEW, "-e", "dev", "-n", "x" * 64), 2, "rejected", "namespace"),
        (("deploy", "payment-service", OLD, "-e", "dev"), 2, "rejected", "version"),
    ],
)
def test_what_is_refused_changes_nothing(quiet: Sandbox, arguments: tuple[str, ...], code: int, outcome: str, name: str) -> None:
    before = restorable(quiet)
    refused = quiet.run(*arguments)
    assert refused.code == code, refused.err
    assert refused.document["outcome"] == outcome
    assert refused.document["reason"]["name"] == name
    assert refused.document["rollout"] is None
    assert restorable(quiet) == before
    assert quiet.rollouts() == []


def test_an_unmet_gate_is_in_the_journal(quiet: Sandbox) -> None:
    refused = quiet.run(*DEPLOY, "--confirm", "productio")
    entries = quiet.journal("--event", "rollout.refused")
    assert entries[-1]["seq"] == refused.document["journal"]["last"]
    assert entries[-1]["data"]["unmet"] == ["environment"]


def test_a_dry_run_shows_the_plan_whatever_the_gates_say(quiet: Sandbox) -> None:
    shown = quiet.run("deploy", "payment-service", NEW, "-e", "production", "--strategy", "canary", "--dry-run")
    assert shown.code == 0, shown.err
    assert set(shown.document) == {"digest", "steps", "gates", "foresight", "alerts"}
    assert shown.document["alerts"] == {"watched": True, "firing": [], "problem": None}
    assert "has measured the service before" in shown.document["foresight"]["problem"]
    assert shown.document["foresight"]["analyses"] == []
    paths = {change["path"] for step in shown.document["steps"] for change in step["changes"]}
    assert "spec.template.spec.containers[0].image" in paths
    assert {gate["name"]: gate["outcome"] for gate in shown.document["gates"]}["ticket"] == "fail"
    assert quiet.rollouts() == []


@pytest.mark.parametrize("arguments", [CONFIRMED, ("rollback", "payment-service", "-e", "production")])
def test_an_observer_changes_nothing(quiet: Sandbox, arguments: tuple[str, ...]) -> None:
    refused = quiet.run("--read-only", *arguments)
    assert refused.code == 2
    assert "ead-only" in refused.err
    assert quiet.rollouts() == []


def test_status_names_every_environment(quiet: Sandbox) -> None:
    shown: Ended = quiet.run("status")
    assert shown.code == 0, shown.err
    assert [environment["name"] for environment in shown.document["environments"]] == ["dev", "staging", "canary", "production"]
    production = shown.document["environments"][3]
    payment = next(service for service in production["services"] if service["name"] == "payment-service")
    assert payment == {
        "name": "payment-service",
        "namespace": "production",
        "kind": "Deployment",
        "version": OLD,
        "ready": payment["desired"],
        "desired": payment["desired"],
        "health": "ok",
        "rollout": None,
    }
