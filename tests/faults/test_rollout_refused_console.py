"""The cluster takes our credentials no more, while the driver that is at work still has its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.harness import CANARY, CONFIRMED, ROUTE, Sandbox

from services.model.rollout import Phase

pytestmark = pytest.mark.long


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", 40.0, shipping=False)
    yield running
    running.stop()


def refused(sandbox: Sandbox, place: Path) -> Path:
    """The same configuration, with credentials that the cluster does not take."""
    kubeconfig = yaml.safe_load(sandbox.kubeconfig.read_text())
    for user in kubeconfig["users"]:
        user["user"] = {"token": "expired"}
    (place / "refused").write_text(yaml.safe_dump(kubeconfig))
    config = {**yaml.safe_load(sandbox.config.read_text()), "home": str(sandbox.state), "kubeconfig": str(place / "refused")}
    (place / "refused.yaml").write_text(yaml.safe_dump(config))
    return place / "refused.yaml"


def test_a_rollback_that_is_refused_asks_the_driver_at_work(sandbox: Sandbox, tmp_path: Path) -> None:
    usual, other = sandbox.config, refused(sandbox, tmp_path)
    sandbox.config = other
    nobody = sandbox.run("rollback", "payment-service", "-e", "production")
    assert nobody.code == 1, nobody.err
    sandbox.config = usual
    deploy = sandbox.start(*CONFIRMED)
    sandbox.wait_for_rollout(lambda rollout: rollout.weight == 25, "25 %")
    sandbox.config = other
    said = sandbox.run("rollback", "payment-service", "-e", "production", "--reason", "P99 doubled")
    sandbox.config = usual
    assert said.code == 7, said.err
    assert "was asked instead" in said.err
    assert said.document["outcome"] == "interrupted"
    assert deploy.ended(60).code == 4
    found = sandbox.rollouts()[-1]
    assert found.phase is Phase.ROLLED_BACK
    assert found.reason is not None
    assert found.reason.detail == "P99 doubled"
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0
    assert [part["weight"] for part in sandbox.get(ROUTE)["spec"]["http"][0]["route"]] == [100, 0]
