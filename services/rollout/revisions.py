"""A rollback of a service whose undo records are gone, or that was never rolled out from here: to an earlier ReplicaSet's
template, as ``kubectl rollout undo`` does."""

import copy
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.actuator.commands import kubectl_scale, kubectl_undo
from services.actuator.patch import identities
from services.cluster.connection import Connection
from services.cluster.objects import REVISION_ANNOTATION, PodTemplate, image_version, template_version
from services.model.errors import Rejected
from services.model.objects import Json, ObjectRef, value_at
from services.model.release import Release, Strategy, Target
from services.model.rollout import Phase, Reason, Rollout, UndoRecord
from services.model.steps import Plan
from services.rollout import state
from services.rollout.service import read_state
from services.strategies import ServiceState, estimate
from services.strategies.draft import differences
from services.traffic.choose import BY_KIND, is_routed, shares

HASH_LABEL = "pod-template-hash"
REPLICAS = "/spec/replicas"
TEMPLATE = "/spec/template"
_ENV_ENTRY = re.compile(r"(/env/[0-9]+)/.*")


async def to_revision(
    connection: Connection,
    target: Target,
    service: str,
    revision: str,
    *,
    id: str,
    operator: str,
    reason: str,
    created: datetime,
    pace: float,
) -> Rollout:
    """A rollout that has only its rollback to do: from the template now to that of ``revision`` (empty: the one before).

    A canary that has a share of the requests is taken back with it. Raises :class:`Rejected` where there is no such revision,
    or where a canary runs and its share can't be found; and :class:`NotFound` where there is no such service.
    """
    ref = ObjectRef("Deployment", target.namespace, service)
    found = await read_state(connection, target, service)
    live = found.stable
    beside = _canary_taken_back(found, target, service)
    now = value_at(live, TEMPLATE)
    only_canary = bool(beside) and not revision and _beside_another(found, service)
    # A canary that has not been promoted runs beside the version to go back to: one further back would be another change.
    chosen = live if only_canary else choose(live, await _owned(connection, live, target.namespace), revision)
    wanted = template_of(chosen)
    version, previous = _version(now, service), _version(wanted, service)
    if only_canary:
        version = _version(value_at(found.canary, TEMPLATE), service)
    canary = next((record.object for record in beside if record.object.kind == "Deployment"), None)
    route = next((record.object for record in beside if record.object.kind in BY_KIND and record.object != canary), canary)
    notes = [f"To revision {revision_of(chosen)} ({previous})."]
    if only_canary:
        notes = [
            f"Stable runs {previous} and is left as it is; the canary ({version}) is taken back. No record says whether anything "
            f"else was changed."
        ]
    if route is not None:
        notes.append(f"All requests go to stable again ({route})" + (f", and {canary} goes to zero pods." if canary else "."))
    plan = Plan(
        steps=(),
        objects=tuple(dict.fromkeys(each for each in (ref, canary, route) if each is not None)),
        stable=ref,
        canary=canary,
        route=route,
        previous_version=previous,
        new_images={},
        digest="",
        rollback_seconds=estimate.rolling_seconds(live, int(value_at(live, REPLICAS) or 0)) + estimate.ROUTE_PROPAGATION,
        notes=tuple(notes),
    )
    rollout = Rollout(
        id=id,
        release=Release(service=service, version=version, target=target, strategy=Strategy.ROLLING),
        plan=plan,
        operator=operator,
        created=created,
        undo=(*_template_records(ref, live, wanted, revision_of(chosen)), *beside),
        now=pace,
        started=pace,
    )
    asked = Reason(
        kind="operator", name="rollback", detail=reason or f"to revision {revision_of(chosen)}, asked for by {operator}"
    )
    rolling = state.breached(rollout, asked, pace=pace)
    assert rolling.phase is Phase.ROLLING_BACK
    return rolling


def choose(live: dict[str, Json], sets: Sequence[dict[str, Json]], revision: str) -> dict[str, Json]:
    """The ReplicaSet of ``revision``, else the newest that is not the current one. Raises :class:`Rejected`."""
    now = value_at(live, TEMPLATE)
    known = sorted(sets, key=revision_of, reverse=True)
    others = [found for found in known if differences(now, template_of(found))]
    listed = _listed(others)
    if revision:
        if not (revision.isascii() and revision.isdigit()):
            raise Rejected("to", revision, "is not a revision number", listed)
        for found in known:
            if revision_of(found) == int(revision):
                if found not in others:
                    raise Rejected("to", revision, "is what runs now", listed)
                return found
        raise Rejected("to", revision, "is not among the revisions the cluster keeps", listed)
    if not others:
        name = value_at(live, "/metadata/name")
        raise Rejected("service", str(name), "has no earlier revision to go back to", "a service with a previous ReplicaSet")
    return others[0]


async def kept(connection: Connection, deployment: ObjectRef) -> tuple[int, str]:
    """The number of the revision that a Deployment runs (0: the controller has not numbered it), and in words the others that the
    cluster keeps."""
    live = await connection.get(deployment)
    now = value_at(live, TEMPLATE)
    known = sorted(await _owned(connection, live, deployment.namespace), key=revision_of, reverse=True)
    return revision_of(live), _listed([found for found in known if differences(now, template_of(found))])


def _listed(sets: Sequence[dict[str, Json]]) -> str:
    return ", ".join(f"{revision_of(found)} ({_images(found)})" for found in sets) or "none is left"


async def owned_sets(connection: Connection, deployment: ObjectRef) -> list[dict[str, Json]]:
    """The ReplicaSets of a Deployment: its history."""
    return await _owned(connection, await connection.get(deployment), deployment.namespace)


async def _owned(connection: Connection, live: dict[str, Json], namespace: str) -> list[dict[str, Json]]:
    sets = await connection.list("ReplicaSet", namespace, type=dict)
    return [each for each in sets if value_at(live, "/metadata/uid") in _owners(each)]


def _beside_another(found: ServiceState, service: str) -> bool:
    """Whether the canary runs another version than stable."""
    return _version(value_at(found.canary, TEMPLATE) or {}, service) != _version(value_at(found.stable, TEMPLATE), service)


def template_of(replica_set: dict[str, Json]) -> dict[str, Json]:
    """The pod template of a ReplicaSet as its Deployment had it: without the hash that the controller adds."""
    template: dict[str, Any] = copy.deepcopy(value_at(replica_set, TEMPLATE))
    (template.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
    return template


def _template_records(ref: ObjectRef, live: dict[str, Json], wanted: Json, revision: int) -> tuple[UndoRecord, ...]:
    """The smallest parts of the template that differ: what stays as it is (secrets of the environment most of all) is not
    copied into a checkpoint. An entry of an environment is one part, so that its value never stands without its name."""
    parts = [path for path, _, _ in differences(value_at(live, TEMPLATE), wanted)]
    paths = dict.fromkeys(_ENV_ENTRY.sub(r"\1", path) for path in parts)
    return tuple(
        UndoRecord(
            object=ref,
            path=TEMPLATE + path,
            old=value_at(wanted, path),
            new=value_at(live, TEMPLATE + path),
            step=-1,
            guards=tuple(guard for guard in identities(live, TEMPLATE + path) if guard.path.removeprefix(TEMPLATE) not in paths),
            revision=revision,
        )
        for path in paths
    )


def _canary_taken_back(found: ServiceState, target: Target, service: str) -> tuple[UndoRecord, ...]:
    """What takes the requests from a canary that has a share of them, and its pods. Raises :class:`Rejected` where a canary
    runs and its share can't be found: restoring stable alone would be called a rollback and leave the bad version serving."""
    name = f"{service}-canary"
    canary = ObjectRef("Deployment", target.namespace, name)
    pods = int(value_at(found.canary, REPLICAS) or 0)
    around = found.around(service, target.namespace)
    held = shares(around, found.ready)
    problem = next((each.problem for each in held if each.problem is not None), None)
    if pods and (problem is not None or (around.own is None and not is_routed(around))):
        why = f"{problem.title}; {problem.detail}".rstrip(".") if problem else f"there is no service/{service} and no route to it"
        raise Rejected(
            "service",
            service,
            f"has a canary of {pods} pods, and its share of the requests can't be found: {why}",
            f"by hand: take the requests from {name} where they are routed, {kubectl_scale(canary, 0, context=target.context)}, "
            f"and only where {service} itself runs the bad version: "
            f"{kubectl_undo(ObjectRef('Deployment', target.namespace, service), context=target.context)}",
        ) from problem
    known = [each for each in held if each.problem is None]
    records = [
        UndoRecord(
            object=each.ref,
            path=path,
            old=value,
            new=value_at(each.body, path),
            step=-1,
            guards=identities(each.body, path),
        )
        for each in known
        if not each.router.by_pods
        for path, value in each.router.writes(each.body, service, 0, found.ready)
    ]
    if known and pods:
        records.append(UndoRecord(object=canary, path=REPLICAS, old=0, new=pods, step=-1))
    return tuple(records)


def _owners(document: dict[str, Json]) -> set[str]:
    return {str(owner.get("uid")) for owner in value_at(document, "/metadata/ownerReferences") or ()}


def revision_of(document: dict[str, Json]) -> int:
    text = str((value_at(document, "/metadata/annotations") or {}).get(REVISION_ANNOTATION) or "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _images(replica_set: dict[str, Json]) -> str:
    containers = value_at(replica_set, f"{TEMPLATE}/spec/containers") or ()
    return ", ".join(image_version(str(container.get("image", ""))) for container in containers)


def _version(template: Json, service: str) -> str:
    return template_version(msgspec.convert(template, PodTemplate, strict=False), service)
