"""``quarterdeck doctor`` as it is typed: on the sandbox, on its bad days, and on a real control plane."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.control_plane import ABSENT, CLUSTER, up
from support.processes import eventually
from support.world import NAMESPACES, ROOT, Said, World, world

from services.settings import current_login


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("doctor"), speed=20) as running:
        yield running


def examined(sandbox: World, *words: str, home: str, config: Path | None = None) -> tuple[Said, dict[str, dict[str, Any]]]:
    """What was said, and the finding of each group and name of production (the last one, where there are several)."""
    place = sandbox.place / f"home-{home}"
    place.mkdir(mode=0o700, exist_ok=True)
    said = sandbox.run(place, "doctor", "-o", "json", "-e", "production", *words, config=config)
    return said, {f"{finding['group']}: {finding['name']}": finding for finding in said.document["checks"]}


def secrets(sandbox: World) -> list[str]:
    users = yaml.safe_load(Path(sandbox.ready["kubeconfig"]).read_text())["users"]
    return [user["user"]["token"] for user in users]


def untouched(sandbox: World) -> dict[str, str]:
    """Every object there is, with what a write to it would change: not the status, which the controllers write."""
    found = {}
    for key, version in sandbox.versions().items():
        namespace, kind, name = key.split("/")
        moves = kind in ("Deployment", "ReplicaSet", "Pod")
        found[key] = str(sandbox.object(kind, namespace, name)["spec"]) if moves else version
    return found


def test_a_sandbox_is_in_order_and_stays_as_it_was(sandbox: World) -> None:
    home = sandbox.new_home("order")
    before, left = untouched(sandbox), set(home.iterdir())
    said = sandbox.run(home, "doctor", "-o", "json")
    assert said.code == 0, said.out
    assert said.err == ""
    assert said.document["ok"] is True
    checks = said.document["checks"]
    assert all(list(check) == ["group", "name", "subject", "outcome", "found", "needed", "action"] for check in checks)
    assert {check["outcome"] for check in checks} <= {"ok", "skipped", "warning", "unknown"}
    assert {check["subject"] for check in checks if check["group"] == "permissions"} == set(NAMESPACES)
    assert all(check["outcome"] == "ok" for check in checks if check["group"] in ("permissions", "tickets", "clusters"))
    assert untouched(sandbox) == before, "nothing in the cluster was touched"
    assert set(home.iterdir()) == left, "nor anything left at home"
    assert not [secret for secret in secrets(sandbox) if secret in said.out]


def test_people_read_it_at_80_columns(sandbox: World) -> None:
    said = sandbox.run(sandbox.new_home("people"), "doctor", "-e", "prod")
    assert said.code == 0
    assert [line for line in said.out.splitlines() if len(line) > 80 and " " in line.strip().partition(": ")[2]] == []
    for title in ("OPERATOR", "CLUSTERS: production", "PERMISSIONS: production", "HOME: ", "TERMINAL"):
        assert f"\n{title}" in said.out
    assert "staging" not in said.out.partition("OPERATOR")[2]


def test_the_ticket_server_is_down(sandbox: World) -> None:
    with sandbox.fault(tickets="down"):
        said, found = examined(sandbox, home="tickets")
    assert said.code == 1
    assert found["tickets: token"]["outcome"] == "problem"
    assert found["tickets: clock"]["outcome"] == "skipped"
    assert found["clusters: reachable"]["outcome"] == "ok"


def test_the_ticket_token_is_wrong_and_not_shown(sandbox: World) -> None:
    token = sandbox.place / "wrong-token"
    token.write_text("not-the-token-4711")
    token.chmod(0o600)
    tickets = yaml.safe_load(sandbox.config.read_text())["tickets"] | {"token": f"file:{token}"}
    said, found = examined(sandbox, home="token", config=sandbox.variant("wrong-token-config", tickets=tickets))
    assert said.code == 1
    assert found["tickets: token"]["outcome"] == "problem"
    assert "refused our account (401)" in found["tickets: token"]["found"]
    assert "not-the-token-4711" not in said.out + said.err


@pytest.mark.parametrize(("fault", "outcome"), [("down", "problem"), ("unauthorized", "ok"), ("slow", "problem")])
def test_the_api_server_has_a_bad_day(sandbox: World, fault: str, outcome: str) -> None:
    # a slow one takes 3 s, and a request has 0.8 of the time of its check; the others get all the time of a busy machine
    seconds = "3.5" if fault == "slow" else "15"

    def asked() -> tuple[Said, dict[str, dict[str, Any]]] | None:
        said, found = examined(sandbox, "--timeout", seconds, home="api")
        return (said, found) if found["tickets: token"]["outcome"] == "ok" else None

    with sandbox.fault(api=fault):
        # the tickets, which are well, have no more time than that either: held up meanwhile, they are asked again
        said, found = eventually("the tickets answer in time", asked)
    assert said.code == 1
    assert found["clusters: reachable"]["outcome"] == outcome
    if fault == "unauthorized":
        assert found["clusters: credentials"]["outcome"] == "problem"
    assert found["permissions: permissions"]["outcome"] == "skipped", "said once, by the check that knows"
    assert found["tickets: token"]["outcome"] == "ok"


def test_metrics_are_not_there(sandbox: World) -> None:
    with sandbox.fault(metrics="garbage"):
        said, found = examined(sandbox, home="metrics")
    assert said.code == 1
    assert found["measurements: metrics"]["outcome"] == "problem"
    metrics = yaml.safe_load(sandbox.config.read_text())["metrics"] | {"path": "/nothing-here"}
    _, found = examined(sandbox, home="metrics", config=sandbox.variant("wrong-path", metrics=metrics))
    assert "answered 404" in found["measurements: metrics"]["found"]


def test_a_stranger_and_a_closed_account_are_told(sandbox: World) -> None:
    _, found = examined(sandbox, home="stranger", config=sandbox.variant("nobody", people=[]))
    assert found["operator: person"]["outcome"] == "problem"
    people = [{"name": "Somebody", "login": current_login(), "ticket_account": "acc-nobody"}]
    _, found = examined(sandbox, home="stranger", config=sandbox.variant("unknown-account", people=people))
    assert found["tickets: operator's account"]["outcome"] == "problem"


def test_a_configuration_that_can_not_be_used_hides_nothing_else(sandbox: World) -> None:
    config = sandbox.place / "broken.yaml"
    config.write_text("polcy: {}\n")
    said, found = examined(sandbox, home="broken", config=config)
    assert said.code == 2
    assert said.document["ok"] is False
    assert "Did you mean 'policy'" in found["configuration: polcy"]["action"]
    assert found["home: writes and locks"]["outcome"] == "ok"
    said, found = examined(sandbox, home="broken", config=sandbox.place / "absent.yaml")
    assert (said.code, found["configuration: valid"]["outcome"]) == (2, "problem")
    assert "config init" in found["configuration: valid"]["action"]


def test_what_is_asked_for_wrongly_is_rejected(sandbox: World) -> None:
    home = sandbox.new_home("rejected")
    assert sandbox.run(home, "doctor", "--timeout", "0").code == 2
    assert sandbox.run(home, "doctor", "-e", "nowhere").code == 2
    help_text = sandbox.run(home, "doctor", "--help").out
    assert "Exit codes: 0 nothing is a problem, 1 something is" in " ".join(help_text.split())


def test_a_dumb_terminal_is_a_problem_where_there_is_one(sandbox: World) -> None:
    master, slave = pty.openpty()
    command = sandbox.command(sandbox.place / "home-dumb", "doctor", "-e", "dev")
    environment = {**sandbox.environment(), "TERM": "dumb"}
    running = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=sandbox.place)
    os.close(slave)
    told = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end was closed: Linux says EIO
            break
        if not part:
            break
        told += part
    os.close(master)
    assert running.wait(30) == 1
    assert "problem  type: TERM is dumb" in told.decode()


@pytest.mark.cluster
@pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT)
def test_a_viewer_of_a_real_cluster_is_told_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    environments = {
        "dev": {"context": "dev", "namespaces": ["dev"]},
        "production": {"context": "production-viewer", "namespaces": ["production"]},
    }
    config.write_text(yaml.safe_dump({"kubeconfig": str(up()), "environments": environments}))
    command = [sys.executable, "-P", "-m", "console.cli", "--config", str(config), "--home", str(tmp_path / "home")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "doctor", "-o", "json"], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    found = [check for check in json.loads(done.stdout)["checks"] if check["group"] == "permissions"]
    missing = {(check["subject"], check["name"]) for check in found if check["outcome"] == "problem"}
    assert {subject for subject, _ in missing} == {"production"}
    assert {"patch deployments", "create leases", "create configmaps", "get pods/proxy"} <= {name for _, name in missing}
    assert {"list pods", "watch deployments"} <= {check["name"] for check in found if check["outcome"] == "ok"}
