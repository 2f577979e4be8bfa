"""``quarterdeck watch [ROLLOUT]``: rollouts as they go, one line each time something is new; JSON one document a line."""

import argparse
import asyncio
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from services.cluster.inventory import Inventory
    from services.cluster.watched import RolloutWatch

LOOK_SECONDS = 1.0
"""Wall seconds between two looks where no watch event comes: a driver that died writes nothing any more."""


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "watch",
        parents=parents,
        help="follow one rollout to its end, or all of them",
        description="One line each time something is new; with -o json one document a line.",
    )
    parser.add_argument("rollout", metavar="ROLLOUT", nargs="?", default="", help="its id (else every live rollout)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0 when the named rollout is over, or when stopped while watching all; 7 when stopped before the named one's end."""
    return asyncio.run(_watch(args))


async def _watch(args: argparse.Namespace) -> int:
    from console.commands.following import inventories
    from console.context import Context
    from services.cluster.watched import rollouts
    from services.rollout.home import alive

    leaving = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    async with Context.open(args) as context, inventories(context, context.settings.environments) as found:
        told: dict[str, tuple[object, ...]] = {}
        begun = False
        while not leaving.is_set():
            watches = [
                watch
                for inventory in found.values()
                for watch in rollouts(inventory, context.clock, local_alive=lambda rollout: alive(context.home, rollout))
                if args.rollout in ("", watch.rollout.id)
            ]
            if args.rollout and not watches:
                raise Rejected("rollout", args.rollout[:80], "is in no environment that can be read", "an id that `status` shows")
            for watch in watches:
                state = (watch.rollout, watch.orphaned)
                # Those that were over before we came are news to nobody, unless asked for by name.
                new = watch.rollout.id in told or args.rollout or not watch.rollout.phase.final
                if new and told.get(watch.rollout.id) != state:
                    told[watch.rollout.id] = state
                    _tell(args, watch)
            if not begun and not args.rollout:
                _tell_beginning(found, quiet=not told)
            begun = True
            if args.rollout and watches[0].rollout.phase.final:
                return ExitCode.DONE
            waiting = [asyncio.create_task(inventory.changed(inventory.version)) for inventory in found.values()]
            stop = asyncio.create_task(leaving.wait())
            await asyncio.wait([*waiting, stop], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in (*waiting, stop):
                task.cancel()
            await asyncio.gather(*waiting, stop, return_exceptions=True)
        return ExitCode.INTERRUPTED if args.rollout else ExitCode.DONE


def _tell_beginning(found: "Mapping[str, Inventory]", *, quiet: bool) -> None:
    """Silence is told from a command that hangs, and from a cluster that is not heard."""
    from console import output

    unread = {name: why for name, inventory in found.items() if (why := _unread(inventory))}
    for name, why in unread.items():
        output.note(f"What is live in {name} is not known: {why}")
    read = ", ".join(name for name in found if name not in unread)
    if quiet and read:
        output.note(f"No rollout is live in {read}. The next is told as it begins; ctrl+c ends this.")


def _unread(inventory: "Inventory") -> str:
    """Why not all checkpoints of a cluster are known; empty where they are."""
    from services.cluster.watched import unreadable_checkpoints

    if not inventory.synced or not all(inventory.can_read("ConfigMap", namespace) for namespace in inventory.namespaces):
        return inventory.problem or "it has not answered."
    return "; ".join(f"{name}: {problem}" for (_, name), problem in unreadable_checkpoints(inventory).items())


def _tell(args: argparse.Namespace, watch: "RolloutWatch") -> None:
    import msgspec

    from console import output

    rollout = watch.rollout
    if args.output == "json":
        facts = {"rollout": msgspec.to_builtins(rollout), "orphaned": watch.orphaned, "driver": watch.who, "why": watch.reason}
        output.document(facts)
        return
    step = rollout.plan.steps[rollout.step].name if rollout.step < len(rollout.plan.steps) else "done"
    steps = len(rollout.plan.steps)
    unwatched = f"  NOBODY WATCHES IT: {watch.reason}" if watch.orphaned else ""
    output.folded(
        f"{rollout.id}  {rollout.phase.value:14} {min(rollout.step + 1, steps)}/{steps} {step}"
        f"  weight {rollout.weight} %  next: {rollout.next}{unwatched}"
    )
