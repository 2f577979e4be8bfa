"""Alerts told by the scenarios of the sandbox: one that the new version sets off, those that are none of its business, and a
source that is away."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.harness import CONFIRMED, DEPLOY, ROUTE, STABLE, Sandbox

pytestmark = pytest.mark.long

SPEED = 40.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Sandbox]]:
    running: list[Sandbox] = []

    def starting(scenario: str) -> Sandbox:
        running.append(Sandbox(tmp_path / "sandbox", scenario, SPEED, shipping=False))
        return running[-1]

    yield starting
    for sandbox in running:
        sandbox.stop()


def triggers(sandbox: Sandbox, rollout: str) -> list[dict[str, Any]]:
    """What the journal keeps of the trigger at every look."""
    entries = sandbox.journal("--rollout", rollout, "--event", "deployment.health_check")
    found = [each for entry in entries for each in entry["data"].get("triggers", ())]
    return [each for each in found if each["name"] == "alert"]


def test_an_alert_that_the_new_version_sets_off_takes_it_back(start: Callable[[str], Sandbox]) -> None:
    sandbox = start("alert")
    template, route = sandbox.get(STABLE)["spec"]["template"], sandbox.get(ROUTE)["spec"]
    done = sandbox.run(*CONFIRMED)
    assert done.code == 4, done.err
    reason = done.document["reason"]
    assert (reason["kind"], reason["name"], reason["value"]) == ("trigger", "alert", "SettlementsFailing")
    assert done.document["rollback"]["trigger"] == "alert"
    assert done.document["rollback"]["restored"]
    assert (sandbox.get(STABLE)["spec"]["template"], sandbox.get(ROUTE)["spec"]) == (template, route)
    assert [each["fired"] for each in triggers(sandbox, done.document["rollout"])][-1]
    (entry,) = [each for each in sandbox.journal("--event", "deployment.rollback") if each["outcome"] == "started"]
    assert entry["data"]["reason"]["value"] == "SettlementsFailing"


def test_older_milder_and_other_alerts_take_nothing_back(start: Callable[[str], Sandbox]) -> None:
    sandbox = start("other-alerts")
    before = sandbox.run(*DEPLOY, "--dry-run")
    assert before.document["alerts"] == {"watched": True, "firing": ["ErrorBudgetBurns"], "problem": None}
    running = sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(lambda each: each.exposed_at is not None, "the canary to get requests")
    assert rollout.alerts_before is not None
    assert len(rollout.alerts_before) == 1
    for labels in (
        {"alertname": "Elsewhere", "severity": "critical", "service": "catalog", "namespace": "production"},
        {"alertname": "Mild", "severity": "warning", "service": "payment-service", "namespace": "production"},
    ):
        url = f"{sandbox.ready['alerts']}/api/v2/alerts"
        body = json.dumps([{"labels": labels}]).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5) as response:
            assert response.status == 200
    done = running.ended()
    assert done.code == 0, done.err
    looks = triggers(sandbox, done.document["rollout"])
    assert looks
    assert not any(each["fired"] for each in looks)


@pytest.mark.parametrize("fault", ["down", "garbage"])
def test_a_source_that_is_away_is_said_and_neither_fires_nor_blocks(start: Callable[[str], Sandbox], fault: str) -> None:
    sandbox = start("errors")
    sandbox.misbehave(alerts=fault)
    plan = sandbox.run(*DEPLOY, "--dry-run")
    assert plan.code == 0
    assert plan.document["alerts"]["watched"] is False
    assert plan.document["alerts"]["problem"]
    done = sandbox.run(*CONFIRMED)
    assert done.code == 4, done.err
    assert done.document["reason"]["name"] in {"error-rate", "judge"}
    assert done.document["rollback"]["restored"]
    assert "Alerts are not watched" in done.err
    assert {each["value"] for each in triggers(sandbox, done.document["rollout"])} == {None}
