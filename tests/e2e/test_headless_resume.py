"""Killed, stopped, interrupted, cut off: the rollout goes on, is resumed, or is rolled back, and no step takes effect twice."""

import os
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.harness import CANARY, CONFIRMED, ROUTE, STABLE, Sandbox
from support.processes import alive, eventually

from services.model.rollout import Phase, Rollout

pytestmark = pytest.mark.long

SPEED = 40.0


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", SPEED, shipping=False)
    yield running
    running.stop()


def carries(weight: int) -> Callable[[Rollout], bool]:
    return lambda rollout: rollout.weight == weight


def executed(sandbox: Sandbox, rollout: Rollout) -> Counter[str]:
    """How often each change of the plan was accepted by the API server."""
    entries = sandbox.journal("--rollout", rollout.id, "--event", "deployment.executed")
    return Counter(
        f"{entry['data'].get('step')} {entry['command']}"
        for entry in entries
        if entry["phase"] == "outcome" and entry["outcome"] == "ok" and entry["command"].startswith("kubectl")
    )


def test_a_killed_driver_is_noticed_and_its_rollout_resumed(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(carries(25), "25 %")
    os.kill(sandbox.driver(rollout), signal.SIGKILL)
    left = deploy.ended(timeout=60)
    assert left.code == 7, left.err
    assert left.document["outcome"] == "interrupted"
    assert sandbox.rollouts()[-1].weight == 25

    resumed = sandbox.run(*CONFIRMED)
    assert resumed.code == 0, resumed.err
    assert resumed.document["rollout"] == rollout.id
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0
    assert max(executed(sandbox, rollout).values()) == 1
    events = [entry["event"] for entry in sandbox.journal("--rollout", rollout.id)]
    assert events.count("deployment.started") == 1
    assert "rollout.taken_over" in events
    assert sandbox.run("journal", "verify").code == 0


def test_another_release_waits_for_the_one_under_way(sandbox: Sandbox) -> None:
    sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(carries(5), "5 %")
    held = sandbox.run(*CONFIRMED)
    assert held.code == 6
    assert rollout.id in held.err
    back = sandbox.run("rollback", "payment-service", "-e", "production")
    assert back.code == 0, back.err
    assert back.document["reason"]["kind"] == "operator"
    assert sandbox.get(CANARY)["spec"]["replicas"] == 0


def test_a_stopped_driver_changes_nothing_when_it_wakes(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(carries(10), "10 %")
    sleeper = sandbox.driver(rollout)
    os.kill(sleeper, signal.SIGSTOP)
    colleague = tmp_path / "colleague"
    taken = sandbox.start("drive", rollout.id, "--take-over", "--rollback", home=colleague)
    assert taken.ended().code == 4
    versions = {ref: sandbox.get(ref)["metadata"]["resourceVersion"] for ref in (STABLE, CANARY, ROUTE)}
    os.kill(sleeper, signal.SIGCONT)
    eventually("the superseded driver stops", lambda: not alive(sleeper), 60.0)
    assert {ref: sandbox.get(ref)["metadata"]["resourceVersion"] for ref in versions} == versions
    assert sandbox.rollouts()[-1].phase is Phase.ROLLED_BACK


def test_the_command_may_leave_and_the_rollout_goes_on(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(carries(5), "5 %")
    deploy.process.terminate()
    left = deploy.ended(timeout=60)
    assert (left.code, left.document["outcome"]) == (7, "interrupted")
    assert rollout.id in left.err
    assert alive(sandbox.driver(rollout))
    watched = sandbox.run("watch", rollout.id)
    assert watched.code == 0
    assert '"phase":"succeeded"' in watched.out.splitlines()[-1]


def test_watching_where_nothing_is_live_says_so_and_tells_what_begins(sandbox: Sandbox) -> None:
    watching = sandbox.start("watch")
    eventually("it says how it is", lambda: select.select([watching.process.stderr], [], [], 0)[0])
    assert watching.process.stderr is not None
    assert watching.process.stderr.readline().startswith("No rollout is live in canary, dev, production, staging. The next is")
    deploy = sandbox.start(*CONFIRMED)
    rollout = sandbox.wait_for_rollout(carries(5), "5 %")
    eventually("it has told", lambda: select.select([watching.process.stdout], [], [], 0)[0])
    watching.process.terminate()
    left = watching.ended(timeout=60)
    assert left.code == 0
    assert rollout.id in left.out
    deploy.process.terminate()
    deploy.ended(timeout=60)


def test_a_cluster_that_is_away_for_a_while_is_waited_for(sandbox: Sandbox) -> None:
    deploy = sandbox.start(*CONFIRMED)
    sandbox.wait_for_rollout(carries(5), "5 %")
    os.kill(sandbox.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(AssertionError, match="the command ends"):
            eventually("the command ends", lambda: deploy.process.poll() is not None, 12.0)
    finally:
        os.kill(sandbox.process.pid, signal.SIGCONT)
    done = deploy.ended()
    assert done.code == 0, done.err
