"""The status of a Deployment: counts, conditions, and whether it still makes progress within its deadline."""

from typing import Any

from services.clock import Clock
from services.sandbox.controllers.rules import bare_template, limits
from services.sandbox.registry import Registry
from services.sandbox.resources import DEPLOYMENTS, REPLICASETS, Object, controller_of, meta
from services.sandbox.schedule import Schedule

_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


class Progress:
    """Writes ``status`` of Deployments. The deadline is measured in pace seconds, the stamps are wall time."""

    def __init__(self, registry: Registry, schedule: Schedule, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._schedule = schedule
        self._clock = clock
        self._since: dict[str, float] = {}

    def created(self, deployment: Object, replica_set: str) -> None:
        """A new ReplicaSet begins a new rollout."""
        current = self._store.get(DEPLOYMENTS, meta(deployment)["namespace"], meta(deployment)["name"])
        if current is not None:
            message = f'Created new replica set "{replica_set}"'
            conditions = self._progressing(current, "True", "NewReplicaSetCreated", message, moved=True)
            self._registry.set_status(DEPLOYMENTS, current, {**(current.get("status") or {}), "conditions": conditions})

    def update(self, namespace: str, name: str) -> None:
        """Bring the status up to date with the ReplicaSets."""
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        if deployment is None:
            return
        uid, spec = meta(deployment)["uid"], deployment["spec"]
        owned = [found for found in self._store.each(REPLICASETS, namespace) if (controller_of(found) or {}).get("uid") == uid]
        newest = next((found for found in owned if bare_template(found) == bare_template(deployment)), None)
        before = deployment.get("status") or {}
        counts = {
            "replicas": _sum(owned, "replicas"),
            "updatedReplicas": _sum([newest] if newest else [], "replicas"),
            "readyReplicas": _sum(owned, "readyReplicas"),
            "availableReplicas": _sum(owned, "availableReplicas"),
        }
        enough = counts["availableReplicas"] >= spec["replicas"] - limits(deployment)[1]
        conditions = self._set(
            before.get("conditions") or [],
            "Available",
            "True" if enough else "False",
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        )
        deployment = {**deployment, "status": {**before, "conditions": conditions}}
        conditions = self._judge(deployment, counts, before, meta(newest)["name"] if newest else name)
        status: dict[str, Any] = {"observedGeneration": meta(deployment)["generation"]}
        status |= {key: value for key, value in counts.items() if value}
        total = max(spec["replicas"], counts["replicas"])
        if total - counts["availableReplicas"] > 0:
            status["unavailableReplicas"] = total - counts["availableReplicas"]
        self._registry.set_status(DEPLOYMENTS, deployment, {**status, "conditions": conditions})

    def _judge(
        self, deployment: Object, counts: dict[str, int], before: dict[str, Any], replica_set: str
    ) -> list[dict[str, Any]]:
        conditions: list[dict[str, Any]] = deployment["status"]["conditions"]
        wanted, deadline = deployment["spec"]["replicas"], deployment["spec"].get("progressDeadlineSeconds")
        current = next((found for found in conditions if found["type"] == "Progressing"), None)
        settled = (
            counts["replicas"] == counts["updatedReplicas"]
            and current is not None
            and current["reason"] == "NewReplicaSetAvailable"
        )
        if deadline is None or settled:
            return conditions
        if all(counts[key] == wanted for key in ("updatedReplicas", "replicas", "availableReplicas")):
            message = f'ReplicaSet "{replica_set}" has successfully progressed.'
            return self._progressing(deployment, "True", "NewReplicaSetAvailable", message, moved=True)
        old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
        moved = (
            any(counts[key] > before.get(key, 0) for key in _COUNTS[1:])
            or counts["replicas"] - counts["updatedReplicas"] < old_before
        )
        if moved:
            return self._progressing(
                deployment, "True", "ReplicaSetUpdated", f'ReplicaSet "{replica_set}" is progressing.', moved=True
            )
        uid = meta(deployment)["uid"]
        if uid not in self._since:
            self._begin(deployment)
        elif self._clock.pace() - self._since[uid] >= deadline and not deployment["spec"].get("paused"):
            message = f'ReplicaSet "{replica_set}" has timed out progressing.'
            return self._progressing(deployment, "False", "ProgressDeadlineExceeded", message, moved=False)
        return conditions

    def _progressing(self, deployment: Object, status: str, reason: str, message: str, *, moved: bool) -> list[dict[str, Any]]:
        if moved:
            self._begin(deployment)
        return self._set(
            (deployment.get("status") or {}).get("conditions") or [], "Progressing", status, reason, message, renew=moved
        )

    def _begin(self, deployment: Object) -> None:
        """Progress counts anew from now; look again when the deadline is over."""
        self._since[meta(deployment)["uid"]] = self._clock.pace()
        namespace, name = meta(deployment)["namespace"], meta(deployment)["name"]
        if (deadline := deployment["spec"].get("progressDeadlineSeconds")) is not None:
            self._schedule.later(deadline + 0.1, lambda: self.update(namespace, name))

    def _set(
        self, conditions: list[dict[str, Any]], kind: str, status: str, reason: str, message: str, *, renew: bool = False
    ) -> list[dict[str, Any]]:
        old = next((found for found in conditions if found["type"] == kind), None)
        now = self._registry.now()
        if old is not None and (old["status"], old["reason"], old["message"]) == (status, reason, message) and not renew:
            return conditions
        new = {"type": kind, "status": status, "reason": reason, "message": message, "lastUpdateTime": now}
        new["lastTransitionTime"] = old["lastTransitionTime"] if old is not None and old["status"] == status else now
        return [*(found for found in conditions if found["type"] != kind), new]


def _sum(sets: list[Object], count: str) -> int:
    return sum((found.get("status") or {}).get(count, 0) for found in sets)
