"""The process that drives one rollout: ``quarterdeck drive ID``.

It lives apart from every console: its own session, its own streams, no terminal. It holds the service's lease and renews it,
keeps the checkpoint, runs the engine, and listens for intents. It stops without touching anything as soon as somebody else
has taken over. Killed, it leaves a rollout that any console can see is unwatched, resume, or roll back.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec

from services.actuator import Actuator
from services.actuator.undo import ROUTES
from services.cluster.connection import Connection
from services.cluster.inventory import Inventory
from services.coordination import Coordination, Hold
from services.model.errors import ExitCode, HeldByAnother, NeedsAttention, QuarterdeckError, Rejected
from services.model.objects import Json, value_at
from services.model.reasons import reason_of
from services.model.rollout import Driver, Phase, Reason, Rollout
from services.rollout import home as homes
from services.rollout import state
from services.rollout.answering import answer
from services.rollout.belonging import belonging, must_be_open, through
from services.rollout.engine import drive
from services.rollout.events import entry
from services.rollout.finish import finish
from services.rollout.holding import START_PATIENCE, Patience, held, patiently, release, renew, taken
from services.rollout.intents import IntentServer
from services.rollout.lookup import find
from services.rollout.remembered import lost, remembered
from services.rollout.run import Run
from services.rollout.service import bodies, unchanged
from services.rollout.station import Station
from services.rollout.watch import Watch

CHECKLIST_SECONDS = 900.0
"""Wall seconds after which a rollout that has not begun needs its gates asked anew."""
BOOKKEEPING_SECONDS = 5.0
"""Wall seconds that a rollback waits for its checkpoint and its claims; they go on beside it."""
WATCHED = ("Deployment", "ReplicaSet", "Pod")


log = logging.getLogger(__name__)


async def run_driver(
    station: Station,
    rollout_id: str,
    *,
    take_over: bool = False,
    rollback: bool = False,
    resume: bool = False,
    reason: str = "",
) -> ExitCode:
    """Drive a rollout to its end; the answer is the command's exit code. Its last words are left in the home directory too.

    ``resume``: a person has decided that a paused rollout goes on; without it a pause stays one under its new driver.

    Raises :class:`Rejected` for an unknown rollout.
    """
    driver = Driver(
        operator=station.user,
        host=socket.gethostname(),
        home=homes.home_id(station.home),
        token=secrets.token_hex(8),
        since=station.clock.now(),
    )
    with contextlib.suppress(OSError):  # a home that takes no file: its last words are written over, or were never written
        homes.forget_ended(station.home, rollout_id)
    living = _living(station, rollout_id, driver, rollback=rollback)
    code = ExitCode.FAILED
    ended = homes.Ended(code=code, rollback=rollback, title="The driver stopped unexpectedly", hint="Look into its driver.log.")
    try:
        code = await _until_stopped(
            _drive(station, rollout_id, driver, take_over=take_over, rollback=rollback, resume=resume, reason=reason)
        )
        ended = homes.Ended(code=code, rollback=rollback)
    except QuarterdeckError as error:
        log.warning("driver of %s stopped: %s", rollout_id, error, exc_info=True)
        code = error.exit_code
        said = {"kind": type(error).__name__, "title": error.title, "detail": error.detail, "hint": error.hint}
        ended = homes.Ended(code=code, rollback=rollback, **said)
        await _refused(station, rollout_id, error)
    finally:
        try:
            homes.write_ended(station.home, rollout_id, ended)
        except OSError as error:
            log.warning("the end of %s is not in the home directory: %s", rollout_id, error)
        if living is not None:
            living.close()
    return code


def _living(station: Station, rollout_id: str, driver: Driver, *, rollback: bool) -> homes.Living | None:
    """The sign of life that consoles of this home look for. Raises :class:`NeedsAttention` where the home takes no file; a
    rollback goes on without one, and is known by its lease alone."""
    try:
        return homes.Living(station.home, rollout_id, driver.token)
    except OSError as error:
        if not rollback:
            raise NeedsAttention(
                "This driver can't show that it lives",
                f"The home directory takes no file ({error.strerror or error}). Nothing was changed.",
                "Make room in it, or make it writable, then try again.",
            ) from error
        log.warning("the driver of %s leaves no sign of life in the home directory: %s", rollout_id, error)
        return None


async def _refused(station: Station, rollout_id: str, error: QuarterdeckError) -> None:
    """The end, in the journal, of a rollout that was journalled as started and whose driver was refused before it acted."""
    started = homes.read_started(station.home, rollout_id)
    if started is None or await asyncio.to_thread(_acted, station, rollout_id):
        return
    why: dict[str, Json] = {"reason": msgspec.to_builtins(reason_of(error)), "exit_code": int(error.exit_code)}
    await station.journal.append_within(entry(started, "rollout.refused", outcome=error.word, data=why), 2.0)


def _acted(station: Station, rollout_id: str) -> bool:
    """Whether anything was ever sent for a rollout from this home: nothing is before its intent is in the journal."""
    try:
        return bool(station.journal.entries(rollout=rollout_id, event="deployment.executed", limit=1))
    except OSError as error:
        log.warning("what %s has done can't be read in the journal: %s", rollout_id, error)
        return True


async def _until_stopped(work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run ``work``; SIGTERM and SIGINT end it cleanly (the rollout can be resumed), SIGHUP is nothing to a driver."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            return ExitCode.INTERRUPTED
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _drive(
    station: Station, rollout_id: str, driver: Driver, *, take_over: bool, rollback: bool, resume: bool, reason: str
) -> ExitCode:
    asked_for = Patience.of(begun=take_over or rollback, rollback=rollback)
    rollout = await belonging(station, await find(station, rollout_id, asked_for))
    target = rollout.release.target
    if rollback:
        await must_be_open(station, rollout)
    connection = await station.clusters.connect(target.context)
    coordination = Coordination(connection, station.clock, read_only=station.read_only)
    begun = take_over or rollback or rollout.epoch > 0
    actuator = Actuator(connection, station.journal, station.clock, read_only=station.read_only, operator=station.user)
    patience = Patience.of(begun=begun, rollback=rollback)
    epoch = await patiently(station, patience, lambda: actuator.highest_epoch(rollout.plan.objects, readable=rollback))
    service, least = rollout.release.service, max(epoch, rollout.epoch)
    hold: Hold = await held(
        station,
        patience,
        lambda: coordination.acquire(target, service, rollout_id, driver, take_over=take_over, at_least_epoch=least),
        lambda: coordination.go_without(target, service, rollout_id, driver, at_least_epoch=least),
        anyway=rollback,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(release, coordination, hold)
        inventory = Inventory(connection, (target.namespace,), station.clock, kinds=WATCHED)
        # Watched apart: a route that can't be read must not make the pods look unknown.
        kinds = (rollout.plan.route.kind,) if rollout.plan.route is not None and rollout.plan.route.kind in ROUTES else ()
        routes = Inventory(connection, (target.namespace,), station.clock, kinds=kinds, optional=())
        background = await stack.enter_async_context(_background())
        background.append(asyncio.create_task(inventory.run(), name="inventory"))
        background.append(asyncio.create_task(routes.run(), name="routes"))
        known = msgspec.structs.replace(rollout, epoch=hold.epoch)
        rollout = through(await taken(station, coordination, known, patience, anyway=rollback), target.context)
        if lost(rollout):
            rollout = await _known_again(station, connection, rollout)
        if not rollback and not rollout.phase.final:
            wanted = await patiently(station, patience, lambda: coordination.rollback_wanted(target.namespace, rollout_id))
            rollback, reason = bool(wanted), reason or wanted
        rollout = state.rebased(rollout, pace=station.clock.pace(), now=station.clock.now(), speed=station.clock.speed)
        foreign = rollout.driver is not None and not rollout.phase.final
        run = Run(
            state.driven_by(rollout, driver, hold.epoch),
            connection=connection,
            inventory=inventory,
            routes=routes,
            actuator=actuator,
            coordination=coordination,
            hold=hold,
            journal=station.journal,
            settings=station.settings.of(rollout.release.service),
            clock=station.clock,
            redactor=station.redactor,
        )
        losing = asyncio.create_task(renew(coordination, hold, station), name="lease")
        background.append(losing)
        working = asyncio.create_task(
            _work(station, run, background, foreign=foreign, rollback=rollback, resume=resume, reason=reason), name="work"
        )
        background.append(working)
        await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
        # What it came to counts, also where somebody took the lease in the moment of its end.
        try:
            if not working.done():
                losing.result()
            code = working.result()
            _keep_last(station, run.rollout)
            return code
        except HeldByAnother:
            await _superseded(station, run, connection)
            raise


def _keep_last(station: Station, rollout: Rollout) -> None:
    """What a rollback came to, for the consoles of this home: the cluster may not have taken its checkpoint."""
    if rollout.phase not in (Phase.ROLLED_BACK, Phase.NEEDS_ATTENTION):
        return
    try:
        homes.write_last(station.home, rollout)
    except OSError as error:
        log.warning("the end of %s is not in the home directory: %s", rollout.id, error)


async def _superseded(station: Station, run: Run, connection: Connection) -> None:
    """The last word of a driver whose rollout somebody took: its journal says to whom, since the rest is in that one's."""
    by = ""
    try:
        async with asyncio.timeout(2.0):
            lease = await connection.get(run.hold.ref)
        holder = str(value_at(lease, "/spec/holderIdentity") or "")
        by = holder.partition("#")[0] if holder != run.hold.driver.identity else ""
    except (QuarterdeckError, TimeoutError) as error:
        log.warning("who took %s is not known: %s", run.rollout.id, error)
    facts: dict[str, Json] = {"by": by, "epoch": run.hold.epoch, "step": run.rollout.step}
    await station.journal.append_within(entry(run.rollout, "rollout.superseded", outcome="superseded", data=facts), 2.0)


async def _work(
    station: Station, run: Run, background: list[asyncio.Task[Any]], *, foreign: bool, rollback: bool, resume: bool, reason: str
) -> ExitCode:
    rolling_back = rollback or run.rollout.phase in (Phase.ROLLING_BACK, Phase.NEEDS_ATTENTION)
    if not rolling_back:  # a rollback reads what it needs, and waits for pods once it has to
        await run.inventory.wait_synced(START_PATIENCE)
    if run.rollout.phase.final and not rollback:
        raise Rejected("rollout", run.rollout.id, f"is over ({run.rollout.phase.value})", "a rollout that has not ended")
    # What is rolled back is never refused as stale: it may have begun, and its checkpoint been lost.
    fresh = (
        not rolling_back and not run.rollout.undo and run.rollout.step == 0 and run.rollout.phase is Phase.RUNNING and not foreign
    )
    age = (station.clock.now() - run.rollout.created).total_seconds()
    if fresh and age > CHECKLIST_SECONDS:
        why = f"its checklist is {age / 60:.0f} minutes old: tickets and approvals may have changed"
        return await finish(
            run, state.refused(run.rollout, Reason(kind="gate", name="approval", detail=why), pace=station.clock.pace())
        )
    if fresh and not await run.patiently("reading the service", lambda: unchanged(run)):
        why = "the service is no longer what it was when this plan was confirmed: the confirmation is void"
        return await finish(
            run, state.refused(run.rollout, Reason(kind="gate", name="environment", detail=why), pace=station.clock.pace())
        )
    if run.rollout.phase is Phase.NEEDS_ATTENTION:
        run.change(state.tried_again(run.rollout, pace=station.clock.pace()))
    elif rollback:
        asked = Reason(kind="operator", name="rollback", detail=reason or f"asked for by {station.user}")
        run.change(state.breached(run.rollout, asked, pace=station.clock.pace()))
    elif resume and run.rollout.phase is Phase.PAUSED:
        run.change(state.resumed(run.rollout))
    if rolling_back:
        await _kept_beside(run, background)
    else:
        created = await run.patiently("reading the workloads", lambda: bodies(run))
        # First the checkpoint: a driver that dies while it claims must not look like one that never began. With the claim
        # whoever drove before is refused by the API server itself.
        await run.patiently("writing the checkpoint", run.save)
        await run.patiently(
            "claiming the objects", lambda: run.actuator.claim(run.rollout.plan.objects, run.hold, run.rollout, created)
        )
    if foreign:
        await run.note(
            "rollout.taken_over",
            outcome="done",
            data={"epoch": run.hold.epoch, "step": run.rollout.step},
            seconds=0.25 if rolling_back else 2.0,
        )
    background.append(asyncio.create_task(run.keep_saved(), name="checkpoint"))
    server = IntentServer(station.home, run.rollout.id, lambda ask: answer(run, ask))
    try:
        await server.open()
    except (QuarterdeckError, OSError) as error:
        # Intents are a convenience: without them the rollout still runs, and can be taken over.
        log.warning("%s takes no intents: %s", run.rollout.id, error)
    try:
        final = await drive(run, Watch(run).watch)
        run.ending = True
        return await finish(run, final)
    except HeldByAnother:
        await run.settle()  # what was on its way still gets its outcome into the journal
        raise
    except asyncio.CancelledError:
        # A clean stop: what is on its way gets its undo record, and the next driver finds everything in the checkpoint.
        await run.settle()
        if not run.hold.lost:
            try:
                await run.save()
            except QuarterdeckError as error:
                log.warning("the last checkpoint of %s was not written: %s", run.rollout.id, error)
        raise
    finally:
        await server.close()


async def _kept_beside(run: Run, background: list[asyncio.Task[Any]]) -> None:
    """Checkpoint and claims of a rollback: begun before it and given a moment, but whatever becomes of them does not stop it.
    Each restoring patch takes its object's epoch by itself, and who drove before can store nothing any more.

    Raises :class:`HeldByAnother` where somebody else has taken the rollout by then.
    """

    async def kept() -> None:
        for what, call in (
            ("writing the checkpoint", run.save),
            ("claiming the objects", lambda: run.actuator.claim(run.rollout.plan.objects, run.hold, run.rollout, rollback=True)),
        ):
            try:
                await call()
            except HeldByAnother:
                raise
            except QuarterdeckError as error:
                log.warning("%s of %s: %s; rolling back all the same", what, run.rollout.id, error)

    task = asyncio.create_task(kept(), name="claim")
    background.append(task)
    await asyncio.wait({task}, timeout=BOOKKEEPING_SECONDS)
    if task.done():
        task.result()
    else:
        log.warning("the bookkeeping of %s takes long; rolling back beside it", run.rollout.id)


async def _known_again(station: Station, connection: Connection, rollout: Rollout) -> Rollout:
    """The rollout as the journal of this home knows it, where its checkpoint was lost: it may have begun."""
    try:
        return await remembered(station.journal, connection, rollout, pace=station.clock.pace())
    except (OSError, QuarterdeckError) as error:
        log.warning("what %s has changed is not known from the journal: %s", rollout.id, error)
        return rollout


@contextlib.asynccontextmanager
async def _background() -> AsyncIterator[list[asyncio.Task[Any]]]:
    tasks: list[asyncio.Task[Any]] = []
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
