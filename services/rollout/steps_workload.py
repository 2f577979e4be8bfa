"""Doing the steps that change workloads, and waiting until the cluster has followed."""

from collections.abc import Iterable, Mapping, Sequence

from services.actuator import Mutation, Write
from services.actuator.shown import brief, shown
from services.analysis import reasons
from services.analysis.triggers import crash_loop, progress_deadline
from services.cluster.workloads import deployment_ready
from services.model.objects import Change, Json, ObjectRef, dotted, value_at
from services.model.rollout import Guard, Reason, Rollout, TriggerName
from services.model.steps import EnsureWorkload, PatchImage, Scale, SetTraffic, Step, WaitReady, object_changes
from services.rollout import state
from services.rollout.arms import has_new_template, workload_facts
from services.rollout.routes import serves_canary
from services.rollout.run import Breach, PersonNeeded, Run
from services.strategies.traffic import capacity

REPLICAS = "/spec/replicas"


async def patch_image(run: Run, step: PatchImage) -> None:
    if step.promotes:
        # Said before the patch leaves: from here on pods of the new version take their place among stable's, each with its share.
        run.change(state.risen(run.rollout, pace=run.clock.pace()))
    for ref, changes in object_changes(step).items():
        expects = await as_planned(run, ref, changes)
        writes = tuple(Write(change.path, change.new) for change in changes)
        await run.apply(mutation(run, step, ref, writes, expects))


async def ensure_workload(run: Run, step: EnsureWorkload) -> None:
    changes = [change for change in step.changes if change.path != REPLICAS]
    expects = await as_planned(run, step.workload, changes)
    writes = [Write(change.path, change.new) for change in changes]
    # Laid out without pods where each pod is a share: those are made share by share.
    replicas = max(step.replicas, await carrying(run, next_weight(run.rollout))) if step.replicas else 0
    await run.apply(mutation(run, step, step.workload, (*writes, Write(REPLICAS, replicas)), expects))


async def scale(run: Run, step: Scale) -> None:
    live = await read(run, step.workload)
    replicas = step.replicas
    if not replicas and step.workload == run.rollout.plan.canary:
        await _left_by_all(run, step)
    if step.at_least:
        replicas = max(replicas, int(value_at(live, REPLICAS) or 0), await carrying(run, next_weight(run.rollout)))
    await run.apply(mutation(run, step, step.workload, (Write(REPLICAS, replicas),)))


async def _left_by_all(run: Run, step: Scale) -> None:
    """Raises :class:`PersonNeeded` where the route still sends requests to the workload that is about to go: they would fail."""
    route = run.rollout.plan.route
    if route is not None and serves_canary(run.rollout, await read(run, route)):
        raise PersonNeeded(
            f"{route} still sends requests to {step.workload}",
            "They were all taken from it earlier: somebody changed the route meanwhile. Its pods were left as they are.",
            "Take the requests from it, then resume; or roll back.",
        )


async def wait_ready(run: Run, step: WaitReady) -> None:
    """Ready, or a breach: pods that crash, a progress deadline that passed, or this step's own timeout."""
    live = await read(run, step.workload)
    generation = int(value_at(live, "/metadata/generation") or 0)
    began = run.clock.pace() - state.current_state(run.rollout).seconds
    asked = asked_for(run.rollout, step.workload)

    def ready() -> bool:
        run.progress(run.clock.pace() - began)
        deployment = run.inventory.deployments.get((step.workload.namespace, step.workload.name))
        if deployment is None or deployment.metadata.generation < generation:
            return False  # the watch has not caught up with our own change yet
        if not has_new_template(deployment, run.rollout):
            raise PersonNeeded(
                f"{step.workload} no longer runs {run.rollout.release.version}",
                "Somebody has changed its pod template since this rollout did: its pods may be ready, and of another version.",
                "Roll back; or put the new version in place again and resume.",
            )
        # Somebody who took the pods away has made it "0 of 0 ready", which serves nobody.
        return deployment.spec.replicas >= asked and deployment_ready(run.inventory, step.workload).ready

    def decided() -> bool:
        return ready() or bool(_failures(run, step, run.clock.pace() - began))

    await run.until(decided, step.timeout)
    if ready():
        if step.workload == run.rollout.plan.stable and run.rollout.exposed_at is not None:
            run.change(state.risen(run.rollout, pace=run.clock.pace()))  # it has its whole share only now
        return
    waited = round(run.clock.pace() - began, 1)
    failures = _failures(run, step, waited)
    if failures:
        raise Breach(failures[0], failures[1:])
    readiness = deployment_ready(run.inventory, step.workload)
    short = f", and {asked} are needed" if readiness.desired < asked else ""
    detail = f"{step.workload} was not ready after {waited:.0f} s: {readiness.detail}{short}"
    raise Breach(
        Reason(kind="trigger", name=TriggerName.PROGRESS_DEADLINE.value, value=waited, limit=step.timeout, detail=detail)
    )


async def runs_new_images(run: Run) -> None:
    """Return where stable has the new images. Raises :class:`PersonNeeded` where it has not."""
    plan = run.rollout.plan
    found = images(await read(run, plan.stable))
    other = sorted(name for name, image in plan.new_images.items() if found.get(name) != image)
    if other:
        raise PersonNeeded(
            f"{plan.stable} does not run {run.rollout.release.version}",
            f"{', '.join(f'{name} has {found.get(name)}' for name in other)}: somebody changed it meanwhile.",
            "Roll back; or put the new version in place again and resume.",
        )


def images(workload: dict[str, Json] | None) -> dict[str, str]:
    """Container → image of a workload's pod template."""
    kinds = ("containers", "initContainers")
    listed = [container for kind in kinds for container in value_at(workload, f"/spec/template/spec/{kind}") or ()]
    return {str(container.get("name")): str(container.get("image")) for container in listed}


def _failures(run: Run, step: WaitReady, waited: float) -> tuple[Reason, ...]:
    """The triggers that the workload's own state sets off. The watch loop sees the same; here nothing waits for its next look."""
    facts = workload_facts(run.inventory, run.rollout, waited=round(waited, 1), deadline=step.timeout)
    return reasons((crash_loop(facts), progress_deadline(facts)))


def mutation(run: Run, step: Step, ref: ObjectRef, writes: tuple[Write, ...], expects: tuple[Guard, ...] = ()) -> Mutation:
    return Mutation(object=ref, writes=writes, command=step.command, step=run.rollout.step, step_name=step.name, expects=expects)


async def as_planned(run: Run, ref: ObjectRef, changes: Sequence[Change]) -> tuple[Guard, ...]:
    """What has to be found with the writes. Raises :class:`PersonNeeded` where a value is neither what the plan saw nor what it
    wants, or belongs to another container: a plan names places in lists, and somebody may have moved what stands there."""
    live = await read(run, ref)
    expects = containers(run.rollout, ref, changes, live)
    for change in changes:
        found = value_at(live, change.path)
        if found not in (change.old, change.new):
            found, old, new = (brief(shown(change.path, value)) for value in (found, change.old, change.new))
            raise PersonNeeded(
                f"{ref} is not what the plan was made for",
                f"{dotted(change.path)} is {found}, neither {old} nor {new}: somebody changed it meanwhile. Nothing was written.",
                "Find out who changed it and why; then resume, or roll back and plan again.",
            )
    return expects


def containers(rollout: Rollout, ref: ObjectRef, changes: Iterable[Change], live: Mapping[str, Json]) -> tuple[Guard, ...]:
    """For every image that is changed, the name of the container that the plan means by that place in the list.

    A plan names places, and a sidecar that somebody inserts moves them. Raises :class:`PersonNeeded` where another container
    stands there now.
    """
    found: list[Guard] = []
    for change in changes:
        place, _, last = change.path.rpartition("/")
        meant = {name for name, image in rollout.plan.new_images.items() if image == change.new}
        if last != "image" or not meant:
            continue
        guard = Guard(f"{place}/name", value_at(live, f"{place}/name"))
        if guard.value not in meant:
            raise PersonNeeded(
                f"{ref} is not what the plan was made for",
                f"{dotted(place)} is container {guard.value!r}, not {' or '.join(sorted(meant))}: its list of containers was "
                f"changed meanwhile. Nothing was written.",
                "Roll back and plan again.",
            )
        found.append(guard)
    return tuple(found)


def asked_for(rollout: Rollout, workload: ObjectRef) -> int:
    """How many pods the plan asked of the workload last: at least 1, also where it never did."""
    before = rollout.plan.steps[: rollout.step]
    asked = [step.replicas for step in before if isinstance(step, EnsureWorkload | Scale) and step.workload == workload]
    return max(1, asked[-1] if asked else 1)


def next_weight(rollout: Rollout) -> int:
    """The share that the workload under change is to carry next."""
    return next((step.weight for step in rollout.plan.steps[rollout.step :] if isinstance(step, SetTraffic)), 0)


async def read(run: Run, ref: ObjectRef) -> dict[str, Json]:
    """The object as the API server has it now."""
    return await run.patiently(f"reading {ref}", lambda: run.connection.get(ref))


async def carrying(run: Run, weight: int) -> int:
    """Pods that carry ``weight`` percent of what stable carries now: an autoscaler may have moved it since the plan was made."""
    return capacity(weight, await stable_replicas(run))


async def stable_replicas(run: Run) -> int:
    """The pods that stable is asked to have now."""
    replicas = value_at(await read(run, run.rollout.plan.stable), REPLICAS)
    return 1 if replicas is None else int(replicas)
