"""A deploy or a rollback that was refused before anything began: its entry in the journal, its document, its exit code."""

import argparse
from typing import TYPE_CHECKING

import msgspec

from console import output
from console.context import Context
from services.model.errors import QuarterdeckError, Rejected
from services.model.objects import Json
from services.model.reasons import reason_of
from services.model.release import DeployRequest

if TYPE_CHECKING:
    from services.audit import Event

PATIENCE = 2.0
"""Wall seconds for the journal. A refusal stays the refusal it is, whatever the journal does."""
_READ, _KEPT, _EXPLAINED = 4096, 120, 1000


async def refuse(args: argparse.Namespace, context: Context, asked: DeployRequest, error: QuarterdeckError) -> int:
    """Journal that ``asked`` was attempted and refused, say so, and return the exit code. A dry run attempts nothing."""
    seqs: list[int] = []
    if not getattr(args, "dry_run", False):
        receipt = await context.journal.append_within(_event(args, context, asked, error), PATIENCE)
        seqs = [receipt.seq] if receipt is not None else []
        if receipt is None:
            not_journalled(context)
    return answer(args, asked, error, seqs)


def not_journalled(context: Context) -> None:
    """Say that the entry about a refusal could not be written, and why as far as that is known."""
    why = context.journal.health.detail
    output.note(f"quarterdeck: this refusal is not in the journal. {why or 'It took too long to write it.'}")


def answer(args: argparse.Namespace, asked: DeployRequest, error: QuarterdeckError, journal: list[int]) -> int:
    """Say why nothing was attempted; the exit code is the error's."""
    output.problem(error)
    if args.output == "json":
        output.document(output.rejected_rollout(asked, reason_of(error), journal=journal))
    return int(error.exit_code)


def _event(args: argparse.Namespace, context: Context, asked: DeployRequest, error: QuarterdeckError) -> "Event":
    from services.audit import Event
    from services.integrations.base import is_ticket_key
    from services.release import version
    from services.settings.section import is_name

    # What is not legal stays out of the fields that people filter by; it is kept below "asked", cut and inert.
    try:
        environment, _ = context.settings.resolve_environment(asked.environment)
    except Rejected:
        environment = ""
    told = {**msgspec.to_builtins(asked), "to": getattr(args, "to", ""), "reason": getattr(args, "reason", "")}
    why = msgspec.to_builtins(reason_of(error)).items()
    return Event(
        event="rollout.refused",
        user=context.user,
        environment=environment,
        service=asked.service if is_name(asked.service) else "",
        version=asked.version if not version.problem(asked.version) else "",
        command=f"quarterdeck {args.verb}",
        change_ticket=asked.ticket if is_ticket_key(asked.ticket) else "",
        outcome=error.word,
        data={
            "asked": {name: _inert(context, value) for name, value in told.items() if value},
            "reason": {name: _inert(context, value, _EXPLAINED) for name, value in why},
            "exit_code": int(error.exit_code),
        },
    )


def _inert(context: Context, value: Json, most: int = _KEPT) -> Json:
    """Redacted before it is cut, so that no part of a secret remains; what could act on a terminal is shown instead."""
    if not isinstance(value, str):
        return value
    text = output.shown(context.redactor.text(value[:_READ]))
    return text if len(text) <= most else f"{text[: most - 1]}…"
