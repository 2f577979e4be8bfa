"""Checkpoints and records: what survives, what is fenced, what is cut and what is tidied away."""

from datetime import timedelta

import msgspec
import pytest
from support.clock import ManualClock
from support.judgements import errors, judgement
from support.memory_cluster import memory_connection
from support.rollouts import NOW, record, rollout

from services.coordination import Coordination, records
from services.coordination.checkpoint import LIMIT, checkpoint_ref, encode
from services.model.errors import HeldByAnother, NeedsAttention
from services.model.gates import GateName, GateOutcome, GateResult
from services.model.objects import ObjectRef
from services.model.rollout import Arm, Phase, Rollout, Sample, UndoRecord

replace = msgspec.structs.replace


def sample(at: float) -> Sample:
    return Sample(at=at, canary=Arm(pods=2, ready=2, requests=123.0, errors=1.0, p99=0.048), stable=Arm(pods=3, ready=3))


def test_a_checkpoint_that_fits_is_whole() -> None:
    value = replace(rollout(), samples=tuple(sample(float(at)) for at in range(20)))
    assert msgspec.json.decode(encode(value), type=Rollout) == value


def test_what_is_only_drawn_of_the_judge_goes_before_any_sample() -> None:
    course = tuple(-1.5 + at / 100 for at in range(60))
    drawn = judgement(metrics=tuple(errors(name=f"ratio-{number}", path=course) for number in range(23)), memory="x" * 50_500)
    value = replace(rollout(), judgement=drawn, samples=(sample(1.0),))
    assert len(msgspec.json.encode(value)) > LIMIT
    kept = msgspec.json.decode(encode(value), type=Rollout)
    assert kept == replace(value, judgement=drawn.undrawn)


def test_too_many_samples_lose_the_oldest_and_only_as_many_as_needed() -> None:
    value = replace(rollout(), samples=tuple(sample(float(at)) for at in range(2000)))
    body = encode(value)
    kept = msgspec.json.decode(body, type=Rollout).samples
    assert len(body) <= LIMIT < len(body) + 2 * len(msgspec.json.encode(sample(1000.0)))
    assert kept[-1].at == 1999.0
    assert [one.at for one in kept] == [float(at) for at in range(2000 - len(kept), 2000)]


def test_long_texts_are_cut_before_anything_a_rollback_needs() -> None:
    gate = GateResult(name=GateName.TICKET, outcome=GateOutcome.PASS, evidence="e" * 40_000, detail="d" * 40_000)
    undo = (UndoRecord(object=ObjectRef("Deployment", "production", "a"), path="/spec/replicas", old=1, new=2, step=1),)
    value = replace(rollout(), gates=(gate,), undo=undo)
    body = encode(value)
    back = msgspec.json.decode(body, type=Rollout)
    assert len(body) <= LIMIT
    assert (back.undo, back.plan) == (value.undo, value.plan)


def test_undo_records_that_do_not_fit_are_refused_and_not_cut() -> None:
    undo = tuple(
        UndoRecord(object=ObjectRef("Deployment", "production", "a"), path="/x", old="o" * 1000, new=2, step=1) for _ in range(80)
    )
    with pytest.raises(NeedsAttention, match="too large"):
        encode(replace(rollout(), undo=undo))


async def test_what_is_saved_can_be_loaded_and_found_by_its_labels() -> None:
    connection, cluster = memory_connection()
    coordination = Coordination(connection, ManualClock())
    value = rollout("r1", epoch=3)
    await coordination.save(value)
    assert await coordination.load("production", "r1") == value
    assert await coordination.load("production", "other") is None
    metadata = cluster.at(checkpoint_ref("production", "r1"))["metadata"]
    assert metadata["labels"] == {
        "quarterdeck/kind": "checkpoint",
        "quarterdeck/service": "payment-service",
        "quarterdeck/rollout": "r1",
    }


async def test_the_second_save_takes_one_request() -> None:
    connection, cluster = memory_connection()
    coordination = Coordination(connection, ManualClock())
    await coordination.save(rollout("r1", epoch=3))
    before = len(cluster.log)
    await coordination.save(replace(rollout("r1", epoch=3), step=2))
    assert len(cluster.log) == before + 1
    found = await coordination.load("production", "r1")
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("saved_before", [True, False])
async def test_a_superseded_driver_can_not_write_over_its_successor(saved_before: bool) -> None:
    connection, _ = memory_connection()
    old, new = Coordination(connection, ManualClock()), Coordination(connection, ManualClock())
    if saved_before:
        await old.save(rollout("r1", epoch=3))
    successor = replace(rollout("r1", epoch=4), step=7)
    await new.save(successor)
    with pytest.raises(HeldByAnother, match="epoch 4"):
        await old.save(rollout("r1", epoch=3))
    assert await new.load("production", "r1") == successor


async def test_an_answer_lost_while_saving_loses_nothing() -> None:
    connection, cluster = memory_connection()
    coordination = Coordination(connection, ManualClock())
    await coordination.save(rollout("r1", epoch=3))
    cluster.faults.append(lambda _: "lose")
    value = replace(rollout("r1", epoch=3), step=2)
    with pytest.raises(Exception, match="broke"):
        await coordination.save(value)
    await coordination.save(replace(value, step=3))
    found = await coordination.load("production", "r1")
    assert found is not None
    assert found.step == 3


async def test_a_checkpoint_of_another_version_says_so() -> None:
    connection, cluster = memory_connection()
    ref = checkpoint_ref("production", "r1")
    cluster.put(ref, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"rollout": "{}"}})
    with pytest.raises(NeedsAttention, match="can't be read"):
        await Coordination(connection, ManualClock()).load("production", "r1")


async def test_a_new_rollout_leaves_the_newest_ten_finished_checkpoints_and_every_unfinished_one() -> None:
    connection, cluster = memory_connection()
    coordination = Coordination(connection, ManualClock())
    for number in range(14):
        created = NOW + timedelta(minutes=number)
        phase = Phase.PAUSED if number == 0 else Phase.SUCCEEDED
        await coordination.save(replace(rollout(f"r{number:02}", created=created), phase=phase))
    other = rollout("other", service="checkout")
    await coordination.save(replace(other, phase=Phase.SUCCEEDED))
    await coordination.save(rollout("r99", created=NOW + timedelta(hours=1)))
    left = {path.rpartition("-")[2] for path in cluster.objects}
    assert left == {"r00", "r99", "other"} | {f"r{number:02}" for number in range(4, 14)}
    assert await coordination.tidy("production", "payment-service") == 0


async def test_the_newest_twenty_records_of_a_service_are_kept_oldest_first() -> None:
    connection, _ = memory_connection()
    coordination = Coordination(connection, ManualClock())
    await coordination.record(record("other", service="checkout"), "production")
    for number in range(25):
        await coordination.record(record(f"r{number:02}", finished=NOW + timedelta(minutes=number)), "production")
    found = await records(connection, "production", "payment-service")
    assert [one.rollout for one in found] == [f"r{number:02}" for number in range(5, 25)]
    assert len(await records(connection, "production", "checkout")) == 1


async def test_a_rollout_that_ends_twice_has_its_last_end_on_record() -> None:
    connection, _ = memory_connection()
    coordination = Coordination(connection, ManualClock())
    await coordination.record(replace(record("r1"), outcome="succeeded"), "production")
    await coordination.record(replace(record("r1"), outcome="rolled_back"), "production")
    (found,) = await records(connection, "production", "payment-service")
    assert found.outcome == "rolled_back"


async def test_a_record_that_can_not_be_read_is_no_evidence() -> None:
    connection, cluster = memory_connection()
    labels = {"quarterdeck/kind": "record", "quarterdeck/service": "payment-service"}
    ref = ObjectRef("ConfigMap", "production", "quarterdeck-record-x")
    cluster.put(ref, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": labels}, "data": {"record": "{"}})
    assert await records(connection, "production", "payment-service") == ()
