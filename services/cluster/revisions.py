"""The revisions of a service: the ReplicaSets of its Deployment and of its canary, which the cluster keeps to go back to."""

import msgspec

from services.cluster.objects import REVISION_ANNOTATION, Pod, ReplicaSet, template_version
from services.cluster.picture import Picture
from services.cluster.workloads import pod_problem, replicasets_of
from services.model.objects import ObjectRef

CANARY = "-canary"


class PodOf(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as the table of a service shows it; ``containers`` in the order of its specification, those before start last."""

    name: str
    uid: str
    ready: bool
    phase: str
    reason: str
    restarts: int
    created: float | None
    """Unix seconds."""
    node: str
    containers: tuple[str, ...]


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One ReplicaSet. ``current``: it is the workload's present template. Counts are of pods."""

    workload: ObjectRef
    replica_set: str
    track: str
    """``canary`` or ``stable``."""
    number: int
    """0 where the controller has not numbered it."""
    version: str
    created: float | None
    """Unix seconds; when its template was first used, which a rollback to it does not change."""
    desired: int
    ready: int
    current: bool
    pods: tuple[PodOf, ...]


def revisions_of(picture: Picture, namespace: str, service: str) -> tuple[Revision, ...]:
    """The revisions of the canary, then those of the service, newest first each. A canary that is scaled to nothing has none of
    interest: nothing of it can be restored."""
    found: list[Revision] = []
    for name, track in ((service + CANARY, "canary"), (service, "stable")):
        deployment = picture.deployments.get((namespace, name))
        if deployment is None:
            continue
        ref = ObjectRef("Deployment", namespace, name)
        now = deployment.metadata.annotations.get(REVISION_ANNOTATION, "")
        for owned in replicasets_of(picture, ref):
            current = bool(now) and owned.metadata.annotations.get(REVISION_ANNOTATION) == now
            pods = sorted(picture.pods_of(owned.metadata.uid), key=lambda pod: pod.metadata.name)
            if track == "canary" and not pods and not owned.spec.replicas:
                continue
            found.append(_revision(ref, owned, track, service, current, pods))
    return tuple(found)


def _revision(ref: ObjectRef, owned: ReplicaSet, track: str, service: str, current: bool, pods: list[Pod]) -> Revision:
    number = owned.metadata.annotations.get(REVISION_ANNOTATION, "")
    born = owned.metadata.creation_timestamp
    return Revision(
        workload=ref,
        replica_set=owned.metadata.name,
        track=track,
        number=int(number) if number.isdigit() else 0,
        version=template_version(owned.spec.template, service),
        created=born.timestamp() if born is not None else None,
        desired=owned.spec.replicas,
        ready=owned.status.ready_replicas,
        current=current,
        pods=tuple(_pod(pod) for pod in pods),
    )


def _pod(pod: Pod) -> PodOf:
    born = pod.metadata.creation_timestamp
    return PodOf(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        ready=pod.ready,
        phase=pod.status.phase,
        reason=pod_problem(pod),
        restarts=pod.restarts,
        created=born.timestamp() if born is not None else None,
        node=pod.spec.node_name,
        containers=tuple(each.name for each in (*pod.spec.containers, *pod.spec.init_containers)),
    )
