"""``quarterdeck journal dlq list|retry|export``: the entries that a sink refused."""

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from services.audit.shipping.deadletters import DeadLetter
    from services.audit.sinks.base import Record, Sink
    from services.clock import Clock


def run(args: argparse.Namespace) -> int:
    """Exit 0; 1 where a retried entry is refused again, 2 for a sink that is not configured."""
    if args.what == "retry":
        return asyncio.run(_retry(args))
    from console.context import home_of

    directory = home_of(args) / "journal"
    if args.sink is not None:
        _must_be_known(args, directory)
    found = _found(directory, args.sink)
    return _list(args, found) if args.what == "list" else _export(args, directory, found)


def _must_be_known(args: argparse.Namespace, directory: Path) -> None:
    """Raise :class:`Rejected` for a sink that is neither configured nor has ever refused anything."""
    import services.settings as rooms
    from services.audit.shipping import deadletters
    from services.redaction import Redactor

    config = rooms.find(args.config, os.environ)
    settings = rooms.load(config, redactor=Redactor()) if args.config or config.exists() else None
    known = dict.fromkeys([section.label for section in settings.journal.sinks] if settings is not None else [])
    known |= dict.fromkeys(deadletters.names(directory))
    if args.sink not in known:
        raise Rejected("sink", args.sink, "is none that is configured or has dead letters", ", ".join(known) or "there are none")


def _found(directory: Path, sink: str | None) -> "Mapping[str, Sequence[DeadLetter]]":
    from console import output
    from services.audit.shipping import deadletters

    names = [sink] if sink else deadletters.names(directory)
    for name in names:
        if not deadletters.intact(directory, name):
            output.note(f"{name}: {deadletters.path_of(directory, name)} was changed, or damaged: it may not tell all of them")
    return {name: list(deadletters.undelivered(directory, name).values()) for name in names}


def _list(args: argparse.Namespace, found: "Mapping[str, Sequence[DeadLetter]]") -> int:
    import msgspec

    from console import output

    if args.output == "json":
        output.document({"dead_letters": [{"sink": n, **msgspec.to_builtins(one)} for n, all_ in found.items() for one in all_]})
        return ExitCode.DONE
    rows = [(name, str(one.seq), one.at, one.event, one.reason) for name, letters in found.items() for one in letters]
    output.table(("SINK", "SEQ", "SINCE", "EVENT", "REASON"), rows)
    if not rows:
        output.note("There are no dead letters.")
    return ExitCode.DONE


def _export(args: argparse.Namespace, directory: Path, found: "Mapping[str, Sequence[DeadLetter]]") -> int:
    """Each with the entry as it stands in the journal, one document a line; with ``-o json`` as one document."""
    import msgspec

    from console import output

    whole: list[dict[str, Any]] = []
    for name, letters in found.items():
        for one in letters:
            record = _record(directory, one)
            whole.append({"sink": name, **msgspec.to_builtins(one), "entry": record.fields if record else None})
    if args.output == "json":
        output.document({"dead_letters": whole})
    else:
        for document in whole:
            output.text(msgspec.json.encode(document).decode())
    return ExitCode.DONE


async def _retry(args: argparse.Namespace) -> int:
    from console import output
    from console.context import SHIPPER, Context
    from services.audit.sinks.base import Archive
    from services.audit.sinks.opening import open_sink

    told: list[dict[str, Any]] = []
    async with Context.open(args, program=SHIPPER) as context:
        directory = context.home / "journal"
        sections = {section.label: section for section in context.settings.journal.sinks}
        if args.sink is not None and args.sink not in sections:
            raise Rejected("sink", args.sink, "is not one of the configured sinks", ", ".join(sections) or "there are none")
        for name, letters in _found(directory, args.sink).items():
            if name not in sections or not letters:
                continue
            sink = open_sink(sections[name], secrets=context.redactor, clock=context.clock)
            if isinstance(sink, Archive):
                continue
            try:
                for one in letters:
                    taken, detail = await _again(sink, one, directory, context.clock)
                    told.append(_told(args, name, one.seq, taken=taken, detail=detail))
            finally:
                await sink.close()
    done_all = all(one["taken"] for one in told)
    if args.output == "json":
        output.document({"outcome": "done" if done_all else "failed", "retried": told})
    return ExitCode.DONE if done_all else ExitCode.FAILED


async def _again(sink: "Sink", one: "DeadLetter", directory: Path, clock: "Clock") -> tuple[bool, str]:
    """Send the entry of a letter once more; whether it was taken, and what is to be told of it."""
    from services.audit.place import Disk
    from services.audit.shipping import deadletters
    from services.audit.sinks.base import Answer, Withdrawing

    if waits := await asyncio.to_thread(_on_its_way, directory, one, sink.name):
        return False, waits
    record = _record(directory, one)
    if record is None:
        return False, "is not in the journal any more"
    delivery = await sink.send([record])
    if delivery.trouble is not None or delivery.answers[0] not in (Answer.DELIVERED, Answer.DUPLICATE):
        return False, f"is refused: {delivery.reasons.get(0) or delivery.detail}"
    # The letter stands until its substitute is gone: whoever is killed in between does both again, and what the sink knows by
    # its id it has once all the same.
    stays = await sink.withdraw(record) if isinstance(sink, Withdrawing) else "nothing is taken back there"
    at = clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    done = deadletters.letter(record, deadletters.DELIVERED, at, "sent again by hand")
    await asyncio.to_thread(deadletters.add, directory, sink.name, done, disk=Disk())
    return True, f"was taken; the substitute that stood in for it stays ({stays})" if stays else "was taken"


def _on_its_way(directory: Path, one: "DeadLetter", sink: str) -> str:
    """Why the shipper may still be about to send the substitute of an entry; empty where it has come past it."""
    from services.audit.shipping import cursor as cursors

    try:
        there = cursors.read(directory, sink)
    except cursors.CursorUnusable as error:
        return f"may still be on its way: {error}"
    come = there.acked_seq if there is not None else 0
    return "is still on its way: try again once its shipper has come past it" if one.seq > come else ""


def _told(args: argparse.Namespace, sink: str, seq: int, *, taken: bool, detail: str) -> dict[str, Any]:
    """Say at once what came of an entry, where there is no document at the end; and its part of that."""
    from console import output

    line = f"{sink}: entry {seq} {detail}"
    if not taken:
        output.note(line)
    elif args.output != "json":
        output.text(line)
    return {"sink": sink, "seq": seq, "taken": taken, "detail": detail}


def _record(directory: Path, one: "DeadLetter") -> "Record | None":
    """The entry of a letter as it stands in the journal; ``None`` where it is not there any more."""
    from services.audit.reading import find
    from services.audit.shipping.status import moment
    from services.audit.sinks.base import Record

    found = find(directory, one.seq)
    if found is None or found.hash != one.hash:
        return None
    at = moment(found.entry) or 0.0
    return Record(journal=one.journal, seq=one.seq, hash=found.hash, body=found.body, timestamp=at, fields=found.entry)
