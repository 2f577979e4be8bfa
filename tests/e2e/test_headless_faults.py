"""Bad days in the middle of a rollout: refused, throttled, conflicting, no metrics, a plan that is another one by now, ``R``."""

import argparse
import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import CANARY, CONFIRMED, NEW, OLD, ROUTE, STABLE, Sandbox, environment
from support.processes import eventually

from console.context import Context
from services.cluster.inventory import Inventory
from services.model.errors import ExitCode
from services.model.gates import Checklist, GateName, GateOutcome, GateResult
from services.model.release import DeployRequest
from services.model.rollout import Phase
from services.release import validate
from services.rollout.immediate import Immediate, rollback_now
from services.rollout.service import read_state
from services.rollout.start import start_rollout
from services.strategies import compile_plan

pytestmark = [pytest.mark.long, pytest.mark.alone]

SPEED = 40.0


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", SPEED, shipping=False)
    yield running
    running.stop()


def context_of(sandbox: Sandbox) -> Context:
    return Context.open(argparse.Namespace(config=str(sandbox.config), home=None, read_only=False))


def test_a_cluster_that_forbids_a_change_needs_a_person_who_can_resume(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    sandbox.wait_for_rollout(lambda rollout: rollout.weight == 5, "5 %")
    sandbox.misbehave(api="forbidden")
    eventually("the refusal is met", lambda: sandbox.written("rollout.paused"), 30.0)
    sandbox.misbehave(api="")
    paused = deploy.ended(60)
    assert paused.code == 5, paused.err
    assert paused.document["outcome"] == "needs_attention"
    assert "403" in paused.document["reason"]["detail"] or "orbidden" in paused.document["reason"]["detail"]
    assert sandbox.rollouts()[-1].phase is Phase.PAUSED
    resumed = sandbox.run(*CONFIRMED)
    assert resumed.code == 0, resumed.err
    assert resumed.document["rollout"] == paused.document["rollout"]


@pytest.mark.parametrize("fault", ["throttle", "conflict"])
def test_a_busy_or_disagreeing_cluster_is_asked_again(sandbox: Sandbox, fault: str) -> None:
    deploy = sandbox.start(*CONFIRMED)
    sandbox.wait_for_rollout(lambda rollout: rollout.weight == 10, "10 %")
    sandbox.misbehave(api=fault)
    with pytest.raises(subprocess.TimeoutExpired):
        deploy.process.wait(3.0)
    sandbox.misbehave(api="")
    done = deploy.ended()
    if fault == "throttle":
        assert done.code == 0, done.err
    else:  # three seconds of conflicts may be more than a driver takes for chance: then it says so, and waits
        assert done.code in (0, 5), done.err


def test_without_metrics_nothing_is_promoted(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    sandbox.wait_for_rollout(lambda rollout: rollout.weight == 5, "5 %")
    sandbox.misbehave(metrics="garbage")
    paused = deploy.ended(90)
    assert paused.code == 5, paused.err
    assert paused.document["reason"]["name"] == "undecided"
    assert sandbox.rollouts()[-1].weight == 5
    back = sandbox.run("rollback", "payment-service", "-e", "production")
    assert back.code == 0, back.err
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0


def test_a_ticket_system_that_is_down_passes_no_gate(sandbox: Sandbox) -> None:
    sandbox.misbehave(tickets="down")
    refused = sandbox.run(*CONFIRMED)
    assert refused.code == 3, refused.err
    outcomes = {gate["name"]: gate["outcome"] for gate in refused.document["gates"]}
    assert outcomes["ticket"] == outcomes["approval"] == "unknown"
    assert sandbox.rollouts() == []


def test_an_api_server_that_is_down_at_the_start_is_said_so(sandbox: Sandbox) -> None:
    sandbox.misbehave(api="down")
    failed = sandbox.run(*CONFIRMED)
    assert failed.code == 1
    assert failed.document["rollout"] is None
    assert sandbox.run("status").code == 1


async def test_a_plan_that_changed_since_its_confirmation_is_void(sandbox: Sandbox) -> None:
    async with context_of(sandbox) as context:
        request = DeployRequest(
            service="payment-service", version=NEW, environment="production", strategy="canary", ticket="CHG-4821"
        )
        release = validate(request, context.settings, context.clusters.contexts(), lambda *_: ["payment-service"])
        connection = await context.clusters.connect("production")
        state = await read_state(connection, release.target, release.service)
        plan = compile_plan(release, state, context.settings)
        somebody = await asyncio.create_subprocess_exec(
            "kubectl", "--context", "production", "-n", "production", "set", "env", "deployment/payment-service", "HURRY=yes",
            env={**environment(), "KUBECONFIG": str(sandbox.kubeconfig)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert await somebody.wait() == 0
        passed = Checklist(
            results=(GateResult(name=GateName.ENVIRONMENT, outcome=GateOutcome.PASS, evidence="typed"),), digest=plan.digest
        )
        rollout, process = await start_rollout(context, release, plan, passed, "production")
        assert await asyncio.to_thread(process.wait, 30) == ExitCode.GATE_UNMET
    ended = await asyncio.to_thread(sandbox.rollouts)
    assert (ended[-1].id, ended[-1].phase) == (rollout.id, Phase.REFUSED)
    assert ended[-1].reason is not None
    assert "void" in ended[-1].reason.detail


async def test_r_restores_at_once_whoever_drives_and_a_second_r_joins(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    rollout = await asyncio.to_thread(sandbox.wait_for_rollout, lambda rollout: rollout.weight == 25, "25 %")
    async with context_of(sandbox) as context:
        inventory = Inventory(await context.clusters.connect("production"), ("production",), context.clock)
        running = asyncio.create_task(inventory.run())
        assert await inventory.wait_synced(10)
        first: Immediate = await rollback_now(context, inventory, rollout, reason="R")
        assert first.problem is None
        assert first.object == ROUTE
        assert first.seconds is not None
        assert first.seconds < 0.5
        route = await (await context.clusters.connect("production")).get(ROUTE)
        shares = {part["destination"]["subset"]: part["weight"] for part in route["spec"]["http"][0]["route"]}
        assert shares == {"stable": 100, "canary": 0}
        assert (await rollback_now(context, inventory, rollout)).joined
        assert first.process is not None
        assert await asyncio.to_thread(first.process.wait, 60) == ExitCode.ROLLED_BACK
        running.cancel()
    told = await asyncio.to_thread(deploy.ended, 30)
    assert told.code == 4, told.err
    assert told.document["rollback"]["restored"] is True
    stable, canary = await asyncio.to_thread(sandbox.get, STABLE), await asyncio.to_thread(sandbox.get, CANARY)
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"].endswith(OLD)
    assert canary["spec"]["replicas"] == 0
