"""``quarterdeck drive ID``: the process that drives one rollout. Started by the other commands and the console."""

import argparse
import asyncio
from typing import Any


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "drive",
        parents=parents,
        help="drive or resume one rollout (a process of its own)",
        description="Drive one rollout to its end. The other commands and the console start it for you; by hand it takes over "
        "a rollout that nobody drives.",
    )
    parser.add_argument("rollout", metavar="ID", help="the rollout's id, as `status` and `watch` show it")
    parser.add_argument("--take-over", action="store_true", help="take the lease from whoever holds it")
    parser.add_argument("--rollback", action="store_true", help="roll it back, whatever its state")
    parser.add_argument("--resume", action="store_true", help="go on where it is paused")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the journal")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_drive(args))


async def _drive(args: argparse.Namespace) -> int:
    from console.context import Context
    from console.shipping import kept_shipping
    from services.rollout.driver import run_driver
    from services.rollout.home import read_ended

    async with Context.open(args, program="quarterdeck drive", undoes=args.rollback) as context, kept_shipping(context):
        code = await run_driver(
            context,
            args.rollout,
            take_over=args.take_over,
            rollback=args.rollback,
            resume=args.resume,
            reason=context.redactor.text(args.reason),
        )
        # Its last words are kept for the consoles; whoever started it by hand is told them too.
        ended = read_ended(context.home, args.rollout)
        error = ended.error() if ended is not None else None
        if error is not None:
            raise error
        return code
