"""The driver is killed, and its checkpoint deleted: the journal of its home is all that is left of the rollout."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import CANARY, CONFIRMED, OLD, ROUTE, STABLE, Sandbox
from support.processes import killed

from services.clock import SystemClock
from services.cluster.connection import Clusters
from services.cluster.writer import Writer
from services.coordination.checkpoint import checkpoint_ref
from services.model.rollout import Phase, Rollout

pytestmark = pytest.mark.long


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", 40.0, shipping=False)
    yield running
    running.stop()


def lose(sandbox: Sandbox) -> Rollout:
    """A rollout at 25 %, whose driver was killed and whose checkpoint was deleted."""
    sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(lambda rollout: rollout.weight == 25, "25 %")
    killed(sandbox.driver(rollout))

    async def deleted() -> None:
        clusters = Clusters(sandbox.kubeconfig, SystemClock())
        try:
            await Writer(await clusters.connect("production")).delete(checkpoint_ref("production", rollout.id))
        finally:
            await clusters.close()

    asyncio.run(deleted())
    assert sandbox.rollouts() == []
    return rollout


def test_a_rollback_restores_what_the_journal_knows(sandbox: Sandbox) -> None:
    rollout = lose(sandbox)
    said = sandbox.run("rollback", "payment-service", "-e", "production")
    assert said.code == 0, said.err
    assert said.document["rollout"] == rollout.id
    assert sandbox.rollouts()[-1].phase is Phase.ROLLED_BACK
    stable, canary, route = [sandbox.get(ref) for ref in (STABLE, CANARY, ROUTE)]
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"].endswith(OLD)
    assert canary["spec"]["replicas"] == 0
    assert [part["weight"] for part in route["spec"]["http"][0]["route"]] == [100, 0]


def test_whoever_drives_it_again_waits_for_a_person(sandbox: Sandbox) -> None:
    rollout = lose(sandbox)
    sandbox.start("drive", rollout.id, "--take-over")
    found = sandbox.wait_for_rollout(lambda rollout: rollout.phase is Phase.PAUSED, "a pause")
    assert "its checkpoint was lost" in found.pause_reason
    assert found.weight == 25
    said = sandbox.run("rollback", "payment-service", "-e", "production")
    assert said.code == 0, said.err
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0
