"""The one door: every change to a workload or a route of a cluster is made here.

Order of things, for each request: observer mode, our hold, the object as it is, the intent durable in the journal, one JSON
patch that begins with the test of the epoch, the outcome in the journal. What the answer leaves open (the connection broke) is
looked up, never assumed. See ``services/actuator/patch.py`` for what a patch tests.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

import msgspec

from services.actuator.accounts import Account, Outcome, named, outcome_of, told
from services.actuator.commands import kubectl
from services.actuator.existence import Existence
from services.actuator.mutation import Applied, Mutation, Superseded
from services.actuator.patch import Decision, decide, epoch_of, newborn
from services.actuator.shown import without_values
from services.actuator.unsettled import Unsettled
from services.audit.journal import Journal
from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.writer import Writer
from services.coordination import Hold
from services.model.errors import (
    Conflict,
    Forbidden,
    NotFound,
    ObserverMode,
    QuarterdeckError,
    Throttled,
    Unavailable,
)
from services.model.objects import Json, ObjectRef
from services.model.rollout import Rollout, UndoRecord

TIMEOUT = 10.0
"""Wall seconds one request may take."""
ATTEMPTS = 6
"""How often a change is decided anew after the object moved under it."""
LOOK_UP = 20.0
"""Wall seconds in which an unknown outcome is looked up before a person is told."""

Noted = Callable[[tuple[UndoRecord, ...]], Awaitable[None]]

log = logging.getLogger(__name__)


class Actuator:
    """Changes the objects of one cluster for whoever holds them. ``operator`` is who the journal names; without it, the
    rollout's driver. With ``read_only`` every change is refused."""

    def __init__(self, connection: Connection, journal: Journal, clock: Clock, *, read_only: bool, operator: str = "") -> None:
        self._connection = connection
        self._writer = Writer(connection)
        self._existence = Existence(connection, self._writer, clock)
        self._journal = journal
        self._clock = clock
        self._read_only = read_only
        self._operator = operator
        self._unsettled: dict[tuple[str, ObjectRef], Unsettled] = {}
        """By rollout and object: the undo of what was sent without an answer, until it is handed out."""

    async def highest_epoch(self, objects: Sequence[ObjectRef], *, readable: bool = False) -> int:
        """The newest epoch on any of ``objects`` (absent ones count 0): what a new hold's epoch has to exceed. A read.

        ``readable``: those that may not be read are left out, instead of raising :class:`Forbidden`."""
        epochs = [0]
        for ref in objects:
            try:
                live = await self._found(ref)
            except Forbidden as error:
                if not readable:
                    raise
                log.warning("the epoch of %s is not known: %s", ref, error)
                continue
            epochs.append(epoch_of(live) if live is not None else 0)
        return max(epochs)

    async def claim(
        self,
        objects: Sequence[ObjectRef],
        hold: Hold,
        rollout: Rollout,
        bodies: Mapping[ObjectRef, dict[str, Json]] | None = None,
        *,
        rollback: bool = False,
    ) -> dict[ObjectRef, dict[str, Json]]:
        """Put the hold's epoch on every object, so that whoever drove before is refused from here on; the objects afterwards.

        Absent objects are created at zero replicas where ``bodies`` has them, else left absent (and out of the answer). One
        intent and one outcome are journalled. Raises :class:`Superseded` where an object has that epoch or a newer one from
        somebody else.
        """
        self._must_change(f"claim the objects of {rollout.release.service}")
        hold.check()
        account = self._account(rollout, rollback=rollback)
        command = f"claim {' '.join(str(ref) for ref in objects)} for epoch {hold.epoch}"
        told_objects: list[Json] = [named(ref) for ref in objects]
        facts: dict[str, Json] = {"objects": told_objects, "epoch": hold.epoch, "step_name": "claim"}
        ref_id = await account.intent(command, facts)
        started = self._clock.monotonic()
        claimed: dict[ObjectRef, dict[str, Json]] = {}
        created: list[Json] = []
        try:
            for ref in objects:
                live, new = await self._claim(ref, hold, (bodies or {}).get(ref))
                if live is not None:
                    claimed[ref] = live
                if new:
                    created.append(named(ref))
        except QuarterdeckError as error:
            data: dict[str, Json] = {**facts, "claimed": [named(ref) for ref in claimed], "created": created, "error": str(error)}
            await account.outcome(command, ref_id, outcome_of(error), data)
            raise
        took = round((self._clock.monotonic() - started) * 1000, 1)
        await account.outcome(
            command, ref_id, "ok", {**facts, "claimed": [named(ref) for ref in claimed], "created": created, "milliseconds": took}
        )
        return claimed

    async def apply(
        self,
        mutation: Mutation,
        *,
        hold: Hold,
        rollout: Rollout,
        base: dict[str, Json] | None = None,
        rollback: bool = False,
        noted: Noted | None = None,
    ) -> Applied:
        """Give one object the values of ``mutation``.

        ``base`` is the object as an inventory last saw it: it saves the read, and a patch that fails on it is decided anew.
        ``noted`` is called with the undo records when the intent is durable, before the request leaves (each call replaces
        the one before); a checkpoint written there survives the driver's death between request and answer. ``rollback``: a
        journal that can't be written delays, but does not stop it.

        Raises :class:`ObserverMode`; :class:`HeldByAnother` (the hold is lost) and its :class:`Superseded`;
        :class:`JournalUnavailable`, all before anything is sent; :class:`Misplaced` and other kinds of :class:`Conflict`;
        :class:`Unavailable` where the outcome stayed unknown. Repeating the call is safe: what took effect is found and
        answered, with its undo.
        """
        command = self._command(mutation)
        self._must_change(command)
        hold.check()
        account = self._account(rollout, rollback=rollback)
        ref = mutation.object
        if mutation.owned or mutation.delete:
            mutation = msgspec.structs.replace(mutation, command=command)
            facts = self._facts(mutation, hold.epoch, 1)
            if mutation.delete:
                return await self._existence.delete(mutation, hold=hold, account=account, facts=facts, noted=noted)
            return await self._existence.create(mutation, hold=hold, rollout=rollout, account=account, facts=facts, noted=noted)
        # With an undo still owed for this object, what the request did has to be seen first.
        trusted = base if (rollout.id, ref) not in self._unsettled else None
        live, fresh = (trusted, False) if trusted is not None else (await self._live(mutation, hold, account, command), True)
        deadline = self._clock.monotonic() + LOOK_UP
        for attempt in range(1, ATTEMPTS + 2):
            if epoch_of(live) > hold.epoch:
                self._superseded(ref, live, hold.epoch)
            decision = decide(mutation, live, epoch=hold.epoch)
            if not decision.undo and not fresh:
                live, fresh = await self._live(mutation, hold, account, command), True
                continue
            earlier = self._took_effect(rollout, ref, live) if fresh else ()
            if not decision.undo and epoch_of(live) == hold.epoch:
                return await self._as_wanted(account, mutation, command, live, rollout, attempt)
            if attempt > ATTEMPTS:
                break  # only looked at: the last attempt may have taken effect
            after = await self._send(account, mutation, command, decision, hold.epoch, attempt, earlier, noted, deadline)
            if isinstance(after, Applied):
                return after
            live, fresh = after, True
            hold.check()
        raise Conflict(
            f"{ref} in {ref.namespace} kept changing",
            f"{ATTEMPTS} attempts met another writer; it does not have the values that were asked for.",
            "Look who else writes to it (kubectl get --show-managed-fields), then try again.",
        )

    async def force(self, mutation: Mutation, *, epoch: int, rollout: Rollout, base: dict[str, Json]) -> Applied:
        """Restore values at once, whoever drives: one patch that also takes the epoch, from the inventory's copy ``base``, with
        no read before it.

        ``epoch`` is the least epoch to take; it is raised above the one found on the object. Where the values are back already
        under such an epoch, somebody else has rolled back: we join (``changed`` is false). The answer's ``epoch`` is what the
        lease of the driver that carries on has to exceed. Waits for the journal at most 250 ms. Old values are not tested: the
        inventory may lag, and only who had the epoch before could have moved them.
        """
        command = self._command(mutation)
        self._must_change(command)
        account = self._account(rollout, rollback=True)
        ref = mutation.object
        live, fresh = base, False
        deadline = self._clock.monotonic() + LOOK_UP
        for attempt in range(1, ATTEMPTS + 2):
            decision = decide(mutation, live, epoch=epoch)
            if not decision.undo and epoch_of(live) >= epoch:
                if fresh:
                    self._took_effect(rollout, ref, live)
                    return await self._as_wanted(account, mutation, command, live, rollout, attempt)
                live, fresh = await self._connection.get(ref), True
                continue
            if attempt > ATTEMPTS:
                break
            epoch = max(epoch, epoch_of(live) + 1)
            decision = decide(mutation, live, epoch=epoch, exact=False)
            earlier = self._took_effect(rollout, ref, live) if fresh else ()
            after = await self._send(account, mutation, command, decision, epoch, attempt, earlier, None, deadline)
            if isinstance(after, Applied):
                return after
            live, fresh = after, True
        raise Conflict(
            f"{ref} in {ref.namespace} kept changing",
            f"{ATTEMPTS} attempts to restore it met another writer. It is not restored.",
            f"Press R again, or do it by hand: {command}",
        )

    async def _send(
        self,
        account: Account,
        mutation: Mutation,
        command: str,
        decision: Decision,
        epoch: int,
        attempt: int,
        earlier: tuple[UndoRecord, ...],
        noted: Noted | None,
        deadline: float,
    ) -> Applied | dict[str, Json]:
        """One intent, one request, one outcome; or the object to decide on anew, where the outcome is refused or unknown."""
        ref = mutation.object
        undo = (*earlier, *decision.undo)
        facts = self._facts(mutation, epoch, attempt)
        intent = await account.intent(command, {**facts, "changes": told(decision.undo)})
        if noted is not None:
            try:
                await noted(undo)
            except QuarterdeckError as error:
                # Nothing has left: an intent without an outcome would say that it may have.
                await account.outcome(command, intent, "failed", {**facts, "sent": False, "error": str(error)})
                raise
        started = self._clock.monotonic()
        try:
            after = await self._writer.patch(ref, list(decision.operations), timeout=TIMEOUT)
        except QuarterdeckError as error:
            outcome = outcome_of(without_values(error, decision.undo))
            took = round((self._clock.monotonic() - started) * 1000, 1)
            if outcome == "unknown":
                late = self._unsettled.get((account.rollout, ref), Unsettled()).late
                self._unsettled[account.rollout, ref] = Unsettled(undo, tuple(each for each in late if each not in undo))
            await account.outcome(command, intent, outcome, {**facts, "milliseconds": took, "error": str(error)})
            if outcome == "failed":
                raise
            if isinstance(error, Throttled):
                if self._clock.monotonic() + error.retry_after > deadline:
                    raise
                await self._clock.sleep(error.retry_after)
            return await self._looked_up(ref, error, outcome, deadline)
        took = (self._clock.monotonic() - started) * 1000
        self._unsettled.pop((account.rollout, ref), None)
        await account.outcome(command, intent, "ok", {**facts, "status": 200, "milliseconds": round(took, 1)})
        return Applied(undo=undo, status=200, milliseconds=took, changed=bool(undo), object=after, epoch=epoch)

    async def _as_wanted(
        self, account: Account, mutation: Mutation, command: str, live: dict[str, Json], rollout: Rollout, attempt: int
    ) -> Applied:
        """Nothing to do: it was so before, or what we sent without an answer took effect (then its undo is handed out)."""
        earlier = self._unsettled.pop((rollout.id, mutation.object), Unsettled()).sent
        epoch = epoch_of(live)
        await account.outcome(command, "", "ok" if earlier else "unchanged", self._facts(mutation, epoch, attempt))
        return Applied(undo=earlier, status=200, milliseconds=0.0, changed=bool(earlier), object=live, epoch=epoch)

    def _took_effect(self, rollout: Rollout, ref: ObjectRef, live: dict[str, Json]) -> tuple[UndoRecord, ...]:
        """Of what was sent without an answer: what took effect, as ``live`` shows. What did not is kept: it may still arrive."""
        if (rollout.id, ref) not in self._unsettled:
            return ()
        found = self._unsettled[rollout.id, ref].seen(live)
        self._unsettled[rollout.id, ref] = found
        return found.sent

    async def _looked_up(self, ref: ObjectRef, why: QuarterdeckError, outcome: Outcome, deadline: float) -> dict[str, Json]:
        """The object as it is, after a request that was refused or whose outcome is unknown; asked until ``deadline``."""
        pause = 0.1
        while True:
            try:
                return await self._connection.get(ref)
            except (Forbidden, NotFound):
                raise
            except Unavailable as error:
                if self._clock.monotonic() + pause > deadline:
                    unknown = "The change was sent and it is not known whether it took effect"
                    state = unknown if outcome == "unknown" else "The change was refused and nothing was changed"
                    raise Unavailable(
                        f"{ref} in {ref.namespace} could not be looked at",
                        f"{state} ({why.title}); since then the cluster has not answered ({error.title}).",
                        "Wait until the cluster is back, then repeat: the object is looked at first.",
                    ) from error
                await self._clock.sleep(pause)
                pause = min(2.0, pause * 2)

    async def _live(self, mutation: Mutation, hold: Hold, account: Account, command: str) -> dict[str, Json]:
        """The object, created where it is absent and the mutation says how."""
        ref = mutation.object
        for _ in range(ATTEMPTS):
            live = await self._found(ref)
            if live is not None:
                return live
            if mutation.create is None:
                raise NotFound(
                    f"{ref} is not in {ref.namespace}", "It was to be changed; nothing was sent.", "Was it deleted? Plan again."
                )
            facts = {**self._facts(mutation, hold.epoch, 1), "creates": True}
            intent = await account.intent(command, facts)
            try:
                created = await self._writer.create(ref, newborn(ref, mutation.create, hold.epoch))
            except QuarterdeckError as error:
                outcome = outcome_of(error)
                await account.outcome(command, intent, outcome, {**facts, "error": str(error)})
                if outcome == "failed":
                    raise
                continue
            await account.outcome(command, intent, "ok", {**facts, "status": 201})
            return created
        raise Conflict(
            f"{ref} in {ref.namespace} comes and goes", "It could be neither read nor created.", "Look who deletes it."
        )

    async def _claim(self, ref: ObjectRef, hold: Hold, body: dict[str, Json] | None) -> tuple[dict[str, Json] | None, bool]:
        """The claimed object (``None``: absent) and whether it was created."""
        sent = False
        problem: QuarterdeckError | None = None
        for attempt in range(ATTEMPTS):
            hold.check()
            try:
                live = await self._found(ref)
                if live is None:
                    if body is None:
                        return None, False
                    live, created = await self._writer.create(ref, newborn(ref, body, hold.epoch), timeout=TIMEOUT), True
                elif epoch_of(live) == hold.epoch and (sent or ref in hold.claimed):
                    created = False
                elif epoch_of(live) >= hold.epoch:
                    self._superseded(ref, live, hold.epoch)
                else:
                    fence = decide(Mutation(object=ref, writes=()), live, epoch=hold.epoch).operations
                    live, created = await self._writer.patch(ref, list(fence), timeout=TIMEOUT), False
            except QuarterdeckError as error:
                outcome = outcome_of(error)
                if outcome == "failed":
                    raise
                problem = error
                sent = sent or outcome == "unknown"
                # A busy server may ask for an hour: what waits for this claim must not.
                pause = min(error.retry_after, TIMEOUT) if isinstance(error, Throttled) else 0.05 * 2**attempt
                await self._clock.sleep(pause)
            else:
                hold.claimed.add(ref)
                return live, created
        raise Conflict(
            f"{ref} in {ref.namespace} could not be claimed",
            f"{ATTEMPTS} attempts met another writer or no answer ({problem}). No value of it was changed.",
            "Look who else writes to it, then try again.",
        )

    async def _found(self, ref: ObjectRef) -> dict[str, Json] | None:
        try:
            return await self._connection.get(ref)
        except NotFound:
            return None

    def _account(self, rollout: Rollout, *, rollback: bool) -> Account:
        return Account(self._journal, rollout, operator=self._operator, context=self._connection.context, rollback=rollback)

    def _command(self, mutation: Mutation) -> str:
        return mutation.command or kubectl(mutation, context=self._connection.context)

    def _facts(self, mutation: Mutation, epoch: int, attempt: int) -> dict[str, Json]:
        return {
            "object": named(mutation.object),
            "step": mutation.step,
            "step_name": mutation.step_name,
            "epoch": epoch,
            "attempt": attempt,
        }

    def _superseded(self, ref: ObjectRef, live: dict[str, Json], epoch: int) -> NoReturn:
        raise Superseded(
            f"{ref} in {ref.namespace} was taken over",
            f"It carries epoch {epoch_of(live)}, this driver's is {epoch}. Nothing was changed.",
            "Look who drives the service now; this driver changes nothing any more.",
            epoch=epoch_of(live),
        )

    def _must_change(self, what: str) -> None:
        if self._read_only:
            raise ObserverMode(f"Read-only: refused: {what}", "Nothing was sent.", "Start without --read-only to make changes.")
