"""Who drives a service: taking, keeping, losing and giving back a lease, with two wrong clocks and lost answers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.clock import ManualClock
from support.memory_cluster import memory_connection
from support.rollouts import driver, target

from services.coordination import Coordination, Held, Hold
from services.coordination.lease import lease_ref
from services.model.errors import HeldByAnother, Unavailable
from services.model.objects import value_at

LEASE = lease_ref("production", "payment-service")


class Place:
    def __init__(self) -> None:
        self.clock = ManualClock()
        connection, self.cluster = memory_connection()
        self.coordination = Coordination(connection, self.clock)

    async def take(self, token: str, **options: Any) -> Hold:
        who = driver(token, f"person-{token}")
        task = asyncio.ensure_future(self.coordination.acquire(target(), "payment-service", f"r-{token}", who, **options))
        for _ in range(400):
            if task.done():
                break
            await asyncio.sleep(0)
            await self.clock.advance(0.1)
        return await task


@pytest.fixture
def place() -> Place:
    return Place()


async def test_a_free_service_is_taken_with_the_first_epoch(place: Place) -> None:
    hold = await place.take("a")
    lease = place.cluster.at(LEASE)
    assert hold.epoch == 1
    assert value_at(lease, "/spec/holderIdentity") == "person-a@laptop#a"
    assert value_at(lease, "/spec/leaseDurationSeconds") == 15
    assert lease["metadata"]["annotations"] == {"quarterdeck/epoch": "1", "quarterdeck/rollout": "r-a"}
    assert lease["metadata"]["labels"]["quarterdeck/service"] == "payment-service"


async def test_the_one_who_is_refused_learns_who_since_when_and_for_what(place: Place) -> None:
    await place.take("a")
    with pytest.raises(Held) as refused:
        await place.take("b")
    assert (refused.value.operator, refused.value.since, refused.value.rollout) == (
        "person-a@laptop",
        "2026-01-01T00:00:00Z",
        "r-a",
    )
    assert "person-a@laptop" in str(refused.value)
    assert "#a" not in str(refused.value)
    assert isinstance(refused.value, HeldByAnother)


async def test_a_released_service_is_free_at_once_and_its_epoch_goes_on(place: Place) -> None:
    hold = await place.take("a")
    await place.coordination.release(hold)
    assert not value_at(place.cluster.at(LEASE), "/spec/holderIdentity")
    assert hold.lost
    before = place.clock.monotonic()
    assert (await place.take("b")).epoch == 2
    assert place.clock.monotonic() - before < 1


async def test_an_expired_lease_is_watched_for_a_moment_and_taken(place: Place) -> None:
    old = await place.take("a")
    await place.clock.advance(16)
    assert (await place.take("b")).epoch == 2
    with pytest.raises(HeldByAnother, match="person-b"):
        await place.coordination.renew(old)
    assert old.lost
    with pytest.raises(HeldByAnother):
        old.check()


async def test_a_lease_that_looks_expired_by_our_clock_but_is_renewed_is_not_taken(place: Place) -> None:
    hold = await place.take("a")
    # The holder's clock is a minute behind ours: every renewal it writes looks long expired to us.
    behind = place.clock.now() - timedelta(seconds=60)

    def renew_late() -> None:
        place.cluster.edit(LEASE, lambda lease: lease["spec"].update(renewTime=behind.strftime("%Y-%m-%dT%H:%M:%S.%fZ")))

    renew_late()
    task = asyncio.ensure_future(place.coordination.acquire(target(), "payment-service", "r-b", driver("b")))
    await place.clock.advance(2)
    behind += timedelta(seconds=3)
    renew_late()
    await place.clock.advance(4)
    with pytest.raises(Held, match="person-a"):
        await task
    assert hold.epoch == 1


async def test_a_lease_from_the_future_is_watched_for_a_whole_lease(place: Place) -> None:
    await place.take("a")
    ahead = (place.clock.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    place.cluster.edit(LEASE, lambda lease: lease["spec"].update(renewTime=ahead))
    started = place.clock.monotonic()
    assert (await place.take("b")).epoch == 2
    assert place.clock.monotonic() - started >= 15


async def test_force_takes_a_live_lease_at_once(place: Place) -> None:
    old = await place.take("a")
    before = place.clock.monotonic()
    new = await place.take("b", take_over=True)
    assert (new.epoch, place.clock.monotonic() - before < 1) == (2, True)
    await place.coordination.release(old)
    assert value_at(place.cluster.at(LEASE), "/spec/holderIdentity") == "person-b@laptop#b"
    assert old.lost


async def test_of_two_who_force_the_same_lease_one_succeeds(place: Place) -> None:
    await place.take("a")
    # The other one's write arrives between our look and our write.

    def other_first() -> None:
        def taken(lease: dict[str, Any]) -> None:
            stamp = place.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            lease["spec"].update(holderIdentity="omar@desk#x", acquireTime=stamp, renewTime=stamp)
            lease["metadata"]["annotations"].update({"quarterdeck/epoch": "2", "quarterdeck/rollout": "r-x"})

        place.cluster.edit(LEASE, taken)

    place.cluster.before_write.append(other_first)
    with pytest.raises(Held, match="omar@desk"):
        await place.take("b", take_over=True)


async def test_a_renewal_in_between_does_not_stop_a_forced_take_over(place: Place) -> None:
    hold = await place.take("a")
    place.cluster.before_write.append(
        lambda: place.cluster.edit(LEASE, lambda lease: lease["spec"].update(renewTime="2026-01-01T00:00:03.000000Z"))
    )
    assert (await place.take("b", take_over=True)).epoch == hold.epoch + 1


async def test_the_epoch_exceeds_what_was_found_on_the_objects(place: Place) -> None:
    assert (await place.take("a", at_least_epoch=41)).epoch == 42


async def test_an_answer_lost_while_taking_is_looked_up(place: Place) -> None:
    place.cluster.faults.append(lambda _: "lose")
    hold = await place.take("a")
    assert hold.epoch == 1
    await place.coordination.renew(hold)


async def test_a_request_lost_while_taking_is_sent_again(place: Place) -> None:
    place.cluster.faults.append(lambda _: "drop")
    assert (await place.take("a")).epoch == 1


async def test_renewal_moves_the_time_and_survives_somebody_elses_label(place: Place) -> None:
    hold = await place.take("a")
    await place.clock.advance(3)
    place.cluster.edit(LEASE, lambda lease: lease["metadata"]["labels"].update(team="blue"))
    await place.coordination.renew(hold)
    lease = place.cluster.at(LEASE)
    assert value_at(lease, "/spec/renewTime") == place.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert lease["metadata"]["labels"]["team"] == "blue"
    assert hold.renewed == place.clock.monotonic()


async def test_a_deleted_lease_comes_back_with_its_epoch(place: Place) -> None:
    await place.coordination.release(await place.take("a"))
    hold = await place.take("b")
    place.cluster.objects.clear()
    await place.coordination.renew(hold)
    assert place.cluster.at(LEASE)["metadata"]["annotations"]["quarterdeck/epoch"] == str(hold.epoch) == "2"


async def test_a_cluster_that_is_away_loses_no_lease(place: Place) -> None:
    hold = await place.take("a")
    place.cluster.faults.append(lambda _: "drop")
    with pytest.raises(Unavailable):
        await place.coordination.renew(hold)
    assert not hold.lost
    await place.coordination.renew(hold)


class Takers(RuleBasedStateMachine):
    """Any interleaving of takers: at most one hold passes a renewal, and epochs only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = Place()
        self.holds: list[Hold] = []
        self.epochs: list[int] = []
        self.tokens = 0

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    @rule(force=st.booleans())
    def take(self, force: bool) -> None:
        self.tokens += 1
        try:
            hold = self.run(self.place.take(f"t{self.tokens}", take_over=force))
        except Held:
            return
        assert not self.epochs or hold.epoch > max(self.epochs)
        self.epochs.append(hold.epoch)
        self.holds.append(hold)

    @rule(seconds=st.sampled_from([1.0, 5.0, 16.0]))
    def wait(self, seconds: float) -> None:
        self.run(self.place.clock.advance(seconds))

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(self.holds))
        newest = hold is self.holds[-1] and not hold.lost
        try:
            self.run(self.place.coordination.renew(hold))
        except Held:
            assert not newest
        else:
            assert newest

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.run(self.place.coordination.release(data.draw(st.sampled_from(self.holds))))

    @invariant()
    def the_stored_epoch_is_the_newest(self) -> None:
        if self.epochs:
            assert self.place.cluster.at(LEASE)["metadata"]["annotations"]["quarterdeck/epoch"] == str(self.epochs[-1])

    def teardown(self) -> None:
        self.loop.close()


Takers.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestTakers = Takers.TestCase
