"""``quarterdeck rollback``: put a service back to what it was. Never gated; 0 where it is restored, 5 where it is not."""

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from services.model.errors import ExitCode, ObserverMode, QuarterdeckError, Rejected, Unavailable
from services.model.release import DeployRequest

if TYPE_CHECKING:
    from console.context import Context
    from services.cluster.inventory import Inventory
    from services.model.objects import Json
    from services.model.release import Target
    from services.model.rollout import Rollout
    from services.rollout.follow import Followed
    from services.rollout.provenance import TakenBack


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "rollback",
        parents=parents,
        help="put a service back to what it was before",
        description="Roll back the live rollout of a service, else its last one, else to its revision before. Never gated. "
        "Exit 0 where it is restored, 5 where it is not.",
        epilog='example:\n  quarterdeck rollback payment-service -e production --reason "P99 doubled"',
    )
    parser.add_argument("service", metavar="SERVICE", help="the name of its Deployment")
    parser.add_argument("-e", "--environment", metavar="ENV", default="", help="dev, staging, canary, production, or an alias")
    parser.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", default="", help="where the environment has several (else the one it runs in)"
    )
    parser.add_argument("--to", metavar="REVISION", default="", help="a revision of the Deployment (else what was there before)")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the journal")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The exit codes of the command line; on interruption the rollback goes on in its driver."""
    from console.commands.refused import answer

    asked = DeployRequest(service=args.service, version="", environment=args.environment, namespace=args.namespace)
    try:
        return asyncio.run(_roll_back(args, asked))
    except QuarterdeckError as error:
        # Before configuration and home were known there was no journal to tell.
        return answer(args, asked, error, [])


async def _roll_back(args: argparse.Namespace, asked: DeployRequest) -> int:
    from console.commands.following import checkpoints
    from console.commands.refused import refuse
    from console.context import Context
    from services.rollout.undoing import start_rollback

    async with Context.open(args, undoes=True) as context, contextlib.AsyncExitStack() as stack:
        try:
            target = await _target(context, args)
            if context.read_only:
                raise ObserverMode(
                    "Read-only: nothing is rolled back", "Nothing was sent to the cluster.", "Leave --read-only out."
                )
            inventory = await stack.enter_async_context(checkpoints(context, target))
            rollout, process = await start_rollback(
                context, inventory, target, args.service, revision=args.to, reason=context.redactor.text(args.reason)
            )
        except Unavailable as error:
            return await _through_its_driver(args, context, asked, error)
        except QuarterdeckError as error:
            return await refuse(args, context, asked, error)
        return await _follow(args, context, inventory, rollout, process)


async def _through_its_driver(args: argparse.Namespace, context: "Context", asked: DeployRequest, error: Unavailable) -> int:
    """The cluster does not listen to this command; the driver of this home that is at work there may still be heard."""
    from console import output
    from console.commands.following import checkpoints
    from console.commands.refused import refuse
    from services.model.reasons import reason_of
    from services.rollout.report import deploy_document
    from services.rollout.undoing import ask_own_driver

    rollout = None
    if not context.read_only and not args.to:
        name, _ = context.settings.resolve_environment(args.environment)
        rollout = await ask_own_driver(context, args.service, name, args.namespace, context.redactor.text(args.reason))
    if rollout is None:
        return await refuse(args, context, asked, error)
    output.problem(error)
    output.note(f"quarterdeck: the driver of {rollout.id} was asked instead, and rolls back")
    try:
        async with checkpoints(context, rollout.release.target) as inventory:
            return await _follow(args, context, inventory, rollout, None)
    except Unavailable as unseen:
        output.note(f"quarterdeck: it can't be followed from here. Once the cluster is back: quarterdeck watch {rollout.id}")
        if args.output == "json":
            output.document(deploy_document(rollout, "interrupted", reason_of(unseen)))
        return ExitCode.INTERRUPTED


async def _follow(args: argparse.Namespace, context: "Context", inventory: "Inventory", rollout: "Rollout", process: Any) -> int:
    from console import output
    from console.commands.following import followed, not_recorded
    from services.model.reasons import reason_of
    from services.model.rollout import Reason
    from services.rollout.follow import over
    from services.rollout.report import deploy_document

    output.note(f"Rolling back {rollout.id}: {args.service} in {rollout.release.target.environment}")
    warning = asyncio.create_task(_warned(context, inventory, rollout))
    code = ExitCode.INTERRUPTED
    reason = Reason(kind="operator", name="interrupted", detail="this command was stopped; the rollback goes on in its driver")
    try:
        result = await followed(context, inventory, rollout, process, over)
    except QuarterdeckError as error:
        # It has begun and goes on in its driver, whatever hinders this command from seeing it.
        output.problem(error)
        result, reason, code = None, reason_of(error), ExitCode(error.exit_code)
    if result is None:
        warning.cancel()
        output.note(f"quarterdeck: left; the rollback goes on in its driver. Watch it: quarterdeck watch {rollout.id}")
        if args.output == "json":
            output.document(deploy_document(rollout, "interrupted", reason))
        return code
    before = await warning
    final, restored = await _told_end(context, result)
    problem = "" if result.abandoned else not_recorded(context, final)
    if problem:
        output.note(f"quarterdeck: THIS ROLLBACK IS NOT IN THE JOURNAL. {problem}")
    if args.output == "json":
        output.document(rollback_document(final, result, restored=restored, problem=problem, before=before))
    else:
        state = "restored" if restored else "not restored"
        place = f"{args.service} in {rollout.release.target.environment}"
        output.text(f"{state}: {place}, {final.plan.previous_version}")
        for command in final.left:
            output.text(f"  by hand: {command}")
        if result.error is not None:
            output.problem(result.error)
    return ExitCode.DONE if restored else ExitCode.NEEDS_ATTENTION


async def _warned(context: "Context", inventory: "Inventory", rollout: "Rollout") -> "TakenBack | None":
    """Say so where the version that is restored was taken back before. It is looked up once the rollback is on its way, beside
    following it: nothing waits for a warning."""
    from console import output
    from services.rollout.preview import taken_back_before

    before = await taken_back_before(context, inventory, rollout)
    if before is not None:
        output.note(f"quarterdeck: WARNING: this restores a version that was taken back. {before.words}")
    return before


def rollback_document(
    final: "Rollout", result: "Followed", *, restored: bool, problem: str, before: "TakenBack | None" = None
) -> "dict[str, Json]":
    """The document of ``rollback``: ``deploy``'s, whose outcome says whether the service is restored, with the version that was
    restored. ``problem``: why it is not in the journal. ``before``: an earlier rollback of that very version."""
    from services.rollout.report import deploy_document, verdict

    _, _, reason = verdict(result)
    document = deploy_document(final, "rolled_back" if restored else "needs_attention", reason)
    told: Any = document["rollback"]
    if told is None:
        told = {"trigger": "rollback", "seconds": None, "restored": restored, "left": list(final.left)}
    told |= {
        "restored_version": final.plan.previous_version if restored else None,
        "taken_back_before": msgspec.to_builtins(before),
    }
    document["rollback"] = told
    document["journal"] = {"first": final.journal_first, "last": final.journal_last, "problem": problem or None}
    return document


async def _told_end(context: "Context", result: "Followed") -> "tuple[Rollout, bool]":
    """The rollout at its end, and whether the service is restored; with what is left to do where its driver could not begin.

    A driver that restored everything and could not write its checkpoint any more has said so in the home directory.
    """
    from console.commands.following import journalled_end
    from services.model.rollout import Phase
    from services.rollout import by_hand
    from services.rollout.home import read_ended

    rollout = result.rollout
    if not result.abandoned:
        return rollout, rollout.phase is Phase.ROLLED_BACK
    rollout = journalled_end(context, rollout)
    ended = read_ended(context.home, rollout.id)
    if ended is not None and ended.code == ExitCode.ROLLED_BACK:
        return rollout, True
    if not rollout.left:
        rollout = msgspec.structs.replace(rollout, left=await by_hand.commands(context.clusters, rollout))
    return rollout, False


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
