"""The second, narrow door: leases, checkpoints and records, and no other kind of object. Not journalled."""

from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.writer import Writer
from services.coordination.checkpoint import Checkpoints
from services.coordination.lease import Hold, Leases
from services.coordination.records import keep
from services.model.errors import ObserverMode
from services.model.release import Target
from services.model.rollout import Driver, Record, Rollout


class Coordination:
    """Who drives what in one cluster. In observer mode (``read_only``) everything but :meth:`load` is refused."""

    def __init__(self, connection: Connection, clock: Clock, *, read_only: bool = False) -> None:
        writer = Writer(connection)
        self._connection = connection
        self._writer = writer
        self._leases = Leases(connection, writer, clock)
        self._checkpoints = Checkpoints(connection, writer)
        self._read_only = read_only

    async def acquire(
        self, target: Target, service: str, rollout_id: str, driver: Driver, *, take_over: bool = False, at_least_epoch: int = 0
    ) -> Hold:
        """Take the service's lease with a new epoch, larger than every earlier one and than ``at_least_epoch``.

        ``take_over`` takes a live lease by force from the one who holds it now (of several who do, one succeeds). Raises
        :class:`~services.coordination.lease.Held` with who holds it, since when, for which rollout; :class:`ObserverMode`;
        :class:`~services.model.errors.Unavailable` and its kinds where the cluster could not be asked.
        """
        self._must_change(f"take the lease of {service}")
        return await self._leases.acquire(target, service, rollout_id, driver, take_over=take_over, at_least_epoch=at_least_epoch)

    async def go_without(self, target: Target, service: str, rollout_id: str, driver: Driver, *, at_least_epoch: int = 0) -> Hold:
        """A hold for a rollback that may not write the lease: its epoch exceeds those of lease and checkpoint, as far as they can
        be read, and ``at_least_epoch``. What it writes is fenced at the objects; :meth:`renew` takes the lease as soon
        as that is possible. Raises :class:`~services.model.errors.Unavailable` where the cluster does not answer at all.
        """
        self._must_change(f"drive {service}")
        stored = await self._checkpoints.epoch(target.namespace, rollout_id)
        least = max(stored, at_least_epoch)
        return await self._leases.go_without(target, service, rollout_id, driver, at_least_epoch=least)

    async def renew(self, hold: Hold) -> None:
        """Say that we still live; due every 3 s wall. Where somebody else holds the lease ``hold.lost`` is set and
        :class:`~services.coordination.lease.Held` raised. A cluster that can't be reached raises
        :class:`~services.model.errors.Unavailable` and loses nothing: the objects' epochs protect them until it is back."""
        self._must_change(f"renew the lease of {hold.service}")
        await self._leases.renew(hold)

    async def release(self, hold: Hold) -> None:
        """Give the lease back: the holder is cleared, the epoch stays. Without effect where it was lost. The hold is over."""
        self._must_change(f"release the lease of {hold.service}")
        await self._leases.release(hold)

    async def save(self, rollout: Rollout) -> None:
        """Write the checkpoint, at most 64 KiB of it. Raises :class:`~services.model.errors.HeldByAnother` where the stored one
        has a newer epoch than ``rollout.epoch``. With the first save of a rollout, old finished checkpoints are removed."""
        self._must_change(f"write the checkpoint of rollout {rollout.id}")
        await self._checkpoints.save(rollout)

    async def take(self, rollout: Rollout, rollback: str = "") -> Rollout:
        """Put ``rollout.epoch`` on the checkpoint and return what is stored in it, in one fenced step: from then on whoever
        drove before can't write it, and so (an undo record is stored before its request leaves) changes nothing any more. What
        it had sent until then is in the answer. Where there is none, ``rollout`` itself is stored.

        ``rollback`` is the reason for which it is to be rolled back: it stays on the checkpoint, so that the wish is not lost
        with the process that had it (see :meth:`rollback_wanted`).

        Raises :class:`~services.model.errors.HeldByAnother` where the stored one has a newer epoch.
        """
        self._must_change(f"take over the checkpoint of rollout {rollout.id}")
        return await self._checkpoints.take(rollout, rollback)

    async def rollback_wanted(self, namespace: str, id: str) -> str:
        """Why somebody who fenced the rollout's driver off wants it rolled back; empty where nobody does."""
        return await self._checkpoints.rollback_wanted(namespace, id)

    async def load(self, namespace: str, id: str) -> Rollout | None:
        """A rollout from its checkpoint; ``None`` where there is none."""
        return await self._checkpoints.load(namespace, id)

    async def record(self, record: Record, namespace: str) -> None:
        """Leave the record of a finished rollout; the newest 20 of the service are kept."""
        self._must_change(f"write the record of rollout {record.rollout}")
        await keep(self._connection, self._writer, record, namespace)

    async def tidy(self, namespace: str, service: str) -> int:
        """Remove finished checkpoints of the service but the newest 10; how many were removed."""
        self._must_change(f"remove old checkpoints of {service}")
        return await self._checkpoints.tidy(namespace, service)

    def _must_change(self, what: str) -> None:
        if self._read_only:
            raise ObserverMode(
                f"Read-only: refused to {what}", "Nothing was sent to the cluster.", "Start without --read-only to make changes."
            )
