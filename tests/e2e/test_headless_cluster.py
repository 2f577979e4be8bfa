"""The headless thread on a real API server: the same commands, the same outcomes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.control_plane import ABSENT, CLUSTER, of_its_own
from support.harness import CANARY, CONFIRMED, NEW, ROUTE, STABLE, Sandbox

SPEED = 5.0

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT),
]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with of_its_own("headless") as (_, found):
        yield found


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
