"""``quarterdeck sandbox``: the simulated fleet, until it is told to stop."""

import argparse
import os
from pathlib import Path
from typing import Any

from services.model.errors import ExitCode, QuarterdeckError, Rejected

FASTEST = 1000.0
SCENARIOS = (
    "what the new version does: good (default), noisy-healthy, errors, tiny, late, slow, crash, stuck, leak, shared, "
    "low-traffic or no-traffic"
)


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "sandbox",
        parents=parents,
        help="a simulated fleet on loopback, until SIGTERM",
        description="A simulated fleet behind real wire protocols on loopback, until SIGTERM or ctrl+c.",
    )
    parser.add_argument("--scenario", metavar="S", default="good", help=SCENARIOS)
    parser.add_argument("--speed", metavar="N", type=float, default=1.0, help="simulated seconds a second (default %(default)g)")
    parser.add_argument("--cluster", metavar="KUBECONFIG", type=Path, help="use a real API server; its four namespaces are reset")
    parser.add_argument("--seed", metavar="N", type=int, help="draw the same numbers again (without: others each time)")
    parser.add_argument("--ready-file", metavar="FILE", type=Path, help="written once everything answers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0 after SIGTERM or SIGINT; 2 for bad options; 1 where another sandbox runs on the same home."""
    if not 0 < args.speed <= FASTEST:
        raise Rejected("speed", f"{args.speed:g}", "out of range", f"a number above 0, at most {FASTEST:g}")
    if args.cluster is not None and not args.cluster.is_file():
        raise Rejected("cluster", str(args.cluster), "is no file", "the path of a kubeconfig")
    import asyncio

    from console import output
    from services.sandbox.behaviour import scenarios
    from services.sandbox.home import HomeTaken, default_home
    from services.sandbox.server import Options
    from services.sandbox.server import run as serve

    if args.scenario not in (known := scenarios()):
        raise Rejected("scenario", args.scenario, "is not one of them", ", ".join(known))
    home = (Path(args.home) if args.home else default_home(os.environ)).absolute()
    ready_file = args.ready_file.absolute() if args.ready_file else None
    cluster = args.cluster.absolute() if args.cluster else None

    def started(document: dict[str, Any]) -> None:
        if args.output == "json":
            output.document(document)
        else:
            output.note(f"The sandbox is ready ({args.scenario}, {args.speed:g}× time). In another terminal:")
            output.text(f"quarterdeck --config {document['config']}")
            output.text(f"kubectl --kubeconfig {document['kubeconfig']} get deploy,rs,pods")

    try:
        asyncio.run(serve(Options(home, args.scenario, args.speed, ready_file, cluster, args.seed), started))
    except HomeTaken as taken:
        hint = "Stop it, or give this one another --home."
        raise QuarterdeckError("A sandbox already runs here", f"{taken.home}, process {taken.pid or 'unknown'}.", hint) from taken
    return ExitCode.DONE
