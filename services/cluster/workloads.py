"""Which pods belong to a Deployment and in which version, whether its rollout is done, who sets its replicas: pure reads of a
picture.

Pods belong by owner reference (Pod → ReplicaSet → Deployment), never by hash, label or image.
"""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

import msgspec

from services.cluster.inventory import Inventory
from services.cluster.objects import (
    REVISION_ANNOTATION,
    Autoscaler,
    Condition,
    ContainerStatus,
    Deployment,
    Pod,
    ReplicaSet,
    ScaleTarget,
    template_version,
)
from services.cluster.picture import Picture
from services.model.objects import ObjectRef

AUTOSCALER = "HorizontalPodAutoscaler"
CRASHES = 3
"""Restarts that make a crash loop."""
_YOUNG = timedelta(minutes=10)
_NO_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
"""The kubelet has given up at least once (a first ``ErrImagePull`` may be a registry's hiccup)."""


class Failed(StrEnum):
    """Why a rollout will not get ready by itself, in the names of the triggers. A pod whose image can't be had will miss its
    progress deadline; nothing is gained by waiting for it."""

    NO = ""
    CRASH_LOOP = "crash-loop"
    PROGRESS_DEADLINE = "progress-deadline"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """How far a Deployment's rollout is. Counts are of pods: ``desired`` asked for, ``updated`` in the current template."""

    ready: bool
    detail: str
    failed: Failed = Failed.NO
    desired: int = 0
    updated: int = 0
    available: int = 0
    existing: int = 0


def pods_of_deployment(picture: Picture, ref: ObjectRef) -> tuple[Pod, ...]:
    """All pods of a Deployment, of every version, by name; those being deleted included."""
    return _by_name(pod for owned in pods_by_replicaset(picture, ref).values() for pod in owned)


def pods_by_replicaset(picture: Picture, ref: ObjectRef) -> dict[str, tuple[Pod, ...]]:
    """The pods of each ReplicaSet of a Deployment, by the ReplicaSet's name."""
    return {owner.metadata.name: _by_name(picture.pods_of(owner.metadata.uid)) for owner in replicasets_of(picture, ref)}


def pods_by_version(picture: Picture, ref: ObjectRef, service: str = "") -> dict[str, tuple[Pod, ...]]:
    """The pods of a Deployment by version: the main container's image tag in their ReplicaSet's template.

    ``service`` names the main container where it is not called like the Deployment.
    """
    found: dict[str, list[Pod]] = {}
    for owner in replicasets_of(picture, ref):
        if pods := picture.pods_of(owner.metadata.uid):
            found.setdefault(template_version(owner.spec.template, service or ref.name), []).extend(pods)
    return {version: _by_name(pods) for version, pods in found.items()}


def replicasets_of(picture: Picture, ref: ObjectRef) -> tuple[ReplicaSet, ...]:
    """The ReplicaSets of a Deployment, newest revision first."""
    deployment = picture.deployments.get((ref.namespace, ref.name))
    if deployment is None:
        return ()
    return tuple(sorted(picture.replicasets_of(deployment.metadata.uid), key=_revision, reverse=True))


def current_replicaset(picture: Picture, ref: ObjectRef) -> ReplicaSet | None:
    """The ReplicaSet of the Deployment's present template; ``None`` while the controller has not made it."""
    deployment = picture.deployments.get((ref.namespace, ref.name))
    if deployment is None or _behind(deployment):
        return None
    wanted = _images(deployment)
    return next((owner for owner in replicasets_of(picture, ref) if _images(owner) == wanted), None)


def current_pods(picture: Picture, ref: ObjectRef) -> tuple[Pod, ...]:
    """The pods of the Deployment's present template, those being deleted left out."""
    owner = current_replicaset(picture, ref)
    if owner is None:
        return ()
    return _by_name(pod for pod in picture.pods_of(owner.metadata.uid) if pod.metadata.deletion_timestamp is None)


def deployment_ready(picture: Picture, ref: ObjectRef) -> Readiness:
    """Whether the rollout is done, by the rules of ``kubectl rollout status`` (generation observed, every pod updated, no old
    pod left, every updated pod available), and whether it can get there at all: no crash loop, image to be had, deadline kept.
    """
    deployment = picture.deployments.get((ref.namespace, ref.name))
    if deployment is None:
        return Readiness(ready=False, detail=f"there is no {ref} in {ref.namespace}")
    failed, detail = _failure(deployment, current_pods(picture, ref))
    waiting = _waiting(deployment)
    status = deployment.status
    return Readiness(
        ready=not waiting and not failed,
        detail=detail or waiting or f"{status.available_replicas} of {deployment.spec.replicas} pods are available",
        failed=failed,
        desired=deployment.spec.replicas,
        updated=status.updated_replicas,
        available=status.available_replicas,
        existing=status.replicas,
    )


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Who sets a workload's replicas: ``autoscaler``, or nobody but people where that is ``None`` and ``known``. Not ``known``:
    autoscalers may not be read there, have not been listed yet, or one of them makes no sense."""

    known: bool
    autoscaler: Autoscaler | None = None


def autoscaler_of(inventory: Inventory, ref: ObjectRef) -> Scaling:
    """The HorizontalPodAutoscaler whose target is ``ref``; of several (a mistake of somebody's) the first by name."""
    wanted = ScaleTarget(kind=ref.kind, name=ref.name)
    here = sorted(key for key in inventory.autoscalers if key[0] == ref.namespace)
    found = next((one for key in here if (one := inventory.autoscalers[key]).spec.scale_target_ref == wanted), None)
    if found is not None:
        return Scaling(known=True, autoscaler=found)
    odd = any((one.kind, one.namespace) == (AUTOSCALER, ref.namespace) for one in inventory.undecodable())
    return Scaling(known=inventory.can_read(AUTOSCALER, ref.namespace) and not odd)


def pod_problem(pod: Pod) -> str:
    """Why a pod waits or died, e.g. ``CrashLoopBackOff``; empty where it does neither."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if status.state.waiting is not None and status.state.waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            return status.state.waiting.reason
        if status.state.terminated is not None and status.state.terminated.exit_code != 0:
            return status.state.terminated.reason or "Error"
    unschedulable = _condition(pod.status.conditions, "PodScheduled")
    if unschedulable is not None and unschedulable.status == "False":
        return unschedulable.reason or "Unschedulable"
    return pod.status.reason


def crash_looping(pod: Pod) -> bool:
    """Whether a container of the pod can't stay up: the kubelet says so, or it has restarted three times and is either down
    now or did so within its first ten minutes (restarts over the weeks of a long life are no loop)."""
    return any(_loops(pod, status) for status in (*pod.status.init_container_statuses, *pod.status.container_statuses))


def _loops(pod: Pod, status: ContainerStatus) -> bool:
    if status.state.waiting is not None and status.state.waiting.reason == "CrashLoopBackOff":
        return True
    if status.restart_count < CRASHES:
        return False
    last, born = status.last_state.terminated, pod.metadata.creation_timestamp
    early = last is not None and last.finished_at is not None and born is not None and last.finished_at - born < _YOUNG
    return early or (not status.ready and (status.state.terminated is None or status.state.terminated.exit_code != 0))


def _failure(deployment: Deployment, pods: tuple[Pod, ...]) -> tuple[Failed, str]:
    looping = [pod for pod in pods if crash_looping(pod)]
    if looping:
        return Failed.CRASH_LOOP, f"{_pods(looping)} in a crash loop, {sum(pod.restarts for pod in looping)} restarts"
    without = [pod for pod in pods if pod_problem(pod) in _NO_IMAGE]
    if without:
        return Failed.PROGRESS_DEADLINE, f"{_pods(without)} without an image: {pod_problem(without[0])}"
    progress = _condition(deployment.status.conditions, "Progressing")
    if progress is not None and progress.reason == "ProgressDeadlineExceeded" and not _behind(deployment):
        return Failed.PROGRESS_DEADLINE, progress.message or "the progress deadline is exceeded"
    return Failed.NO, ""


def _waiting(deployment: Deployment) -> str:
    """What ``kubectl rollout status`` would be waiting for; empty when done."""
    desired, status = deployment.spec.replicas, deployment.status
    if _behind(deployment):
        return "waiting for the change to be observed"
    if status.updated_replicas < desired:
        return f"{status.updated_replicas} of {desired} new pods are there"
    if status.replicas > status.updated_replicas:
        return f"{status.replicas - status.updated_replicas} old pods are still there"
    if status.available_replicas < status.updated_replicas:
        return f"{status.available_replicas} of {status.updated_replicas} new pods are available"
    return ""


def _behind(deployment: Deployment) -> bool:
    return deployment.metadata.generation > deployment.status.observed_generation


def _condition(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def _images(owner: Deployment | ReplicaSet) -> tuple[tuple[str, str], ...]:
    return tuple((container.name, container.image) for container in owner.spec.template.spec.containers)


def _revision(owner: ReplicaSet) -> tuple[int, float]:
    text = owner.metadata.annotations.get(REVISION_ANNOTATION, "")
    born = owner.metadata.creation_timestamp
    return int(text) if text.isdigit() else 0, born.timestamp() if born is not None else 0.0


def _pods(pods: list[Pod]) -> str:
    return f"{len(pods)} pod{'s are' if len(pods) > 1 else ' is'}"


def _by_name(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    return tuple(sorted(pods, key=lambda pod: pod.metadata.name))
