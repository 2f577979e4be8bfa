"""What the service screen knows of a service, as the rows that it shows."""

from collections.abc import Sequence

from console.inspecting import Said, Standing
from console.screens.words import rollout_row
from console.view import Picture, RolloutCard
from services.cluster.revisions import PodOf
from services.model.fleet import PodView, ServiceView
from services.model.rollout import Rollout
from widgets import format as figures
from widgets.grid import Row
from widgets.ink import Span, Tone
from widgets.pods import state_of
from widgets.revisions import (
    EventRow,
    RevisionPod,
    RevisionRow,
    RouteRow,
    Serving,
    event_row,
    revision_pod_row,
    revision_row,
    route_row,
)


def revision_rows(standing: Standing, now: float) -> list[Row]:
    """The canary's revisions, then the service's own, newest first. ``now`` in Unix seconds."""
    found = standing.origins or {}
    rows: dict[str, Row] = {}
    for each in standing.revisions:
        origin = found.get(each.replica_set)
        back = origin.restored if origin is not None else None
        made = back if back is not None else each.created
        value = RevisionRow(
            key=f"{each.track}/{each.number}",
            number=each.number,
            version=each.version,
            canary=each.track == "canary",
            ready=each.ready,
            desired=each.desired,
            current=each.current,
            age=now - made if made is not None and now else None,
            by=origin.operator if origin is not None else "",
            restored=back is not None,
        )
        rows.setdefault(value.key, revision_row(value))
    return list(rows.values())


def pod_rows(standing: Standing, service: str, now: float) -> list[Row]:
    """The pods of each revision, the newest revision's first."""
    return [
        revision_pod_row(
            RevisionPod(
                key=pod.name,
                # what tells pods apart is at the end of their names
                name=pod.name.removeprefix(f"{service}-"),
                state=_state(pod),
                number=each.number,
                version=each.version,
                canary=each.track == "canary",
                restarts=pod.restarts,
                age=now - pod.created if pod.created is not None and now else None,
                node=pod.node,
            )
        )
        for each in standing.revisions
        for pod in each.pods
    ]


def event_rows(said: Said, now: float) -> list[Row]:
    return [
        event_row(
            EventRow(
                key=event.key,
                age=now - event.last if event.last is not None and now else None,
                count=event.count,
                warning=event.warning,
                reason=event.reason,
                about=f"{event.about[0].lower()}/{event.about[1]}",
                message=event.message,
            )
        )
        for event in said.events
    ]


def route_rows(standing: Standing, service: str, live: Rollout | None) -> list[Row]:
    """Each object that routes to the service, with the share that a rollout under way wants beside the one that it gives; its
    rules below it."""
    rows = []
    for route in standing.routes:
        plan = live.plan if live is not None else None
        wanted = live.weight if live is not None and plan is not None and plan.route in (route.ref, plan.canary) else None
        head = RouteRow(
            key=str(route.ref),
            head=True,
            when=route.router,
            object=str(route.ref),
            desired=wanted,
            actual=route.actual,
            problem=route.problem,
        )
        rows.append(route_row(head))
        for index, rule in enumerate(route.rules):
            to = tuple((name.removeprefix(f"{service} "), weight) for name, weight in rule.destinations)
            rows.append(route_row(RouteRow(key=f"{route.ref} {index}", head=False, when=rule.when, to=to)))
    return rows


def rollout_rows(cards: Sequence[RolloutCard], picture: Picture) -> list[Row]:
    """The rollouts of one service: what they change, how far they are, who began them and when."""
    now = picture.now.timestamp() if picture.now else 0.0
    rows = []
    for card in cards:
        _, _, change, state, *_, following = rollout_row(card, picture.pace_of(card.environment)).cells
        age = figures.age(now - card.rollout.created.timestamp() if now else None)
        rows.append(Row(card.key, (change, state, card.rollout.operator, (age, Tone.MUTED), following)))
    return rows


def servings(view: ServiceView, standing: Standing, live: Rollout | None) -> list[Serving]:
    """Every version that has pods: the canary's share as its route gives it, the rest stable's; where pods of two versions are
    behind one workload (a rolling update), each by its part of the ready pods. What no route tells is not known."""
    weight = next((route.actual for route in standing.routes if route.actual is not None), view.canary_weight)
    sample = live.samples[-1] if live is not None and live.samples else None
    found = []
    for track in ("canary", "stable"):
        kept = [each for each in standing.revisions if each.track == track and (each.ready or each.desired)]
        ready = sum(each.ready for each in kept)
        share = weight if weight is None or track == "canary" else 100 - weight
        for each in kept:
            arm = (sample.canary if track == "canary" else sample.stable) if sample is not None else None
            part = round(share * each.ready / ready) if share is not None and ready else None
            if track == "canary" and share is not None and not ready:
                part = 0
            found.append(
                Serving(
                    version=each.version,
                    canary=track == "canary",
                    ready=each.ready,
                    desired=each.desired,
                    share=part,
                    measured=arm is not None and len(kept) == 1,
                    errors=arm.error_rate if arm is not None else None,
                    p99=arm.p99 if arm is not None else None,
                )
            )
    if not found:
        found.append(Serving(view.version, False, view.ready, view.desired, None if weight is None else 100 - weight))
    return found


def _state(pod: PodOf) -> Span:
    seen = PodView(
        name=pod.name, version="", track="", ready=pod.ready, phase=pod.phase, reason=pod.reason, restarts=pod.restarts
    )
    sign, word, tone = state_of(seen)
    return (f"{sign} {pod.reason or word}", tone)
