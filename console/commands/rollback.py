"""``quarterdeck rollback``: put a service back to what it was. Never gated; 0 where it is restored, 5 where it is not."""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, ObserverMode, Rejected

if TYPE_CHECKING:
    from console.context import Context
    from services.cluster.inventory import Inventory
    from services.model.release import Target
    from services.rollout.follow import Followed


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("rollback", parents=parents, help="put a service back to what it was before")
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument("-e", "--environment", metavar="ENV", default="", help="dev, staging, canary, production, or an alias")
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", default="", help="where the environment has several")
    parser.add_argument("--to", metavar="REVISION", default="", help="a revision of the Deployment (else what was there before)")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the journal")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_roll_back(args))


async def _roll_back(args: argparse.Namespace) -> int:
    from console import output
    from console.commands.following import checkpoints
    from console.context import Context
    from services.rollout.report import rollback_document

    async with Context.open(args) as context:
        target = await _target(context, args)
        if context.read_only:
            raise ObserverMode("Read-only: nothing is rolled back", "Nothing was sent to the cluster.", "Leave --read-only out.")
        async with checkpoints(context, target) as inventory:
            result = await _run(args, context, inventory, target)
        if result is None:
            output.note("quarterdeck: left; the rollback goes on in its driver.")
            return ExitCode.INTERRUPTED
        restored = result.rollout.phase.value == "rolled_back" and not result.abandoned
        if args.output == "json":
            output.document(rollback_document(result))
        else:
            state = "restored" if restored else "not restored"
            output.text(f"{state}: {args.service} in {target.environment}, {result.rollout.plan.previous_version}")
            for command in result.rollout.left:
                output.text(f"  by hand: {command}")
            if result.error is not None:
                output.problem(result.error)
        return ExitCode.DONE if restored else ExitCode.NEEDS_ATTENTION


async def _run(args: argparse.Namespace, context: "Context", inventory: "Inventory", target: "Target") -> "Followed | None":
    from console import output
    from console.commands.following import followed
    from services.rollout.follow import over
    from services.rollout.undoing import start_rollback

    rollout, process = await start_rollback(
        context, inventory, target, args.service, revision=args.to, reason=context.redactor.text(args.reason)
    )
    output.note(f"Rolling back {rollout.id}: {args.service} in {target.environment}")
    return await followed(context, inventory, rollout, process, over)


async def _target(context: "Context", args: argparse.Namespace) -> "Target":
    """Where the service is. Raises :class:`Rejected` for anything the configuration or the cluster does not know."""
    from services.model.errors import NotFound
    from services.model.objects import ObjectRef
    from services.model.release import Target
    from services.release.validate import NAME_RULE
    from services.settings.section import is_name

    name, environment = context.settings.resolve_environment(args.environment)
    if not is_name(args.service):
        raise Rejected("service", args.service[:80], "is not a legal name", NAME_RULE)
    if args.namespace and args.namespace not in environment.namespaces:
        raise Rejected("namespace", args.namespace[:80], f"does not belong to {name}", ", ".join(environment.namespaces))
    connection = await context.clusters.connect(environment.context)
    for namespace in [args.namespace] if args.namespace else environment.namespaces:
        try:
            await connection.get(ObjectRef("Deployment", namespace, args.service))
        except NotFound:
            continue
        return Target(environment=name, tier=environment.tier, context=environment.context, namespace=namespace)
    raise Rejected("service", args.service, f"does not exist in {name}", "a service that `quarterdeck status` shows")
