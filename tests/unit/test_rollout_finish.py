"""What a rollout's end says of how far it had come: the evidence that a rehearsal is judged by."""

from typing import Any

import msgspec
import pytest
from support.rollouts import rollout

from services.model.objects import ObjectRef
from services.model.rollout import Phase, Rollout, UndoRecord
from services.model.steps import EnsureWorkload, MeasureBaseline, SetTraffic
from services.rollout.finish import highest_weight, restored_values

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
    )
    plan = msgspec.structs.replace(found.plan, steps=steps)
    return msgspec.structs.replace(found, plan=plan, undo=undo, phase=phase)


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
