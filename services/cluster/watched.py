"""Rollouts as their checkpoints show them, and whether anybody is watching each: an orphan must be loud on every console."""

import weakref
from collections.abc import Callable

import msgspec

from services.clock import Clock
from services.cluster.inventory import HEARTBEAT_SECONDS, Inventory
from services.cluster.objects import ROLLOUT_LABEL, ConfigMap, Lease
from services.cluster.picture import Picture
from services.model.objects import EPOCH_ANNOTATION, ObjectRef
from services.model.rollout import Rollout

DATA_KEY = "rollout"
"""The key of a checkpoint's data that holds the rollout."""
RENEWAL_SECONDS = 4.0
"""A living driver renews its lease more often than this, however wrong the clock it writes is."""
_GRACE_SECONDS = 2.0
"""Lease and checkpoint arrive on two streams: one may be ahead of the other for a moment."""
_LEASE_SECONDS = 15.0
TAKING_SECONDS = 5.0
"""From a checkpoint that was taken to the first one of the driver that follows: it has to be started first."""

_rollout = msgspec.json.Decoder(Rollout)
_known: dict[int, tuple[weakref.ref[ConfigMap], Rollout | str]] = {}
"""By the identity of the checkpoint's object, which takes its entry along when it goes."""


class RolloutWatch(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout and who watches its triggers. ``lease_age`` is in wall seconds since the last renewal that was seen.

    ``orphaned``: it is not over and nobody drives it; ``reason`` says why we think so, ``who`` drives or drove it last.
    """

    rollout: Rollout
    lease_holder: str = ""
    lease_age: float | None = None
    orphaned: bool = False
    who: str = ""
    reason: str = ""


def rollouts(
    inventory: Inventory, clock: Clock, *, local_alive: Callable[[Rollout], bool | None] | None = None
) -> tuple[RolloutWatch, ...]:
    """Every rollout that has a readable checkpoint, newest first.

    ``local_alive`` tells at once whether the driver process of a rollout of our own home lives; ``None`` where it can't know.
    """
    found = [
        _watch(inventory, clock, config_map, rollout, local_alive)
        for config_map in inventory.checkpoints.values()
        if isinstance(rollout := decoded(config_map), Rollout)
    ]
    return tuple(sorted(found, key=lambda watch: watch.rollout.created, reverse=True))


def unreadable_checkpoints(picture: Picture) -> dict[tuple[str, str], str]:
    """Checkpoints that can't be decoded (written by another version, or by hand), and what is wrong with each."""
    return {key: problem for key, found in picture.checkpoints.items() if isinstance(problem := decoded(found), str)}


def decoded(config_map: ConfigMap) -> Rollout | str:
    """The rollout in a checkpoint, or what is wrong with it.

    Kept for as long as the object is: every console draws all checkpoints several times a second, and few of them change."""
    key = id(config_map)
    known = _known.get(key)
    if known is None:
        found = _decode(config_map.data.get(DATA_KEY, ""))
        known = _known[key] = weakref.ref(config_map, lambda _: _known.pop(key, None)), found
    return known[1]


def _decode(text: str) -> Rollout | str:
    try:
        return _rollout.decode(text)
    except msgspec.DecodeError as error:
        return str(error)


def _watch(
    inventory: Inventory,
    clock: Clock,
    config_map: ConfigMap,
    rollout: Rollout,
    local_alive: Callable[[Rollout], bool | None] | None,
) -> RolloutWatch:
    namespace = config_map.metadata.namespace
    ref = ObjectRef("Lease", namespace, f"quarterdeck-{rollout.release.service}")
    lease = inventory.leases.get((namespace, ref.name))
    mine = lease is not None and bool(lease.spec.holder_identity) and lease.metadata.annotations.get(ROLLOUT_LABEL) == rollout.id
    seen = _seen_until(inventory, clock)
    since_change = seen - (inventory.changed_at(ref) or 0.0) if lease is not None else 0.0
    age = _lease_age(lease, since_change, clock.unix() - (clock.monotonic() - seen)) if lease is not None and mine else None
    holder = (lease.spec.holder_identity or "") if lease is not None and mine else ""
    driver = rollout.driver
    # Whoever takes it over has the lease before the checkpoint names him; a rollback by key has the checkpoint before the lease.
    still_its = not holder or (driver is not None and holder == driver.identity)
    reason = ""
    if not rollout.phase.final and not _being_taken(inventory, config_map, rollout, seen):
        if local_alive is not None and still_its and local_alive(rollout) is False:
            reason = "its driver process ended"
        elif not inventory.can_read("Lease", namespace):
            reason = ""
        elif mine and lease is not None and age is not None:
            if age > (lease.spec.lease_duration_seconds or _LEASE_SECONDS):
                reason = f"its lease was not renewed for {age:.0f} s"
        elif seen - max(_last(inventory, ref), _last(inventory, _ref(config_map))) > _GRACE_SECONDS:
            reason = _gone(lease)
    who = holder.partition("#")[0] or (f"{driver.operator}@{driver.host}" if driver is not None else rollout.operator)
    return RolloutWatch(rollout=rollout, lease_holder=holder, lease_age=age, orphaned=bool(reason), who=who, reason=reason)


def _being_taken(inventory: Inventory, config_map: ConfigMap, rollout: Rollout, seen: float) -> bool:
    """Whether somebody has just taken the checkpoint and not written it yet: a driver is on its way."""
    epoch = config_map.metadata.annotations.get(EPOCH_ANNOTATION, "")
    taken = epoch.isascii() and epoch.isdigit() and int(epoch) > rollout.epoch
    return taken and seen - _last(inventory, _ref(config_map)) < TAKING_SECONDS


def _seen_until(inventory: Inventory, clock: Clock) -> float:
    """The moment the picture shows: now while it is live, else when it was last known to be true."""
    age = inventory.age()
    return clock.monotonic() if age is None or age <= HEARTBEAT_SECONDS + 1.0 else clock.monotonic() - age


def _lease_age(lease: Lease, since_change: float, wall: float) -> float:
    """Seconds since the last renewal. Its stamp is another machine's clock: it is believed only when no renewal was seen for
    longer than a living driver takes, so a wrong clock can't make an orphan."""
    renewed = lease.spec.renew_time
    if since_change <= RENEWAL_SECONDS or renewed is None:
        return max(0.0, since_change)
    return max(since_change, wall - renewed.timestamp())


def _gone(lease: Lease | None) -> str:
    if lease is None:
        return "its lease is gone"
    if not lease.spec.holder_identity:
        return "its driver has given up the lease"
    return f"the lease is held for rollout {lease.metadata.annotations.get(ROLLOUT_LABEL) or 'unknown'}"


def _last(inventory: Inventory, ref: ObjectRef) -> float:
    return inventory.changed_at(ref) or 0.0


def _ref(config_map: ConfigMap) -> ObjectRef:
    return ObjectRef("ConfigMap", config_map.metadata.namespace, config_map.metadata.name)
