"""A rollback whose lease may not be written: it goes on, fenced at the objects, and takes the lease once it may."""

import asyncio
from typing import Any

import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import memory_connection, refusal_of
from support.rollouts import driver, rollout, target

from services.cluster.transport import Answer, Request
from services.coordination import Coordination, Hold
from services.coordination.lease import lease_ref
from services.model.errors import Forbidden, HeldByAnother, Invalid, QuarterdeckError
from services.rollout.holding import Patience, held

SERVICE = "payment-service"
LEASE = lease_ref("production", SERVICE)


class Place:
    """A cluster that refuses every write of a lease with ``code``, while there is one."""

    def __init__(self, code: int) -> None:
        self.code, self.clock, self.settings = code, ManualClock(), configured()
        connection, self.cluster = memory_connection()
        self.coordination = Coordination(connection, self.clock)
        answer = self.cluster.request

        async def request(request: Request, seconds: float = 10.0) -> Answer:
            if self.code and request.method != "GET" and "/leases" in request.path:
                raise refusal_of(self.code, request)
            return await answer(request, seconds)

        self.cluster.request = request  # type: ignore[method-assign]

    async def hold(self, *, rollback: bool, token: str = "new") -> Hold:
        who, station = driver(token), self
        acquire = lambda: self.coordination.acquire(target(), SERVICE, "r1", who, take_over=True)  # noqa: E731
        without = lambda: self.coordination.go_without(target(), SERVICE, "r1", who)  # noqa: E731
        patience = Patience.of(begun=True, rollback=rollback)
        return await self.ended(held(station, patience, acquire, without, anyway=rollback))  # type: ignore[arg-type]

    async def ended(self, work: Any, seconds: float = 400.0) -> Any:
        task = asyncio.ensure_future(work)
        began = self.clock.monotonic()
        while not task.done() and self.clock.monotonic() - began < seconds:
            await self.clock.advance(0.5)
            await asyncio.sleep(0)
        return await task


@pytest.mark.parametrize(("code", "refused"), [(403, Forbidden), (422, Invalid), (500, QuarterdeckError)])
async def test_a_rollback_goes_on_without_its_lease_and_takes_it_once_it_may(code: int, refused: type[Exception]) -> None:
    place = Place(0)
    old = await place.hold(rollback=False, token="old")
    fenced = await place.coordination.take(rollout(epoch=old.epoch + 4))
    place.code = code
    with pytest.raises(refused):
        await place.hold(rollback=False)
    began = place.clock.monotonic()
    hold = await place.hold(rollback=True)
    assert place.clock.monotonic() - began <= 16.0
    assert hold.epoch > fenced.epoch, "what it writes has to be newer than anything before"
    assert not hold.lost
    with pytest.raises(QuarterdeckError):
        await place.coordination.renew(hold)
    assert not hold.lost
    place.code = 0
    await place.coordination.renew(hold)
    lease = place.cluster.at(LEASE)
    assert lease["spec"]["holderIdentity"] == hold.driver.identity
    assert lease["metadata"]["annotations"]["quarterdeck/epoch"] == str(hold.epoch)
    await place.coordination.renew(hold)
    with pytest.raises(HeldByAnother):
        await place.coordination.renew(old)
    await place.coordination.release(hold)
    assert place.cluster.at(LEASE)["spec"]["holderIdentity"] == ""


async def test_whoever_took_it_over_meanwhile_keeps_it() -> None:
    place = Place(403)
    hold = await place.hold(rollback=True)
    place.code = 0
    other = await place.ended(place.coordination.acquire(target(), SERVICE, "r1", driver("other"), at_least_epoch=hold.epoch))
    with pytest.raises(HeldByAnother):
        await place.coordination.renew(hold)
    assert hold.lost
    await place.coordination.release(hold)
    await place.coordination.renew(other)


async def test_a_lease_that_was_never_stored_is_not_given_back() -> None:
    place = Place(403)
    hold = await place.hold(rollback=True)
    await place.coordination.release(hold)
    assert not place.cluster.has(LEASE)
