"""Canary: the new version runs beside stable in ``SERVICE-canary`` and gets a growing share of the requests, analysed at each
step; then stable takes the new version over, gets all requests back, and the canary goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.model.errors import Rejected
from services.model.objects import Change, ObjectRef, value_at
from services.model.release import Release
from services.model.steps import (
    Analyse,
    AnyStep,
    EnsureWorkload,
    MeasureBaseline,
    Plan,
    Scale,
    SetTraffic,
    WaitReady,
)
from services.settings import Settings
from services.strategies import commands, common, estimate
from services.strategies.clone import clone
from services.strategies.common import REPLICAS, Subject, plural
from services.strategies.digest import digest
from services.strategies.draft import Draft
from services.strategies.selector import selects
from services.strategies.state import Document, ServiceState
from services.traffic import istio

ROUTER = "istio"
TEMPLATE = "/spec/template"
SELECTOR = "/spec/selector"


@dataclass(frozen=True, slots=True)
class Route:
    """The route that carries the split, and the labels by which its subsets know their pods."""

    ref: ObjectRef
    body: Document
    split: istio.Split
    labels: dict[str, str]
    """What the canary's pods carry besides stable's labels."""


def capacity(weight: int, stable_replicas: int) -> int:
    """Pods that carry ``weight`` percent of what ``stable_replicas`` pods carry: rounded up, at least 1."""
    return max(1, -(-weight * stable_replicas // 100))


def canary(release: Release, state: ServiceState, settings: Settings) -> Plan:
    """Compile the canary's course. Raises :class:`Rejected` where the service can't carry one."""
    about = common.subject(release, state)
    route = _route(release, state)
    ref = ObjectRef("Deployment", release.target.namespace, f"{about.stable.name}-canary")
    body = clone(state.stable, ref.name, images=about.new_images, labels=route.labels, replicas=0)
    _check_existing(release, ref, state.canary, body)
    course = settings.canary
    draft = Draft({about.stable: state.stable, ref: state.canary, route.ref: route.body})
    pod = estimate.pod_seconds(state.stable)
    rolls = common.stable_rolls(state, about)

    def ready(workload: ObjectRef, name: str, seconds: float, timeout: float = course.ready_timeout) -> WaitReady:
        command = commands.wait_ready(release.target, workload, timeout)
        return WaitReady(name=name, expected_seconds=seconds, command=command, workload=workload, timeout=timeout)

    steps: list[AnyStep] = [
        MeasureBaseline(
            name=f"measure baseline {course.baseline_seconds:.0f} s",
            seconds=course.baseline_seconds,
            expected_seconds=course.baseline_seconds,
        )
    ]
    # The soak asks for no number of requests: every share has been analysed, this watches the triggers at full load.
    soak = (_analyse(f"watch {course.soak_seconds:.0f} s", course.soak_seconds, 0),) if course.soak_seconds else ()
    have = 0
    for each in course.steps:
        weight = each.weight
        need = capacity(weight, about.replicas)
        if not have:
            steps += [_ensure(release, about, ref, state, body, route, draft, need), ready(ref, "canary ready", pod)]
        elif need > have:
            steps += [_scale(release, ref, draft, need, at_least=True), ready(ref, f"canary ready, {need} replicas", pod)]
        have = max(have, need)
        steps += [
            _traffic(release, route, draft, weight, f"{weight} %"),
            _analyse(f"analyse {each.seconds:.0f} s", each.seconds, course.min_requests),
        ]
    steps += [
        common.patch_image(release, about, draft, f"promote stable to {release.version}"),
        ready(about.stable, f"stable ready on {release.version}", rolls, course.promote_timeout),
        _traffic(release, route, draft, 0, "traffic back to stable"),
        *soak,
        _scale(release, ref, draft, 0, at_least=False),
        *common.smoke_tests(release, settings),
    ]
    basis = {
        "workload": common.lasting(state.stable),
        "route": value_at(route.body, "/spec"),
        "subsets": value_at(state.destination, "/spec"),
    }
    return Plan(
        steps=tuple(steps),
        objects=(about.stable, ref, route.ref),
        stable=about.stable,
        canary=ref,
        route=route.ref,
        previous_version=about.previous_version,
        new_images=about.new_images,
        digest=digest(release, steps, basis),
        rollback_seconds=estimate.ROUTE_PROPAGATION,
        notes=_notes(release, state, settings, about, route, rolls),
    )


def _route(release: Release, state: ServiceState) -> Route:
    """Raises :class:`Rejected`, naming ``--strategy rolling`` as the way without a route."""

    def refused(why: str, how: str) -> Rejected:
        return Rejected("strategy", release.strategy.value, why, f"--strategy rolling, or, for a canary: {how}")

    if state.route is None:
        raise refused(
            f"{release.service} has no VirtualService in namespace {release.target.namespace}, so requests can't be split",
            f"a VirtualService that routes to {release.service}'s subsets stable (weight 100) and canary (weight 0)",
        )
    try:
        split = istio.locate(state.route, release.service)
        stable_labels, canary_labels = istio.subset_labels(state.destination, split)
    except istio.NotRoutable as problem:
        raise refused(f"{problem.title}; {problem.detail}".rstrip("."), problem.hint.rstrip(".")) from problem
    pods = {str(key): str(value) for key, value in (value_at(state.stable, "/spec/template/metadata/labels") or {}).items()}
    selector = value_at(state.stable, SELECTOR) or {}
    labels = {key: value for key, value in canary_labels.items() if pods.get(key) != value}
    canary_pods = {**pods, **labels}
    told_apart = bool(labels) and not selects(selector, canary_pods)
    if not told_apart or not stable_labels.items() <= pods.items() or stable_labels.items() <= canary_pods.items():
        raise refused(
            f"the pods of deployment/{value_at(state.stable, '/metadata/name')} carry {_text(pods)} and are selected by "
            f"{_selected(selector)}, the subset stable selects {_text(stable_labels)}, the subset canary {_text(canary_labels)}: "
            f"pods of both versions could not be told apart",
            "labels such as track=stable in the Deployment's selector and template (a selector is immutable: create it anew), "
            "and subsets that select track=stable and track=canary",
        )
    ref = ObjectRef("VirtualService", release.target.namespace, str(value_at(state.route, "/metadata/name")))
    return Route(ref, state.route, split, labels)


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
    route: Route,
    draft: Draft,
    replicas: int,
) -> EnsureWorkload:
    existing = state.canary
    changes: list[Change] = []
    if existing is None:
        for image in about.images:
            changes += draft.set(ref, image.path, image.new)
        for key, value in route.labels.items():
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
        labels=route.labels,
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


def _traffic(release: Release, route: Route, draft: Draft, weight: int, name: str) -> SetTraffic:
    changes = [
        change for path, value in istio.writes(route.body, route.split, weight) for change in draft.set(route.ref, path, value)
    ]
    return SetTraffic(
        name=name,
        expected_seconds=estimate.ROUTE_PROPAGATION,
        changes=tuple(changes),
        command=commands.patch(release.target, changes, istio.guards(route.body, route.split)) if changes else "",
        router=ROUTER,
        route=route.ref,
        weight=weight,
    )


def _analyse(name: str, seconds: float, min_requests: int) -> Analyse:
    return Analyse(name=name, expected_seconds=seconds, seconds=seconds, min_requests=min_requests)


def _notes(
    release: Release, state: ServiceState, settings: Settings, about: Subject, route: Route, rolls: float
) -> tuple[str, ...]:
    shares = [f"{step.weight} %" for step in settings.canary.steps]
    notes = [
        f"{shares[0]} of the requests go to {release.version} first"
        + (f", then {', '.join(shares[1:])}" if shares[1:] else "")
        + f"; each share is analysed before the next, then all users get {release.version}.",
        *about.notes,
        f"Once stable is being promoted, a rollback has to roll its pods back: about {rolls:.0f} s.",
    ]
    if route.split.pinned:
        notes.append(
            f"{route.ref}: {', '.join(route.split.pinned)} sends its requests to the canary whatever the weight; left as it is."
        )
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


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "no labels"


def _selected(selector: Mapping[str, Any]) -> str:
    expressions = [
        f"{each.get('key')} {each.get('operator')} {', '.join(each.get('values') or ())}".rstrip()
        for each in selector.get("matchExpressions") or ()
    ]
    return ", ".join([_text(selector.get("matchLabels") or {}), *expressions])
