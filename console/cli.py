"""``quarterdeck …``: one entry for the console and for every command. Imports nothing heavy: a command brings its own.

Exit codes are those of ``services/model/errors``. No traceback ever reaches the terminal: the full one is in the log file.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import msgspec

from console import output
from console.arguments import Parser, ShowVersion, UsageError, asked_rollout, common, wants_json
from services.model.errors import ExitCode, QuarterdeckError
from services.model.reasons import reason_of

VERBS = ("demo", "sandbox", "deploy", "rollback", "status", "watch", "journal", "analyse", "config", "doctor", "drive")
"""Each is a module of ``console.commands`` with ``add(subparsers, parents)`` and ``run(args) -> int``."""
_EPILOG = """exit codes:
  0  done                                   4  rolled back, service restored
  1  unexpected failure                     5  a person is needed
  2  rejected input or configuration        6  another operator holds it
  3  a gate is unmet                        7  interrupted; it can be resumed

Try it with no cluster: quarterdeck demo. Each verb has its own --help."""
_ANSWERING = ("deploy", "rollback")
"""What asks these for JSON waits for a document, even after an interruption."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _check_packages()
        with _terminated_as_interrupt(), _crashes_logged():
            return _run(words)
    except KeyboardInterrupt:
        output.note("quarterdeck: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Keep the interpreter from failing once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def parser() -> Parser:
    """The whole grammar."""
    top = Parser(
        prog="quarterdeck",
        description="Deployment control console for Kubernetes. Without a verb it opens the console.",
        parents=[common(suppress=False)],
        epilog=_EPILOG,
    )
    top.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    top.set_defaults(run=_console, verb="")
    subparsers = top.add_subparsers(title="verbs", metavar="VERB", dest="verb", parser_class=Parser)
    parents = [common(suppress=True)]
    for verb in VERBS:
        importlib.import_module(f"console.commands.{verb}").add(subparsers, parents)
    return top


def _run(words: list[str]) -> int:
    args: argparse.Namespace | None = None
    as_json = wants_json(words)
    before = output.printed()
    try:
        args = parser().understood(words)
        as_json = args.output == "json"
        run: Callable[[argparse.Namespace], int] = args.run
        code = int(run(args))
        with output.result():
            sys.stdout.flush()
        return code
    except SystemExit as leaving:
        # argparse leaves by itself after --help and --version.
        return int(leaving.code or 0)
    except QuarterdeckError as error:
        output.problem(error)
        if as_json and output.printed() == before:
            output.document(_refusal(words, args, error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        if as_json and args is not None and args.verb in _ANSWERING and output.printed() == before:
            output.document(_interrupted(words))
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        return _unexpected(words, args, as_json and output.printed() == before, error)


def _refusal(words: Sequence[str], args: argparse.Namespace | None, error: QuarterdeckError) -> object:
    if _verb(words, args) not in _ANSWERING:
        return output.rejected(error)
    # An unexpected failure may have come after the start: only a person can tell what runs now.
    outcome = "rejected" if error.exit_code == ExitCode.REJECTED else "needs_attention"
    return output.rejected_rollout(asked_rollout(words), reason_of(error), outcome=outcome)


def _interrupted(words: Sequence[str]) -> object:
    told = QuarterdeckError(
        "Interrupted", "The command was stopped before it had a result.", "`quarterdeck status` shows what runs."
    )
    reason = msgspec.structs.replace(reason_of(told), kind="operator", name="interrupted")
    return output.rejected_rollout(asked_rollout(words), reason, outcome="interrupted")


def _verb(words: Sequence[str], args: argparse.Namespace | None) -> str:
    return str(args.verb) if args else next((word for word in words if word in VERBS), "")


def _unexpected(words: Sequence[str], args: argparse.Namespace | None, as_json: bool, error: Exception) -> int:
    from console.logs import report_crash

    told = QuarterdeckError(*report_crash(args, error))
    output.problem(told)
    if as_json:
        output.document(_refusal(words, args, told))
    return int(told.exit_code)


def _console(args: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the console needs a terminal", "Give a verb where there is none, e.g. quarterdeck status -o json")
    from console.app import run

    return int(run(args))


def _check_packages() -> None:
    """The names ``services`` and ``widgets`` are generic; another package of the name would be used without a word."""
    ours = Path(__file__).resolve().parents[1]
    for name in ("services", "widgets"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != ours:
            where = f"is taken by another one, in {spec.origin}" if spec and spec.origin else "can't be found"
            output.note(f"quarterdeck: the package `{name}` {where}; ours is in {ours}.")
            output.note("  Install quarterdeck in an environment of its own (python -m venv), or mend PYTHONPATH.")
            raise SystemExit(int(ExitCode.FAILED))


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a command as ctrl+c does: what is under way is closed, the exit code says that it can be resumed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, where no signal arrives anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _crashes_logged() -> Iterator[None]:
    """What fails in a thread, or where nobody can catch it, is in the log only: Python would print its traceback here."""

    def failed(what: "threading.ExceptHookArgs | sys.UnraisableHookArgs") -> None:
        from console import logs, terminal

        error = what.exc_value
        if isinstance(error, OSError) and error.errno == errno.EIO and terminal.is_gone(terminal.of_keys()):
            logs.log.info("the terminal is gone: what was being drawn is dropped")
        elif isinstance(error, Exception):
            logs.report_crash(None, error)

    thread, nowhere = threading.excepthook, sys.unraisablehook
    threading.excepthook = sys.unraisablehook = failed
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread, nowhere


if __name__ == "__main__":
    sys.exit(main())
