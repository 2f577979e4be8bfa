"""One rollout under way in this process: its newest state, the doors it acts through, and the ways in which it waits.

The state is one immutable :class:`Rollout`, replaced as things happen and written to its checkpoint. Steps, the watch loop and
the rollback share a :class:`Run` and nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

from services.actuator import Actuator, Applied, Mutation
from services.actuator.undo import ROUTES
from services.analysis.sources import Asked
from services.audit import Journal, JournalUnavailable, Receipt
from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.inventory import Inventory
from services.coordination import Coordination, Hold
from services.model.errors import (
    Conflict,
    Forbidden,
    HeldByAnother,
    NeedsAttention,
    NotFound,
    QuarterdeckError,
    Throttled,
    Unavailable,
)
from services.model.objects import Json, ObjectRef
from services.model.rollout import Baseline, Phase, Reason, Rollout, UndoRecord
from services.redaction import Redactor
from services.rollout import state
from services.rollout.cadence import Cadence
from services.rollout.events import entry
from services.rollout.routes import STALE_SECONDS
from services.settings import Settings
from services.settings.secrets import SecretRegister

T = TypeVar("T")

log = logging.getLogger(__name__)

SAVE_INTERVAL = 1.0
"""Wall seconds between checkpoints that nothing waits for."""
MIN_OBJECT_WAIT = 30.0
"""Waiting for objects of a real cluster never ends before this many wall seconds, whatever the pace."""
MIN_SIMULATED_WAIT = 5.0
"""The same where the controllers keep simulated time too: room for a machine that is busy, no more."""
ROLLBACK_JOURNAL_SECONDS = 0.25
CONFLICT_ATTEMPTS = 5
LONGEST_THROTTLE = 30.0
"""Wall seconds that a busy server is left alone at most, whatever it asks for: a rollout must not sleep for an hour."""
SEEN_KINDS = ("Deployment", "ReplicaSet", "Pod")
"""What every verdict is drawn from."""
SUSPENDED_SECONDS = 5.0
"""Wall seconds by which a wait may run late before it is taken that this process did not run at all."""
BLIND_SECONDS = 20.0
"""Metrics may be away for at least this long (wall) before a step that needs them ends undecided."""


class Spent(Enum):
    """How the time of a step ended: all of it passed, a person cut it short, or its metrics stayed away."""

    ALL = "all"
    PROMOTED = "promoted"
    BLIND = "blind"


class Breach(Exception):
    """The rollout must not go on: roll back. ``also`` is what else was true at that moment."""

    def __init__(self, reason: Reason, also: tuple[Reason, ...] = ()) -> None:
        super().__init__(f"{reason.name}: {reason.detail}")
        self.reason = reason
        self.also = also


class CalledOff(QuarterdeckError):
    """The rollout is being rolled back: a change that had not left yet does not leave any more."""


class PersonNeeded(NeedsAttention):
    """The rollout can't go on by itself; it is kept as it is until a person decides."""


class Run:
    """``rollout`` is always the newest state; replace it through :meth:`change` only."""

    def __init__(
        self,
        rollout: Rollout,
        *,
        connection: Connection,
        inventory: Inventory,
        actuator: Actuator,
        coordination: Coordination,
        hold: Hold,
        journal: Journal,
        settings: Settings,
        clock: Clock,
        routes: Inventory | None = None,
        redactor: SecretRegister | None = None,
    ) -> None:
        self.rollout = rollout
        self.redactor: SecretRegister = redactor if redactor is not None else Redactor()
        """Who is told of each secret that a metrics server is asked with."""
        self.connection = connection
        self.inventory = inventory
        """The workloads and their pods: what every verdict is drawn from."""
        self.routes = routes if routes is not None else inventory
        """The routes, apart from the workloads: routes that can't be read must not blind the watch."""
        self.actuator = actuator
        self.coordination = coordination
        self.hold = hold
        self.journal = journal
        self.settings = settings
        self.clock = clock
        self.baseline: Callable[[float], Awaitable[Baseline]] = _nothing_measured
        """What the old version did in the last given pace seconds, or longer; the watch loop puts itself here."""
        self.breach: asyncio.Future[Breach] = asyncio.get_running_loop().create_future()
        self.promoted = asyncio.Event()
        self.ending = False
        """Nothing can be asked of it any more: its end is decided and only being written down."""
        self.measured_at: float | None = None
        """Pace second at which the new version's metrics were last read."""
        self.metrics_patience = Cadence(interval=settings.metrics.interval, speed=clock.speed).patience
        """Pace seconds after which metrics that told nothing new are away; the watch loop sets it by how often they come."""
        self.unreadable = ""
        """Why they could not be read at the last look."""
        self.asked: tuple[Asked, ...] = ()
        """What they are read by, as verdicts carry it into the journal."""
        self._dirty = asyncio.Event()
        self._moved = asyncio.Event()
        self._saving = asyncio.Lock()
        self._acting: asyncio.Task[Applied] | None = None
        self._intended = False
        self._settling = False

    # State -----------------------------------------------------------------------------------------------------------

    def change(self, rollout: Rollout) -> None:
        """Replace the state; it is written to the checkpoint within :data:`SAVE_INTERVAL`."""
        if rollout.phase is not self.rollout.phase:
            self._moved.set()
        self.rollout = rollout
        self._dirty.set()

    async def save(self) -> None:
        """Write the checkpoint now. Raises what the cluster answers."""
        async with self._saving:
            self._dirty.clear()
            self.rollout = state.stamped(self.rollout, pace=self.clock.pace(), written=self.clock.now())
            try:
                await self.coordination.save(self.rollout)
            except Unavailable:
                self._dirty.set()
                raise

    async def keep_saved(self) -> None:
        """Write the checkpoint whenever it changed, at most once in :data:`SAVE_INTERVAL`, until cancelled or superseded."""
        while True:
            await self._dirty.wait()
            try:
                await self.save()
            except HeldByAnother as taken:
                # Sooner than the lease's renewal would find it: nothing more is to be measured or said by this driver.
                if not self.breach.done():
                    self.breach.set_exception(taken)
                    self.breach.exception()  # a step whose own request was refused has ended the rollout, and waits for nothing
                return
            except QuarterdeckError as error:
                # The step that needs it written says so on its own; this loop just tries again.
                log.warning("checkpoint of %s not written: %s", self.rollout.id, error)
                self._dirty.set()
            except Exception:
                # A defect of ours must not end it unnoticed: every console would take the rollout's last state for its present.
                log.exception("checkpoint of %s not written", self.rollout.id)
                self._dirty.set()
            await self.clock.sleep(SAVE_INTERVAL)

    # Acting ----------------------------------------------------------------------------------------------------------

    async def apply(self, mutation: Mutation) -> Applied:
        """One change through the one door; its undo is in the checkpoint before it leaves. Waits out a cluster that is away."""
        return await self.patiently(mutation.command, lambda: self._act(mutation))

    async def settle(self) -> None:
        """Wait for a change that is on its way (it ends by its own timeout), so that its undo is known. One that has not left is
        called off: neither a journal nor a checkpoint that is slow holds a rollback up, and nothing is made worse before it."""
        if self._acting is None or self._acting.done():
            return
        self._settling = True
        try:
            await asyncio.wait({self._acting}, timeout=None if self._intended else ROLLBACK_JOURNAL_SECONDS)
            if not self._intended:
                self._acting.cancel()
            await asyncio.wait({self._acting})
        finally:
            self._settling = False
        if not self._acting.cancelled() and (problem := self._acting.exception()) is not None:
            log.warning("the change that was under way in %s ended with: %s", self.rollout.id, problem)

    async def _act(self, mutation: Mutation) -> Applied:
        self._acting = asyncio.create_task(self._send(mutation))
        # A breach cancels the step, never a request that has left: its undo record would be lost.
        return await asyncio.shield(self._acting)

    async def _send(self, mutation: Mutation) -> Applied:
        before = self.rollout.undo
        self._intended = False

        async def noted(undo: tuple[UndoRecord, ...]) -> None:
            known = self.rollout.undo
            self._intended = True
            self.change(state.recorded(self.rollout, (*before, *undo)))
            try:
                await self.save()
                if self._settling:
                    raise CalledOff(f"{mutation.object} was not changed", "The rollout was stopped before the request left.")
            except (NeedsAttention, CalledOff):
                # It will not leave. A record of it would say that it did, and one that does not fit would keep every later
                # checkpoint from being written.
                self.change(state.recorded(self.rollout, known))
                raise

        applied = await self.actuator.apply(mutation, hold=self.hold, rollout=self.rollout, noted=noted)
        if applied.undo:
            self.change(state.recorded(self.rollout, (*before, *applied.undo)))
        return applied

    async def patiently(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat ``call`` while the cluster does not answer, throttles or disagrees for a moment.

        Raises :class:`PersonNeeded` where it forbids the call, goes on disagreeing, or misses an object, and where the journal
        can't take the intent.
        """
        pause, conflicts = 1.0, 0
        while True:
            try:
                return await call()
            except Forbidden as error:
                raise PersonNeeded(f"the cluster refused {what}: {error.detail or error.title}") from error
            except NotFound as error:
                raise PersonNeeded(f"{what}: {error.title} {error.detail}".strip()) from error
            except JournalUnavailable as error:
                raise PersonNeeded(f"nothing is changed without a record of it: {error.title} {error.detail}".strip()) from error
            except Throttled as error:
                await self.clock.sleep(min(max(0.1, error.retry_after), LONGEST_THROTTLE))
            except Conflict as error:
                conflicts += 1
                if conflicts >= CONFLICT_ATTEMPTS:
                    raise PersonNeeded(
                        f"{what}: somebody else keeps changing the object ({error.detail or error.title})"
                    ) from error
                await self.clock.sleep(0.2 * conflicts)
            except Unavailable:
                await self.clock.sleep(pause)
                pause = min(5.0, pause * 1.5)

    # Pausing ---------------------------------------------------------------------------------------------------------

    async def pause(self, reason: str, *, user: str = "") -> None:
        """Keep everything as it is until a person resumes, promotes, or rolls back."""
        self.change(state.paused(self.rollout, reason))
        await self.note(
            "rollout.paused", outcome=reason.partition(":")[0], data={"reason": reason, "step": self.rollout.step}, user=user
        )

    # Waiting ---------------------------------------------------------------------------------------------------------

    async def unpaused(self) -> None:
        """Return once the rollout is not paused."""
        while self.rollout.phase is Phase.PAUSED:
            self._moved.clear()
            await self._moved.wait()

    async def spend(self, *, needs_data: bool = False) -> "Spent":
        """Let pace time pass until the step under way has had its expected seconds.

        What does not count: time in a pause, and, where the step ``needs_data``, time in which the cluster or the metrics could
        not be read. A cluster that is away is waited for; metrics that stay away for as long as the step ends it undecided.
        """
        blind = 0.0
        while True:
            await self.unpaused()
            if self.promoted.is_set():
                self.promoted.clear()
                return Spent.PROMOTED
            own = state.current_state(self.rollout)
            left = own.expected_seconds - own.seconds
            if left <= 0:
                return Spent.ALL
            if blind >= max(own.expected_seconds, BLIND_SECONDS * self.clock.speed):
                return Spent.BLIND
            before = self.clock.pace()
            self._moved.clear()
            tick = min(left, max(1.0, 0.25 * self.clock.speed))
            await self._first(self.clock.pace_sleep(tick), self._moved.wait(), self.promoted.wait())
            # A process that was stopped, or a machine that slept, has watched nothing meanwhile: that time is nobody's.
            passed = min(self.clock.pace() - before, tick + SUSPENDED_SECONDS * self.clock.speed)
            if needs_data and not self.sees_cluster:
                continue
            if needs_data and not self.sees_metrics:
                blind += passed
                continue
            blind = 0.0
            self.progress(own.seconds + passed)

    @property
    def sees_cluster(self) -> bool:
        """Whether the inventory is fresh enough to draw a verdict from."""
        age = self.inventory.age()
        namespace = self.rollout.release.target.namespace
        # What we may not read any more (a role was changed) is left out of the age, and its last picture shows nothing.
        return age is not None and age < STALE_SECONDS and all(self.inventory.can_read(kind, namespace) for kind in SEEN_KINDS)

    @property
    def sees_routes(self) -> bool:
        age = self.routes.age()
        return age is not None and age < STALE_SECONDS

    def sees(self, route: ObjectRef) -> bool:
        """Whether the inventory that has the route is fresh."""
        return self.sees_routes if route.kind in ROUTES else self.sees_cluster

    def last_seen(self, ref: ObjectRef) -> dict[str, Json] | None:
        """The object as an inventory saw it last, however long ago."""
        return (self.routes if ref.kind in ROUTES else self.inventory).raw(ref)

    @property
    def sees_metrics(self) -> bool:
        """Whether the new version's metrics have been read lately."""
        return self.measured_at is not None and self.clock.pace() - self.measured_at <= self.metrics_patience

    def progress(self, seconds: float, requests: float | None = None) -> None:
        self.change(state.step_progressed(self.rollout, seconds=seconds, requests=requests))

    async def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Whether ``done`` became true within ``timeout`` pace seconds, and no less than what a cluster needs in wall seconds.

        Looks again at each change of the inventory. Time for which the inventory is stale does not count.
        """
        sandbox = self.settings.sandbox
        simulated = sandbox is not None and not sandbox.real_cluster
        budget = max(timeout / self.clock.speed, MIN_SIMULATED_WAIT if simulated else MIN_OBJECT_WAIT)
        spent = 0.0
        while not done():
            if spent >= budget:
                return False
            before = self.clock.monotonic()
            await self._first(self.inventory.changed(), self.clock.sleep(min(1.0, budget - spent)))
            if self.sees_cluster:
                spent += self.clock.monotonic() - before
        return True

    @staticmethod
    async def _first(*awaitables: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Journal ---------------------------------------------------------------------------------------------------------

    async def note(
        self,
        event: str,
        *,
        outcome: str = "",
        data: dict[str, Json] | None = None,
        duration: float | None = None,
        user: str = "",
        command: str = "",
        seconds: float = 2.0,
    ) -> Receipt | None:
        """Journal something that has happened (what is about to happen goes through the actuator, which waits for its intent)."""
        receipt = await self.journal.append_within(
            entry(self.rollout, event, outcome=outcome, data=data, duration=duration, user=user, command=command), seconds
        )
        if receipt is not None:
            self.change(state.journalled(self.rollout, receipt.seq))
        return receipt


async def _nothing_measured(seconds: float) -> Baseline:
    return Baseline(seconds=seconds, requests=0.0, error_rate=None, p99=None)
