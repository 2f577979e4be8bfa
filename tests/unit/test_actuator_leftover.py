"""An object that an earlier rollout made and never took away again: taken over where it is the same, with our epoch on it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock
from support.memory_cluster import memory_connection
from support.rollouts import driver, rollout, target

from services.actuator import Actuator, Misplaced, Mutation, Superseded
from services.audit import Journal
from services.coordination import Coordination
from services.model.objects import ObjectRef
from services.model.rollout import UndoRecord
from services.redaction import Redactor

INGRESS = ObjectRef("Ingress", "production", "payment-service-canary")
BODY = {
    "metadata": {"name": INGRESS.name, "annotations": {"nginx/canary": "true", "nginx/canary-weight": "0"}},
    "spec": {"rules": [{"host": "pay.example", "http": {"paths": [{"path": "/"}]}}]},
}
MAKE = Mutation(object=INGRESS, writes=(), create=BODY, owned=True, command="kubectl apply", step=2)


def left(epoch: int, change: Callable[[dict[str, Any]], None] = lambda body: None) -> dict[str, Any]:
    body: dict[str, Any] = copy.deepcopy(BODY)
    body["metadata"]["annotations"]["quarterdeck/epoch"] = str(epoch)
    body["status"] = {"loadBalancer": {}}
    body["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "Prefix"  # a server's default
    change(body)
    return body


def weighted(body: dict[str, Any]) -> None:
    body["metadata"]["annotations"]["nginx/canary-weight"] = "25"


def another_host(body: dict[str, Any]) -> None:
    body["spec"]["rules"].append({"host": "other.example"})


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize(("change", "taken"), [(lambda body: None, True), (weighted, False), (another_host, False)])
async def test_what_an_earlier_rollout_left(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], taken: bool, claimed: bool
) -> None:
    connection, cluster = memory_connection()
    clock = ManualClock()
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=clock)
    actuator, coordination = Actuator(connection, journal, clock, read_only=False), Coordination(connection, clock)
    cluster.put(INGRESS, left(3, change))
    hold = await coordination.acquire(target(), "payment-service", "r1", driver(), at_least_epoch=6)
    if claimed:
        await actuator.claim((INGRESS,), hold, rollout())
    stored: list[tuple[UndoRecord, ...]] = []

    async def noted(undo: tuple[UndoRecord, ...]) -> None:
        stored.append(undo)

    before = cluster.at(INGRESS)
    if not taken:
        with pytest.raises(Misplaced, match="left by an earlier rollout") as refused:
            await actuator.apply(MAKE, hold=hold, rollout=rollout(), noted=noted)
        assert "kubectl delete ingress/payment-service-canary -n production --context memory" in refused.value.hint
        assert cluster.at(INGRESS) == before
    else:
        applied = await actuator.apply(MAKE, hold=hold, rollout=rollout(), noted=noted)
        assert [(record.path, record.old) for record in applied.undo] == [("", None)], "it goes with this rollout"
        assert cluster.at(INGRESS)["metadata"]["annotations"]["quarterdeck/epoch"] == str(hold.epoch)
        assert stored == ([] if claimed else [applied.undo]), "known before the request left"
        older = await Coordination(connection, clock).acquire(target("elsewhere"), "payment-service", "r0", driver("t0"))
        with pytest.raises(Superseded):
            await actuator.apply(MAKE, hold=older, rollout=rollout())
    journal.close()
