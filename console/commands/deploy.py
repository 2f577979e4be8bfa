"""``quarterdeck deploy``: the guarded deploy without a screen. The same rooms as the console's, one document as the answer."""

import argparse
import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, HeldByAnother, ObserverMode, QuarterdeckError, Rejected
from services.model.release import DeployRequest

if TYPE_CHECKING:
    from console.context import Context
    from services.cluster.connection import Connection
    from services.cluster.inventory import Inventory
    from services.model.gates import Checklist
    from services.model.objects import Json
    from services.model.release import Release
    from services.model.rollout import Reason, Rollout
    from services.model.steps import Plan
    from services.rollout.alerting import Foreseen as AlertsForeseen
    from services.rollout.foresight import Foresight


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "deploy",
        parents=parents,
        help="deploy a version, guarded, and follow it to its end",
        description="Deploy a version: validated, checked by every gate, then rolled out by a process of its own. "
        "Interrupted, it goes on; the same command resumes it.",
        epilog="example:\n  quarterdeck deploy payment-service v2.15.0 -e production \\\n"
        "    --strategy canary --ticket CHG-4821 --confirm production",
    )
    parser.add_argument("service", metavar="SERVICE", help="the name of its Deployment")
    parser.add_argument("version", metavar="VERSION", help="a semantic version: v1.2.3 or 1.2.3-rc.1")
    parser.add_argument("-e", "--environment", metavar="ENV", default="", help="dev, staging, canary, production, or an alias")
    parser.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", default="", help="where the environment has several (else the one it runs in)"
    )
    parser.add_argument("--strategy", metavar="S", default="", help="rolling or canary (else the tier's default)")
    parser.add_argument("--ticket", metavar="T", default=None, help="change ticket (else CHANGE_TICKET)")
    parser.add_argument("--confirm", metavar="NAME", default=None, help="the environment's name, needed for production")
    parser.add_argument("--dry-run", action="store_true", help="show plan and gates; change nothing anywhere")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The exit codes of the command line; on interruption the rollout goes on in its driver."""
    from console.commands.refused import answer

    request = DeployRequest(
        service=args.service,
        version=args.version,
        environment=args.environment,
        strategy=args.strategy,
        ticket=args.ticket if args.ticket is not None else os.environ.get("CHANGE_TICKET", ""),
        namespace=args.namespace,
    )
    try:
        return asyncio.run(_deploy(args, request))
    except QuarterdeckError as error:
        # Before configuration and home were known there was no journal to tell.
        return answer(args, request, error, [])


async def _deploy(args: argparse.Namespace, request: DeployRequest) -> int:
    from console.commands.refused import refuse
    from console.context import Context

    async with Context.open(args) as context:
        try:
            return await _attempt(args, context, request)
        except QuarterdeckError as error:
            return await refuse(args, context, request, error)


async def _attempt(args: argparse.Namespace, context: "Context", request: DeployRequest) -> int:
    """Every error that leaves here was met before anything began; what comes later is the rollout's own."""
    from services.release import validate, validate_syntax
    from services.rollout.service import read_state
    from services.strategies import compile_plan

    candidate = validate_syntax(request, context.settings)
    if context.read_only and not args.dry_run:
        raise ObserverMode(
            "Read-only: nothing is deployed",
            "Nothing was sent to any cluster.",
            "Leave --read-only out, or use --dry-run.",
        )
    contexts = context.clusters.contexts()
    known: dict[tuple[str, str], list[str]] = {}
    if candidate.context in contexts:
        connection = await context.clusters.connect(candidate.context)
        for namespace in candidate.namespaces:
            known[candidate.context, namespace] = await _services(connection, namespace)
    release = validate(request, context.settings, contexts, lambda place, namespace: known.get((place, namespace), []))
    connection = await context.clusters.connect(release.target.context)
    resumable = None if args.dry_run else await _unfinished(context, release)
    if resumable is not None:
        _confirmed(args, release)
        return await _resume(args, context, resumable)
    plan = compile_plan(release, await read_state(connection, release.target, release.service), context.settings)
    if args.dry_run:
        from console.commands.foreseeing import remembered

        checklist, foresight, alerts = await asyncio.gather(
            _checked(context, args, release, plan), remembered(context, release, plan), _alerts(context, release, plan)
        )
        return _show_plan(args, plan, checklist, foresight, alerts)
    checklist, alerts = await asyncio.gather(_checked(context, args, release, plan), _alerts(context, release, plan))
    if alerts is not None and not alerts.watched:
        from console import output

        output.note(f"quarterdeck: {alerts.words()}")
    if not checklist.passed:
        return await _refuse(args, context, release, plan, checklist)
    return await _start(args, context, release, plan, checklist)


async def _services(connection: "Connection", namespace: str) -> list[str]:
    return [found.metadata.name for found in await connection.list("Deployment", namespace)]


async def _unfinished(context: "Context", release: "Release") -> "Rollout | None":
    """This operator's own rollout of exactly this release that is interrupted or waits for a person.

    Raises :class:`HeldByAnother` for any other live one.
    """
    from console.commands.following import checkpoints
    from services.cluster.watched import TAKING_SECONDS, rollouts
    from services.model.rollout import Phase
    from services.rollout.home import alive
    from services.rollout.state import needs_person

    def is_own(rollout: "Rollout") -> bool:
        return rollout.release == release and rollout.operator == context.user

    async with checkpoints(context, release.target) as inventory:
        began = context.clock.monotonic()
        while True:
            found = rollouts(inventory, context.clock, local_alive=lambda rollout: alive(context.home, rollout))
            # its driver is gone: whether another is on its way shows within seconds, and only then may one be started
            unsure = any(
                is_own(watch.rollout) and not watch.rollout.phase.final and not watch.orphaned
                for watch in found
                if alive(context.home, watch.rollout) is False
            )
            if not unsure or context.clock.monotonic() - began > TAKING_SECONDS + 1.0:
                break
            await context.clock.sleep(0.2)
    for watch in found:
        rollout = watch.rollout
        if rollout.release.service != release.service or rollout.phase.final or rollout.phase is Phase.NEEDS_ATTENTION:
            continue
        if is_own(rollout) and (watch.orphaned or (needs_person(rollout) and alive(context.home, rollout))):
            return rollout
        if not watch.orphaned:
            raise HeldByAnother(
                f"{release.service} in {release.target.environment} is being rolled out by {watch.who}",
                f"Rollout {rollout.id} to {rollout.release.version} ({rollout.phase.value}). Nothing was changed.",
                f"Watch it: quarterdeck watch {rollout.id}",
            )
        raise HeldByAnother(
            f"{release.service} in {release.target.environment} has an unfinished rollout that nobody drives",
            f"Rollout {rollout.id} to {rollout.release.version} by {rollout.operator}: {watch.reason}. Nothing was changed.",
            f"Resume it (quarterdeck drive {rollout.id} --take-over) or roll it back "
            f"(quarterdeck rollback {release.service} -e {release.target.environment}).",
        )
    return None


def _confirmed(args: argparse.Namespace, release: "Release") -> None:
    from services.model.release import Tier

    name = release.target.environment
    if (args.confirm is None and release.target.tier is Tier.PRODUCTION) or args.confirm not in (None, name):
        raise Rejected("confirm", args.confirm or "", f"does not name {name} exactly", name)


async def _checked(context: "Context", args: argparse.Namespace, release: "Release", plan: "Plan") -> "Checklist":
    from services.gates import check
    from services.integrations.tickets import open_tickets
    from services.rollout.evidence import records_everywhere

    tickets = open_tickets(context.settings, redactor=context.redactor, clock=context.clock)
    try:
        return await check(
            release,
            plan,
            context.settings,
            operator=context.operator,
            confirmed=args.confirm,
            tickets=tickets,
            find_records=lambda service: records_everywhere(context, service),
            clock=context.clock,
        )
    finally:
        if tickets is not None:
            await tickets.close()


async def _alerts(context: "Context", release: "Release", plan: "Plan") -> "AlertsForeseen | None":
    from services.rollout.alerting import foreseen

    return await foreseen(context, release, plan)


def _show_plan(
    args: argparse.Namespace, plan: "Plan", checklist: "Checklist", foresight: "Foresight", alerts: "AlertsForeseen | None"
) -> int:
    from console import output
    from console.commands import foreseeing
    from services.actuator.shown import shown
    from services.model.objects import dotted
    from services.rollout.report import dry_run_document

    if args.output == "json":
        more: dict[str, Json] = {"foresight": foreseeing.document(foresight), "alerts": foreseeing.alerts_document(alerts)}
        output.document(dry_run_document(plan, checklist.results) | more)
        return ExitCode.DONE
    for step in plan.steps:
        output.text(f"{step.name}  (about {step.expected_seconds:.0f} s; undo: {step.undo.value})")
        for change in step.changes:
            old, new = (shown(change.path, value) for value in (change.old, change.new))
            output.text(f"    {change.object} {dotted(change.path)}: {old!r} → {new!r}")
        if step.command:
            output.text(f"    {step.command}")
    for line in foreseeing.lines(foresight):
        output.text(line)
    if alerts is not None:
        output.text(alerts.words())
    _show_gates(checklist)
    return ExitCode.DONE


def _show_gates(checklist: "Checklist") -> None:
    from console import output

    output.table(
        ("GATE", "OUTCOME", "EVIDENCE"),
        [
            (gate.name.value, gate.outcome.value, ". ".join(part for part in (gate.evidence, gate.detail) if part))
            for gate in checklist.results
        ],
    )


async def _refuse(args: argparse.Namespace, context: "Context", release: "Release", plan: "Plan", checklist: "Checklist") -> int:
    from console import output
    from console.commands.refused import not_journalled
    from services.model.rollout import Reason
    from services.rollout.report import refused_document
    from services.rollout.start import REFUSAL_EVENTS, journal_refusal

    seqs = await journal_refusal(context, release, checklist)
    if len(seqs) < len(REFUSAL_EVENTS):
        not_journalled(context)
    unmet = checklist.unmet[0]
    why = f"{unmet.evidence}. {unmet.detail}".strip()
    reason = Reason(kind="gate", name=unmet.name.value, value=unmet.outcome.value, detail=why)
    output.note(f"quarterdeck: {len(checklist.unmet)} of {len(checklist.results)} gates are unmet; nothing was changed")
    for gate in checklist.unmet:
        output.note(f"  {gate.name.value}: {gate.evidence}. {gate.detail}")
    if args.output == "json":
        output.document(refused_document(release, plan, "gate_unmet", reason, checklist.results, seqs))
    else:
        _show_gates(checklist)
    return ExitCode.GATE_UNMET


async def _start(args: argparse.Namespace, context: "Context", release: "Release", plan: "Plan", checklist: "Checklist") -> int:
    from console import output
    from console.commands.following import checkpoints
    from services.rollout.start import start_rollout

    async with checkpoints(context, release.target) as inventory:
        rollout, process = await start_rollout(context, release, plan, checklist, args.confirm or release.target.environment)
        output.note(f"Rollout {rollout.id}: {release.service} {plan.previous_version} → {release.version}")
        return await _follow(args, context, inventory, rollout, process)


async def _resume(args: argparse.Namespace, context: "Context", rollout: "Rollout") -> int:
    from console import output
    from console.commands.following import checkpoints
    from services.rollout.start import start_driver
    from services.rollout.state import needs_person

    async with checkpoints(context, rollout.release.target) as inventory:
        output.note(f"Resuming rollout {rollout.id}")
        process = start_driver(context, rollout.id, take_over=True, resume=needs_person(rollout))
        return await _follow(args, context, inventory, rollout, process)


async def _follow(args: argparse.Namespace, context: "Context", inventory: "Inventory", rollout: "Rollout", process: Any) -> int:
    from console import output
    from console.commands.following import followed, journalled_end
    from services.model.reasons import reason_of
    from services.model.rollout import Reason
    from services.rollout.report import deploy_document, verdict

    reason: Reason | None
    try:
        result = await followed(context, inventory, rollout, process)
    except QuarterdeckError as error:
        # It has begun and goes on in its driver, whatever hinders this command from seeing it.
        output.problem(error)
        outcome, code, reason, final = "interrupted", ExitCode(error.exit_code), reason_of(error), rollout
    else:
        if result is None:
            output.note(f"quarterdeck: left; the rollout goes on in its driver. Watch it: quarterdeck watch {rollout.id}")
            reason = Reason(kind="operator", name="interrupted", detail="this command was stopped")
            outcome, code, final = "interrupted", ExitCode.INTERRUPTED, rollout
        else:
            outcome, code, reason = verdict(result)
            final = result.rollout
    if outcome == "rejected":
        final = journalled_end(context, final)
    if args.output == "json":
        output.document(deploy_document(final, outcome, reason))
    else:
        for line in told(final, outcome, reason):
            output.text(line)
    return code


def _figures(rollout: "Rollout", reason: "Reason") -> str:
    """What a reason measured and its limit, in the unit of the trigger that fired, as the screen has them."""
    from widgets.format import reading

    if not isinstance(reason.value, int | float) or isinstance(reason.value, bool):
        return "" if reason.value is None else str(reason.value)
    limit = reason.limit if isinstance(reason.limit, int | float) and not isinstance(reason.limit, bool) else None
    unit = next((one.unit for one in rollout.triggers if one.name == reason.name and one.limit == limit), "")
    return reading(reason.value, unit) + (f" (limit {reading(limit, unit)})" if limit is not None else "")


def told(rollout: "Rollout", outcome: str, reason: "Reason | None") -> Iterator[str]:
    """How a rollout ended, line by line, for a person."""
    from services.rollout.finish import rollback_seconds

    place = f"{rollout.release.service} in {rollout.release.target.environment}"
    versions = f"{rollout.plan.previous_version} → {rollout.release.version}"
    if outcome == "rolled_back":
        # an arrow to the version that failed reads as if that one ran now
        took = rollback_seconds(rollout)
        versions = f"{rollout.plan.previous_version} is restored{f' ({took:.0f} s)' if took is not None else ''}"
    yield f"{outcome.replace('_', ' ')}: {place}, {versions}"
    if reason is not None:
        yield f"  {' '.join(part for part in (reason.name, _figures(rollout, reason), reason.detail) if part)}"
    for command in rollout.left:
        yield f"  by hand: {command}"
    if outcome in ("needs_attention", "interrupted"):
        yield f"  quarterdeck watch {rollout.id}"
