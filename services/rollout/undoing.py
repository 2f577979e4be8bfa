"""Which rollout a rollback of a service is about, and starting it."""

import asyncio
import errno
import logging
import subprocess

from services.audit.place import release
from services.cluster.inventory import Inventory
from services.cluster.watched import RolloutWatch, rollouts
from services.coordination import Coordination
from services.model.errors import NeedsAttention, QuarterdeckError, Rejected
from services.model.release import Target
from services.model.rollout import Phase, Rollout
from services.rollout import home as homes
from services.rollout.events import entry
from services.rollout.intents import Ask, Intent, send
from services.rollout.remembered import started_here, unfinished
from services.rollout.revisions import kept, to_revision
from services.rollout.start import start_driver
from services.rollout.station import Station

log = logging.getLogger(__name__)


async def start_rollback(
    station: Station, inventory: Inventory, target: Target, service: str, *, revision: str = "", reason: str = ""
) -> tuple[Rollout, subprocess.Popen[bytes] | None]:
    """Start rolling a service back; the rollout to follow, and the driver where one was started.

    A live rollout is rolled back by its driver, or taken over where that is not ours or does not answer; a finished one by a
    new driver from its undo records, one whose checkpoint is gone from this home's journal; a service without any, or with
    ``revision``, to an earlier ReplicaSet's template.
    Raises :class:`Rejected` where there is nothing to go back to.
    """
    live, newest = _newest(station, inventory, service)
    if live is not None and revision:
        raise Rejected(
            "to", revision, f"rollout {live.rollout.id} is under way", "no --to: roll that one back first, then go to a revision"
        )
    if live is not None:
        return await _roll_back_live(station, live, reason)
    forgotten = await asyncio.to_thread(unfinished, station, service, target) if not revision else None
    if forgotten is not None and (newest is None or (newest.id != forgotten.id and newest.created < forgotten.created)):
        # Its checkpoint is gone: its driver finds in the journal what it changed.
        return forgotten, start_driver(station, forgotten.id, take_over=True, rollback=True, reason=reason)
    if newest is not None and not revision:
        if newest.phase is Phase.ROLLED_BACK:
            raise await _already(inventory, newest)
        return newest, start_driver(station, newest.id, take_over=True, rollback=True, reason=reason)
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
    await station.journal.append_within(
        entry(
            rollout,
            "deployment.rollback",
            outcome="requested",
            data={"kind": rollout.kind.value, "to_version": rollout.plan.previous_version, "notes": list(rollout.plan.notes)},
        ),
        0.25,
    )
    await keep_for_driver(station, inventory, rollout)
    # It is a rollback from its beginning: a driver that is told so goes on where the home takes no file either.
    return rollout, start_driver(station, rollout.id, rollback=True, reason=reason)


async def keep_for_driver(station: Station, inventory: Inventory, rollout: Rollout) -> None:
    """Keep a rollback where its driver finds it: in the home directory, and where that takes no file, with the room that the
    journal had kept given back, in the cluster alone. Raises what the cluster says where it can't be kept there either."""
    try:
        await asyncio.to_thread(write_started, station, rollout)
    except OSError as error:
        log.error("%s is not kept in the home directory, only in the cluster: %s", rollout.id, error)
        await Coordination(inventory.connection, station.clock, read_only=station.read_only).save(rollout)


def write_started(station: Station, rollout: Rollout) -> None:
    """Keep a rollback in the home directory; on a full disk in the room that was kept for the journal. ``OSError`` where that
    is not enough either. Writes files."""
    try:
        homes.write_started(station.home, rollout)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not release(station.journal.directory):
            raise
        homes.write_started(station.home, rollout)


async def _already(inventory: Inventory, newest: Rollout) -> Rejected:
    """Why a service is not rolled back whose last rollout was, and which revisions it could go to instead."""
    where = ""
    accepted = "another revision with --to REVISION, or on the service screen: REVISIONS, R"
    try:
        number, others = await kept(inventory.connection, newest.plan.stable)
    except QuarterdeckError as error:
        log.warning("the revisions of %s were not read: %s", newest.plan.stable, error)
    else:
        where = f"; it runs revision {number} now" if number else ""
        accepted += f". Kept: {others}"
    return Rejected(
        "service",
        newest.release.service,
        f"was brought to {newest.plan.previous_version} by its last rollback (rollout {newest.id}{where})",
        accepted,
    )


def _newest(station: Station, inventory: Inventory, service: str) -> tuple[RolloutWatch | None, Rollout | None]:
    """The live rollout of a service, if any, and its newest one that changed something."""
    found = [
        watch
        for watch in rollouts(inventory, station.clock, local_alive=lambda rollout: homes.alive(station.home, rollout))
        if watch.rollout.release.service == service and watch.rollout.phase is not Phase.REFUSED
    ]
    live = next((watch for watch in found if not watch.rollout.phase.final), None)
    return live, found[0].rollout if found else None


async def _roll_back_live(station: Station, live: RolloutWatch, reason: str) -> tuple[Rollout, subprocess.Popen[bytes] | None]:
    rollout = live.rollout
    ours = not live.orphaned and rollout.phase is not Phase.NEEDS_ATTENTION and homes.alive(station.home, rollout)
    if ours and await asked(station, rollout, reason):
        return rollout, None
    return rollout, start_driver(station, rollout.id, take_over=True, rollback=True, reason=reason)


async def ask_own_driver(station: Station, service: str, environment: str, namespace: str, reason: str) -> Rollout | None:
    """Ask the driver of this home that is at work on a service, over its socket, to roll back; its rollout as it was started.
    ``None`` where there is none. For when the cluster refuses us: its driver may still be heard there."""
    for rollout in await asyncio.to_thread(started_here, station.home, service):
        there = rollout.release.target.environment == environment and namespace in ("", rollout.release.target.namespace)
        if there and await asked(station, rollout, reason):
            return rollout
    return None


async def asked(station: Station, rollout: Rollout, reason: str) -> bool:
    """Whether the rollout's driver lives in this home and rolls back, or does so already."""
    try:
        return (await send(station.home, rollout.id, Ask(intent=Intent.ROLLBACK, operator=station.user, reason=reason))).ok
    except NeedsAttention:
        return False
