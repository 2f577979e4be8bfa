"""The sandbox as a process: started, found again, told to misbehave, driven with kubectl, and stopped without leftovers."""

import base64
import json
import os
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.processes import stop

from services.model.errors import Unavailable
from services.sandbox.launch import control, running, start_detached

KUBECTL = shutil.which("kubectl")
TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("sandbox")
    document = start_detached(home, "good", 50.0)
    yield home
    stop(document["pid"])
    assert running(home) is None
    assert not (home / "ready.json").exists()


def get(url: str, token: str = "", timeout: float = 5.0) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def test_the_ready_file_names_everything(home: Path) -> None:
    document = json.loads((home / "ready.json").read_text())
    assert set(document) == {"config", "kubeconfig", "contexts", "prometheus", "tickets", "alerts", "log_store", "pid"}
    assert document["contexts"] == ["dev", "staging", "canary", "production", "production-viewer"]
    assert document["alerts"] == document["tickets"].removesuffix("/jira") + "/alerts"
    assert get(document["alerts"] + "/api/v2/alerts") == (200, b"[]")
    status, page = get(document["prometheus"])
    assert status == 200
    assert b'process_cpu_seconds_total{namespace="production",pod="payment-service-' in page
    settings = yaml.safe_load(Path(document["config"]).read_text())
    assert settings["home"] == str(home)
    assert settings["kubeconfig"] == document["kubeconfig"]
    assert set(settings["policy"]) == {"dev"}
    assert settings["sandbox"]["speed"] == 50.0
    assert abs(settings["sandbox"]["epoch"] - time.time()) < 600


def test_the_log_store_takes_searches_and_keeps_what_is_sent_to_it(home: Path) -> None:
    url = json.loads((home / "ready.json").read_text())["log_store"]
    lines = [{"create": {"_index": "a-2026.01", "_id": "x:1"}}, {"n": 1, "event": {"action": "deployment.started"}}]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    request = urllib.request.Request(f"{url}/_bulk", body, {"Content-Type": "application/x-ndjson"})
    for status_of_item in (201, 409):
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.loads(response.read())["items"][0]["create"]["status"] == status_of_item
    assert json.loads(get(f"{url}/a-*/_count")[1])["count"] == 1
    found = json.loads(get(f"{url}/_search?q=event.action:deployment.started")[1])["hits"]
    assert found["hits"][0]["_source"]["n"] == 1
    assert get(f"{url}/nowhere/_search")[0] == 404
    # A check needs no server: it is in the home, line by line.
    assert any(json.loads(line)["_id"] == "x:1" for line in (home / "logs.jsonl").read_text().splitlines())
    settings = yaml.safe_load((home / "config.yaml").read_text())
    assert settings["journal"]["sinks"] == [{"kind": "elasticsearch", "name": "log-store", "url": url}]


def test_secrets_are_for_the_owner_alone(home: Path) -> None:
    for name in ("kubeconfig", "token", "server.pem"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert (home / "token").read_text() not in (home / "config.yaml").read_text()


def test_a_second_one_on_the_same_home_says_so(home: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "services.sandbox", "--home", str(home)],
        cwd=TREE,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert "Traceback" not in second.stderr
    assert start_detached(home, "good", 50.0)["pid"] == running(home)["pid"]  # type: ignore[index]


def test_what_a_dead_one_left_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text(json.dumps({"pid": os.getpid(), "config": "/nowhere"}))
    (tmp_path / "sandbox.pid").write_text(f"{os.getpid()}\n")
    assert running(tmp_path) is None
    document = start_detached(tmp_path, "good", 50.0)
    assert document["pid"] != os.getpid()
    os.kill(document["pid"], signal.SIGKILL)
    os.waitpid(document["pid"], 0)
    assert running(tmp_path) is None


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="did not start") as failed:
        start_detached(tmp_path, "no-such-scenario", 1.0)
    assert "accepted: alert, crash, errors, good" in failed.value.detail


def test_the_api_is_served_with_tls_and_its_own_authority(home: Path) -> None:
    cluster = yaml.safe_load((home / "kubeconfig").read_text())["clusters"][0]["cluster"]
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(cluster["server"] + "/readyz", timeout=5)
    strict = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(cluster["server"] + "/readyz", timeout=5, context=strict) as response:
        assert response.read() == b"ok"


def test_pods_answer_by_url_too(home: Path) -> None:
    document = running(home)
    assert document is not None
    base = str(document["tickets"]).removesuffix("/jira")
    pods = (
        json.loads(kubectl(home, "get", "pods", "-n", "production", "-l", "app=payment-service", "-o", "json"))["items"]
        if KUBECTL
        else []
    )
    for pod in pods:
        status, page = get(f"{base}/pods/production/{pod['metadata']['name']}/metrics")
        assert status == 200
        assert b"http_request_duration_seconds_bucket" in page
        assert get(f"{base}/pods/production/{pod['metadata']['name']}/healthz") == (200, b"ok")
    assert get(f"{base}/services/production/payment-service/api/v1/ping")[0] == 200
    assert get(f"{base}/services/production/no-such-service/healthz")[0] == 404
    assert get(f"{base}/pods/production/no-such-pod/healthz")[0] == 404


def test_tickets_misbehave_when_told_to(home: Path) -> None:
    document = running(home)
    assert document is not None
    token = (home / "token").read_text()
    url = f"{document['tickets']}/rest/api/2/issue/CHG-4821"
    assert get(url, token)[0] == 200
    try:
        control(document, home, "faults", {"tickets": "garbage"})
        status, body = get(url, token)
        assert (status, body[:6]) == (200, b"<html>")
        control(document, home, "faults", {"tickets": "down"})
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(url, token)
        control(document, home, "faults", {"tickets": "slow"})
        with pytest.raises(TimeoutError):
            get(url, token, timeout=0.3)
    finally:
        control(document, home, "faults", {"tickets": ""})
    assert get(url, token)[0] == 200


def test_an_api_that_is_down_cuts_what_is_open(home: Path) -> None:
    document = running(home)
    assert document is not None
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    with subprocess.Popen(
        [*command(home), "get", "pods", "-n", "production", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline()  # the watch is open
            control(document, home, "faults", {"api": "down"})
            following.communicate(timeout=60)  # kubectl takes its time to see that nothing comes any more
            failed = subprocess.run(
                [*command(home), "get", "pods", "--request-timeout=1s"], capture_output=True, text=True, timeout=30, check=False
            )
            assert failed.returncode != 0
        finally:
            control(document, home, "faults", {"api": ""})
            following.kill()
    assert "payment-service" in kubectl(home, "get", "deploy", "-n", "production")


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("faults", {"api": "sideways"}, 400),
        ("faults", {"printer": "down"}, 400),
        ("scenario", {"scenario": "none"}, 400),
        ("magic", {}, 404),
    ],
)
def test_control_refuses_what_it_does_not_know(home: Path, what: str, body: dict[str, str], code: int) -> None:
    document = running(home)
    assert document is not None
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(document, home, what, body)
    with refused.value:
        assert refused.value.code == code


def test_control_needs_the_token(home: Path) -> None:
    document = running(home)
    assert document is not None
    request = urllib.request.Request(str(document["tickets"]).removesuffix("/jira") + "/sandbox/faults", b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    with refused.value:
        assert refused.value.code == 401


def command(home: Path) -> list[str]:
    return [str(KUBECTL), "--kubeconfig", str(home / "kubeconfig"), f"--cache-dir={home / 'kube-cache'}"]


def kubectl(home: Path, *words: str, text: str | None = None) -> str:
    done = subprocess.run([*command(home), *words], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
class TestKubectl:
    """The verbs an operator uses by hand, on the embedded API."""

    def test_get_and_describe(self, home: Path) -> None:
        listing = kubectl(home, "get", "deploy,rs,pods", "-n", "production")
        assert "deployment.apps/payment-service" in listing
        assert "6/6" in listing
        assert "0/1" in kubectl(home, "get", "pods", "-n", "dev", "-l", "app=recommendations")
        assert "payment-service:v2.14.1" in kubectl(home, "describe", "deploy", "payment-service", "-n", "production")
        assert "Endpoints" in kubectl(home, "describe", "svc", "payment-service", "-n", "production")
        assert "stable=100, canary=0" in kubectl(home, "get", "vs,dr", "-n", "production")
        assert "INFO" in kubectl(home, "logs", "deploy/payment-service", "-n", "production", "--tail=3")

    def test_create_apply_and_delete(self, home: Path) -> None:
        manifest: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "applied", "namespace": "dev"},
            "data": {"a": "1"},
        }
        assert "created" in kubectl(home, "apply", "-f", "-", text=json.dumps(manifest))
        assert "configured" in kubectl(home, "apply", "-f", "-", text=json.dumps(manifest | {"data": {"b": "2"}}))
        assert json.loads(kubectl(home, "get", "cm", "applied", "-n", "dev", "-o", "json"))["data"] == {"b": "2"}
        assert "deleted" in kubectl(home, "delete", "cm", "applied", "-n", "dev")
        kubectl(home, "create", "deployment", "hand-made", "--image=registry.example/x:v1.0.0", "-n", "dev")
        assert "deleted" in kubectl(home, "delete", "deployment", "hand-made", "-n", "dev")

    def test_roll_out_and_undo(self, home: Path) -> None:
        image = ["set", "image", "deploy/catalog", "catalog=registry.sandbox.internal/catalog:v5.0.4", "-n", "staging"]
        kubectl(home, *image)
        assert "successfully rolled out" in kubectl(home, "rollout", "status", "deploy/catalog", "-n", "staging", "--timeout=30s")
        kubectl(home, "rollout", "undo", "deploy/catalog", "-n", "staging")
        kubectl(home, "rollout", "status", "deploy/catalog", "-n", "staging", "--timeout=30s")
        found = json.loads(kubectl(home, "get", "deploy", "catalog", "-n", "staging", "-o", "json"))
        assert found["spec"]["template"]["spec"]["containers"][0]["image"].endswith("catalog:v5.0.3")
        assert "REVISION" in kubectl(home, "rollout", "history", "deploy/catalog", "-n", "staging")

    def test_scale_and_patch(self, home: Path) -> None:
        kubectl(home, "scale", "deploy/accounts", "--replicas=3", "-n", "staging")
        kubectl(home, "rollout", "status", "deploy/accounts", "-n", "staging", "--timeout=30s")
        operation = '[{"op":"test","path":"/spec/replicas","value":3},{"op":"replace","path":"/spec/replicas","value":1}]'
        kubectl(home, "patch", "deploy", "accounts", "-n", "staging", "--type=json", "-p", operation)
        kubectl(home, "patch", "deploy", "accounts", "-n", "staging", "--type=merge", "-p", '{"spec":{"replicas":2}}')
        container = '{"spec":{"template":{"spec":{"containers":[{"name":"accounts","env":[{"name":"X","value":"1"}]}]}}}}'
        kubectl(home, "patch", "deploy", "accounts", "-n", "staging", "-p", container)
        found = json.loads(kubectl(home, "get", "deploy", "accounts", "-n", "staging", "-o", "json"))
        assert found["spec"]["replicas"] == 2
        assert {entry["name"] for entry in found["spec"]["template"]["spec"]["containers"][0]["env"]} == {"ENVIRONMENT", "X"}

    def test_the_viewer_may_only_read(self, home: Path) -> None:
        assert "payment-service" in kubectl(home, "--context", "production-viewer", "get", "deploy")
        assert kubectl(home, "--context", "production", "auth", "can-i", "patch", "deployments") == "yes\n"
        refused = subprocess.run(
            [*command(home), "--context", "production-viewer", "scale", "deploy/ledger", "--replicas=0"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert refused.returncode == 1
        assert "Forbidden" in refused.stderr


def test_a_scenario_brings_its_part_of_the_configuration_and_takes_it_along(home: Path) -> None:
    document = json.loads((home / "ready.json").read_text())

    def settings() -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(Path(document["config"]).read_text())
        return found

    before = settings()
    control(document, home, "scenario", {"scenario": "shared"})
    assert settings() == {**before, "triggers": {"on_shared_incident": "pause"}}
    control(document, home, "scenario", {"scenario": "good"})
    assert settings() == before


def test_an_option_that_is_no_seed_is_refused_and_a_seed_is_taken(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "console.cli", "sandbox", "--home", str(tmp_path / "home"), "--seed"]
    refused = subprocess.run([*command, "many"], capture_output=True, text=True, cwd=TREE, timeout=60, check=False)
    assert refused.returncode == 2
    assert "--seed" in refused.stderr + refused.stdout
    process = subprocess.Popen(
        [*command, "7", "--ready-file", str(tmp_path / "ready.json")],
        cwd=TREE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "ready.json").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(20) == 0
