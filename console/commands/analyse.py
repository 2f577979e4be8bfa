"""``quarterdeck analyse --replay FILE`` and ``--from journal ROLLOUT``: the judge on recorded data, with other settings if asked.
Needs no configuration.

Exit 0 for any verdict: it is the answer, not a failure.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from services.analysis.judge import Metric, Parameters
    from services.analysis.recording import Recording
    from services.analysis.replay import Replay

_LARGEST = 64 * 2**20
_SENSITIVITIES = ("strict", "normal", "lenient")
_TOLERANCES = (
    ("--errors-r", "1.2", "r: times the control's rate of errors that are tolerated"),
    ("--errors-d", "0.0002", "d: share above the control's that is tolerated"),
    ("--latency-r", "1.5", "r of slow requests"),
    ("--latency-d", "0.005", "d of slow requests"),
    ("--errors-health-r", "1.5", "r': proven healthy means fewer than so many times the control's errors"),
    ("--errors-health-d", "0.001", "d': or less than this share above the control's"),
    ("--latency-health-r", "2", "r' of slow requests"),
    ("--latency-health-d", "0.01", "d' of slow requests"),
)


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "analyse",
        parents=parents,
        help="judge a recorded canary again, with other settings if asked",
        description="What the judge says of recorded counts: healthy, regressed, undecided or no_data, and when.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--replay", metavar="FILE", help="JSON: interval_s, columns, rows, pre_rows")
    source.add_argument(
        "--from", dest="recorded", nargs=2, metavar=("journal", "ROLLOUT"), help="a rollout as the journal of this home has it"
    )
    group = parser.add_argument_group("settings of the judge, for this replay (else as in parentheses, or as recorded)")
    group.add_argument("--alpha", metavar="P", type=float, help="false-abort budget of a rollout (0.01)")
    group.add_argument("--beta", metavar="P", type=float, help="chance to call a canary at the limit healthy (0.05)")
    group.add_argument("--sensitivity", choices=_SENSITIVITIES, help="tolerance of the errors (normal)")
    for option, default, meaning in _TOLERANCES:
        group.add_argument(option, metavar="X", type=float, help=f"{meaning} ({default})")
    group.add_argument("--warm-up", metavar="SECONDS", type=float, help="latency is not looked at before (30)")
    group.add_argument("--burst-scrapes", metavar="N", type=int, help="bad scrapes an abort needs (as many as make 30 s)")
    group.add_argument("--onset", metavar="SECONDS", type=float, help="H: how long a regression may begin at no cost (3600)")
    group.add_argument("--no-history", action="store_true", help="ignore pre_rows, and noise that was measured before the deploy")
    group.add_argument("--hard-triggers", action="store_true", help="with the trigger on more than 5 %% errors in 60 s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0; 2 for a file or a setting that can't be used."""
    from console import output
    from console.commands.verdict import lines

    name, recording, found = _from_journal(args) if args.recorded else _from_file(args)
    if args.output == "json":
        output.document(
            {
                "verdict": found.verdict,
                "at_s": found.at_s,
                "metric": found.metric,
                "log_evidence": found.state.log_e,
                "intervals": found.intervals,
            }
        )
        return ExitCode.DONE
    for line in lines(found, recording, name):
        output.text(line)
    return ExitCode.DONE


def _from_file(args: argparse.Namespace) -> "tuple[str, Recording, Replay]":
    from services.analysis.judge import ERRORS, LATENCY, Parameters
    from services.analysis.recording import parse
    from services.analysis.replay import replay

    if not args.replay:
        raise Rejected("--replay", "", "is empty", "the name of a file (/dev/stdin reads what is piped in)")
    path = Path(args.replay)
    recording = parse(_read(path), path.name)
    if args.no_history:
        import msgspec

        recording = msgspec.structs.replace(recording, pre_rows=None)
    base = Parameters(metrics=(ERRORS, LATENCY), interval_s=recording.interval_s)
    return path.name, recording, replay(recording, _parameters(args, base), hard_triggers=args.hard_triggers)


def _from_journal(args: argparse.Namespace) -> "tuple[str, Recording, Replay]":
    from console.context import home_of
    from services.analysis.rejudge import recorded, rejudge
    from services.audit import reading

    source, rollout = args.recorded
    if source != "journal":
        raise Rejected("--from", source, "is no place that looks are recorded in", "journal")
    entries = reading.entries(home_of(args) / "journal", rollout=rollout, event="deployment.health_check")
    looks = recorded(entries, rollout)
    again = rejudge(looks, _parameters(args, looks.parameters), hard_triggers=args.hard_triggers)
    return rollout, looks.recording(), again


def _read(path: Path) -> bytes:
    accepted = f"a file of at most {_LARGEST // 2**20} MiB that you may read"
    try:
        with path.open("rb") as file:
            body = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        if str(path) == "-":
            accepted = "/dev/stdin for what is piped in, or the name of a file"
        raise Rejected("--replay", str(path), f"can't be read ({getattr(error, 'strerror', None) or error})", accepted) from None
    if len(body) > _LARGEST:
        raise Rejected("--replay", str(path), "is too large for a recorded canary", accepted)
    return body


def _parameters(args: argparse.Namespace, base: "Parameters") -> "Parameters":
    import msgspec

    given = {"alpha": args.alpha, "beta": args.beta, "burst_scrapes": args.burst_scrapes, "onset_s": args.onset}
    try:
        metrics = tuple(_metric(metric, args) for metric in base.metrics)
        asked = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(base, metrics=metrics, **asked)
    except ValueError as error:
        raise Rejected("settings", _asked(args), str(error), "`quarterdeck analyse --help` has each with its default") from None


def _metric(metric: "Metric", args: argparse.Namespace) -> "Metric":
    import msgspec

    from services.analysis.judge import ERRORS, LATENCY, LATENCY_P90, LATENCY_P99, SENSITIVITY

    latencies = {LATENCY.name, LATENCY_P90.name, LATENCY_P99.name}
    kind = "errors" if metric.name == ERRORS.name else "latency" if metric.name in latencies else ""
    changed: dict[str, float | None] = {}
    if kind == "errors" and args.sensitivity is not None:
        tolerance = SENSITIVITY[args.sensitivity]
        changed |= {"r": tolerance.r, "d": tolerance.d}
    if kind == "latency" and args.warm_up is not None:
        changed["skip"] = args.warm_up
    if args.no_history:
        changed["history"] = None
    for name in ("r", "d", "health_r", "health_d"):
        value = getattr(args, f"{kind}_{name}") if kind else None  # a ratio of the user's own stays as it was
        if value is not None:
            changed[name] = value
    return msgspec.structs.replace(metric, **changed)


def _asked(args: argparse.Namespace) -> str:
    """The numbers that were given, for the message."""
    told = {name: value for name, value in vars(args).items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in told.items())
