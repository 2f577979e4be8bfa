"""Which pods run the new version and which the old, and what the cluster says of the new one's workload: reads of the inventory.

A pod's version is its ReplicaSet's, by owner reference. During promotion the stable workload has pods of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.analysis import ArmName, PodTarget, WorkloadFacts, target_of
from services.cluster.inventory import Inventory
from services.cluster.objects import Deployment, Pod
from services.cluster.workloads import Failed, crash_looping, deployment_ready, pods_by_version, pods_of_deployment
from services.model.objects import ObjectRef, value_at
from services.model.rollout import Rollout
from services.model.steps import EnsureWorkload, PatchImage, Scale, WaitReady
from services.rollout import state

PROGRESS_SECONDS = 600.0
"""What Kubernetes gives a Deployment to make progress where it does not say."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Pods by version, those that are being deleted left out."""

    canary: tuple[Pod, ...]
    stable: tuple[Pod, ...]

    @property
    def names(self) -> Mapping[str, str]:
        return {
            **{pod.metadata.name: ArmName.STABLE.value for pod in self.stable},
            **{pod.metadata.name: ArmName.CANARY.value for pod in self.canary},
        }

    def targets(self, service: str) -> tuple[PodTarget, ...]:
        return tuple(target_of(pod, service) for pod in (*self.canary, *self.stable))


def arms(inventory: Inventory, rollout: Rollout) -> Arms:
    """The pods of both versions, in every workload of the rollout."""
    service, version = rollout.release.service, rollout.release.version
    canary: list[Pod] = []
    stable: list[Pod] = []
    for workload in _workloads(rollout):
        for found, pods in pods_by_version(inventory, workload, service).items():
            living = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
            if found == version:
                canary += living
            elif found == rollout.plan.previous_version:
                stable += living
    return Arms(tuple(canary), tuple(stable))


def settled_pods(inventory: Inventory, rollout: Rollout) -> frozenset[str]:
    """Pods of workloads that the rollout has waited for and not changed since: they were ready once, whatever they are now."""
    return frozenset(
        pod.metadata.name
        for workload in _workloads(rollout)
        if _settled(rollout, workload)
        for pod in pods_of_deployment(inventory, workload)
    )


def _settled(rollout: Rollout, workload: ObjectRef) -> bool:
    touching = (PatchImage, EnsureWorkload, Scale, WaitReady)
    done = [step for step in rollout.plan.steps[: rollout.step + 1] if isinstance(step, touching) and step.workload == workload]
    return bool(done) and isinstance(done[-1], WaitReady) and done[-1] is not state.current(rollout)


def unserved(inventory: Inventory, rollout: Rollout, weight: int) -> bool:
    """Whether requests are routed to the canary and none of its pods is ready to take them. Pods that may not be seen are not
    missing."""
    canary = rollout.plan.canary
    if canary is None or weight <= 0:
        return False
    if not all(inventory.can_read(kind, canary.namespace) for kind in ("Deployment", "ReplicaSet", "Pod")):
        return False
    return not any(pod.ready for pod in pods_of_deployment(inventory, canary) if pod.metadata.deletion_timestamp is None)


def workload_facts(inventory: Inventory, rollout: Rollout, *, waited: float | None, deadline: float) -> WorkloadFacts | None:
    """What the workloads of the new version say of themselves; ``None`` where it has no pods yet."""
    looping = tuple(pod.metadata.name for pod in arms(inventory, rollout).canary if crash_looping(pod))
    passed: list[str] = []
    own: float | None = None
    seen = False
    for workload in _workloads(rollout):
        if not runs_new_version(inventory, rollout, workload):
            continue
        seen = True
        readiness = deployment_ready(inventory, workload)
        if readiness.failed is Failed.PROGRESS_DEADLINE:
            passed.append(f"{workload}: {readiness.detail}")
            own = _own_deadline(inventory, workload) if own is None else own
    if not seen:
        return None
    detail = f"{', '.join(looping)} can't stay up" if looping else "; ".join(passed)
    if own is not None:
        # The cluster's word is about its own limit, not about how long we would have waited; it counts from the change on.
        waited, deadline = max(waited or 0.0, own), own
    return WorkloadFacts(crash_looping=looping, waited=waited, deadline=deadline, deadline_passed=bool(passed), detail=detail)


def _own_deadline(inventory: Inventory, workload: ObjectRef) -> float | None:
    """The Deployment's ``progressDeadlineSeconds`` (600 where it says nothing), where that is what has passed."""
    deployment = inventory.deployments.get((workload.namespace, workload.name))
    conditions = deployment.status.conditions if deployment is not None else ()
    if not any(each.type == "Progressing" and each.reason == "ProgressDeadlineExceeded" for each in conditions):
        return None
    seconds = value_at(inventory.raw(workload), "/spec/progressDeadlineSeconds")
    return float(seconds) if isinstance(seconds, int | float) else PROGRESS_SECONDS


def runs_new_version(inventory: Inventory, rollout: Rollout, workload: ObjectRef) -> bool:
    """Whether the workload's template is the new version's and pods of it are asked for."""
    deployment = inventory.deployments.get((workload.namespace, workload.name))
    return deployment is not None and deployment.spec.replicas > 0 and has_new_template(deployment, rollout)


def has_new_template(deployment: Deployment, rollout: Rollout) -> bool:
    """Whether the Deployment's template is the new version's."""
    images = {container.name: container.image for container in deployment.spec.template.spec.containers}
    wanted = {name: image for name, image in rollout.plan.new_images.items() if name in images}
    return bool(wanted) and all(images[name] == image for name, image in wanted.items())


def _workloads(rollout: Rollout) -> tuple[ObjectRef, ...]:
    plan = rollout.plan
    return (plan.stable, plan.canary) if plan.canary is not None else (plan.stable,)
