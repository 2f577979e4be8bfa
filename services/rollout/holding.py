"""How a driver comes to hold its rollout, keeps holding it, and lets it go: lease and checkpoint, with patience for a cluster
that is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from services.coordination import Coordination, Hold
from services.model.errors import Forbidden, HeldByAnother, NeedsAttention, ObserverMode, QuarterdeckError, Unavailable
from services.model.rollout import Rollout
from services.rollout.station import Station

RENEW_SECONDS = 3.0
SANDBOX_GONE = 300.0
"""Wall seconds after which a sandbox that does not answer is taken to be gone, and its drivers with it."""
START_PATIENCE = 60.0
"""Wall seconds for which a driver of a rollout that has begun waits for its cluster before it gives up."""
ROLLBACK_PATIENCE = 300.0
"""The same for a rollback: the whole time that it may take. A cluster that was away is restored as soon as it is back."""
TAKE_SECONDS = 5.0
"""Wall seconds for which a rollback tries to take its checkpoint before it only reads it."""
REFUSED_PATIENCE = 10.0
"""Wall seconds for which a rollback asks again for what it was refused: a webhook or a role may just be changing."""

LEASE_SECONDS = 15.0
"""Wall seconds after which a rollback goes on without its lease, where everything else answers."""

T = TypeVar("T")

log = logging.getLogger(__name__)


async def renew(coordination: Coordination, hold: Hold, station: Station) -> None:
    """Renew until the lease is lost, which is raised. A cluster that does not answer loses nothing: it is asked again, for ever.

    A sandbox does not come back where it was: raises :class:`Unavailable` where one has been away for :data:`SANDBOX_GONE`.
    """
    answered = station.clock.monotonic()
    while True:
        await station.clock.sleep(RENEW_SECONDS)
        try:
            await coordination.renew(hold)
            answered = station.clock.monotonic()
        except HeldByAnother:
            raise
        except QuarterdeckError as error:
            # Whatever else stands in the way of a renewal is no reason to leave a rollout that nobody else drives.
            log.warning("lease of %s not renewed: %s", hold.service, error)
            if station.settings.sandbox is not None and station.clock.monotonic() - answered > SANDBOX_GONE:
                raise
        except Exception:
            # Neither is a defect of ours: the objects are fenced, and whoever takes the lease takes them too.
            log.exception("lease of %s not renewed", hold.service)


async def release(coordination: Coordination, hold: Hold) -> None:
    if hold.lost:
        return
    try:
        await asyncio.wait_for(coordination.release(hold), 5.0)
    except (TimeoutError, QuarterdeckError) as error:
        log.warning("lease of %s not released (it expires by itself): %s", hold.service, error)


@dataclass(frozen=True, slots=True)
class Patience:
    """Wall seconds for which a cluster is asked again: while it does not ``answer``, and while it has ``refused``."""

    answer: float
    refused: float = 0.0

    @classmethod
    def of(cls, *, begun: bool, rollback: bool) -> "Patience":
        """None at all where nothing has begun: then it is an error at once."""
        if rollback:
            return cls(ROLLBACK_PATIENCE, REFUSED_PATIENCE)
        return cls(START_PATIENCE if begun else 0.0)


async def patiently(station: Station, patience: Patience, call: Callable[[], Awaitable[T]]) -> T:
    """``call`` again and again while the cluster does not answer, or refuses it, for as long as ``patience`` says."""
    began = station.clock.monotonic()
    while True:
        try:
            return await call()
        except Unavailable as error:
            most = patience.refused if isinstance(error, Forbidden) else patience.answer
            if station.clock.monotonic() - began >= most:
                raise
            await station.clock.sleep(1.0)


async def held(
    station: Station,
    patience: Patience,
    acquire: Callable[[], Awaitable[Hold]],
    go_without: Callable[[], Awaitable[Hold]],
    *,
    anyway: bool,
) -> Hold:
    """The lease, by ``acquire``. ``anyway``: a rollback is stopped by no bookkeeping; where the lease may not be written, or its
    writing hangs, while the cluster answers, it goes on with the hold of ``go_without``. What it writes is fenced at the objects.

    Raises :class:`HeldByAnother` where somebody else holds it, and what the cluster answered last where that was no answer.
    """
    if not anyway:
        return await patiently(station, patience, acquire)

    async def one_way_or_the_other() -> Hold:
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                return await patiently(station, Patience(REFUSED_PATIENCE, REFUSED_PATIENCE), acquire)
        except (HeldByAnother, ObserverMode):
            raise
        except (QuarterdeckError, TimeoutError) as error:
            log.warning("rolling back without the lease, which could not be taken: %s", error)
        return await go_without()

    return await patiently(station, patience, one_way_or_the_other)


async def taken(station: Station, coordination: Coordination, known: Rollout, patience: Patience, *, anyway: bool) -> Rollout:
    """The rollout as its predecessor left it, who from here on can neither store nor send anything.

    ``anyway``: a rollback is stopped by no bookkeeping. Where the checkpoint can't be taken it is only read (the undo records are
    in it), and where there is none to be read, what is ``known`` has to do.
    """
    try:
        return await patiently(station, Patience(TAKE_SECONDS) if anyway else patience, lambda: coordination.take(known))
    except HeldByAnother:
        raise
    except QuarterdeckError as error:
        if not anyway:
            raise
        log.warning("checkpoint of %s not taken: %s", known.id, error)
    namespace = known.release.target.namespace
    try:
        return await patiently(station, patience, lambda: coordination.load(namespace, known.id)) or known
    except (Forbidden, NeedsAttention) as error:
        log.warning("checkpoint of %s not read: %s", known.id, error)
        return known
