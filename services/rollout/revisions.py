"""A rollback of a service whose undo records are gone, or that was never rolled out from here: to an earlier ReplicaSet's
template, as ``kubectl rollout undo`` does."""

import copy
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.cluster.connection import Connection
from services.cluster.objects import REVISION_ANNOTATION, image_version
from services.model.errors import Rejected
from services.model.objects import Json, ObjectRef, value_at
from services.model.release import Release, Strategy, Target
from services.model.rollout import Phase, Reason, Rollout, UndoRecord
from services.model.steps import Plan
from services.rollout import state

HASH_LABEL = "pod-template-hash"
TEMPLATE = "/spec/template"


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

    Raises :class:`Rejected` where there is no such revision, and :class:`NotFound` where there is no such service.
    """
    ref = ObjectRef("Deployment", target.namespace, service)
    live = await connection.get(ref)
    sets = await connection.list("ReplicaSet", target.namespace, type=dict)
    owned = [found for found in sets if value_at(live, "/metadata/uid") in _owners(found)]
    chosen = choose(live, owned, revision)
    wanted, now = template_of(chosen), value_at(live, TEMPLATE)
    version, previous = _version(now, service), _version(wanted, service)
    plan = Plan(
        steps=(),
        objects=(ref,),
        stable=ref,
        canary=None,
        route=None,
        previous_version=previous,
        new_images={},
        digest="",
        rollback_seconds=0.0,
        notes=(f"To revision {_revision(chosen)} ({previous}).",),
    )
    rollout = Rollout(
        id=id,
        release=Release(service=service, version=version, target=target, strategy=Strategy.ROLLING),
        plan=plan,
        operator=operator,
        created=created,
        undo=(UndoRecord(object=ref, path=TEMPLATE, old=wanted, new=now, step=-1),),
        now=pace,
        started=pace,
    )
    asked = Reason(kind="operator", name="rollback", detail=reason or f"to revision {_revision(chosen)}, asked for by {operator}")
    rolling = state.breached(rollout, asked, pace=pace)
    assert rolling.phase is Phase.ROLLING_BACK
    return rolling


def choose(live: dict[str, Json], sets: Sequence[dict[str, Json]], revision: str) -> dict[str, Json]:
    """The ReplicaSet of ``revision``, else the newest that is not the current one. Raises :class:`Rejected`."""
    now = value_at(live, TEMPLATE)
    known = sorted(sets, key=_revision, reverse=True)
    others = [found for found in known if template_of(found) != now]
    listed = ", ".join(f"{_revision(found)} ({_images(found)})" for found in others) or "none is left"
    if revision:
        if not revision.isdigit():
            raise Rejected("to", revision, "is not a revision number", listed)
        for found in known:
            if _revision(found) == int(revision):
                if found not in others:
                    raise Rejected("to", revision, "is what runs now", listed)
                return found
        raise Rejected("to", revision, "is not among the revisions the cluster keeps", listed)
    if not others:
        name = value_at(live, "/metadata/name")
        raise Rejected("service", str(name), "has no earlier revision to go back to", "a service with a previous ReplicaSet")
    return others[0]


def template_of(replica_set: dict[str, Json]) -> dict[str, Json]:
    """The pod template of a ReplicaSet as its Deployment had it: without the hash that the controller adds."""
    template: dict[str, Any] = copy.deepcopy(value_at(replica_set, TEMPLATE))
    (template.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
    return template


def _owners(document: dict[str, Json]) -> set[str]:
    return {str(owner.get("uid")) for owner in value_at(document, "/metadata/ownerReferences") or ()}


def _revision(document: dict[str, Json]) -> int:
    text = str((value_at(document, "/metadata/annotations") or {}).get(REVISION_ANNOTATION) or "0")
    return int(text) if text.isdigit() else 0


def _images(replica_set: dict[str, Json]) -> str:
    containers = value_at(replica_set, f"{TEMPLATE}/spec/containers") or ()
    return ", ".join(image_version(str(container.get("image", ""))) for container in containers)


def _version(template: Json, service: str) -> str:
    containers = value_at(template, "/spec/containers") or ()
    chosen = next(
        (container for container in containers if container.get("name") == service), containers[0] if containers else {}
    )
    return image_version(str(chosen.get("image", "")))
