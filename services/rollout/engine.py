"""The engine: runs a plan's steps one after the other, and rolls back as soon as anybody calls a breach.

It knows no strategy. What a step does is found in :data:`DOERS` by its type; when to stop is told by the watch loop, by a
person's intent, or by the step itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.model.errors import HeldByAnother, QuarterdeckError
from services.model.rollout import Phase, Rollout
from services.model.steps import (
    Analyse,
    AnyStep,
    CleanUp,
    EnsureObject,
    EnsureWorkload,
    MeasureBaseline,
    PatchImage,
    Pause,
    Scale,
    SetTraffic,
    SmokeTest,
    WaitReady,
)
from services.rollout import state
from services.rollout.rollback import roll_back
from services.rollout.run import Breach, PersonNeeded, Run
from services.rollout.steps_analysis import analyse, measure_baseline, pause
from services.rollout.steps_setup import clean_up, ensure_object
from services.rollout.steps_smoke import smoke_test
from services.rollout.steps_traffic import set_traffic
from services.rollout.steps_workload import ensure_workload, patch_image, runs_new_images, scale, wait_ready

log = logging.getLogger(__name__)

Doer = Callable[[Run, Any], Awaitable[None]]

DOERS: Mapping[type[AnyStep], Doer] = {
    MeasureBaseline: measure_baseline,
    PatchImage: patch_image,
    EnsureWorkload: ensure_workload,
    Scale: scale,
    WaitReady: wait_ready,
    SetTraffic: set_traffic,
    Analyse: analyse,
    Pause: pause,
    SmokeTest: smoke_test,
    EnsureObject: ensure_object,
    CleanUp: clean_up,
}

MAY_BE_ACCEPTED = (MeasureBaseline, Analyse, SmokeTest, Pause)
"""Steps that change nothing: a person may declare them passed. A change can only be made, or rolled back."""


UNCOUNTED = (PatchImage, EnsureObject, EnsureWorkload, Scale, SetTraffic, SmokeTest, CleanUp)
"""Steps whose time decides nothing, so they don't count it themselves."""


async def drive(run: Run, watch: Callable[[], Awaitable[None]]) -> Rollout:
    """Take the rollout from where it stands to its end; the answer is its final state (not yet saved): succeeded, rolled back, or
    in need of a person.

    ``watch`` runs beside the steps for as long as they do. Raises :class:`HeldByAnother` where somebody took the rollout over.
    """
    if run.rollout.phase not in (Phase.ROLLING_BACK, Phase.NEEDS_ATTENTION):
        breach = await _forward(run, watch)
        if breach is None and run.breach.done():
            breach = run.breach.result()  # asked for while the last step ended, and promised
        if breach is None:
            return state.succeeded(run.rollout, pace=run.clock.pace())
        run.change(state.breached(run.rollout, breach.reason, breach.also, pace=run.clock.pace()))
    return await roll_back(run)


async def _forward(run: Run, watch: Callable[[], Awaitable[None]]) -> Breach | None:
    """Run steps until all are done (``None``) or something calls a breach."""
    stepping = asyncio.create_task(_steps(run), name="steps")
    watching = asyncio.create_task(_watched(watch), name="watch")
    called = asyncio.ensure_future(_called(run))
    try:
        done, _ = await asyncio.wait({stepping, watching, called}, return_when=asyncio.FIRST_COMPLETED)
        for task in (called, watching, stepping):
            if task in done:
                task.result()  # raises what it raised; a breach is told below
        return None
    except Breach as breach:
        return breach
    finally:
        for task in (stepping, watching, called):
            task.cancel()
        await asyncio.gather(stepping, watching, called, return_exceptions=True)


async def _called(run: Run) -> None:
    raise await asyncio.shield(run.breach)


async def _watched(watch: Callable[[], Awaitable[None]]) -> None:
    await watch()
    raise AssertionError("the watch loop ends only by a breach")


async def _steps(run: Run) -> None:
    while (step := state.current(run.rollout)) is not None:
        await run.unpaused()
        run.promoted.clear()
        run.change(state.step_started(run.rollout, run.clock.now()))
        try:
            await run.patiently("writing the checkpoint", run.save)
            await _timed(run, step)
        except Breach:
            raise
        except HeldByAnother:
            raise
        except Exception as error:
            needed = error if isinstance(error, QuarterdeckError) else _unexpected(step, error)
            await run.pause(f"attention: {needed}")
            await run.unpaused()
            if run.promoted.is_set() and isinstance(step, MAY_BE_ACCEPTED):
                run.promoted.clear()
                await _finished(run, f"accepted by a person ({needed})")
            continue
        await _finished(run)


async def _finished(run: Run, note: str = "") -> None:
    """On to the next step; after the last one, only where what has succeeded really runs."""
    if run.rollout.step + 1 == len(run.rollout.plan.steps):
        await _confirmed(run)
    run.change(state.step_finished(run.rollout, note))


def _unexpected(step: AnyStep, error: Exception) -> PersonNeeded:
    """A defect of ours in a step must not end the watch over a version that has users already: it is kept as it is."""
    log.error("the step %r failed unexpectedly", step.name, exc_info=error)
    return PersonNeeded(f"{step.name} failed unexpectedly", f"{error!r}.", "Roll back; or look into driver.log and resume.")


async def _timed(run: Run, step: AnyStep) -> None:
    """Do the step. One that does not count its own time is told how long it took, also where it was broken off."""
    began, taken = run.clock.pace(), state.current_state(run.rollout).seconds
    try:
        await DOERS[type(step)](run, step)
    finally:
        if isinstance(step, UNCOUNTED) or (isinstance(step, Pause) and step.seconds is None):
            run.progress(taken + run.clock.pace() - began)


async def _confirmed(run: Run) -> None:
    """Nothing has succeeded that does not run: return once stable has the new images. Somebody may have taken them back by hand
    after they were waited for, and then a person has to say what is meant."""
    while True:
        try:
            await runs_new_images(run)
            return
        except PersonNeeded as needed:
            await run.pause(f"attention: {needed}")
            await run.unpaused()
