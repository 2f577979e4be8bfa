"""A console that dies between the first patch of a rollback and the start of the driver that is to finish it."""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import CANARY, CONFIRMED, OLD, ROUTE, STABLE, Sandbox

from console.context import Context
from services.cluster.inventory import Inventory
from services.model.rollout import Phase
from services.rollout import immediate
from services.rollout.immediate import rollback_now

pytestmark = pytest.mark.long


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", 40.0, shipping=False)
    yield running
    running.stop()


async def test_what_was_asked_for_is_done_by_whoever_drives_next(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = sandbox.start(*CONFIRMED)
    rollout = await asyncio.to_thread(sandbox.wait_for_rollout, lambda rollout: rollout.weight == 25, "25 %")
    monkeypatch.setattr(immediate, "start_driver", lambda *_, **__: None)
    async with Context.open(argparse.Namespace(config=str(sandbox.config), home=None, read_only=False)) as context:
        inventory = Inventory(await context.clusters.connect("production"), ("production",), context.clock)
        running = asyncio.create_task(inventory.run())
        assert await inventory.wait_synced(10)
        assert (await rollback_now(context, inventory, rollout, reason="R")).problem is None
        running.cancel()
    left = await asyncio.to_thread(deploy.ended, 60)
    assert left.code == 7, "nobody drives it: the driver was fenced off, and none was started"
    # The same deploy again would go on with the rollout, were it not for what was asked.
    again = await asyncio.to_thread(sandbox.run, *CONFIRMED)
    assert again.code == 4, again.err
    assert again.document["rollback"] == {**again.document["rollback"], "trigger": "rollback", "restored": True}
    assert again.document["reason"]["detail"] == "R"
    assert (await asyncio.to_thread(sandbox.rollouts))[-1].phase is Phase.ROLLED_BACK
    stable, canary, route = [await asyncio.to_thread(sandbox.get, ref) for ref in (STABLE, CANARY, ROUTE)]
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"].endswith(OLD)
    assert canary["spec"]["replicas"] == 0
    assert [part["weight"] for part in route["spec"]["http"][0]["route"]] == [100, 0]
