"""Bad input and unmet gates from the command line: what is wrong and what would be accepted, and no cluster changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.processes import matching
from support.world import NO_SINKS, SHORT, Said, World, world

pytestmark = pytest.mark.long

SERVICE, NEW = "payment-service", "v2.15.0"
RESTLESS = "recommendations"
"""Crashes in dev in every scenario, so its own objects never rest."""
INLINE = "s3cr3t-t0ken-000"
PRODUCTION = ("-e", "production", "--strategy", "canary")
CONFIRMED = ("--confirm", "production")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("input"), speed=60, canary=SHORT, journal=NO_SINKS) as running:
        yield running


@pytest.fixture(scope="module")
def home(sandbox: World) -> Path:
    return sandbox.new_home("operator")


@pytest.fixture(scope="module")
def untouched(sandbox: World) -> dict[str, str]:
    return resting(sandbox)


def resting(sandbox: World) -> dict[str, str]:
    return {name: version for name, version in sandbox.versions().items() if RESTLESS not in name}


def check_rejected(said: Said, field: str, *, value: str | None = None) -> dict[str, Any]:
    """Exit 2, one document that names field, value, rule and what is accepted; the same in words beside it."""
    assert said.code == 2, said
    document = said.document
    assert document["outcome"] == "rejected"
    reason = document["reason"]
    assert reason["name"] == field
    assert "accepted: " in reason["detail"]
    rule, _, accepted = reason["detail"].partition("accepted: ")
    assert len(rule.strip()) > 3
    assert len(accepted.strip()) > 1
    assert value is None or reason["value"] == value
    assert "Traceback" not in said.err
    assert field in said.err
    return document


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ((SERVICE, NEW, "-e", "prod; rm -rf /"), "environment", "prod; rm -rf /"),
        ((SERVICE, NEW, "-e", "../staging"), "environment", "../staging"),
        ((SERVICE, NEW, "-e", ""), "environment", ""),
        ((SERVICE, NEW), "environment", ""),
        ((SERVICE, NEW, "-e", "PRODUCTION"), "environment", "PRODUCTION"),
        ((SERVICE, "latest", *PRODUCTION), "version", "latest"),
        ((SERVICE, "1.2", *PRODUCTION), "version", "1.2"),
        ((SERVICE, "v1.2.3 && id", *PRODUCTION), "version", "v1.2.3 && id"),
        ((SERVICE, "1.2.3\n", *PRODUCTION), "version", None),
        ((SERVICE, NEW, "-e", "production", "--strategy", "recreate"), "strategy", "recreate"),
        ((SERVICE, NEW, *PRODUCTION, "--namespace", "Kube_System"), "namespace", "Kube_System"),
        ((SERVICE, NEW, *PRODUCTION, "--namespace", "n" * 64), "namespace", "n" * 64),
        ((SERVICE, NEW, *PRODUCTION, "--namespace", "staging"), "namespace", "staging"),
        (("no-such-service", NEW, *PRODUCTION), "service", "no-such-service"),
        (("Payment_Service", NEW, *PRODUCTION), "service", "Payment_Service"),
        ((SERVICE, NEW, *PRODUCTION, "--ticket", "CHG-4821; curl evil"), "ticket", None),
    ],
)
def test_bad_input_is_rejected(
    sandbox: World, home: Path, untouched: dict[str, str], words: tuple[str, ...], field: str, value: str | None
) -> None:
    said = sandbox.deploy(home, *words)
    document = check_rejected(said, field, value=value)
    assert document["rollout"] is None
    assert document["journal"]["last"] == sandbox.entries(home, event="rollout.refused", outcome="rejected")[-1]["seq"]
    assert not sandbox.entries(home, event="deployment.started")
    assert resting(sandbox) == untouched


def test_a_context_that_the_kubeconfig_lacks_is_rejected(sandbox: World, home: Path, untouched: dict[str, str]) -> None:
    environments = yaml.safe_load(sandbox.config.read_text())["environments"]
    environments["production"]["context"] = "prod-eu-1"
    config = sandbox.variant("other-context", environments=environments)
    document = check_rejected(sandbox.deploy(home, SERVICE, NEW, *PRODUCTION, config=config), "cluster", value="prod-eu-1")
    assert "production-viewer" in document["reason"]["detail"]
    assert resting(sandbox) == untouched


@pytest.mark.parametrize(
    ("words", "gate"),
    [
        ((), "ticket"),
        (("--ticket", "CHG-9999"), "ticket"),
        (("--ticket", "CHG-4822"), "ticket"),
        (("--ticket", "CHG-4824"), "ticket"),
        (("--ticket", "CHG-4823"), "approval"),
        (("--ticket", "CHG-4821", "--confirm", "productiom"), "environment"),
        (("--ticket", "CHG-4821", "--confirm", "production "), "environment"),
        (("--ticket", "CHG-4821", "--confirm", "Production"), "environment"),
        (("--ticket", "CHG-4821", "--confirm", "prod"), "environment"),
    ],
)
def test_an_unmet_gate_holds_the_deploy(
    sandbox: World, home: Path, untouched: dict[str, str], words: tuple[str, ...], gate: str
) -> None:
    confirmed = () if "--confirm" in words else CONFIRMED
    said = sandbox.deploy(home, SERVICE, NEW, *PRODUCTION, *words, *confirmed)
    check_unmet(sandbox, home, said, gate)
    assert resting(sandbox) == untouched


def check_unmet(sandbox: World, home: Path, said: Said, gate: str) -> dict[str, Any]:
    """Exit 3; the gate is named with its evidence and what to do; the attempt is in the journal."""
    assert said.code == 3, said
    document = said.document
    assert document["outcome"] == "gate_unmet"
    assert document["rollout"] is None
    assert document["reason"]["kind"] == "gate"
    unmet = {found["name"]: found for found in document["gates"] if found["outcome"] in ("fail", "unknown")}
    assert gate in unmet, document["gates"]
    assert unmet[gate]["evidence"]
    assert unmet[gate]["detail"]
    first, last = document["journal"]["first"], document["journal"]["last"]
    told = [entry for entry in sandbox.entries(home) if first <= entry["seq"] <= last]
    assert [entry["event"] for entry in told] == ["deployment.approval_checked", "rollout.refused"]
    assert gate in told[-1]["data"]["unmet"]
    return unmet[gate]


@pytest.mark.parametrize("fault", ["down", "slow", "garbage"])
def test_a_ticket_system_that_fails_holds_the_deploy(sandbox: World, home: Path, untouched: dict[str, str], fault: str) -> None:
    document = yaml.safe_load(sandbox.config.read_text())
    config = sandbox.variant("patient-for-a-second", tickets={**document["tickets"], "timeout": 1})
    with sandbox.fault(tickets=fault):
        said = sandbox.deploy(home, SERVICE, NEW, *PRODUCTION, "--ticket", "CHG-4821", *CONFIRMED, config=config)
    unmet = check_unmet(sandbox, home, said, "ticket")
    assert unmet["outcome"] == "unknown"
    assert resting(sandbox) == untouched


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"polcy": {}}, "policy"),
        ({"sandbox": {"speed": "fast", "epoch": 1.0}}, "speed"),
        ({"policy": {"production": {"ticket": "waived"}}}, "production"),
        (
            {
                "tickets": {
                    "kind": "jira",
                    "flavour": "cloud",
                    "url": "https://jira.example",
                    "user": "u",
                    "token": "s3cr3t-t0ken-000",
                }
            },
            "token",
        ),
    ],
)
def test_a_wrong_configuration_is_rejected(
    sandbox: World, home: Path, untouched: dict[str, str], broken: dict[str, Any], says: str
) -> None:
    config = sandbox.variant("broken", **broken)
    verbs = (("deploy", SERVICE, NEW, *PRODUCTION), ("status",), ("rollback", SERVICE, "-e", "dev"))
    for words in verbs if "polcy" in broken else verbs[:1]:
        said = sandbox.run(home, "-o", "json", *words, config=config)
        assert said.code == 2, said
        assert said.document["outcome"] == "rejected"
        told = said.err + said.out
        assert says in told
        assert f"{config.name}:" in told, "the file and the line are named"
        assert INLINE not in told
        assert "Traceback" not in told
    assert resting(sandbox) == untouched


def test_a_missing_configuration_is_rejected(sandbox: World, home: Path, untouched: dict[str, str]) -> None:
    said = sandbox.deploy(home, SERVICE, NEW, *PRODUCTION, config=sandbox.place / "nowhere.yaml")
    assert said.code == 2
    assert said.document["outcome"] == "rejected"
    assert "nowhere.yaml" in said.err
    assert resting(sandbox) == untouched


def test_nothing_was_ever_started_in_production(sandbox: World, home: Path) -> None:
    assert sandbox.rollouts("production", SERVICE) == []
    assert not [entry for entry in sandbox.entries(home) if entry["event"] in ("deployment.started", "deployment.executed")]
    assert sandbox.verified(home).ok
    assert not matching("drive", sandbox.place)
