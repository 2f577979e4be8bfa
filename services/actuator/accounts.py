"""What the actuator says to the journal: an intent before each request, an outcome after it (R6.1)."""

from collections.abc import Sequence
from typing import Literal

from services.actuator.mutation import Misplaced
from services.actuator.shown import shown
from services.audit.event import Event
from services.audit.journal import Journal
from services.model.errors import Conflict, OutcomeUnknown, QuarterdeckError, Throttled
from services.model.objects import Json, ObjectRef
from services.model.rollout import Rollout, UndoRecord

PATIENCE = 0.25
"""Wall seconds that the journal may delay a rollback, or hold up the answer of a request that has been sent."""

Outcome = Literal["ok", "unchanged", "refused", "failed", "unknown"]
"""``refused``: the API server did not do it, since the object was not as tested; ``unknown``: sent, and no answer came."""
EXIT_CODES: dict[Outcome, int | None] = {"ok": 0, "unchanged": 0, "refused": 1, "failed": 1, "unknown": None}
"""As the command line that stands in the entry would have ended (R6.2); nobody knows where the outcome is unknown."""


class Account:
    """The entries about one change; ``rollback`` entries never wait longer than :data:`PATIENCE` and never fail."""

    def __init__(self, journal: Journal, rollout: Rollout, *, operator: str, context: str, rollback: bool) -> None:
        self._journal = journal
        self.rollout = rollout.id
        self._rollout = rollout
        self._operator = operator or (rollout.driver.operator if rollout.driver else rollout.operator)
        self._context = context
        self._rollback = rollback

    async def intent(self, command: str, data: dict[str, Json]) -> str:
        """Durable when it returns, except in a rollback whose journal does not answer. The entry's id, where it has one.

        Raises :class:`~services.audit.event.JournalUnavailable` (never in a rollback): then nothing may be sent."""
        event = self._event(command, "intent", "", "", data)
        if self._rollback:
            receipt = await self._journal.append_within(event, PATIENCE)
            return receipt.id if receipt is not None else ""
        return (await self._journal.append(event)).id

    async def outcome(self, command: str, ref: str, outcome: Outcome, data: dict[str, Json]) -> None:
        """What became of it. What was sent can't be called back, so a journal that fails here does not hide the result: it
        keeps the entry, and says so by its health."""
        data = {**data, "exit_code": EXIT_CODES[outcome]}
        await self._journal.append_within(self._event(command, "outcome", ref, outcome, data), PATIENCE)

    def _event(self, command: str, phase: str, ref: str, outcome: str, data: dict[str, Json]) -> Event:
        release = self._rollout.release
        return Event(
            event="deployment.executed",
            user=self._operator,
            environment=release.target.environment,
            service=release.service,
            version=release.version,
            command=command,
            change_ticket=release.ticket,
            approvers=self._rollout.approvers,
            outcome=outcome,
            rollback_triggered=self._rollback,
            rollout=self._rollout.id,
            phase=phase,
            ref=ref,
            data={"context": self._context, **data},
        )


def told(records: Sequence[UndoRecord]) -> list[Json]:
    """Undo records as the journal keeps them: only planned paths, and of those no secret (see :mod:`services.actuator.shown`)."""
    return [
        {
            "path": record.path,
            "old": shown(record.path, record.old, record.guards),
            "new": shown(record.path, record.new, record.guards),
            **({"guards": [{"path": guard.path, "value": guard.value} for guard in record.guards]} if record.guards else {}),
        }
        for record in records
    ]


def named(ref: ObjectRef) -> dict[str, Json]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def outcome_of(error: QuarterdeckError) -> Outcome:
    """What a request that was not answered with success has come to."""
    if isinstance(error, OutcomeUnknown):
        return "unknown"
    if isinstance(error, Conflict | Throttled) and not isinstance(error, Misplaced):
        return "refused"
    return "failed"
