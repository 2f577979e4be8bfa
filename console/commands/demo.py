"""``quarterdeck demo``: the sandbox and the console on it, with one command and no cluster."""

import argparse
import importlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from console.commands.sandbox import SCENARIOS
from services.model.errors import ExitCode, Rejected

DEFAULT_SPEED = 10.0
"""A canary of ten minutes takes one."""


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        parents=parents,
        help="sandbox and console together; needs no cluster",
        description="Start a sandbox and open the console on it. The sandbox goes on when you leave.",
    )
    parser.add_argument("--scenario", metavar="S", default="good", help=SCENARIOS)
    parser.add_argument(
        "--speed", metavar="N", type=float, default=DEFAULT_SPEED, help="simulated seconds a second (default %(default)g)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The console's exit code. The sandbox goes on when the console is left, as a cluster would."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Rejected("terminal", "", "the demo opens a full-screen console", "a terminal; without one: `quarterdeck sandbox`")
    if not 0 < args.speed <= 1000:
        raise Rejected("speed", f"{args.speed:g}", "out of range", "a number above 0, at most 1000")
    from console import output
    from services.sandbox.behaviour import scenarios
    from services.sandbox.home import default_home
    from services.sandbox.launch import running, start_detached

    if args.scenario not in (known := scenarios()):
        raise Rejected("scenario", args.scenario, "is not one of them", ", ".join(known))
    # The console's imports take as long as a good part of the sandbox's start: do both at once.
    warming = threading.Thread(target=importlib.import_module, args=("console.app",), daemon=True)
    warming.start()
    home = (Path(args.home) if args.home else default_home(os.environ)).absolute()
    output.note(f"Starting the sandbox ({args.scenario}, {args.speed:g}× time) in {home} …")
    ready = start_detached(home, args.scenario, args.speed)
    # The state's home is the one that the sandbox's configuration names, so that every other command on it agrees.
    args.config, args.home = str(ready["config"]), None
    warming.join()
    from console.app import run as open_console

    code = int(open_console(args))
    if code == ExitCode.INTERRUPTED:
        return code  # the terminal is gone, and whoever could be told with it
    if running(home) is None:
        output.note("The sandbox does not run any more. `quarterdeck demo` starts another on what is left of it.")
        return code
    output.note(f"The sandbox still runs (pid {ready['pid']}): `quarterdeck demo` opens it again, `kill {ready['pid']}` ends it.")
    return code
