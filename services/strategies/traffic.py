"""How a release's requests are split, as steps of its plan: the router, what it needs, the shares, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.model.errors import Rejected
from services.model.objects import Change, ObjectRef, value_at
from services.model.release import Release
from services.model.steps import CleanUp, EnsureObject, SetTraffic
from services.settings import Settings
from services.strategies import commands, estimate
from services.strategies.draft import Draft
from services.strategies.state import Document, ServiceState
from services.traffic.choose import Chosen, choose
from services.traffic.replicas import achievable, pods_for
from services.traffic.router import NotRoutable, Pods


@dataclass(frozen=True, slots=True)
class Share:
    """One share of the requests and how long it is analysed (pace seconds): ``weight`` is what is really had, ``wanted`` what the
    configuration asks for (several where pods allow nothing between), ``pods`` the canary's."""

    weight: int
    wanted: tuple[int, ...]
    seconds: float
    pods: int

    @property
    def name(self) -> str:
        if self.wanted == (self.weight,):
            return f"{self.weight} %"
        return f"{self.weight} % ({_listed(self.wanted)} wanted)"


def capacity(weight: int, stable_replicas: int) -> int:
    """Pods that carry ``weight`` percent of what ``stable_replicas`` pods carry: rounded up, at least 1."""
    return max(1, -(-weight * stable_replicas // 100))


def router_of(release: Release, state: ServiceState, settings: Settings) -> Chosen:
    """Raises :class:`Rejected`, naming ``--strategy rolling`` as the way without a split."""
    try:
        around = state.around(release.service, release.target.namespace, release.target.context)
        return choose(around, settings.router(release.service))
    except NotRoutable as problem:
        why = "; ".join(part.rstrip(".") for part in (problem.title, problem.detail) if part)
        accepted = f"--strategy rolling, or, for a canary: {problem.hint}".rstrip(".")
        raise Rejected("strategy", release.strategy.value, why, accepted) from problem


def shares(settings: Settings, chosen: Chosen, replicas: int) -> tuple[Share, ...]:
    """The canary's shares in their order. Where the number of pods decides, those that come to the same pods are one, analysed
    for as long as all of them."""
    if not chosen.router.by_pods:
        return tuple(
            Share(step.weight, (step.weight,), step.seconds, capacity(step.weight, replicas)) for step in settings.canary.steps
        )
    found: list[Share] = []
    for step in settings.canary.steps:
        had = Share(achievable(step.weight, replicas), (step.weight,), step.seconds, pods_for(step.weight, replicas))
        if found and found[-1].pods == had.pods:
            found[-1] = replace(found[-1], wanted=(*found[-1].wanted, step.weight), seconds=found[-1].seconds + had.seconds)
        else:
            found.append(had)
    return tuple(found)


def made(release: Release, chosen: Chosen, draft: Draft) -> tuple[EnsureObject, ...]:
    """Making what the split needs and is not there."""
    steps = []
    for body in chosen.route.created:
        ref = ref_of(body)
        draft.make(ref, body)
        steps.append(
            EnsureObject(
                name=f"make {ref}",
                expected_seconds=1.0,
                changes=tuple(
                    Change(ref, path, None, value)
                    for path in ("/metadata/annotations", "/spec")
                    if (value := value_at(body, path)) is not None
                ),
                command=commands.create(release.target, body),
                object=ref,
                body=body,
            )
        )
    return tuple(steps)


def set_traffic(release: Release, chosen: Chosen, draft: Draft, weight: int, name: str, replicas: int) -> SetTraffic:
    """Giving the canary ``weight`` percent beside ``replicas`` pods of stable."""
    router, ref = chosen.router, chosen.route.ref
    document = draft.at(ref, "")
    guards = router.guards(document, release.service)
    changes = [
        change
        for path, value in router.writes(document, release.service, weight, Pods(replicas, 0))
        for change in draft.set(ref, path, value, volatile=router.by_pods)
    ]
    if router.by_pods:
        command = commands.scale(release.target, ref, pods_for(weight, replicas))
    else:
        command = commands.patch(release.target, changes, guards) if changes else ""
    return SetTraffic(
        name=name,
        expected_seconds=estimate.ROUTE_PROPAGATION,
        changes=tuple(changes),
        command=command,
        router=router.name,
        route=ref,
        weight=weight,
    )


def clean_up(release: Release, chosen: Chosen, draft: Draft) -> tuple[CleanUp, ...]:
    """Taking back what the split needed, once no requests are split any more; nothing where nothing would change."""
    route, created = chosen.route, {ref_of(body): body for body in chosen.route.created}
    changes: list[Change] = []
    lines: list[str] = []
    if route.ref not in created and not chosen.router.by_pods:
        changes += draft.match(route.ref, "/spec", value_at(route.body, "/spec"))
        changes += draft.match(route.ref, "/metadata/annotations", value_at(route.body, "/metadata/annotations"))
        if changes:
            lines.append(commands.patch(release.target, changes))
    for ref, body in reversed(created.items()):
        changes.append(Change(ref, "/spec", value_at(body, "/spec"), None))
        lines.append(commands.delete(release.target, ref))
    if not changes:
        return ()
    objects = tuple(dict.fromkeys(change.object for change in changes))
    return (
        CleanUp(
            name="clean up the split",
            expected_seconds=1.0,
            changes=tuple(changes),
            command=" && ".join(lines),
            objects=objects,
        ),
    )


def notes(chosen: Chosen, course: Sequence[Share], replicas: int) -> tuple[str, ...]:
    """Who splits the requests and why, and what is special about it."""
    found = [f"Router {chosen.router.name}: {chosen.reason}."]
    if chosen.router.by_pods:
        found.append(
            f"Shares follow from the number of pods: beside {replicas} of stable, one pod gets {achievable(1, replicas)} % "
            f"of the requests, and there is nothing between."
        )
        missed = [share for share in course if share.wanted != (share.weight,)]
        found += [
            f"{_listed(share.wanted)} can't be had: {share.weight} % is what the new version will really get "
            f"({share.pods} of {replicas + share.pods} pods)."
            + (" That is more than wanted." if share.weight > share.wanted[0] else "")
            for share in missed
        ]
    return (*found, *chosen.route.notes)


def ref_of(body: Document) -> ObjectRef:
    return ObjectRef(str(body["kind"]), str(value_at(body, "/metadata/namespace")), str(value_at(body, "/metadata/name")))


def _listed(weights: Sequence[int]) -> str:
    return f"{', '.join(str(weight) for weight in weights)} %"
