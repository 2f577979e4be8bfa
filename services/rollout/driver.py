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
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from services.actuator import Actuator
from services.cluster.inventory import Inventory
from services.coordination import Coordination, Hold
from services.model.errors import ExitCode, Forbidden, HeldByAnother, QuarterdeckError, Rejected, Unavailable
from services.model.objects import Json
from services.model.reasons import reason_of
from services.model.release import Target
from services.model.rollout import Driver, Phase, Reason, Rollout
from services.rollout import home as homes
from services.rollout import state
from services.rollout.engine import MAY_BE_ACCEPTED, drive
from services.rollout.events import entry
from services.rollout.finish import finish
from services.rollout.intents import Answer, Ask, Intent, IntentServer
from services.rollout.run import Breach, PersonNeeded, Run
from services.rollout.service import bodies, unchanged
from services.rollout.station import Station
from services.rollout.watch import Watch

RENEW_SECONDS = 3.0
SANDBOX_GONE = 300.0
"""Wall seconds after which a sandbox that does not answer is taken to be gone, and its drivers with it."""
CHECKLIST_SECONDS = 900.0
"""Wall seconds after which a rollout that has not begun needs its gates asked anew."""
START_PATIENCE = 60.0
"""Wall seconds for which a driver of a rollout that has begun waits for its cluster before it gives up."""

T = TypeVar("T")

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
    homes.forget_ended(station.home, rollout_id)
    living = homes.Living(station.home, rollout_id, driver.token)
    code = ExitCode.FAILED
    ended = homes.Ended(code=code, title="The driver stopped unexpectedly", hint="Look into its driver.log.")
    try:
        code = await _until_stopped(
            _drive(station, rollout_id, driver, take_over=take_over, rollback=rollback, resume=resume, reason=reason)
        )
        ended = homes.Ended(code=code)
    except QuarterdeckError as error:
        log.warning("driver of %s stopped: %s", rollout_id, error, exc_info=True)
        code = error.exit_code
        ended = homes.Ended(code=code, kind=type(error).__name__, title=error.title, detail=error.detail, hint=error.hint)
        await _refused(station, rollout_id, error)
    finally:
        try:
            homes.write_ended(station.home, rollout_id, ended)
        except OSError as error:
            log.warning("the end of %s is not in the home directory: %s", rollout_id, error)
        living.close()
    return code


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
    rollout, target = await _find(station, rollout_id)
    connection = await station.clusters.connect(target.context)
    coordination = Coordination(connection, station.clock, read_only=station.read_only)
    begun = take_over or rollback or rollout.epoch > 0
    actuator = Actuator(connection, station.journal, station.clock, read_only=station.read_only, operator=station.user)
    epoch = await _patiently(station, begun, lambda: actuator.highest_epoch(rollout.plan.objects))
    hold: Hold = await _patiently(
        station,
        begun,
        lambda: coordination.acquire(
            target, rollout.release.service, rollout_id, driver, take_over=take_over, at_least_epoch=max(epoch, rollout.epoch)
        ),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_release, coordination, hold)
        inventory = Inventory(connection, (target.namespace,), station.clock)
        background = await stack.enter_async_context(_background())
        background.append(asyncio.create_task(inventory.run(), name="inventory"))
        known = msgspec.structs.replace(rollout, epoch=hold.epoch)
        rollout = await _patiently(station, begun, lambda: _taken(coordination, known, anyway=rollback))
        rollout = state.rebased(rollout, pace=station.clock.pace(), now=station.clock.now(), speed=station.clock.speed)
        foreign = rollout.driver is not None and not rollout.phase.final
        run = Run(
            state.driven_by(rollout, driver, hold.epoch),
            connection=connection,
            inventory=inventory,
            actuator=actuator,
            coordination=coordination,
            hold=hold,
            journal=station.journal,
            settings=station.settings,
            clock=station.clock,
        )
        losing = asyncio.create_task(_renew(coordination, hold, station), name="lease")
        background.append(losing)
        working = asyncio.create_task(
            _work(station, run, background, foreign=foreign, rollback=rollback, resume=resume, reason=reason), name="work"
        )
        background.append(working)
        await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
        if losing.done():
            losing.result()
        return working.result()


async def _work(
    station: Station, run: Run, background: list[asyncio.Task[Any]], *, foreign: bool, rollback: bool, resume: bool, reason: str
) -> ExitCode:
    await run.inventory.wait_synced(START_PATIENCE)
    if run.rollout.phase.final and not rollback:
        raise Rejected("rollout", run.rollout.id, f"is over ({run.rollout.phase.value})", "a rollout that has not ended")
    fresh = not run.rollout.undo and run.rollout.step == 0 and run.rollout.phase is Phase.RUNNING and not foreign
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
    rolling_back = run.rollout.phase is Phase.ROLLING_BACK
    created = {} if rolling_back else await run.patiently("reading the workloads", lambda: bodies(run))
    # First the checkpoint: a driver that dies while it claims must not look like one that never began. With the claim whoever
    # drove before is refused by the API server itself.
    for what, call in (
        ("writing the checkpoint", run.save),
        (
            "claiming the objects",
            lambda: run.actuator.claim(run.rollout.plan.objects, run.hold, run.rollout, created, rollback=rolling_back),
        ),
    ):
        try:
            await run.patiently(what, call)
        except HeldByAnother:
            raise
        except (PersonNeeded, QuarterdeckError) as error:
            if not rolling_back:
                raise
            # Each restoring patch takes its object's epoch by itself; what hinders the bookkeeping must not stop it.
            log.warning("%s of %s: %s; rolling back all the same", what, run.rollout.id, error)
    if foreign:
        await run.note("rollout.taken_over", outcome="done", data={"epoch": run.hold.epoch, "step": run.rollout.step})
    background.append(asyncio.create_task(run.keep_saved(), name="checkpoint"))
    server = IntentServer(station.home, run.rollout.id, lambda ask: _answer(run, ask))
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
            with contextlib.suppress(Unavailable):
                await run.save()
        raise
    finally:
        await server.close()


async def _answer(run: Run, ask: Ask) -> Answer:
    rollout = run.rollout
    if run.ending:
        return Answer(ok=False, detail="the rollout is just ending; roll it back once it is over")
    if rollout.phase.final or rollout.phase is Phase.NEEDS_ATTENTION:
        return Answer(ok=False, detail=f"the rollout is over ({rollout.phase.value})")
    if rollout.phase is Phase.ROLLING_BACK:
        joined = ask.intent in (Intent.ABORT, Intent.ROLLBACK)
        return Answer(ok=joined, detail="it is rolling back already")
    match ask.intent:
        case Intent.PAUSE:
            if rollout.phase is Phase.PAUSED:
                return Answer(ok=True, detail=f"it is paused already ({rollout.pause_reason})")
            await run.pause(f"{state.OPERATOR_PAUSE}: paused by {ask.operator}", user=ask.operator)
            return Answer(ok=True, detail="paused; the triggers still watch")
        case Intent.RESUME | Intent.PROMOTE:
            if ask.intent is Intent.RESUME and rollout.phase is not Phase.PAUSED:
                return Answer(ok=True, detail="it is running")
            step = state.current(rollout)
            if ask.intent is Intent.PROMOTE and not isinstance(step, MAY_BE_ACCEPTED):
                name = step.name if step is not None else "the end"
                return Answer(ok=False, detail=f"a person can pass an analysis, a pause or smoke tests, not {name!r}")
            if ask.intent is Intent.PROMOTE:
                run.promoted.set()
            if rollout.phase is Phase.PAUSED:
                run.change(state.resumed(run.rollout))
            done = "promoted" if ask.intent is Intent.PROMOTE else "resumed"
            await run.note(
                f"rollout.{done}", outcome="done", user=ask.operator, data={"step": rollout.step, "reason": ask.reason}
            )
            return Answer(ok=True, detail=done)
        case Intent.ABORT | Intent.ROLLBACK:
            if not run.breach.done():
                detail = ask.reason or f"asked for by {ask.operator}"
                run.breach.set_result(Breach(Reason(kind="operator", name=ask.intent.value, detail=detail)))
            return Answer(ok=True, detail="rolling back")


async def _renew(coordination: Coordination, hold: Hold, station: Station) -> None:
    """Renew until the lease is lost, which is raised. A cluster that does not answer loses nothing: it is asked again, for ever.

    A sandbox does not come back where it was: raises :class:`Unavailable` where one has been away for :data:`SANDBOX_GONE`.
    """
    answered = station.clock.monotonic()
    while True:
        await station.clock.sleep(RENEW_SECONDS)
        try:
            await coordination.renew(hold)
            answered = station.clock.monotonic()
        except HeldByAnother:
            raise
        except Unavailable as error:
            log.warning("lease of %s not renewed: %s", hold.service, error)
            if station.settings.sandbox is not None and station.clock.monotonic() - answered > SANDBOX_GONE:
                raise


async def _release(coordination: Coordination, hold: Hold) -> None:
    if hold.lost:
        return
    try:
        await asyncio.wait_for(coordination.release(hold), 5.0)
    except (TimeoutError, QuarterdeckError) as error:
        log.warning("lease of %s not released (it expires by itself): %s", hold.service, error)


async def _taken(coordination: Coordination, known: Rollout, *, anyway: bool) -> Rollout:
    """The rollout as its predecessor left it, who from here on can neither store nor send anything.

    Where the checkpoint can't be had, ``anyway`` goes on with what is known: a rollback is stopped by no bookkeeping.
    """
    try:
        return await coordination.take(known)
    except (HeldByAnother, Unavailable) as error:
        if not anyway or not isinstance(error, Forbidden):
            raise
        log.warning("checkpoint of %s not taken: %s", known.id, error)
    except QuarterdeckError as error:
        if not anyway:
            raise
        log.warning("checkpoint of %s not taken: %s", known.id, error)
    return known


async def _find(station: Station, rollout_id: str) -> tuple[Rollout, Target]:
    """The rollout as started from this home, else from the checkpoint in any configured environment."""
    started = homes.read_started(station.home, rollout_id)
    if started is not None:
        return started, started.release.target
    places = {(env.context, namespace) for env in station.settings.environments.values() for namespace in env.namespaces}
    unreachable: list[str] = []
    for context, namespace in sorted(places):
        try:
            connection = await station.clusters.connect(context)
            found = await Coordination(connection, station.clock, read_only=True).load(namespace, rollout_id)
        except Unavailable as error:
            unreachable.append(f"{context}: {error.title}")
            continue
        if found is not None:
            return found, found.release.target
    raise Rejected(
        "rollout",
        rollout_id,
        "has no checkpoint in any configured environment" + (f" (not reached: {'; '.join(unreachable)})" if unreachable else ""),
        "an id that `quarterdeck status` shows",
    )


async def _patiently(station: Station, begun: bool, call: Callable[[], Awaitable[T]]) -> T:
    """``call`` again and again while the cluster does not answer: at once an error where nothing has begun yet."""
    until = station.clock.monotonic() + (START_PATIENCE if begun else 0.0)
    while True:
        try:
            return await call()
        except Forbidden:
            raise
        except Unavailable:
            if station.clock.monotonic() >= until:
                raise
            await station.clock.sleep(1.0)


@contextlib.asynccontextmanager
async def _background() -> AsyncIterator[list[asyncio.Task[Any]]]:
    tasks: list[asyncio.Task[Any]] = []
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
