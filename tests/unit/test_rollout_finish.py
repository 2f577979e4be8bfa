"""What a rollout's end says of how far it had come: the evidence that a rehearsal is judged by."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.configuration import configured
from support.memory_cluster import memory_connection
from support.rollouts import driver, rollout

from services.actuator import Actuator
from services.audit import Event, Journal
from services.clock import SystemClock
from services.cluster.inventory import Inventory
from services.coordination import Coordination
from services.coordination.records import records
from services.model.errors import ExitCode, HeldByAnother, Invalid, QuarterdeckError
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import Phase, Rollout, StepState, UndoRecord
from services.model.steps import EnsureWorkload, MeasureBaseline, SetTraffic, SmokeTest
from services.redaction import Redactor
from services.rollout.finish import finish, highest_weight, restored_values
from services.rollout.run import Run

SERVICE = "payment-service"
STABLE = ObjectRef("Deployment", "production", "payment-service")
CANARY = ObjectRef("Deployment", "production", "payment-service-canary")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")


def ended(*undo: UndoRecord, phase: Phase = Phase.ROLLED_BACK) -> Rollout:
    found = rollout()
    steps = (
        MeasureBaseline(name="baseline", seconds=60),
        EnsureWorkload(name="canary", workload=CANARY, source=STABLE, images={}, labels={}, replicas=1),
        SetTraffic(name="5 %", router="istio", route=ROUTE, weight=5),
        SetTraffic(name="25 %", router="istio", route=ROUTE, weight=25),
        SetTraffic(name="50 %", router="istio", route=ROUTE, weight=50),
        SmokeTest(name="smoke tests", checks=()),
    )
    plan = msgspec.structs.replace(found.plan, steps=steps)
    states = tuple(StepState() for _ in steps)
    return msgspec.structs.replace(found, plan=plan, steps=states, undo=undo, phase=phase)


def undone(ref: ObjectRef, path: str, old: Any, new: Any, step: int) -> UndoRecord:
    return UndoRecord(object=ref, path=path, old=old, new=new, step=step)


SHARES = tuple(
    undone(ROUTE, f"/spec/http/0/route/{position}/weight", old, new, step)
    for step, (position, old, new) in ((2, (0, 100, 95)), (2, (1, 0, 5)), (3, (0, 95, 75)), (3, (1, 5, 25)))
)


def test_aborted_in_the_baseline_nothing_was_put_back_and_no_share_given() -> None:
    assert (restored_values(ended()), highest_weight(ended())) == (0, 0)


def test_the_share_is_the_one_that_was_written_not_the_one_that_was_planned() -> None:
    found = ended(undone(CANARY, "/spec/replicas", 0, 1, 1), *SHARES)
    assert highest_weight(found) == 25
    assert restored_values(found) == 3, "two weights, changed twice each, and the replicas"


def test_a_value_that_came_back_on_its_own_and_a_parent_that_was_made_are_none() -> None:
    found = ended(
        undone(CANARY, "/spec/replicas", 2, 5, 1),
        undone(CANARY, "/spec/replicas", 5, 2, 1),
        undone(CANARY, "/metadata/labels", None, {}, 1),
    )
    assert restored_values(found) == 0


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.NEEDS_ATTENTION])
def test_what_was_not_rolled_back_put_nothing_back(phase: Phase) -> None:
    assert restored_values(ended(*SHARES, phase=phase)) == 0


REFUSED = Invalid("ConfigMap was refused", "An admission webhook denied the request.", "Ask whoever runs it.")


async def finishing(tmp_path: Path, final: Rollout, *, broken: str, error: QuarterdeckError) -> tuple[ExitCode, int]:
    """The exit code of a finished rollout whose ``broken`` write fails, and how many records it left."""
    connection, _ = memory_connection()
    clock = SystemClock()
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=clock)
    coordination = Coordination(connection, clock)
    hold = await coordination.acquire(final.release.target, SERVICE, final.id, driver("t"))
    run = Run(
        msgspec.structs.replace(final, phase=Phase.ROLLING_BACK, epoch=hold.epoch),
        connection=connection,
        inventory=Inventory(connection, ("production",), clock),
        actuator=Actuator(connection, journal, clock, read_only=False),
        coordination=coordination,
        hold=hold,
        journal=journal,
        settings=configured(),
        clock=clock,
    )

    async def refuse(*_: object) -> None:
        raise error

    setattr(coordination, broken, refuse)
    try:
        code = await finish(run, msgspec.structs.replace(final, epoch=max(final.epoch, hold.epoch)))
        return code, len(await records(connection, "production", SERVICE))
    finally:
        journal.close()


@pytest.mark.parametrize(("broken", "left"), [("save", 1), ("record", 0)])
async def test_bookkeeping_that_fails_does_not_turn_a_good_rollback_into_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str, left: int
) -> None:
    assert await finishing(tmp_path, ended(*SHARES), broken=broken, error=REFUSED) == (ExitCode.ROLLED_BACK, left)
    assert "ConfigMap was refused" in caplog.text


async def test_a_rollout_that_somebody_took_over_meanwhile_is_not_ours_to_answer_for(tmp_path: Path) -> None:
    with pytest.raises(HeldByAnother):
        await finishing(tmp_path, ended(*SHARES), broken="save", error=HeldByAnother("taken over"))


@pytest.mark.parametrize(
    ("facts", "ends"),
    [({"step_name": "claim"}, 1), ({"step": 5}, 1), ({"step": 4}, 2), ({"step_name": "rollback"}, 2)],
    ids=["a claim", "smoke tests once more", "a share", "a restored value"],
)
async def test_what_is_asked_again_makes_an_end_no_other_one_and_a_change_does(
    tmp_path: Path, facts: dict[str, Json], ends: int
) -> None:
    final = msgspec.structs.replace(ended(*SHARES), epoch=2)
    await finishing(tmp_path, final, broken="save", error=REFUSED)
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=SystemClock())
    await journal.append(Event(event="deployment.executed", user="jane", rollout=final.id, outcome="ok", data=facts))
    journal.close()
    await finishing(tmp_path, final, broken="save", error=REFUSED)
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=SystemClock())
    assert len(journal.entries(rollout=final.id, event="deployment.completed")) == ends
    journal.close()


async def test_an_end_that_a_killed_driver_told_already_is_told_once(tmp_path: Path) -> None:
    """It was killed between the journal and the checkpoint; whoever resumes comes to the same end."""
    final = msgspec.structs.replace(ended(*SHARES), epoch=2)
    for _ in range(2):
        await finishing(tmp_path, final, broken="save", error=REFUSED)
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=SystemClock())
    assert len(journal.entries(rollout=final.id, event="deployment.completed")) == 1
    journal.close()
    await finishing(
        tmp_path, msgspec.structs.replace(final, phase=Phase.NEEDS_ATTENTION), broken="save", error=REFUSED
    )  # another end is news
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=SystemClock())
    told = journal.entries(rollout=final.id, event="deployment.completed")
    journal.close()
    assert [entry["outcome"] for entry in told] == ["rolled_back", "needs_attention"]
    restored = [value_at(entry, "/data/restored_version") for entry in told]
    assert restored == [final.plan.previous_version, None], "which version runs now is said only where it is known"
