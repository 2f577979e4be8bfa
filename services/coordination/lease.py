"""Who drives a service: one Lease object per service and namespace, with the fencing epoch as an annotation.

Every write carries the resourceVersion it was decided on, so of two takers the API server lets one through. The epoch grows by
at least one with every acquisition and outlives the holder: releasing clears the holder and leaves the epoch.

Expiry and clocks. ``renewTime`` is written by the holder's clock and read by ours. A lease that looks alive is taken for alive.
One that looks expired is watched for a moment longer than a renewal takes (4 s) before it is taken: a living driver renews
within that time however wrong the two clocks are. A ``renewTime`` further ahead than a whole lease can only come from a
wrong clock, so it is watched for a whole lease instead. ``take_over`` skips the watching: it takes a live lease by force.
"""

import logging
from datetime import datetime, timedelta

from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.objects import KIND_LABEL, RESOURCES, ROLLOUT_LABEL, SERVICE_LABEL
from services.cluster.writer import Writer
from services.model.errors import Conflict, Forbidden, HeldByAnother, NotFound, Throttled, Unavailable
from services.model.objects import EPOCH_ANNOTATION, Json, ObjectRef, value_at
from services.model.release import Target
from services.model.rollout import Driver

DURATION = 15
"""Seconds a lease lives after its last renewal."""
RENEW_EVERY = 3.0
"""Wall seconds between two renewals of a living driver."""
WATCH = RENEW_EVERY + 1.0
ATTEMPTS = 8
EPOCH = ("metadata", "annotations", EPOCH_ANNOTATION)

log = logging.getLogger(__name__)


class Held(HeldByAnother):
    """Another driver holds the service: ``operator`` (person@machine) since ``since``, for rollout ``rollout``."""

    def __init__(self, title: str, detail: str, hint: str, *, operator: str, since: str, rollout: str, epoch: int) -> None:
        super().__init__(title, detail, hint)
        self.operator = operator
        self.since = since
        self.rollout = rollout
        self.epoch = epoch


class Hold:
    """A lease we hold. ``lost`` turns true, for good, when somebody else is found to hold it."""

    def __init__(
        self, ref: ObjectRef, service: str, rollout: str, driver: Driver, lease: dict[str, Json], renewed: float
    ) -> None:
        self.ref = ref
        self.service = service
        self.rollout = rollout
        self.driver = driver
        self.epoch = epoch_of(lease)
        self.lost = False
        self.stored = True
        """Whether the cluster has the lease. A rollback may go on without it: what it writes is fenced at the objects."""
        self.claimed: set[ObjectRef] = set()
        """The objects that carry our epoch because we put it there."""
        self.renewed = renewed
        """Monotonic second of the last renewal that the API server confirmed."""
        self._lease = lease

    @property
    def lease(self) -> dict[str, Json]:
        """The Lease as we wrote it last."""
        return self._lease

    def confirm(self, lease: dict[str, Json], renewed: float) -> None:
        """The API server has taken our renewal."""
        self._lease = lease
        self.renewed = renewed

    def check(self) -> None:
        """Raise :class:`Held` where the lease is known to be lost."""
        if self.lost:
            raise held(self.ref, self._lease)

    def lose(self, lease: dict[str, Json]) -> Held:
        """Note that ``lease`` belongs to somebody else now; answers the error to raise."""
        self.lost = True
        self._lease = lease
        return held(self.ref, lease)


def lease_ref(namespace: str, service: str) -> ObjectRef:
    return ObjectRef("Lease", namespace, f"quarterdeck-{service}")


def epoch_of(document: dict[str, Json]) -> int:
    """The epoch annotation of a coordination object; 0 where it has none."""
    text = annotation(document, EPOCH_ANNOTATION)
    return int(text) if text.isascii() and text.isdigit() else 0


def annotation(document: dict[str, Json], name: str) -> str:
    annotations = value_at(document, "/metadata/annotations")
    return str(annotations.get(name) or "") if isinstance(annotations, dict) else ""


def held(ref: ObjectRef, lease: dict[str, Json]) -> Held:
    """The error that says who holds a lease, since when and for which rollout."""
    # What follows "#" is a token of the driver's process: it says nothing to a person.
    operator = str(value_at(lease, "/spec/holderIdentity") or "").partition("#")[0]
    since = str(value_at(lease, "/spec/acquireTime") or "").partition(".")[0].removesuffix("Z")
    rollout = annotation(lease, ROLLOUT_LABEL)
    service = service_of(ref)
    if not operator:
        return Held(
            f"{service} in {ref.namespace} is no longer held by this driver",
            "Its lease was released, by us or by somebody who took it over. This driver changes nothing any more.",
            "Look at the service, then start or resume a rollout.",
            operator="",
            since=since,
            rollout=rollout,
            epoch=epoch_of(lease),
        )
    return Held(
        f"{service} in {ref.namespace} is driven by {operator}",
        f"Since {since}Z, rollout {rollout or 'unknown'}. Nothing was changed.",
        f"Watch it (quarterdeck watch {rollout}), wait until it ends, or take it over.",
        operator=operator,
        since=f"{since}Z",
        rollout=rollout,
        epoch=epoch_of(lease),
    )


def service_of(ref: ObjectRef) -> str:
    return ref.name.removeprefix("quarterdeck-")


class Leases:
    """Acquire, renew and release the leases of one cluster."""

    def __init__(self, connection: Connection, writer: Writer, clock: Clock) -> None:
        self._connection = connection
        self._writer = writer
        self._clock = clock

    async def acquire(
        self, target: Target, service: str, rollout_id: str, driver: Driver, *, take_over: bool, at_least_epoch: int
    ) -> Hold:
        """See :meth:`services.coordination.Coordination.acquire`."""
        ref = lease_ref(target.namespace, service)
        contested = ""
        problem: Unavailable | None = None
        for attempt in range(ATTEMPTS):
            found = await self._found(ref)
            if found is not None and problem is not None and self._is(found, driver, rollout_id):
                return Hold(ref, service, rollout_id, driver, found, self._clock.monotonic())
            holder = str(value_at(found, "/spec/holderIdentity") or "") if found else ""
            if found is not None and holder and holder != driver.identity:
                # Forcing takes the lease from the one who was seen to hold it, never from somebody who has just taken it too.
                contested = contested or _tenure(found)
                if not take_over or _tenure(found) != contested:
                    await self._must_be_dead(ref, found)
            body = self._taken(ref, found, service, rollout_id, driver, at_least_epoch)
            try:
                lease = await (self._writer.replace(ref, body) if found is not None else self._writer.create(ref, body))
            except (Conflict, NotFound):
                log.info("lease %s changed while it was being taken (attempt %d)", ref.name, attempt + 1)
            except (Forbidden, Throttled):
                raise
            except Unavailable as error:
                # It may have been taken after all: the next look tells, since the identity is ours alone.
                problem = error
                await self._clock.sleep(min(1.0, 0.2 * 2**attempt))
            else:
                return Hold(ref, service, rollout_id, driver, lease, self._clock.monotonic())
        raise problem or Conflict(
            f"The lease of {service} in {target.namespace} kept changing",
            f"{ATTEMPTS} attempts to take it met another writer. Nothing was changed.",
            "Look who drives the service, then try again.",
        )

    async def go_without(self, target: Target, service: str, rollout_id: str, driver: Driver, *, at_least_epoch: int) -> Hold:
        """See :meth:`services.coordination.Coordination.go_without`."""
        ref = lease_ref(target.namespace, service)
        try:
            found = await self._found(ref)
        except Forbidden as error:
            log.warning("lease %s can't be read either: %s", ref.name, error)
            found = None
        lease = self._taken(ref, found, service, rollout_id, driver, at_least_epoch)
        hold = Hold(ref, service, rollout_id, driver, lease, self._clock.monotonic())
        hold.stored = False
        return hold

    async def renew(self, hold: Hold) -> None:
        """See :meth:`services.coordination.Coordination.renew`."""
        if not hold.stored:
            await self._store(hold)
            return
        lease: dict[str, Json] | None = hold.lease
        for _ in range(ATTEMPTS):
            hold.check()
            try:
                if lease is None:
                    # Somebody deleted it. The epoch must not be forgotten with it.
                    body = self._taken(hold.ref, None, hold.service, hold.rollout, hold.driver, hold.epoch - 1)
                    renewed = await self._writer.create(hold.ref, body)
                else:
                    renewed = await self._writer.replace(hold.ref, self._renewed(lease))
            except (Conflict, NotFound):
                lease = await self._found(hold.ref)
                if lease is not None and not (self._is(lease, hold.driver, hold.rollout) and epoch_of(lease) == hold.epoch):
                    raise hold.lose(lease) from None
            else:
                hold.confirm(renewed, self._clock.monotonic())
                return
        raise Conflict(
            f"The lease of {hold.service} in {hold.ref.namespace} could not be renewed",
            f"{ATTEMPTS} attempts met another writer; it is still ours.",
            "Look who else writes to it.",
        )

    async def release(self, hold: Hold) -> None:
        """See :meth:`services.coordination.Coordination.release`."""
        lease: dict[str, Json] | None = hold.lease if hold.stored else None
        for _ in range(ATTEMPTS):
            if hold.lost or lease is None:
                return
            body = {**lease, "spec": {**lease["spec"], "holderIdentity": "", "renewTime": self._stamp()}}
            try:
                released = await self._writer.replace(hold.ref, body)
            except (Conflict, NotFound):
                lease = await self._found(hold.ref)
                if lease is not None and not (self._is(lease, hold.driver, hold.rollout) and epoch_of(lease) == hold.epoch):
                    hold.lose(lease)
            else:
                hold.lose(released)
                return

    async def _store(self, hold: Hold) -> None:
        """Take the lease, as soon as that is possible, with the epoch under which its holder acts already. Whoever has an older
        one was refused by the objects long ago."""
        for _ in range(ATTEMPTS):
            hold.check()
            found = await self._found(hold.ref)
            ours = found is not None and self._is(found, hold.driver, hold.rollout)
            if found is not None and not ours and epoch_of(found) >= hold.epoch:
                raise hold.lose(found)
            if found is not None and ours and epoch_of(found) == hold.epoch:
                lease = found  # the answer to an earlier attempt was lost
            else:
                body = self._taken(hold.ref, found, hold.service, hold.rollout, hold.driver, hold.epoch - 1)
                try:
                    lease = await (
                        self._writer.replace(hold.ref, body) if found is not None else self._writer.create(hold.ref, body)
                    )
                except (Conflict, NotFound):
                    continue
            hold.stored = True
            hold.confirm(lease, self._clock.monotonic())
            return
        raise Conflict(
            f"The lease of {hold.service} in {hold.ref.namespace} kept changing",
            f"{ATTEMPTS} attempts to take it met another writer. The rollback goes on without it.",
            "Look who else writes to it.",
        )

    async def _found(self, ref: ObjectRef) -> dict[str, Json] | None:
        try:
            return await self._connection.get(ref)
        except NotFound:
            return None

    async def _must_be_dead(self, ref: ObjectRef, lease: dict[str, Json]) -> None:
        left = self._left(lease)
        if 0 < left <= DURATION:
            raise held(ref, lease)
        await self._clock.sleep(WATCH if left <= 0 else DURATION + 1)
        again = await self._found(ref)
        if (
            again is not None
            and _tenure(again, renewed=True) != _tenure(lease, renewed=True)
            and value_at(again, "/spec/holderIdentity")
        ):
            raise held(ref, again)

    def _left(self, lease: dict[str, Json]) -> float:
        """Seconds until the lease expires by both clocks; negative where it has."""
        renewed = value_at(lease, "/spec/renewTime")
        if not isinstance(renewed, str):
            return 0.0
        duration = value_at(lease, "/spec/leaseDurationSeconds") or DURATION
        return (datetime.fromisoformat(renewed) + timedelta(seconds=duration) - self._clock.now()).total_seconds()

    def _taken(
        self, ref: ObjectRef, found: dict[str, Json] | None, service: str, rollout_id: str, driver: Driver, at_least_epoch: int
    ) -> dict[str, Json]:
        now = self._stamp()
        epoch = max(epoch_of(found) if found else 0, at_least_epoch) + 1
        metadata: dict[str, Json] = dict(found["metadata"]) if found else {"name": ref.name, "namespace": ref.namespace}
        metadata["labels"] = {**(metadata.get("labels") or {}), KIND_LABEL: "lease", SERVICE_LABEL: service}
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            EPOCH_ANNOTATION: str(epoch),
            ROLLOUT_LABEL: rollout_id,
        }
        return {
            "apiVersion": RESOURCES["Lease"].api_version,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": driver.identity,
                "leaseDurationSeconds": DURATION,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": (value_at(found, "/spec/leaseTransitions") or 0) + 1 if found else 0,
            },
        }

    def _renewed(self, lease: dict[str, Json]) -> dict[str, Json]:
        return {**lease, "spec": {**lease["spec"], "renewTime": self._stamp()}}

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _is(self, lease: dict[str, Json], driver: Driver, rollout_id: str) -> bool:
        return value_at(lease, "/spec/holderIdentity") == driver.identity and annotation(lease, ROLLOUT_LABEL) == rollout_id


def _tenure(lease: dict[str, Json], *, renewed: bool = False) -> str:
    """What tells one holding of a lease from another; with ``renewed`` also one renewal from the next."""
    tenure = f"{value_at(lease, '/spec/holderIdentity')} {epoch_of(lease)}"
    return f"{tenure} {value_at(lease, '/spec/renewTime')}" if renewed else tenure
