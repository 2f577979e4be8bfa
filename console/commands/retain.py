"""``quarterdeck journal retain``: what becomes of old segments of the journal. Needs no cluster."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode

if TYPE_CHECKING:
    from services.audit.retention import Policy
    from services.clock import Clock

_RETAIN = (
    "Packs sealed segments (gzip; read and verified as before) and removes those whose time is over: when all entries are older "
    "than journal.retention_days (400; 366 at least), every required sink has confirmed them, and an entry says what is removed. "
    "Days in which nothing was written count as 31 at most: a clock that jumps ahead makes nothing old. "
    "Their first and last lines are kept, so that the chain verifies across the hole. Whoever has the journal open does the same "
    "once a day."
)


def add(actions: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("retain", parents=parents, help="pack and remove old segments", description=_RETAIN)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done now, and why not more")


def run(args: argparse.Namespace) -> int:
    """Exit 0, whether there was anything to do or not; 1 where the journal can't be written."""
    from console import output
    from console.context import Context, home_of
    from services.audit.event import JournalUnavailable
    from services.audit.retention import Retention, plan

    if args.dry_run:
        # Only looked at: no home is made for it.
        directory, (policy, clock) = home_of(args) / "journal", _configured(args)
        steps = plan(directory, policy, clock.now())
    else:
        context = Context.open(args, needs_settings=False)
        directory, policy = context.home / "journal", context.retention()
        retention = Retention(directory, policy, clock=context.clock, redactor=context.redactor)
        try:
            steps = retention.run() if (directory / "seg").is_dir() else []
        except PermissionError:
            raise  # whose it is, is said of every command alike
        except OSError as error:
            why = f"{directory}: {error.strerror or error}."
            raise JournalUnavailable("Old segments can't be packed or removed", why) from error
    if args.output == "json":
        output.document({"dry_run": args.dry_run, "days": policy.days, "steps": steps})
        return ExitCode.DONE
    output.table(
        ("SEGMENT", "ENTRIES", "NEWEST BEFORE", "BYTES", "ACTION", "WHY"),
        [(s.segment, f"{s.first}-{s.last}", s.newest, str(s.bytes), s.action.value, s.why) for s in steps],
    )
    if not steps:
        output.note("There is nothing to do.")
    return ExitCode.DONE


def _configured(args: argparse.Namespace) -> "tuple[Policy, Clock]":
    """How long the journal is to be kept, and the clock that tells how old it is. Raises :class:`ConfigurationError`."""
    import services.settings as rooms
    from console.context import policy_of
    from services.audit.retention import Policy
    from services.clock import SystemClock
    from services.redaction import Redactor

    config = rooms.find(args.config, os.environ)
    if not (args.config or config.exists()):
        return Policy(), SystemClock()
    settings = rooms.load(config, redactor=Redactor())
    return policy_of(settings), settings.clock()
