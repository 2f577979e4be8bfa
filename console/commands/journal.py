"""``quarterdeck journal list|show|export|verify|acknowledge|ship|dlq|retain``: what was done, by whom, with what result."""

import argparse
import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.commands import retain, ship
from services.model.errors import ExitCode, NeedsAttention, ObserverMode, Rejected

if TYPE_CHECKING:
    from services.audit.verify import Verification

_SHOWN = 160
"""Characters of what an entry did that a list shows; `journal show` tells all of it."""
_VERIFY = (
    "Checks every line, every signed checkpoint and every hole that retention left, without the code that wrote them. The chain "
    "alone shows damage and careless changes. Checkpoints show what was changed or cut off of what they cover by somebody "
    "without checkpoint.key; checkpoints taken away show as unsigned, as long as nothing has been written since: a key is left "
    "without them, or more is unsigned at the end than a killed process leaves (200 entries, 20 s). Up to that can be changed "
    "or cut off unseen. Whoever has the key, as anybody with the same login does, or replaces the public key too, can write "
    "everything anew, and an older journal can be put back with its older checkpoints: that only shows against what sinks were "
    "sent (cursors/), or a key or hash that was kept elsewhere (--key, --witness); a whole directory put back as it once was "
    "only against --witness."
)
_EXPORT = (
    "Prints the entries that match, or writes them to a file: one JSON document a line, as stored (jsonl), or a table (csv) in "
    "which no cell is taken for a formula."
)
_FILTERS = {"service": "NAME", "environment": "NAME", "event": "NAME", "rollout": "ID", "user": "NAME", "outcome": "WORD"}
_WHEN = "2026-01-31T12:00:00Z, 2026-01-31, or 30m, 2h, 7d ago"
_KEY = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")
_WITNESS = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "journal",
        parents=parents,
        help="read and verify the audit journal",
        description="What was done, by whom, with what result. Needs no cluster.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", parents=parents, help="the entries, newest last")
    _add_filters(listing)
    listing.add_argument("--limit", metavar="N", type=int, help="only the newest N")
    showing = actions.add_parser("show", parents=parents, help="one entry whole")
    showing.add_argument("seq", metavar="SEQ", type=int, help="its sequence number")
    verifying = actions.add_parser(
        "verify",
        parents=parents,
        help="check the whole chain and its signed checkpoints; reads only; exit 0 only where all holds",
        description=_VERIFY,
    )
    verifying.add_argument("--key", metavar="KEY", help="the public key as kept elsewhere: the line of checkpoint.pub")
    verifying.add_argument(
        "--witness",
        metavar="SEQ:HASH",
        action="append",
        default=[],
        help="a number and its hash as kept elsewhere (`quarterdeck journal show SEQ` tells them); may be given again",
    )
    acknowledging = actions.add_parser(
        "acknowledge", parents=parents, help="take entries again after damage that you have looked at"
    )
    acknowledging.add_argument("--reason", metavar="TEXT", required=True, help="what was found; it is recorded")
    exporting = actions.add_parser("export", parents=parents, help="entries for other programs", description=_EXPORT)
    _add_filters(exporting)
    exporting.add_argument("--format", metavar="FORM", choices=("jsonl", "csv"), default="jsonl", help="jsonl (default) or csv")
    exporting.add_argument("--to", metavar="FILE", help="a new file that only you can read, whole or not at all")
    ship.add(actions, parents)
    retain.add(actions, parents)
    parser.set_defaults(run=run)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    for name, what in _FILTERS.items():
        parser.add_argument(f"--{name}", metavar=what, help=f"only entries of this {name}")
    parser.add_argument("--since", metavar="WHEN", help=f"only from then on: {_WHEN}")
    parser.add_argument("--until", metavar="WHEN", help="only from before then, told the same way")


def _filters(args: argparse.Namespace) -> dict[str, Any]:
    """As ``services.audit.reading.entries`` takes them. Raises :class:`Rejected`."""
    from services.clock import SystemClock

    now = SystemClock().now()
    times = {name: since(text, now, name) for name in ("since", "until") if (text := getattr(args, name)) is not None}
    return {**{name: getattr(args, name) for name in _FILTERS}, **times}


def run(args: argparse.Namespace) -> int:
    """Exit 0; 1 where the journal does not hold or can't be written, 2 for a wrong filter, and where the home can't be used."""
    from console.commands.unreadable import told

    if args.read_only and _writes(args):
        raise ObserverMode("Read-only: the journal is left as it is", "Nothing was written or sent.", "Leave --read-only out.")
    with told(args):
        return _run(args)


def _writes(args: argparse.Namespace) -> bool:
    """Whether the action leaves the journal, or what a sink has of it, other than it was."""
    return (
        args.action == "acknowledge"
        or (args.action == "retain" and not args.dry_run)
        or (args.action == "ship" and not args.status)
        or (args.action == "dlq" and args.what == "retry")
    )


def _run(args: argparse.Namespace) -> int:
    if args.action in ("ship", "dlq"):
        return ship.run(args)
    if args.action == "retain":
        return retain.run(args)
    if args.action == "acknowledge":
        return asyncio.run(_acknowledge(args))
    from console.context import home_of

    directory = home_of(args) / "journal"
    actions = {"list": _list, "show": _show, "export": _export, "verify": _verify}
    from services.audit.packed import NotPacked

    try:
        return actions[args.action](args, directory)
    except NotPacked as error:
        raise NeedsAttention(
            "A segment of the journal can't be read", f"{error}.", "Run `quarterdeck journal verify`: it names what is damaged."
        ) from error


def since(text: str, now: datetime, field: str = "since") -> datetime:
    """A moment given as RFC 3339, as a date (UTC), or as a span before ``now``. Raises :class:`Rejected`."""
    if span := _SPAN.fullmatch(text):
        try:
            return now - timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(field, text, "is no moment", "2026-01-31T12:00:00Z, 2026-01-31, or a span such as 30m, 2h, 7d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _list(args: argparse.Namespace, directory: Path) -> int:
    from console import output
    from services.audit import reading

    if args.limit is not None and args.limit < 1:
        raise Rejected("limit", str(args.limit), "is below 1", "a whole number, 1 or more")
    unreadable: list[str] = []
    entries = reading.entries(directory, limit=args.limit, unreadable=unreadable, **_filters(args))
    for name in unreadable:
        output.note(f"{name} is damaged, and entries of it are missing here: see `quarterdeck journal verify`.")
    if args.output == "json":
        output.document({"entries": entries})
        return ExitCode.DONE
    rows = [_row(entry) for entry in entries]
    output.table(("SEQ", "TIME", "EVENT", "OUTCOME", "USER", "ENVIRONMENT", "SERVICE", "WHAT"), rows)
    if not rows:
        output.note("No entry matches." if directory.exists() else f"There is no journal in {directory}.")
    return ExitCode.DONE


def _export(args: argparse.Namespace, directory: Path) -> int:
    from console.commands import export

    return export.run(args, directory, _filters(args))


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    def field(name: str) -> str:
        value = entry.get(name)
        return "" if value is None else str(value)

    seconds = entry.get("duration_seconds")
    data = entry.get("data")
    reason = data.get("reason") if isinstance(data, dict) else None
    # a rollback's entry bears the version that it left
    goal = (data.get("restored_version") or data.get("to_version")) if isinstance(data, dict) else None
    what = [f"{field('version')} → {goal}" if goal else field("version"), field("command")]
    if isinstance(reason, dict):
        what.append(f"{reason.get('name')}: {reason.get('detail')}")
    if isinstance(seconds, int | float):
        what.append(f"{seconds:.1f} s")
    return (
        field("seq"),
        field("timestamp")[:19].replace("T", " ") + "Z",
        field("event"),
        field("outcome") or field("phase") or "-",
        field("user") or "-",
        field("environment") or "-",
        field("service") or "-",
        _cut(" ".join(part for part in what if part)),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _show(args: argparse.Namespace, directory: Path) -> int:
    from console import output
    from services.audit import reading

    found = reading.find(directory, args.seq)
    if found is None:
        accepted = "a number that `quarterdeck journal list` shows"
        raise Rejected("seq", str(args.seq), f"is no entry of the journal in {directory}", accepted)
    if args.output == "json":
        output.document({"entry": found.entry, "hash": found.hash, "segment": found.segment})
        return ExitCode.DONE
    import msgspec

    for name, value in found.entry.items():
        if value in ("", None, [], {}):
            continue
        if isinstance(value, dict | list) and name not in ("approvers", "redacted"):
            output.text(f"{name}:")
            for line in msgspec.json.format(msgspec.json.encode(value), indent=2).decode().splitlines():
                output.text(f"  {line}")
        else:
            output.text(f"{name + ':':<19} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    output.text(f"{'hash:':<19} {found.hash}")
    output.text(f"{'segment:':<19} {found.segment}")
    return ExitCode.DONE


def _verify(args: argparse.Namespace, directory: Path) -> int:
    from console import output
    from services.audit.verify import verify

    witnessed = []
    for given in args.witness:
        if (parts := _WITNESS.fullmatch(given)) is None:
            raise Rejected("witness", given, "is no number and hash", "SEQ:HASH as `quarterdeck journal show SEQ` tells them")
        witnessed.append((int(parts[1]), parts[2]))
    if args.key is not None and _KEY.fullmatch(args.key.strip()) is None:
        raise Rejected("key", args.key, "is no public key", "the line of checkpoint.pub")
    found = verify(directory, key=args.key.strip() if args.key is not None else None, witnessed=witnessed)
    if args.output == "json":
        output.document(found)
    else:
        _tell(found, directory)
    _tell_whether_it_takes_entries(directory)
    return ExitCode.DONE if found.ok else ExitCode.FAILED


def _tell_whether_it_takes_entries(directory: Path) -> None:
    """Beside the result: a chain may hold, and its writer refuse it all the same."""
    from console import output
    from services.audit.standing import refusal

    try:
        refused = refusal(directory)
    except OSError:
        return  # what can't be read is among the problems
    if refused is not None:
        output.note(f"Nothing can be started with this journal. {refused}")


def _tell(found: "Verification", directory: Path) -> None:
    from console import output

    size = f"{found.entries} entries in {found.segments} segment{'' if found.segments == 1 else 's'}"
    span = f", {found.first} to {found.last}" if found.first is not None else ""
    output.text(f"{'ok' if found.ok else 'NOT OK'}: {size}{span} ({directory})")
    if found.signed is not None:
        output.text(f"signed up to entry {found.signed} at {found.signed_at} by {found.key}")
    elif found.first is not None:
        output.text("not signed: whoever can write there can write it anew unseen")
    if found.removed:
        output.text(f"{found.removed} entries before were removed in their time, as the journal says; the chain holds across")
    if found.witnessed is not None:
        output.text(f"as it was sent to a sink up to entry {found.witnessed}")
    if found.waiting:
        output.text(f"{found.waiting} entries wait in the emergency segment for the journal to be written again")
    output.table(
        ("PROBLEM", "SEGMENT", "SEQ", "DETAIL"),
        [(p.kind, p.segment or "-", "-" if p.seq is None else str(p.seq), p.detail) for p in found.problems],
    )


async def _acknowledge(args: argparse.Namespace) -> int:
    from console import output
    from console.context import Context

    async with Context.open(args, needs_settings=False) as context:
        receipt = await context.journal.acknowledge(context.user, args.reason)
    if args.output == "json":
        output.document(receipt)
    else:
        output.text(f"acknowledged: entry {receipt.seq}; the journal takes entries again")
    return ExitCode.DONE
