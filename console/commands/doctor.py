"""``quarterdeck doctor``: everything Quarterdeck needs, examined without changing it, and what to do about what is missing."""

import argparse
import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from console.doctor.finding import Check, Finding
    from services.redaction import Redactor
    from services.settings import Environment, Settings

_ABOUT = """\
Examine the set-up: each context with its permissions and APIs, what is measured, the ticket system, the clocks, the home
directory, the journal, the terminal and the operator. Clusters are only read and asked; nothing in them changes.
"""
_EXIT = (
    "Exit codes: 0 nothing is a problem, 1 something is, 2 the configuration can't be used (the rest is examined all the same)."
)


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("doctor", parents=parents, help="examine the set-up", description=_ABOUT, epilog=_EXIT)
    parser.add_argument("-e", "--environment", metavar="ENV", default="", help="this environment's context only")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=10.0, help="for each check (default: 10)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0 where nothing is a problem, 1 where something is, 2 where the configuration can't be used."""
    from console import output
    from console.doctor import report
    from console.doctor.finding import Outcome

    if not 0.1 <= args.timeout <= 600:
        raise Rejected("timeout", f"{args.timeout:g}", "is out of range", "0.1 to 600 seconds")
    usable, findings = asyncio.run(_examined(args))
    ok = all(finding.outcome is not Outcome.PROBLEM for finding in findings)
    if args.output == "json":
        output.document({"ok": ok, "checks": findings})
    else:
        for line in report.lines(findings):
            output.text(line)
    if not usable:
        return ExitCode.REJECTED
    return ExitCode.DONE if ok else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class _Setup:
    """What is examined, as far as it could be read."""

    config: Path
    settings: "Settings | None"
    home: Path
    redactor: "Redactor"
    first: "list[Finding]"
    """What reading the configuration has found."""

    def report(self, error: Exception) -> str:
        """Put the traceback of a broken check into the log, which is only opened for that: a home is examined, not furnished."""
        from console import logs

        try:
            where = logs.set_up(self.home, self.redactor)
        except OSError as unwritable:
            return f"No report could be written ({unwritable.strerror})."
        logging.getLogger("quarterdeck").critical("a check of the doctor failed", exc_info=error)
        return f"The full report is in {where}."


def _read(args: argparse.Namespace) -> _Setup:
    """Without ``console.context``: that makes and mends what is examined here."""
    import services.settings as rooms
    from console import output
    from console.doctor import configuration
    from services.redaction import Redactor

    # What is worth saying is said by the checks; a logger without any handler would write to standard error.
    logging.getLogger().addHandler(logging.NullHandler())
    redactor = Redactor()
    output.redact_with(redactor)
    config = rooms.find(args.config, os.environ)
    settings, error = None, None
    try:
        settings = rooms.load(config, redactor=redactor)
    except rooms.ConfigurationError as caught:
        error = caught
    home = rooms.home(args.home, os.environ, settings)
    return _Setup(config, settings, home, redactor, configuration.told(config, settings, error))


async def _examined(args: argparse.Namespace) -> "tuple[bool, list[Finding]]":
    """Whether the configuration can be used, and every finding."""
    from console.doctor import home, journal, operator, terminal
    from console.doctor.examination import examine
    from services.clock import SystemClock
    from services.settings import current_login

    setup = _read(args)
    clock = setup.settings.clock() if setup.settings is not None else SystemClock()
    login = current_login()
    checks = [
        *operator.checks(login, setup.settings, os.environ, read_only=args.read_only),
        *home.checks(setup.home, clock.monotonic),
        *journal.checks(setup.home),
        *terminal.checks(os.environ),
    ]
    if setup.settings is None:
        return False, setup.first + await examine(checks, args.timeout, setup.report)
    wanted: Mapping[str, Environment] = setup.settings.environments
    if args.environment:
        name, environment = setup.settings.resolve_environment(args.environment)
        wanted = {name: environment}
    return True, setup.first + await _with_systems(args, setup, setup.settings, wanted, login, checks)


async def _with_systems(
    args: argparse.Namespace,
    setup: _Setup,
    settings: "Settings",
    wanted: "Mapping[str, Environment]",
    login: str,
    checks: "list[Check]",
) -> "list[Finding]":
    """The findings of ``checks``, of the clusters, of the ticket system and of the sinks."""
    from console.doctor import alerts, apis, clusters, measurements, metricsource, permissions, sinks
    from console.doctor.examination import examine
    from console.doctor.site import Place, Site
    from console.doctor.tickets import Desk
    from services.cluster.connection import Clusters
    from services.cluster.credentials import kubeconfig_paths

    clock = settings.clock()
    known = Clusters(settings.kubeconfig, clock, on_secret=setup.redactor.register, loopback_only=clock.speed != 1)
    desk = Desk(settings, settings.operator(login), redactor=setup.redactor, clock=clock)
    places: dict[str, list[Place]] = {}
    for name, environment in wanted.items():
        places.setdefault(environment.context, []).extend(
            Place(environment=name, namespace=namespace) for namespace in environment.namespaces
        )
    sites = [Site(context, found, known, clock, args.timeout) for context, found in places.items()]
    try:
        paths = kubeconfig_paths(settings.kubeconfig, os.environ)
    except Rejected:
        paths = ()
    try:
        for site in sites:
            checks = [
                *checks,
                *clusters.checks(site, paths, clock),
                *permissions.checks(site, settings, read_only=args.read_only),
                *apis.checks(site),
                *measurements.checks(site, settings, clock, args.timeout),
            ]
        checks = [
            *checks,
            *metricsource.checks(settings, clock, setup.redactor),
            *alerts.checks(settings, clock, setup.redactor),
            *desk.checks(),
            *sinks.checks(settings, setup.home, clock, setup.redactor),
        ]
        return await examine(checks, args.timeout, setup.report)
    finally:
        for site in sites:
            await site.close()
        await known.close()
        await desk.close()
