"""Canary: the new version runs beside stable in ``SERVICE-canary`` and gets a growing share of the requests, analysed at each
step; then stable takes the new version over, gets all requests back, and the canary goes."""

from collections.abc import Mapping

from services.model.errors import Rejected
from services.model.objects import Change, ObjectRef, value_at
from services.model.release import Release
from services.model.steps import (
    AnyStep,
    EnsureWorkload,
    MeasureBaseline,
    Plan,
    Scale,
    WaitReady,
)
from services.settings import Settings
from services.strategies import commands, common, estimate, traffic
from services.strategies.clone import clone
from services.strategies.common import REPLICAS, Subject, plural
from services.strategies.digest import digest
from services.strategies.draft import Draft
from services.strategies.state import Document, ServiceState
from services.strategies.traffic import Share
from services.traffic.choose import Chosen

TEMPLATE = "/spec/template"
SELECTOR = "/spec/selector"


def canary(release: Release, state: ServiceState, settings: Settings) -> Plan:
    """Compile the canary's course. Raises :class:`Rejected` where the service can't carry one."""
    about = common.subject(release, state)
    chosen = traffic.router_of(release, state, settings)
    route = chosen.route
    ref = ObjectRef("Deployment", release.target.namespace, f"{about.stable.name}-canary")
    body = clone(state.stable, ref.name, images=about.new_images, labels=route.labels, replicas=0)
    _check_existing(release, ref, state.canary, body)
    course = settings.canary
    shares = traffic.shares(settings, chosen, about.replicas)
    made = {traffic.ref_of(created): None for created in route.created}
    draft = Draft({route.ref: route.body, **made, about.stable: state.stable, ref: state.canary})
    pod = estimate.pod_seconds(state.stable)
    rolls = common.stable_rolls(state, about)
    by_pods = chosen.router.by_pods

    def ready(workload: ObjectRef, name: str, seconds: float, timeout: float = course.ready_timeout) -> WaitReady:
        command = commands.wait_ready(release.target, workload, timeout)
        return WaitReady(name=name, expected_seconds=seconds, command=command, workload=workload, timeout=timeout)

    def split(weight: int, name: str) -> AnyStep:
        return traffic.set_traffic(release, chosen, draft, weight, name, about.replicas)

    steps: list[AnyStep] = [
        MeasureBaseline(
            name=f"measure baseline {course.baseline_seconds:.0f} s",
            seconds=course.baseline_seconds,
            expected_seconds=course.baseline_seconds,
        ),
        *traffic.made(release, chosen, draft),
    ]
    # The soak asks for no number of requests: every share has been analysed, this watches the triggers at full load.
    watched = common.analyse(settings, f"watch {course.soak_seconds:.0f} s", course.soak_seconds, 0, proof=False)
    soak = (watched,) if course.soak_seconds else ()
    have = 0
    if by_pods:
        # A pod is a share: the canary is laid out without any, and each share makes its own.
        steps.append(_ensure(release, about, ref, state, body, route.labels, draft, 0))
    for share in shares:
        named = f"canary ready, {plural(share.pods, 'replica')}"
        if by_pods:
            steps += [split(share.weight, share.name), ready(ref, named, pod)]
        else:
            if not have:
                ensured = _ensure(release, about, ref, state, body, route.labels, draft, share.pods)
                steps += [ensured, ready(ref, "canary ready", pod)]
            elif share.pods > have:
                steps += [_scale(release, ref, draft, share.pods, at_least=True), ready(ref, named, pod)]
            have = max(have, share.pods)
            steps.append(split(share.weight, share.name))
        steps.append(common.analyse(settings, f"analyse {share.seconds:.0f} s", share.seconds, course.min_requests))
    steps += [
        common.patch_image(release, about, draft, f"promote stable to {release.version}"),
        ready(about.stable, f"stable ready on {release.version}", rolls, course.promote_timeout),
        split(0, "traffic back to stable"),
    ]
    pinned = chosen.router.reaches(draft.at(route.ref, ""), release.service)
    steps += [
        *soak,
        *(() if by_pods else (_scale(release, ref, draft, 0, at_least=False),)),
        *traffic.clean_up(release, chosen, draft),
        *common.smoke_tests(release, settings),
    ]
    basis = {
        "workload": common.lasting(state.stable),
        "router": chosen.router.name,
        "route": None if by_pods else value_at(route.body, "/spec"),
        "around": route.basis,
    }
    return Plan(
        steps=tuple(steps),
        objects=tuple(dict.fromkeys((about.stable, ref, route.ref, *made))),
        stable=about.stable,
        canary=ref,
        route=route.ref,
        previous_version=about.previous_version,
        new_images=about.new_images,
        digest=digest(release, steps, basis),
        rollback_seconds=estimate.ROUTE_PROPAGATION,
        notes=_notes(release, state, about, chosen, shares, rolls, pinned),
        pinned=pinned,
    )


def _check_existing(release: Release, ref: ObjectRef, existing: Document | None, wanted: Document) -> None:
    if existing is not None and value_at(existing, SELECTOR) != value_at(wanted, SELECTOR):
        raise Rejected(
            "service",
            release.service,
            f"{ref} exists and selects {value_at(existing, SELECTOR)}, which can't be changed",
            f"no {ref}, or one that selects {value_at(wanted, SELECTOR)}; to remove it: {commands.delete(release.target, ref)}",
        )
    if existing is not None and value_at(existing, "/spec/paused"):
        raise Rejected(
            "service",
            release.service,
            f"{ref} exists and is paused (spec.paused), so the new version would not roll out in it",
            f"one that is not paused: {commands.resume(release.target, ref)}",
        )


def _ensure(
    release: Release,
    about: Subject,
    ref: ObjectRef,
    state: ServiceState,
    body: Document,
    labels: Mapping[str, str],
    draft: Draft,
    replicas: int,
) -> EnsureWorkload:
    existing = state.canary
    changes: list[Change] = []
    if existing is None:
        for image in about.images:
            changes += draft.set(ref, image.path, image.new)
        for key, value in labels.items():
            changes += draft.set(ref, f"/spec/template/metadata/labels/{key.replace('/', '~1')}", value)
    else:
        changes += draft.match(ref, TEMPLATE, value_at(body, TEMPLATE))
    changes += draft.set(ref, REPLICAS, replicas, volatile=True)
    if existing is not None and not changes:
        command = commands.scale(release.target, ref, replicas)
    elif existing is not None and not commands.tells_secrets(changes):
        command = commands.patch(release.target, changes)
    else:
        wanted = {**body, "spec": {**body["spec"], "replicas": replicas}}
        command = commands.clone(release.target, state.stable, wanted, exists=existing is not None)
    return EnsureWorkload(
        name=f"canary {release.version}, {plural(replicas, 'replica')}",
        expected_seconds=1.0,
        changes=tuple(changes),
        command=command,
        workload=ref,
        source=about.stable,
        images=about.new_images,
        labels=dict(labels),
        replicas=replicas,
    )


def _scale(release: Release, ref: ObjectRef, draft: Draft, replicas: int, *, at_least: bool) -> Scale:
    return Scale(
        name=f"scale canary to {replicas}",
        expected_seconds=1.0,
        changes=draft.set(ref, REPLICAS, replicas, volatile=True),
        command=commands.scale(release.target, ref, replicas),
        workload=ref,
        replicas=replicas,
        at_least=at_least,
    )


def _notes(
    release: Release, state: ServiceState, about: Subject, chosen: Chosen, shares: tuple[Share, ...], rolls: float, pinned: bool
) -> tuple[str, ...]:
    first, *rest = [f"{share.weight} %" for share in shares]
    notes = [
        f"{first} of the requests go to {release.version} first"
        + (f", then {', '.join(rest)}" if rest else "")
        + f"; each share is analysed before the next, then all users get {release.version}.",
        *about.notes,
        f"Once stable is being promoted, a rollback has to roll its pods back: about {rolls:.0f} s.",
        *traffic.notes(chosen, shares, about.replicas),
    ]
    if pinned:
        notes.append("Whoever is sent to the canary whatever the weight finds no pods there before it is up and once it is gone.")
    if claims := _claims(state.stable):
        notes.append(
            f"The canary mounts what stable mounts ({', '.join(claims)}): both versions write to it, and a volume that only one "
            f"node may mount keeps the canary's pods from starting elsewhere."
        )
    if state.canary is not None and value_at(state.canary, REPLICAS):
        left = plural(int(value_at(state.canary, REPLICAS)), "replica")
        notes.append(f"deployment/{about.stable.name}-canary still has {left} without traffic: they are replaced.")
    return tuple(notes)


def _claims(workload: Document) -> tuple[str, ...]:
    volumes = value_at(workload, "/spec/template/spec/volumes") or ()
    return tuple(str(name) for volume in volumes if (name := value_at(volume, "/persistentVolumeClaim/claimName")))
