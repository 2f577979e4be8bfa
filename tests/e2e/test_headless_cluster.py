"""The headless thread on a real API server: the same commands, the same outcomes."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import CANARY, CONFIRMED, NEW, ROOT, ROUTE, STABLE, Sandbox

CONTROL_PLANE = ROOT / "../shared/cluster/cluster"
SPEED = 5.0

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CONTROL_PLANE.exists(), reason="../shared/cluster is not here"),
]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    name = f"headless-{os.getpid()}"
    try:
        up = subprocess.run([CONTROL_PLANE, "up", name, str(free_port())], capture_output=True, text=True, check=True)
        yield Path(up.stdout.strip())
    finally:
        subprocess.run([CONTROL_PLANE, "down", name], check=True)


def free_port() -> int:
    """The first of three free ports in a row (API server, and the two of its store)."""
    for port in range(22443, 23443, 10):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(port, port + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
    raise AssertionError("no three free ports in a row")


@pytest.mark.parametrize(
    ("scenario", "code", "trigger"),
    [
        ("good", 0, None),
        ("errors", 4, "error-rate"),
        ("slow", 4, "latency-p99"),
        ("crash", 4, "crash-loop"),
        ("stuck", 4, "progress-deadline"),
        ("leak", 4, "memory"),
        ("alert", 4, "alert"),
        ("other-alerts", 0, None),
    ],
)
def test_the_outcome_is_the_same(kubeconfig: Path, tmp_path: Path, scenario: str, code: int, trigger: str | None) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", scenario, SPEED, cluster=kubeconfig)
    try:
        template = sandbox.get(STABLE)["spec"]["template"]
        replicas, route = sandbox.get(STABLE)["spec"]["replicas"], sandbox.get(ROUTE)["spec"]
        done = sandbox.run(*CONFIRMED, timeout=350.0)
        assert done.code == code, done.err
        assert sandbox.get(CANARY)["spec"]["replicas"] == 0
        assert sandbox.get(ROUTE)["spec"] == route
        assert sandbox.get(STABLE)["spec"]["replicas"] == replicas
        if trigger is None:
            image = sandbox.get(STABLE)["spec"]["template"]["spec"]["containers"][0]["image"]
            assert image.endswith(NEW)
        else:
            assert done.document["reason"]["name"] == trigger
            assert done.document["rollback"]["restored"] is True
            assert done.document["rollback"]["seconds"] < 300
            assert sandbox.get(STABLE)["spec"]["template"] == template
        assert sandbox.run("journal", "verify").code == 0
    finally:
        sandbox.stop()
