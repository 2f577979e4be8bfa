"""What ``deploy`` and ``rollback`` share: an inventory to follow by, and a Ctrl-C that leaves the rollout alone."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping

from console import output
from console.context import Context
from services.cluster.inventory import Inventory
from services.model.errors import QuarterdeckError, Unavailable
from services.model.release import Target
from services.model.rollout import Phase, Rollout
from services.rollout.follow import KINDS, Followed, follow
from services.rollout.home import home_id
from services.rollout.state import journalled
from services.settings import Environment

SYNC_SECONDS = 10.0


@contextlib.asynccontextmanager
async def checkpoints(context: Context, target: Target) -> AsyncIterator[Inventory]:
    """The checkpoints and leases of a namespace, kept current. Raises :class:`Unavailable` where they can't be listed."""
    connection = await context.clusters.connect(target.context)
    inventory = Inventory(connection, (target.namespace,), context.clock, kinds=KINDS)
    running = asyncio.create_task(inventory.run())
    try:
        if not await inventory.wait_synced(SYNC_SECONDS):
            raise Unavailable(
                f"{target.context} can't be read", inventory.problem, "Check the network, and whether the API server runs."
            )
        yield inventory
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def followed(
    context: Context,
    inventory: Inventory,
    rollout: Rollout,
    process: subprocess.Popen[bytes] | None,
    until: Callable[[Rollout], bool] | None = None,
) -> Followed | None:
    """How the rollout ended, its progress told on standard error; ``None`` where this command was asked to leave before."""
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leaving.set)
    told, mine, holder = "", home_id(context.home), ""

    def seen(state: Rollout) -> None:
        nonlocal told, holder
        driver = state.driver
        if process is not None and driver is not None and driver.home != mine and driver.identity != holder:
            holder = driver.identity
            output.note(
                f"quarterdeck: {driver.operator}@{driver.host} took the rollout over at {driver.since:%H:%M:%S}Z "
                "and drives it now; this command only follows it"
            )
        line = state.phase.value.replace("_", " ")
        if state.phase is Phase.RUNNING and state.step < len(state.plan.steps):
            line = state.plan.steps[state.step].name
        if line != told:
            told = line
            output.note(f"  {line}")

    following = asyncio.create_task(follow(context, inventory, rollout, process=process, until=until, seen=seen))
    left = asyncio.create_task(leaving.wait())
    try:
        await asyncio.wait({following, left}, return_when=asyncio.FIRST_COMPLETED)
        return following.result() if following.done() else None
    finally:
        for task in (following, left):
            task.cancel()
        await asyncio.gather(following, left, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def journalled_end(context: Context, rollout: Rollout) -> Rollout:
    """``rollout`` with the last entry that its driver wrote: one that never began has no checkpoint to tell of it."""
    try:
        last = context.journal.entries(rollout=rollout.id, limit=1)
    except OSError as error:
        output.note(f"The journal can't be read: {error.strerror or error}")
        return rollout
    return journalled(rollout, int(str(last[-1]["seq"]))) if last else rollout


def not_recorded(context: Context, rollout: Rollout) -> str:
    """Why the end of a rollout that was driven from this home is not in its journal; empty where it is, and for one that was
    driven from another home, whose journal has it."""
    if rollout.driver is not None and rollout.driver.home != home_id(context.home):
        return ""
    try:
        ends = context.journal.entries(rollout=rollout.id, event="deployment.completed", limit=1)
    except (OSError, QuarterdeckError) as error:
        return f"It can't be read: {error}."
    if ends and ends[-1]["outcome"] == rollout.phase.value:
        return ""
    return context.journal.health.detail or "It waits for the journal to be written again."


@contextlib.asynccontextmanager
async def inventories(context: Context, environments: Mapping[str, Environment]) -> AsyncIterator[dict[str, Inventory]]:
    """An inventory of each context, as far as it answers within :data:`SYNC_SECONDS`; what is wrong with one stays its own."""
    found: dict[str, Inventory] = {}
    running: list[asyncio.Task[None]] = []
    for name in dict.fromkeys(environment.context for environment in environments.values()):
        spaces = [
            space for environment in environments.values() if environment.context == name for space in environment.namespaces
        ]
        try:
            connection = await context.clusters.connect(name)
        except QuarterdeckError as error:
            output.problem(error)
            continue
        found[name] = Inventory(connection, spaces, context.clock)
        running.append(asyncio.create_task(found[name].run()))
    try:
        await asyncio.gather(*(inventory.wait_synced(SYNC_SECONDS) for inventory in found.values()))
        yield found
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
