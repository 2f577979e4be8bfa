"""``quarterdeck status``: every environment with its services, now."""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from services.model.errors import ExitCode

if TYPE_CHECKING:
    from services.model.fleet import EnvironmentView, FleetView

SYNC_SECONDS = 8.0
"""Wall seconds for the clusters to answer; one that does not is shown as unreachable."""


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "status",
        parents=parents,
        help="environments and services as they are now",
        description="Every environment with its services, now. Exit 1 where one can't be read.",
    )
    parser.add_argument("-e", "--environment", metavar="ENV", default="", help="one environment only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0 where every environment could be read, else 1; what could be read is shown either way."""
    from console import output

    fleet = asyncio.run(_fleet(args))
    if args.output == "json":
        output.document({"environments": [_document(view) for view in fleet.environments]})
    else:
        _tell(fleet)
    return ExitCode.DONE if all(view.reachable for view in fleet.environments) else ExitCode.FAILED


async def _fleet(args: argparse.Namespace) -> "FleetView":
    from console.commands.following import inventories
    from console.context import Context
    from services.cluster.fleet import fleet_view

    async with Context.open(args) as context:
        wanted = context.settings.environments
        if args.environment:
            name, environment = context.settings.resolve_environment(args.environment)
            wanted = {name: environment}
        async with inventories(context, wanted) as found:
            return fleet_view(wanted, found, context.clock)


def _document(view: "EnvironmentView") -> dict[str, Any]:
    shown = ("name", "namespace", "kind", "version", "ready", "desired", "health", "rollout")
    return {
        "name": view.name,
        "tier": view.tier,
        "context": view.context,
        "namespaces": list(view.namespaces),
        "reachable": view.reachable,
        "age_seconds": round(view.age_seconds, 3) if view.age_seconds is not None else None,
        "services": [{name: getattr(service, name) for name in shown} for service in map(_plain, view.services)],
    }


def _plain(service: Any) -> Any:
    return msgspec.structs.replace(service, health=service.health.value)


def _tell(fleet: "FleetView") -> None:
    from console import output

    rows = []
    for view in fleet.environments:
        if not view.reachable:
            output.note(f"{view.name}: can't be reached: {view.problem}")
        for service in view.services:
            rows.append(
                (
                    view.name,
                    service.name,
                    service.version,
                    f"{service.ready}/{service.desired}",
                    service.health.value,
                    service.rollout or "",
                    service.detail,
                )
            )
    output.table(("ENVIRONMENT", "SERVICE", "VERSION", "READY", "HEALTH", "ROLLOUT", ""), rows)
