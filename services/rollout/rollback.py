"""Putting back what a rollout changed, phase by phase, and proving that it is back.

What has to be written is planned by :func:`services.actuator.undo.plan_restore` from the undo records and the objects as they
are now; this module sends it, waits between the phases, and reads everything back. Gates don't exist here, and neither does a
journal that can hold it up. A phase that fails ends the writing: scaling the canary to zero while its requests could not be
taken away would turn a bad release into an outage. For the same reason the route is looked at once more before the canary goes.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.actuator import Misplaced, Mutation, Write
from services.actuator.commands import kubectl_edit, kubectl_for, kubectl_get, kubectl_status, kubectl_undo
from services.actuator.undo import Kept, Restore, RestorePhase, Stage, fold, plan_restore
from services.cluster.workloads import current_pods, deployment_ready
from services.model.errors import Forbidden, HeldByAnother, NotFound, QuarterdeckError, Throttled, Unavailable
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import Guard, Reason, Rollout
from services.rollout import state
from services.rollout.routes import ready_pods, router_of, serves_canary
from services.rollout.run import Run
from services.rollout.scaling import is_autoscaled
from services.rollout.steps_workload import images
from services.traffic.router import Pods

BUDGET = 300.0
"""Pace seconds a rollback may take (R5.6)."""
READY_WAIT = 120.0
"""Pace seconds for the old version's pods to be ready (R5.1)."""
REFUSED_SECONDS = 10.0
"""Wall seconds for which a refused change is tried again at least."""
LONGEST_PAUSE = 5.0
"""Wall seconds between two attempts at most, however long a busy server asks us to stay away."""
READ_PATIENCE = 10.0
"""Wall seconds after which what can't be read is planned from the inventory's copy: one object must not hold up the others."""
PASSES = 3
"""How often what is to be restored is decided: a change that was on its way at the first look may have arrived since."""
REPLICAS = "/spec/replicas"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Restoration:
    """``left``: commands to do by hand; ``problems``: what went wrong, in words; ``kept``: what belongs to somebody else now."""

    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def restored(self) -> bool:
        return not self.left and not self.problems


async def roll_back(run: Run) -> Rollout:
    """Restore and verify; the answer is the rollout's final state (not yet saved).

    Raises :class:`HeldByAnother` where somebody else took the rollout over: then nothing more is touched.
    """
    await run.settle()
    reason = run.rollout.reason
    await run.note(
        "deployment.rollback",
        outcome="started",
        data={
            "kind": run.rollout.kind.value,
            "to_version": run.rollout.plan.previous_version,
            "reason": plain(reason),
            "also": [plain(other) for other in run.rollout.also],
            "values": len(run.rollout.undo),
        },
        seconds=0.25,
    )
    found = Restoration()
    overdue = asyncio.create_task(_when_overdue(run), name="budget")
    try:
        await _restore_all(run, found)
        await _verify(run, found)
    except HeldByAnother:
        raise
    except Exception as error:
        # Whatever it is, a person has to hear that the service may not be restored, and what to look at.
        log.exception("the rollback of %s failed", run.rollout.id)
        found.problems.append(f"it failed unexpectedly: {error!r}")
        found.left += [kubectl_get(ref, context=_context(run)) for ref in run.rollout.plan.objects]
    finally:
        overdue.cancel()
        for problem in await asyncio.gather(overdue, return_exceptions=True):
            if isinstance(problem, Exception):
                log.error("what is overdue of %s could not be told", run.rollout.id, exc_info=problem)
    final = state.rolled_back(run.rollout, left=tuple(found.left), pace=run.clock.pace())
    seconds = round(run.clock.pace() - (run.rollout.breach_at or run.clock.pace()), 3)
    await run.note(
        "deployment.rollback",
        outcome="restored" if found.restored else "not_restored",
        duration=seconds,
        data={
            "restored_version": run.rollout.plan.previous_version if found.restored else None,
            "reason": plain(reason),
            "left": list(found.left),
            "problems": list(found.problems),
            "kept": list(found.kept),
            "budget": BUDGET,
            "within_budget": seconds <= BUDGET,
        },
    )
    return msgspec.structs.replace(final, journal_last=run.rollout.journal_last)


async def _when_overdue(run: Run) -> None:
    """Once the budget is spent, say what is still to be restored and how to do it by hand; the rollback itself goes on."""
    began = run.rollout.breach_at if run.rollout.breach_at is not None else run.clock.pace()
    await run.clock.pace_sleep(max(0.0, began + BUDGET - run.clock.pace()))
    plan, folded = run.rollout.plan, fold(run.rollout.undo)
    last_seen = {item.object: run.last_seen(item.object) for item in folded}
    restore = plan_restore(
        folded, last_seen, context=_context(run), stable=plan.stable, canary=plan.canary, route=plan.route, step=run.rollout.step
    )
    left = [mutation.command for phase in restore.phases for mutation in phase.mutations]
    run.change(msgspec.structs.replace(run.rollout, left=tuple(left)))
    await run.note("deployment.rollback", outcome="overdue", data={"left": [*left], "budget": BUDGET}, seconds=0.25)


async def _restore_all(run: Run, found: Restoration) -> None:
    """Phase by phase, until there is nothing left to write; what can't be done is in ``found``."""
    for last in (number == PASSES for number in range(1, PASSES + 1)):
        restore = await _planned(run, patience=READ_PATIENCE)
        moved = False
        for position, phase in enumerate(restore.phases):
            problems = await _do(run, phase)
            if not problems:
                continue
            moved = all(problem.moved for problem in problems)
            if last or not moved:
                found.problems += [problem.text for problem in problems]
                found.left += [problem.command for problem in problems]
                later = restore.phases[position + 1 :]
                found.left += [mutation.command for phase in later for mutation in phase.mutations]
                return
            break
        if not moved and not any(phase.mutations for phase in restore.phases):
            return


@dataclass(frozen=True, slots=True)
class Problem:
    """``moved``: the object had changed since the plan was made, which decides anew."""

    text: str
    command: str
    moved: bool = False


async def _do(run: Run, phase: RestorePhase) -> list[Problem]:
    """Send a phase's changes and wait for its workloads; what went wrong."""
    mutations, unsafe = phase.mutations, []
    if phase.stage is Stage.OBJECTS and (problem := await _still_served(run, mutations)):
        mutations, unsafe = tuple(each for each in mutations if each.command != problem.command), [problem]
    answers = await asyncio.gather(*(_restore(run, mutation) for mutation in mutations))
    problems = [*unsafe, *(answer for answer in answers if answer is not None)]
    if problems:
        return problems
    for workload in phase.wait_for:
        # One pod that nobody can start must not keep users on a bad version: with as many as the workload itself tolerates to
        # miss, requests may come back; that it is not whole is found, and said, by the verification.
        if not await _ready(run, workload) and not _carries(run, workload):
            readiness = deployment_ready(run.inventory, workload)
            text = f"{workload}: its old version is not ready after {READY_WAIT:.0f} s ({readiness.detail})"
            problems.append(Problem(text, kubectl_status(workload, context=_context(run))))
    return problems


async def _still_served(run: Run, mutations: tuple[Mutation, ...]) -> Problem | None:
    """Why the canary can't be scaled down yet, where it can't: its route sends it requests, in a form that was not ours."""
    plan = run.rollout.plan
    down = next((each for each in mutations if each.object == plan.canary and Write(REPLICAS, 0) in each.writes), None)
    if down is None or plan.route is None:
        return None
    document = await _read(run, plan.route)
    if document is None or not serves_canary(run.rollout, document):
        return None
    return Problem(f"{plan.route} still sends requests to {down.object}: its pods stay until it does not", down.command)


def _carries(run: Run, workload: ObjectRef) -> bool:
    """Whether the workload has all the pods of its present template ready but those that it tolerates to miss while it rolls
    (``maxUnavailable``, 25 % where it says nothing; one pod at least)."""
    deployment = run.inventory.deployments.get((workload.namespace, workload.name))
    if deployment is None or not run.sees_cluster:
        return False
    asked = deployment.spec.replicas
    allowed = value_at(run.last_seen(workload), "/spec/strategy/rollingUpdate/maxUnavailable")
    text = str(allowed if allowed is not None else "25%")
    number = int(text.removesuffix("%")) if text.isascii() and text.removesuffix("%").isdigit() else 0
    missing = asked * number // 100 if text.endswith("%") else number
    able = sum(pod.ready for pod in current_pods(run.inventory, workload))
    return able >= max(1, asked - max(1, missing))


async def _restore(run: Run, mutation: Mutation) -> Problem | None:
    """Send one restoring change, waiting out a cluster that is away; the problem where it can't be done."""
    pause = 0.5
    until = run.clock.monotonic() + max(BUDGET / run.clock.speed, REFUSED_SECONDS)
    while True:
        try:
            await run.actuator.apply(mutation, hold=run.hold, rollout=run.rollout, rollback=True)
            return None
        except HeldByAnother:
            raise
        except Throttled as error:
            await run.clock.sleep(min(max(0.1, error.retry_after), LONGEST_PAUSE))
        except Forbidden as error:
            # A refusal may be a webhook or a role that is just being changed: not the first answer decides.
            if run.clock.monotonic() >= until:
                return _problem(mutation, error)
            await run.clock.sleep(2.0)
        except Unavailable as error:
            if isinstance(error, NotFound | Misplaced):
                return _problem(mutation, error)
            await run.clock.sleep(pause)
            pause = min(3.0, pause * 1.5)
        except QuarterdeckError as error:
            return _problem(mutation, error)


def _problem(mutation: Mutation, error: QuarterdeckError) -> Problem:
    return Problem(f"{mutation.object}: {error}", mutation.command, moved=isinstance(error, NotFound | Misplaced))


async def _planned(run: Run, *, patience: float | None = None) -> Restore:
    folded = fold(run.rollout.undo)
    refs = tuple(dict.fromkeys(item.object for item in folded))
    documents = await asyncio.gather(*(_read(run, ref, patience=patience) for ref in refs))
    live = dict(zip(refs, documents, strict=True))
    plan = run.rollout.plan
    restore = plan_restore(
        folded, live, context=_context(run), stable=plan.stable, canary=plan.canary, route=plan.route, step=run.rollout.step
    )
    return _rerouted(run, await _without_autoscaled(run, restore, live), live)


async def _without_autoscaled(run: Run, restore: Restore, live: Mapping[ObjectRef, dict[str, Json] | None]) -> Restore:
    """The same, without the replicas that an autoscaler sets (but the canary's, which exists only for the rollout): it would set
    them again, and until then a peak's pods would be missing. Where it is not known they are taken as nobody's."""
    kept = list(restore.kept)
    phases: list[RestorePhase] = []
    for phase in restore.phases:
        mutations: list[Mutation] = []
        for each in phase.mutations:
            count = next((write for write in each.writes if write.path == REPLICAS), None)
            if count is None or each.object == run.rollout.plan.canary or not await is_autoscaled(run.connection, each.object):
                mutations.append(each)
                continue
            now = value_at(live[each.object], REPLICAS)
            why = "an autoscaler sets it"
            kept.append(Kept(each.object, REPLICAS, count.value, now, now, why, each.command))
            if writes := tuple(write for write in each.writes if write is not count):
                command = kubectl_for(each.object, writes, context=_context(run))
                mutations.append(msgspec.structs.replace(each, writes=writes, command=command))
        if mutations or phase.wait_for:
            phases.append(msgspec.structs.replace(phase, mutations=tuple(mutations)))
    return Restore(tuple(phases), tuple(kept))


def _rerouted(run: Run, restore: Restore, live: Mapping[ObjectRef, dict[str, Json] | None]) -> Restore:
    """The same, with the requests taken from the canary where its route was rearranged meanwhile, so that the weights which were
    recorded are no longer to be found at their places: what its rules are now decides then."""
    route = run.rollout.plan.route
    document = live.get(route) if route is not None else None
    astray = any(kept.object == route for kept in restore.kept)
    if route is None or document is None or not astray or not serves_canary(run.rollout, document):
        return restore
    router, service = router_of(run.rollout), run.rollout.release.service
    assert router is not None
    try:
        pods = ready_pods(run.rollout, run.inventory)
        writes = tuple(Write(path, value) for path, value in router.writes(document, service, 0, pods))
        expects = tuple(Guard(path, value) for path, value in router.guards(document, service))
    except QuarterdeckError as error:
        log.warning("%s of %s can't be restored: %s", route, run.rollout.id, error)
        return restore
    mutation = Mutation(
        object=route,
        writes=writes,
        command=kubectl_for(route, writes, context=_context(run)),
        step=run.rollout.step,
        step_name="rollback",
        expects=expects,
    )
    phases = tuple(phase for phase in restore.phases if phase.stage is not Stage.TRAFFIC)
    before = [phase for phase in phases if phase.stage is Stage.CAPACITY and state.promoting(run.rollout)]
    after = [phase for phase in phases if phase not in before]
    others = [
        each for phase in restore.phases if phase.stage is Stage.TRAFFIC for each in phase.mutations if each.object != route
    ]
    return Restore((*before, RestorePhase(Stage.TRAFFIC, (mutation, *others), ()), *after), restore.kept)


def _context(run: Run) -> str:
    return run.rollout.release.target.context


async def _read(run: Run, ref: ObjectRef, *, patience: float | None = None) -> dict[str, Json] | None:
    """The object as it is now (``None``: it is gone), waiting out a cluster that is away. After ``patience`` wall seconds the
    inventory's copy has to do, where there is one."""
    pause, began = 0.5, run.clock.monotonic()
    while True:
        try:
            return await run.connection.get(ref)
        except NotFound:
            return None
        except Forbidden:
            return run.last_seen(ref)
        except Unavailable as error:
            late = patience is not None and run.clock.monotonic() - began >= patience
            if late and (known := run.last_seen(ref)) is not None:
                log.warning("%s can't be read (%s): planned from the copy that is %s s old", ref, error, run.inventory.age())
                return known
            await run.clock.sleep(pause)
            pause = min(3.0, pause * 1.5)


async def _verify(run: Run, found: Restoration) -> None:
    """Read everything back: what is not as it was and not already named is a problem of its own."""
    restore = await _planned(run)
    for phase in restore.phases:
        for mutation in phase.mutations:
            if mutation.command not in found.left:
                found.left.append(mutation.command)
                found.problems.append(f"{mutation.object}: not as it was before")
    for kept in restore.kept:
        found.kept.append(str(kept))
        if not _belongs_to_others(kept, run.rollout.plan.canary):
            found.problems.append(str(kept))
            found.left.append(kept.command or kubectl_get(kept.object, context=_context(run)))
    await _verify_by_plan(run, found)
    stable = run.rollout.plan.stable
    if not found.problems and not await _ready(run, stable):
        found.problems.append(f"{stable}: {deployment_ready(run.inventory, stable).detail}")
        found.left.append(kubectl_status(stable, context=_context(run)))


async def _verify_by_plan(run: Run, found: Restoration) -> None:
    """What the plan was going to change must not be there, whatever the records say: a lost record is no restored service."""
    plan = run.rollout.plan
    stable = await _read(run, plan.stable)
    new = sorted(name for name, image in images(stable).items() if plan.new_images.get(name) == image)
    if new:
        found.problems.append(f"{plan.stable}: {', '.join(new)} still runs {run.rollout.release.version}")
        found.left.append(kubectl_undo(plan.stable, context=_context(run)))
    if plan.route is None:
        return
    router = router_of(run.rollout)
    document = await _read(run, plan.route)
    if router is None or not plan.steps or document is None:
        return
    try:
        # Pods that are on their way out are no share any more: what is asked for decides here.
        pods = Pods(ready_pods(run.rollout, run.inventory).stable, int(value_at(document, REPLICAS) or 0))
        share = router.weight_of(document, run.rollout.release.service, pods)
    except QuarterdeckError as error:
        found.problems.append(f"{plan.route}: its split can't be read ({error.title})")
        found.left.append(kubectl_get(plan.route, context=_context(run)))
        return
    run.change(state.routed(run.rollout, share))
    if share and not any(str(plan.route) in problem for problem in found.problems):
        found.problems.append(f"{plan.route}: the canary still gets {share} % of the requests")
        found.left.append(kubectl_edit(plan.route, context=_context(run)))


async def _ready(run: Run, workload: ObjectRef) -> bool:
    seen = await _read(run, workload)
    generation = int(value_at(seen, "/metadata/generation") or 0)

    def done() -> bool:
        deployment = run.inventory.deployments.get((workload.namespace, workload.name))
        # The watch may still show the object as it was before our patch.
        return (
            deployment is not None
            and deployment.metadata.generation >= generation
            and deployment_ready(run.inventory, workload).ready
        )

    return await run.until(done, READY_WAIT)


def _belongs_to_others(kept: Kept, canary: ObjectRef | None) -> bool:
    """Replicas that an autoscaler or a person moved meanwhile are theirs, and a canary that somebody deleted is as gone as it was
    to be; so is nothing else of a service."""
    gone = not kept.command
    return (kept.path == REPLICAS and not gone) or (kept.object == canary and gone)


def plain(reason: Reason | None) -> Json:
    return msgspec.to_builtins(reason)
