"""What the judge is for, told by the scenarios of the sandbox: too little to see for a limit, nothing to see at all, and an
incident that is nobody's fault."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.harness import CANARY, CONFIRMED, ROUTE, Sandbox

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


def weights(sandbox: Sandbox) -> dict[str, int]:
    route: Any = sandbox.get(ROUTE)
    return {entry["destination"]["subset"]: entry.get("weight", 0) for entry in route["spec"]["http"][0]["route"]}


def looks(sandbox: Sandbox, rollout: str) -> list[dict[str, Any]]:
    """What the journal keeps of every look of the judge."""
    entries = sandbox.journal("--rollout", rollout, "--event", "deployment.health_check")
    return [entry["data"]["judge"] for entry in entries if "judge" in entry["data"]]


def test_what_no_limit_sees_is_found_and_taken_back(start: Callable[[str], Sandbox]) -> None:
    sandbox = start("tiny")
    done = sandbox.run(*CONFIRMED)
    assert done.code == 4, done.err
    reason = done.document["reason"]
    assert (reason["kind"], reason["name"]) == ("trigger", "judge")
    assert (reason["value"], reason["limit"]) == (100.0, 100.0)
    assert "of stable" in reason["detail"]
    assert weights(sandbox) == {"stable": 100, "canary": 0}
    found = looks(sandbox, done.document["rollout"])
    assert found[-1]["verdict"] == "regressed"
    # a look that comes late, since a process was held up, is one look all the same
    assert sum(min(look["seconds"], 20.0) for look in found) < 90
    entries = sandbox.journal("--rollout", done.document["rollout"], "--event", "deployment.health_check")
    verdict = next(entry["data"] for entry in entries if entry["outcome"] == "regressed")
    (asked,) = [one["queries"] for one in verdict["asked"] if one["of"] == ["errors"]]
    assert asked == ["GET :8080/metrics of each pod: http_requests_total, by status"]
    assert {"sample", "triggers", "judge"} <= set(verdict), "beside the query there are samples, limits and evidence"
    told = [entry for entry in entries if "asked" in entry["data"]]
    assert len(told) < len(entries) / 2, "not with every look"


def test_an_incident_of_both_versions_is_said_to_be_one_and_asks(start: Callable[[str], Sandbox]) -> None:
    sandbox = start("shared")
    assert yaml.safe_load(sandbox.config.read_text())["triggers"] == {"on_shared_incident": "pause"}
    done = sandbox.run(*CONFIRMED)
    assert done.code == 5, done.err
    assert done.document["outcome"] == "needs_attention"
    assert done.document["rollback"] is None
    reason = done.document["reason"]
    assert (reason["kind"], reason["name"]) == ("trigger", "shared-incident")
    assert reason["value"] > reason["limit"] == 0.05
    assert "both versions are failing: this looks like an incident, not the new version" in reason["detail"]
    assert weights(sandbox) == {"stable": 95, "canary": 5}
    assert "regressed" not in {look["verdict"] for look in looks(sandbox, done.document["rollout"])}


@pytest.mark.parametrize(
    ("scenario", "verdict", "words"),
    [("no-traffic", "no_data", "no data: no requests reach it"), ("low-traffic", "undecided", "the new version served ")],
)
def test_too_little_to_decide_is_no_pass_and_no_rollback(
    start: Callable[[str], Sandbox], scenario: str, verdict: str, words: str
) -> None:
    sandbox = start(scenario)
    done = sandbox.run(*CONFIRMED)
    assert done.code == 5, done.err
    assert done.document["rollback"] is None
    assert done.document["reason"]["name"] == "undecided"
    assert done.document["reason"]["detail"].startswith(words)
    assert looks(sandbox, done.document["rollout"])[-1]["verdict"] == verdict
    entries = sandbox.journal("--rollout", done.document["rollout"], "--event", "deployment.health_check")
    undecided = [entry["data"] for entry in entries if entry["outcome"] == "undecided"]
    assert {entry["verdict"] for entry in undecided} == {verdict}
    assert all([one["of"] for one in entry["asked"]] == [["errors"], ["latency"]] for entry in undecided)
    assert all("limit" in entry["evidence"] for entry in undecided)
    analysed = next(step for step in done.document["steps"] if step["outcome"] == "running")
    # its 120 s and as many once more: the end may be seen late, and a third time would be 360 s
    assert 225 < analysed["seconds"] < 345
    canary: Any = sandbox.get(CANARY)
    assert canary["spec"]["replicas"] == 1
