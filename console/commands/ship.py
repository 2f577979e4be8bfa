"""``quarterdeck journal ship``: every entry to every sink. And ``journal dlq``: those that a sink refused."""

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from console.context import Context
    from services.audit.shipping.given import Given
    from services.audit.shipping.shipper import Shipper
    from services.audit.shipping.status import Shipping, SinkStatus
    from services.settings import Settings

LOOK_SECONDS = 0.1
RELOAD_SECONDS = 2.0
"""Wall seconds between two looks at the configuration file."""
GIVE_UP_SECONDS = 60.0
"""Wall seconds for which ``--once`` goes on where nothing is taken any more."""
FRESH_SECONDS = 5.0
"""Wall seconds for which a shipper's word about its own process is believed."""
END_SECONDS = 10.0
"""Wall seconds that a shipper has to end in."""
ORPHANED_SECONDS = 60.0
"""Wall seconds after which a shipper of a sandbox that is gone ends: what it would send it to will not come back."""

_ABOUT = (
    "Sends every entry of the journal to every sink of the configuration, within a minute, and again until each is there. The "
    "console and every command that writes start it by themselves; one runs a home. In the foreground it goes on until SIGTERM."
)


def add(actions: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    shipping = actions.add_parser("ship", parents=parents, help="send entries to the configured sinks", description=_ABOUT)
    how = shipping.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="end when every sink has everything; exit 1 where one does not take it")
    how.add_argument("--status", action="store_true", help="only tell how it stands; exit 5 where a sink is late or held")
    how.add_argument(
        "--again",
        metavar="SINK",
        help="send everything to this sink again, from the first entry on; of what it refused, substitutes (see dlq retry)",
    )
    how.add_argument("--until-idle", action="store_true", help=argparse.SUPPRESS)
    shipping.add_argument("--instead", action="store_true", help=argparse.SUPPRESS)
    letters = actions.add_parser(
        "dlq",
        parents=parents,
        help="entries that a sink refused (dead letters): list, retry, export",
        description="Entries that a sink refuses as they are. A substitute is in their place there; they are in the journal.",
    )
    letters.add_argument("what", choices=("list", "retry", "export"), help="list them, send them again, or print them whole")
    letters.add_argument("sink", metavar="SINK", nargs="?", help="only those of this sink")


def run(args: argparse.Namespace) -> int:
    """Exit 0; 1 where not everything was taken, 2 without sinks, 5 where a person has to look, 6 where another process ships."""
    if args.action == "dlq":
        from console.commands import deadletters

        return deadletters.run(args)
    if args.status:
        return _status(args)
    return asyncio.run(_ship(args))


def _status(args: argparse.Namespace) -> int:
    from console import output
    from console.context import explicit_home, home_of
    from services import settings as rooms
    from services.audit.shipping.status import look
    from services.clock import SystemClock
    from services.redaction import Redactor

    config = rooms.find(args.config, os.environ)
    settings = rooms.load(config, redactor=Redactor())
    home = explicit_home(args) if args.home else home_of(args)
    shipping = look(home / "journal", SystemClock().unix(), settings.journal.sinks, config)
    if args.output == "json":
        output.document(_document(shipping))
    else:
        _tell(shipping)
    return ExitCode.NEEDS_ATTENTION if shipping.troubled else ExitCode.DONE


def _document(shipping: "Shipping") -> dict[str, Any]:
    import msgspec

    said = shipping.status
    return {
        "running": shipping.running,
        "pid": said.pid if said and shipping.running else None,
        "updated": said.updated if said else None,
        "lag_seconds": round(shipping.lag_seconds, 3),
        "note": "; ".join(note for note in (said.note if said and shipping.running else "", shipping.silence) if note),
        "sinks": [msgspec.to_builtins(sink) | {"late": sink.late} for sink in shipping.sinks],
    }


def _tell(shipping: "Shipping") -> None:
    from console import output

    if not shipping.sinks:
        output.note("No sink is configured (journal.sinks).")
        return
    rows = [
        (
            sink.name,
            sink.kind,
            f"{sink.state.value}{', late' if sink.late else ''}",
            f"{sink.lag_seconds:.1f} s",
            str(sink.backlog),
            str(sink.acked_seq),
            str(sink.confirmed_seq),
            str(sink.dead_letters),
            sink.error or sink.last_error or "",
        )
        for sink in shipping.sinks
    ]
    output.table(("SINK", "KIND", "STATE", "LAG", "BACKLOG", "TAKEN", "CONFIRMED", "DEAD", "ERROR"), rows)
    if shipping.running and shipping.status is not None and shipping.status.note:
        output.note(shipping.status.note)
    if shipping.silent_seconds:
        output.note(shipping.silence)
    if not shipping.running:
        output.note("No shipper runs: whoever writes the next entry starts one, and so does: quarterdeck journal ship")


async def _ship(args: argparse.Namespace) -> int:
    from console.context import SHIPPER, Context
    from services.audit.shipping.shipper import ShipperRuns, only_one

    async with Context.open(args, program=SHIPPER) as context:
        directory = context.home / "journal"
        if not context.settings.journal.sinks:
            raise Rejected("journal.sinks", "", "names no sink", "a list of sinks, e.g. [{kind: elasticsearch, url: https://…}]")
        try:
            if args.again is not None:
                return await _again(context, args)
            before = await _taken_over(context, directory) if args.instead else None
            while True:
                with only_one(directory) as held:
                    code = await _run(context, args, held, before)
                if code is not None:
                    return code
                # Whoever wrote between the last look and now found one at work, and started none.
                if not await asyncio.to_thread(_waiting, context):
                    return ExitCode.DONE
        except ShipperRuns:
            return await _beside(context, args)


async def _run(context: "Context", args: argparse.Namespace, held: Callable[[], bool], before: "Given | None") -> int | None:
    """The exit code; ``None`` where there was nothing to do for long enough. ``before``: what the one had that it replaces."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    settings = _now(context)
    while True:
        async with _shipping(context, settings, before) as (shipper, task):
            ended = await _until_over(context, settings, args, shipper, task, stopping, held)
        before = shipper.given
        if ended is None or isinstance(ended, int):
            return ended
        settings = ended


@contextlib.asynccontextmanager
async def _shipping(
    context: "Context", settings: "Settings", before: "Given | None"
) -> "AsyncIterator[tuple[Shipper, asyncio.Task[None]]]":
    from services.audit.shipping.shipper import Shipper, Target
    from services.audit.sinks.opening import open_sink

    targets = [
        Target(open_sink(section, secrets=context.redactor, clock=context.clock), section.required)
        for section in settings.journal.sinks
    ]
    shipper = Shipper(
        context.home / "journal",
        targets,
        record=lambda event: context.journal.append_within(event),
        clock=context.clock,
        given=context.given().following(before),
    )
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper, task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until_over(
    context: "Context",
    settings: "Settings",
    args: argparse.Namespace,
    shipper: "Shipper",
    task: "asyncio.Task[None]",
    stopping: asyncio.Event,
    held: Callable[[], bool],
) -> "int | Settings | None":
    """The exit code, or the configuration to go on with once it was changed. ``None``: nothing to do for long enough."""
    from services.audit.shipping.launch import IDLE_SECONDS, attached
    from services.audit.shipping.status import SinkState

    clock = context.clock
    looked = clock.monotonic()
    taken, moved = -1, clock.monotonic()
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)
        if task.done():
            task.result()
        now = clock.monotonic()
        if sum(sink.acked_seq for sink in shipper.sinks) != taken:
            taken, moved = sum(sink.acked_seq for sink in shipper.sinks), now
        if args.once and await shipper.finished():
            return _once(args, shipper.sinks, {})
        if args.once and (now - moved > GIVE_UP_SECONDS or _all_held([sink for sink in shipper.sinks if sink.backlog])):
            # one that is stopped, since the journal ends before what it was sent, is owed nothing and yet not well
            stuck = (SinkState.STOPPED, SinkState.HELD)
            left = {sink.name: sink.backlog for sink in shipper.sinks if sink.backlog or sink.state in stuck}
            return _once(args, shipper.sinks, left, gave_up=True)
        if not held():
            # The journal was moved away, or another put in its place, whose writers start a shipper of its own.
            return ExitCode.DONE if args.until_idle else ExitCode.NEEDS_ATTENTION
        if args.until_idle and not attached(context.home / "journal"):
            if shipper.quiet_seconds > IDLE_SECONDS:
                return None
            if _orphaned(settings, shipper):
                return ExitCode.DONE
        if now - looked >= RELOAD_SECONDS:
            looked = now
            changed = _now(context)
            if changed.journal != settings.journal:
                return changed
    return ExitCode.DONE


def _waiting(context: "Context") -> bool:
    from services.audit.shipping.status import look

    return look(context.home / "journal", context.clock.unix(), _now(context).journal.sinks, context.config).waiting


def _orphaned(settings: "Settings", shipper: "Shipper") -> bool:
    """Whether the sandbox that it ships to is gone, and not only its log store for a while."""
    if settings.sandbox is None or settings.home is None or shipper.failing_seconds <= ORPHANED_SECONDS:
        return False
    from services.sandbox.home import held

    return not held(settings.home)


def _now(context: "Context") -> "Settings":
    """The configuration as it is now; where it was changed and can't be used, what it was before."""
    return context.configured.usable() if context.configured is not None else context.settings


def _all_held(left: "Sequence[SinkStatus]") -> bool:
    """Whether all who still have to take something wait for a person: no patience makes them take that."""
    from services.audit.shipping.status import SinkState

    return bool(left) and all(sink.state is SinkState.HELD for sink in left)


def _once(args: argparse.Namespace, sinks: "Sequence[SinkStatus]", left: Mapping[str, int], *, gave_up: bool = False) -> int:
    """Say what came of ``--once``, and return its exit code. ``left``: how many entries each sink did not take. Where it was
    given up that is no success, whatever is left."""
    import msgspec

    from console import output

    for sink in sinks:
        if sink.name in left:
            output.note(f"{sink.name}: {left[sink.name]} entries were not taken: {sink.error or sink.state.value}")
    if args.output == "json":
        told = [msgspec.to_builtins(sink) | {"not_taken": left.get(sink.name, 0)} for sink in sinks]
        output.document({"outcome": "failed" if left or gave_up else "done", "sinks": told})
    return ExitCode.FAILED if left or gave_up else ExitCode.DONE


async def _again(context: "Context", args: argparse.Namespace) -> int:
    """Move a cursor out of the way, so that everything is sent again. The old one is kept beside it. Raises ``ShipperRuns``."""
    from console import output
    from services.audit import owed
    from services.audit.shipping import cursor as cursors
    from services.audit.shipping.launch import ensure
    from services.audit.shipping.shipper import only_one

    names, name = [section.label for section in context.settings.journal.sinks], args.again
    if name not in names:
        raise Rejected("again", name, "is not one of the configured sinks", ", ".join(names))
    directory = context.home / "journal"
    ended = await _end_another(context, directory)
    with only_one(directory):
        path = cursors.path_of(directory, name)
        if path.exists():
            os.replace(path, path.with_name(f"{name}.json.{context.clock.now():%Y%m%dT%H%M%SZ}"))
        owed.begin_anew(directory, name, context.clock.unix())
    if ended:
        ensure(context.home, context.config)
    if args.output == "json":
        output.document({"outcome": "done", "sink": name, "running": ended})
    elif ended:
        output.text(f"{name} gets everything again from now on")
    else:
        output.text(f"{name} gets everything again from the next start of the shipper on: quarterdeck journal ship")
    return ExitCode.DONE


async def _taken_over(context: "Context", directory: Path) -> "Given | None":
    """What the process had that ships this home, and is to end now."""
    from services.audit.shipping.status import read

    said = await asyncio.to_thread(read, directory)
    return said.given if await _end_another(context, directory) and said is not None else None


async def _end_another(context: "Context", directory: Path) -> bool:
    """Have the process that ships this home save how far it came and end, where one runs; whether one did. It would hold on to
    the cursor that is to go."""
    from services.audit.shipping.status import read, running

    said = await asyncio.to_thread(read, directory)
    if not running(directory) or said is None or said.pid == os.getpid():
        return False
    # Only the one that has the lock writes this, every second: an old word may be of a process that is another's by now.
    if abs(context.clock.unix() - said.updated) > FRESH_SECONDS:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(said.pid, signal.SIGTERM)
    for _ in range(int(END_SECONDS / LOOK_SECONDS)):
        if not running(directory):
            return True
        await context.clock.sleep(LOOK_SECONDS)
    return False


async def _beside(context: "Context", args: argparse.Namespace) -> int:
    """Another process ships this home."""
    from console import output
    from services.audit.shipping.status import read

    directory = context.home / "journal"
    said = read(directory)
    who = f" (process {said.pid})" if said else ""
    if args.until_idle:
        return ExitCode.DONE
    if not args.once:
        output.note(f"Another process{who} ships {directory} already: see quarterdeck journal ship --status")
        context.tell_of_another()
        return ExitCode.HELD_BY_ANOTHER
    return await _wait_for_it(context, args, directory)


async def _wait_for_it(context: "Context", args: argparse.Namespace, directory: Path) -> int:
    """Until the other process has sent everything that is in the journal now; it is looked at for as long as it comes forward."""
    from services.audit.shipping.status import SinkStatus, look, newest

    # The other's word is a second old: what there is to be sent is told by the journal itself.
    last = await asyncio.to_thread(newest, directory)
    archives = {section.label for section in context.settings.journal.sinks if section.whole}
    taken: Sequence[int] = ()
    moved = context.clock.monotonic()
    left: Sequence[SinkStatus] = ()
    while context.clock.monotonic() - moved < GIVE_UP_SECONDS:
        now = context.clock.unix()
        shipping = await asyncio.to_thread(look, directory, now, context.settings.journal.sinks, context.config)
        left = [sink for sink in shipping.sinks if (sink.backlog if sink.name in archives else sink.acked_seq < last)]
        if not left:
            return _once(args, shipping.sinks, {})
        if _all_held(left):
            break
        if (reached := [sink.acked_seq for sink in shipping.sinks]) != taken:
            taken, moved = reached, context.clock.monotonic()
        await context.clock.sleep(0.5)
    return _once(args, shipping.sinks, {sink.name: max(sink.backlog, last - sink.acked_seq) for sink in left})
