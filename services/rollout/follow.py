"""Following a rollout from outside its driver: through its checkpoint, whoever drives it, until it has ended or waits."""

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from services.cluster.inventory import Inventory
from services.cluster.watched import RolloutWatch, rollouts
from services.coordination import Coordination
from services.model.errors import ExitCode, NeedsAttention, QuarterdeckError, Unavailable
from services.model.rollout import Phase, Rollout
from services.rollout import home as homes
from services.rollout import state
from services.rollout.station import Station

LOOK_SECONDS = 0.25
"""Wall seconds between two looks at the driver's process; checkpoints arrive by watch."""
UNREAD_SECONDS = 30.0
"""Wall seconds for which a cluster that can't be read is waited for, before a rollout without a driver is called abandoned."""
SUCCESSOR_SECONDS = 10.0
"""Wall seconds in which whoever replaced a driver has to show itself."""
TAKING_SECONDS = 20.0
"""Wall seconds after which it is said that a take-over is still under way."""
KINDS = ("ConfigMap", "Lease")
"""All that an inventory needs to hold for following."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The rollout as last seen. ``abandoned``: nobody drives it although it is not over; ``error``: the driver's last words."""

    rollout: Rollout
    abandoned: bool = False
    error: QuarterdeckError | None = None


def watched(station: Station, inventory: Inventory, rollout_id: str) -> RolloutWatch | None:
    """The rollout in its newest checkpoint, with who watches it."""
    found = rollouts(inventory, station.clock, local_alive=lambda rollout: homes.alive(station.home, rollout))
    return next((watch for watch in found if watch.rollout.id == rollout_id), None)


async def follow(
    station: Station,
    inventory: Inventory,
    rollout: Rollout,
    *,
    process: subprocess.Popen[bytes] | None = None,
    until: Callable[[Rollout], bool] | None = None,
    seen: Callable[[Rollout], None] | None = None,
) -> Followed:
    """Wait until the rollout is over, waits for a person, or nobody drives it any more.

    ``rollout`` is what was known before: checkpoints of its epoch or older are not looked at while ``process``, the driver
    that was just started, lives. ``until``: what to wait for (else :func:`settled`). ``seen`` is told every newer state.
    """
    newest, done = rollout, until or settled
    left_at: float | None = None
    unread_since: float | None = None
    while True:
        version = inventory.version
        watch = watched(station, inventory, rollout.id)
        ended = process is not None and process.poll() is not None
        if ended and left_at is None:
            left_at = station.clock.monotonic()
        if watch is not None and (watch.rollout.epoch > rollout.epoch or process is None):
            if watch.rollout != newest:
                newest = watch.rollout
                if seen is not None:
                    seen(newest)
            if done(newest):
                return Followed(newest)
        # A driver that was replaced ends before its successor has written anything: that one gets its time.
        replaced = process is not None and process.returncode == ExitCode.HELD_BY_ANOTHER
        if replaced and left_at is not None and station.clock.monotonic() - left_at < SUCCESSOR_SECONDS:
            await _change(inventory, version)
            continue
        if ended or (watch is not None and watch.orphaned and (process is None or watch.rollout.epoch > rollout.epoch)):
            stored = await _stored(station, inventory, newest)
            if stored is None:
                # it may have ended well while we could not look
                unread_since = unread_since if unread_since is not None else station.clock.monotonic()
                if station.clock.monotonic() - unread_since < UNREAD_SECONDS:
                    await _change(inventory, version)
                    continue
            else:
                newest, unread_since = stored, None
            if done(newest) and newest.epoch > rollout.epoch:
                return Followed(newest)
            if not await _driven(station, inventory, newest, process):
                last = homes.read_ended(station.home, rollout.id)
                return Followed(newest, abandoned=True, error=last.error() if last is not None else None)
        await _change(inventory, version)


async def taken_over(station: Station, inventory: Inventory, rollout: Rollout, process: subprocess.Popen[bytes]) -> Rollout:
    """Wait until ``process``, a driver just started to take ``rollout`` over, has it: the answer is its newest state.

    Raises what the driver ended with, and :class:`NeedsAttention` where it takes longer than :data:`TAKING_SECONDS`.
    """
    began, mine = station.clock.monotonic(), homes.home_id(station.home)
    while True:
        version = inventory.version
        watch = watched(station, inventory, rollout.id)
        newest = watch.rollout if watch is not None else rollout
        if newest.epoch > rollout.epoch and newest.driver is not None and newest.driver.home == mine:
            return newest
        if process.poll() is not None:
            last = homes.read_ended(station.home, rollout.id)
            if last is not None and (error := last.error()) is not None:
                raise error
            return newest
        if station.clock.monotonic() - began > TAKING_SECONDS:
            raise NeedsAttention(
                f"{rollout.release.service} is not taken over yet",
                f"Its new driver (process {process.pid}) is still at it after {TAKING_SECONDS:.0f} s.",
                "It goes on trying; the rollout's screen shows who drives it.",
            )
        await _change(inventory, version)


def settled(rollout: Rollout) -> bool:
    """Whether there is nothing left to wait for: it is over, or only a person can go on."""
    return rollout.phase.final or state.needs_person(rollout)


def over(rollout: Rollout) -> bool:
    """What a rollback is followed to: its end, whatever the rollout waited for before."""
    return rollout.phase.final or rollout.phase is Phase.NEEDS_ATTENTION


async def _driven(station: Station, inventory: Inventory, rollout: Rollout, process: subprocess.Popen[bytes] | None) -> bool:
    """Whether somebody else drives the rollout that our driver has left."""
    if process is not None and process.poll() is None:
        return True
    watch = watched(station, inventory, rollout.id)
    ours = rollout.driver is not None and rollout.driver.home == homes.home_id(station.home)
    if watch is None or watch.orphaned:
        return False
    return not ours or homes.alive(station.home, rollout) is not False


async def _stored(station: Station, inventory: Inventory, known: Rollout) -> Rollout | None:
    """The checkpoint as it is stored now: the watch may be a moment behind a driver that has just ended. ``None`` where the
    cluster can't be read."""
    reading = Coordination(inventory.connection, station.clock, read_only=True)
    try:
        return await reading.load(known.release.target.namespace, known.id) or known
    except Unavailable:
        return None


async def _change(inventory: Inventory, version: int) -> None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await inventory.changed(version)
    except TimeoutError:
        return
