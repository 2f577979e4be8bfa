"""``R``: restore at once, whoever drives, and let a driver finish and verify.

The first restoring patch is built from the inventory's copies and sent without a read, a lease or a gate before it: requests
back to stable where the canary has a share, else stable's own template. It bumps the object's epoch, so the driver that was
running is refused from there on. Everything else is the work of ``drive ID --rollback``, started right behind it.
"""

import asyncio
import logging
import os
import subprocess
from dataclasses import dataclass

import msgspec

from services.actuator import Actuator
from services.actuator.undo import Stage, fold, plan_restore
from services.cluster.inventory import Inventory
from services.cluster.watched import rollouts
from services.coordination import Coordination
from services.model.errors import ObserverMode, QuarterdeckError, Rejected
from services.model.objects import ObjectRef
from services.model.release import Target
from services.model.rollout import Phase, Rollout
from services.rollout import home as homes
from services.rollout.belonging import through
from services.rollout.revisions import to_revision
from services.rollout.start import start_driver
from services.rollout.station import Station
from services.rollout.undoing import asked, write_started

LIVE = (Phase.RUNNING, Phase.PAUSED, Phase.ROLLING_BACK)
FENCE_SECONDS = 3.0
"""Wall seconds for which the driver that follows waits for the fence: it fences by itself."""

KEEPING = 0.5
"""Wall seconds that the home's disk gets to take down what the driver that follows would else look for in the clusters."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Immediate:
    """``seconds``: wall seconds from the call to the API server's acceptance of the first patch (``None``: none was needed, or
    it was refused, see ``problem``: the driver tries again). ``joined``: a rollback of it was under way already, or, with a
    ``problem``, the driver at work was told to do it, since the cluster does not listen to us."""

    rollout: Rollout
    object: ObjectRef | None = None
    seconds: float | None = None
    joined: bool = False
    problem: QuarterdeckError | None = None
    process: subprocess.Popen[bytes] | None = None


async def rollback_now(station: Station, inventory: Inventory, rollout: Rollout, *, reason: str = "") -> Immediate:
    """Roll ``rollout`` back, live or finished. Raises :class:`ObserverMode`, and :class:`Rejected` for a finished one while
    another of the service is under way; what goes wrong with the first patch is in the answer, since the driver goes on with it.
    """
    if station.read_only:
        raise ObserverMode("Read-only: nothing is rolled back", "Nothing was sent to the cluster.", "Leave --read-only out.")
    if rollout.phase.final and (other := _under_way(station, inventory, rollout)) is not None:
        # Its driver would lose the service, and its share of the requests would stay where it is, with nobody watching.
        raise Rejected("rollout", rollout.id, f"is over, and {other.id} is under way", f"a rollback of {other.id} first")
    started = station.clock.monotonic()
    try:
        lock = homes.lock_rollback(station.home, rollout.id)
    except OSError as error:
        # A full disk decides no rollback. Two of this home are told apart by the lease alone then, as those of two homes are.
        log.warning("the rollback of %s is not locked in the home directory: %s", rollout.id, error)
        lock = -1
    if lock is None:
        return Immediate(rollout, joined=True)
    holding = lock if lock >= 0 else None
    process: subprocess.Popen[bytes] | None = None
    joined = False
    try:
        (accepted, touched, problem), fenced = await asyncio.gather(
            _first(station, inventory, rollout), _fence(station, inventory, rollout, reason or f"asked for by {station.user}")
        )
        # Where the cluster listens to us no more, it may still listen to the driver that is at work.
        joined = problem is not None and not fenced and await asked(station, rollout, reason)
    finally:
        # Whatever became of the patch, also where the console is closed under it: the driver that was running may be fenced
        # off by now, and somebody has to finish.
        try:
            if not joined:
                await _hand_over(station, inventory, rollout)
        finally:
            try:
                if not joined:
                    process = start_driver(station, rollout.id, take_over=True, rollback=True, reason=reason, holding=holding)
            finally:
                if holding is not None:
                    os.close(holding)
    if joined:
        return Immediate(rollout, joined=True, problem=problem)
    seconds = accepted - started if accepted is not None else None
    return Immediate(rollout, object=touched, seconds=seconds, problem=problem, process=process)


async def _hand_over(station: Station, inventory: Inventory, rollout: Rollout) -> None:
    """Keep for the driver that follows what is known here of a rollout that was not started from this home: it would have to find
    it in a cluster that may be away. A disk that takes its time holds nobody up, nor does one that fails."""

    def keep() -> None:
        if homes.read_started(station.home, rollout.id) is None:
            homes.write_started(station.home, through(rollout, inventory.connection.context))

    keeping = asyncio.create_task(asyncio.to_thread(keep))
    keeping.add_done_callback(_not_kept)
    await asyncio.wait({keeping}, timeout=KEEPING)


def _not_kept(keeping: asyncio.Task[None]) -> None:
    if not keeping.cancelled() and (error := keeping.exception()) is not None:
        log.warning("a rollout is not kept in the home directory, its driver looks for it in the clusters: %s", error)


def _under_way(station: Station, inventory: Inventory, rollout: Rollout) -> Rollout | None:
    """Another rollout of the same service that somebody drives, or that is paused."""
    place = (rollout.release.service, rollout.release.target.namespace)
    for watch in rollouts(inventory, station.clock):
        other = watch.rollout
        if (other.release.service, other.release.target.namespace) == place and other.id != rollout.id and other.phase in LIVE:
            return other
    return None


async def rollback_service_now(
    station: Station, inventory: Inventory, target: Target, service: str, *, shown: Rollout, revision: str = "", reason: str = ""
) -> Immediate:
    """The same for a service without a rollout to undo: to the template of ``revision`` (empty: of its previous ReplicaSet).
    Raises :class:`Rejected` where there is none, and where it is not what was ``shown`` to the operator: once restored, the
    previous one is the bad one.
    """
    if station.read_only:
        raise ObserverMode("Read-only: nothing is rolled back", "Nothing was sent to the cluster.", "Leave --read-only out.")
    now = station.clock.now()
    rollout = await to_revision(
        inventory.connection,
        target,
        service,
        revision,
        id=homes.new_id(service, now),
        operator=station.user,
        reason=reason,
        created=now,
        pace=station.clock.pace(),
    )
    if rollout.undo != shown.undo:
        raise Rejected(
            "service",
            service,
            f"has changed since its rollback to {shown.plan.previous_version} was shown",
            "a new look: R again",
        )
    try:
        await asyncio.to_thread(write_started, station, rollout)
    except OSError as error:
        # The checkpoint, which is stored beside the first patch, tells the driver as much.
        log.warning("%s is not kept in the home directory: %s", rollout.id, error)
    return await rollback_now(station, inventory, rollout, reason=reason)


async def _fence(station: Station, inventory: Inventory, rollout: Rollout, reason: str) -> bool:
    """Take the checkpoint from the driver that is running, beside the first patch; whether that was done. It stores the undo of
    a change before it sends it, so from here on it changes nothing any more. The driver that follows fences it again, whatever
    comes of this; and where this process dies before it has started one, the checkpoint says what was wanted to whoever drives
    next."""
    coordination = Coordination(inventory.connection, station.clock, read_only=station.read_only)
    try:
        async with asyncio.timeout(FENCE_SECONDS):
            await coordination.take(msgspec.structs.replace(rollout, epoch=rollout.epoch + 1), reason)
    except (QuarterdeckError, TimeoutError) as error:
        log.warning("the checkpoint of %s was not taken beside the first patch: %s", rollout.id, error)
        return False
    return True


async def _first(
    station: Station, inventory: Inventory, rollout: Rollout
) -> tuple[float | None, ObjectRef | None, QuarterdeckError | None]:
    """Send the first restoring patch: when it was accepted (monotonic), of which object, and what was wrong."""
    try:
        return await _sent_first(station, inventory, rollout)
    except QuarterdeckError as error:
        return None, None, error
    except Exception as error:
        # A defect of ours in the fast way must not take the slow one with it.
        log.exception("the first patch of the rollback of %s failed", rollout.id)
        return None, None, QuarterdeckError("The first restoring patch was not sent", f"{error!r}.", "The driver goes on.")


async def _sent_first(
    station: Station, inventory: Inventory, rollout: Rollout
) -> tuple[float | None, ObjectRef | None, QuarterdeckError | None]:
    plan = rollout.plan
    folded = fold(rollout.undo)
    live = {item.object: inventory.raw(item.object) for item in folded}
    context = rollout.release.target.context
    restore = plan_restore(
        folded, live, context=context, stable=plan.stable, canary=plan.canary, route=plan.route, step=rollout.step
    )
    # The canary goes only once no request is on its way to it, which the driver sees to: never in the first patch.
    if not restore.phases or restore.phases[0].stage is Stage.OBJECTS or not restore.phases[0].mutations:
        return None, None, None
    mutation = restore.phases[0].mutations[0]
    base = live[mutation.object]
    assert base is not None
    actuator = Actuator(inventory.connection, station.journal, station.clock, read_only=station.read_only, operator=station.user)
    try:
        await actuator.force(mutation, epoch=rollout.epoch + 1, rollout=rollout, base=base)
    except QuarterdeckError as error:
        return None, mutation.object, error
    return station.clock.monotonic(), mutation.object, None
