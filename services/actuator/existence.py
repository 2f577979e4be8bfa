"""Objects that exist for a rollout alone: made by it, and removed with it.

Creating one takes no effect on users (a Service that selects no pods yet, an Ingress of weight 0), and neither does removing it
once no request is sent to it. Both are journalled and recorded like any other change; the record of an object as a whole has
the empty path. An object can't be fenced before it is there, so the checkpoint does it: the undo record is stored there before
the request leaves, which a driver that was superseded can't do.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from services.actuator.accounts import Account, outcome_of, told
from services.actuator.commands import kubectl_delete
from services.actuator.mutation import EPOCH_PATH, Applied, Misplaced, Mutation, Superseded
from services.actuator.patch import decide, epoch_of, newborn, same
from services.actuator.shown import without_values
from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.writer import Writer
from services.coordination import Hold
from services.model.errors import Conflict, NotFound, QuarterdeckError, Throttled
from services.model.objects import Json, value_at
from services.model.rollout import Rollout, UndoRecord

ATTEMPTS = 6
TIMEOUT = 10.0
"""Wall seconds one request may take."""
WHOLE = ""
"""The path of an object as a whole."""

Noted = Callable[[tuple[UndoRecord, ...]], Awaitable[None]]

_KEPT_METADATA = ("name", "namespace", "labels", "annotations")


class Existence:
    """Makes and removes whole objects of one cluster."""

    def __init__(self, connection: Connection, writer: Writer, clock: Clock) -> None:
        self._connection = connection
        self._writer = writer
        self._clock = clock

    async def create(
        self, mutation: Mutation, *, hold: Hold, rollout: Rollout, account: Account, facts: dict[str, Json], noted: Noted | None
    ) -> Applied:
        """Make the object where it is absent. One that this rollout has made already is left as it is; one that an earlier one
        has left is taken for ours where it is what we would make. Either carries our epoch afterwards.

        Raises :class:`Misplaced` where somebody else has made one of that name meanwhile, or an earlier rollout has left another
        one; :class:`Superseded` where it carries a newer epoch than ours.
        """
        ref, body = mutation.object, mutation.create
        assert body is not None
        record = UndoRecord(object=ref, path=WHOLE, old=None, new=body, step=mutation.step)
        recorded = any(item.object == ref and item.path == WHOLE for item in rollout.undo)
        undo = () if recorded else (record,)
        facts = {**facts, "creates": True}
        sent = False
        for _ in range(ATTEMPTS):
            hold.check()
            live = await self._found(mutation)
            if live is not None:
                self._check_epoch(mutation, live, hold)
                if value_at(live, EPOCH_PATH) is None:
                    raise Misplaced(
                        f"{ref} in {ref.namespace} was made by somebody else meanwhile",
                        "It was absent when this was planned. Nothing was changed.",
                        "Look at it; plan again.",
                    )
                if not recorded and not sent and not _holds(live, body):
                    raise Misplaced(
                        f"{ref} in {ref.namespace} was left by an earlier rollout",
                        "It is not what this one would make, and may be in use. Nothing was changed.",
                        f"Look at it; where nothing needs it: {kubectl_delete(ref, context=self._connection.context)}",
                    )
                if epoch_of(live) == hold.epoch:
                    await account.outcome(mutation.command, "", "unchanged", facts)
                    return Applied(undo=undo, status=200, milliseconds=0.0, changed=False, object=live, epoch=hold.epoch)
                fenced = await self._fenced(mutation, live, hold, account, facts, noted, undo)
                if fenced is None:
                    continue
                return Applied(undo=undo, status=200, milliseconds=0.0, changed=False, object=fenced, epoch=hold.epoch)
            intent = await account.intent(mutation.command, {**facts, "changes": told((record,))})
            await _stored(noted, (record,), account, mutation, intent, facts)
            started, sent = self._clock.monotonic(), True
            try:
                created = await self._writer.create(ref, newborn(ref, body, hold.epoch), timeout=TIMEOUT)
            except QuarterdeckError as error:
                await self._refused(without_values(error, (record,)), account, mutation, intent, facts)
                continue
            took = round((self._clock.monotonic() - started) * 1000, 1)
            await account.outcome(mutation.command, intent, "ok", {**facts, "status": 201, "milliseconds": took})
            return Applied(undo=(record,), status=201, milliseconds=took, changed=True, object=created, epoch=hold.epoch)
        raise _restless(mutation)

    async def delete(
        self, mutation: Mutation, *, hold: Hold, account: Account, facts: dict[str, Json], noted: Noted | None
    ) -> Applied:
        """Remove the object, in exactly the version that was looked at. One that is gone already is as wanted."""
        ref = mutation.object
        facts = {**facts, "deletes": True}
        undo: tuple[UndoRecord, ...] = ()
        for _ in range(ATTEMPTS):
            hold.check()
            live = await self._found(mutation)
            if live is None:
                await account.outcome(mutation.command, "", "ok" if undo else "unchanged", facts)
                return Applied(undo=undo, status=200, milliseconds=0.0, changed=bool(undo), object={}, epoch=hold.epoch)
            self._check_epoch(mutation, live, hold)
            undo = (UndoRecord(object=ref, path=WHOLE, old=_bare(live), new=None, step=mutation.step),)
            intent = await account.intent(mutation.command, {**facts, "changes": told(undo)})
            await _stored(noted, undo, account, mutation, intent, facts)
            started = self._clock.monotonic()
            version = str(value_at(live, "/metadata/resourceVersion") or "")
            try:
                await self._writer.delete(ref, resource_version=version, timeout=TIMEOUT)
            except NotFound:
                pass  # somebody was quicker: it is gone, which is what was asked for
            except QuarterdeckError as error:
                await self._refused(error, account, mutation, intent, facts)
                continue
            took = round((self._clock.monotonic() - started) * 1000, 1)
            await account.outcome(mutation.command, intent, "ok", {**facts, "status": 200, "milliseconds": took})
            return Applied(undo=undo, status=200, milliseconds=took, changed=True, object={}, epoch=hold.epoch)
        raise _restless(mutation)

    async def _fenced(
        self,
        mutation: Mutation,
        live: dict[str, Json],
        hold: Hold,
        account: Account,
        facts: dict[str, Json],
        noted: Noted | None,
        undo: tuple[UndoRecord, ...],
    ) -> dict[str, Json] | None:
        """Put our epoch on what is there, so that whoever drove before is refused from here on; ``None``: decide anew."""
        facts = {**facts, "creates": False, "fences": True}
        intent = await account.intent(mutation.command, facts)
        await _stored(noted, undo, account, mutation, intent, facts)
        fence = decide(Mutation(object=mutation.object, writes=()), live, epoch=hold.epoch).operations
        try:
            fenced = await self._writer.patch(mutation.object, list(fence), timeout=TIMEOUT)
        except QuarterdeckError as error:
            await self._refused(error, account, mutation, intent, facts)
            return None
        await account.outcome(mutation.command, intent, "ok", {**facts, "status": 200})
        return fenced

    async def _found(self, mutation: Mutation) -> dict[str, Json] | None:
        try:
            return await self._connection.get(mutation.object)
        except NotFound:
            return None

    async def _refused(
        self, error: QuarterdeckError, account: Account, mutation: Mutation, intent: str, facts: dict[str, Any]
    ) -> None:
        """Journal it; raises it again where repeating is no use."""
        outcome = outcome_of(error)
        await account.outcome(mutation.command, intent, outcome, {**facts, "error": str(error)})
        if outcome == "failed":
            raise error
        # A busy server may ask for an hour: what waits for this must not.
        await self._clock.sleep(min(error.retry_after, TIMEOUT) if isinstance(error, Throttled) else 0.1)

    @staticmethod
    def _check_epoch(mutation: Mutation, live: dict[str, Json], hold: Hold) -> None:
        if epoch_of(live) > hold.epoch:
            raise Superseded(
                f"{mutation.object} in {mutation.object.namespace} was taken over",
                f"It carries epoch {epoch_of(live)}, this driver's is {hold.epoch}. Nothing was changed.",
                "Look who drives the service now; this driver changes nothing any more.",
                epoch=epoch_of(live),
            )


async def _stored(
    noted: Noted | None,
    undo: tuple[UndoRecord, ...],
    account: Account,
    mutation: Mutation,
    intent: str,
    facts: dict[str, Json],
) -> None:
    if noted is None:
        return
    try:
        await noted(undo)
    except QuarterdeckError as error:
        # Nothing has left: an intent without an outcome would say that it may have.
        await account.outcome(mutation.command, intent, "failed", {**facts, "sent": False, "error": str(error)})
        raise


def _bare(live: dict[str, Json]) -> dict[str, Json]:
    """An object as one would write it: without what the server adds."""
    metadata = value_at(live, "/metadata") or {}
    kept = {key: metadata[key] for key in _KEPT_METADATA if key in metadata}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": kept}


def _holds(live: Json, wanted: Json) -> bool:
    """Whether ``live`` has all of ``wanted``; a server adds defaults, and others may add labels."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(key in live and _holds(live[key], part) for key, part in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(_holds, live, wanted))
    return same(live, wanted)


def _restless(mutation: Mutation) -> Conflict:
    return Conflict(
        f"{mutation.object} in {mutation.object.namespace} comes and goes",
        "It could be neither made nor removed.",
        "Look who else writes to it, then try again.",
    )
