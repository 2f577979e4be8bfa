"""Deployment → ReplicaSets, as the real controller does it: rolling updates within surge and unavailability, revisions, history,
progress deadline, and the status that clients wait for."""

import copy
import hashlib

import msgspec

from services.sandbox.controllers.progress import Progress
from services.sandbox.controllers.rules import HASH, REVISION, available, bare_template, complete, limits, owner, revision
from services.sandbox.recorder import Recorder
from services.sandbox.registry import Registry
from services.sandbox.resources import DEPLOYMENTS, REPLICASETS, Object, controller_of, meta

HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OWN = (REVISION, HISTORY, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration")


class Deployments:
    """Reconciles one Deployment at a time; every call makes at most the next moves and is called again as their effects show."""

    def __init__(self, registry: Registry, recorder: Recorder, progress: Progress) -> None:
        self._registry = registry
        self._store = registry.store
        self._recorder = recorder
        self._progress = progress

    def reconcile(self, namespace: str, name: str) -> None:
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        if deployment is None or "deletionTimestamp" in meta(deployment):
            return
        owned = self._owned(deployment)
        wanted = bare_template(deployment)
        newest = next((found for found in owned if bare_template(found) == wanted), None)
        old = [found for found in owned if found is not newest]
        if deployment["spec"].get("paused"):
            self._scale_all(deployment, newest, old)
        elif newest is not None and self._is_scaling(deployment, owned):
            deployment = self._note_revision(deployment, newest, old)
            self._scale_all(deployment, self._again(newest), [self._again(found) for found in old])
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment, newest, old)
        else:
            self._roll(deployment, newest, old)
        self._clean_up(namespace, name)
        self._progress.update(namespace, name)

    def _again(self, found: Object) -> Object:
        return self._store.get(REPLICASETS, meta(found)["namespace"], meta(found)["name"]) or found

    def _owned(self, deployment: Object) -> list[Object]:
        """Its ReplicaSets, oldest first."""
        uid = meta(deployment)["uid"]
        sets = self._store.each(REPLICASETS, meta(deployment)["namespace"])
        owned = [
            found for found in sets if (controller_of(found) or {}).get("uid") == uid and "deletionTimestamp" not in meta(found)
        ]
        return sorted(owned, key=lambda found: (meta(found)["creationTimestamp"], revision(found), meta(found)["name"]))

    def _roll(self, deployment: Object, newest: Object | None, old: list[Object]) -> None:
        wanted = deployment["spec"]["replicas"]
        surge, unavailable = limits(deployment)
        if newest is None:
            room = max(0, wanted + surge - sum(found["spec"]["replicas"] for found in old))
            self._create(deployment, min(wanted, room), old)
            return
        deployment = self._note_revision(deployment, newest, old)
        newest = self._again(newest)
        have = newest["spec"]["replicas"]
        if have > wanted:
            self._resize(deployment, newest, wanted)
            return
        if have < wanted:
            room = wanted + surge - have - sum(found["spec"]["replicas"] for found in old)
            if room > 0:
                self._resize(deployment, newest, min(wanted, have + room))
                return
        self._shrink_old(deployment, newest, old, wanted - unavailable)

    def _shrink_old(self, deployment: Object, newest: Object, old: list[Object], minimum: int) -> None:
        """Take pods from the old sets, those that are not ready first, while ``minimum`` pods stay available."""
        total = newest["spec"]["replicas"] + sum(found["spec"]["replicas"] for found in old)
        missing = newest["spec"]["replicas"] - available(newest)
        may_go = total - minimum - missing
        sizes = {meta(found)["name"]: found["spec"]["replicas"] for found in old}
        for found in old:
            useless = min(sizes[meta(found)["name"]] - available(found), may_go)
            if useless > 0:
                sizes[meta(found)["name"]] -= useless
                may_go -= useless
        spare = min(may_go, available(newest) + sum(available(found) for found in old) - minimum)
        for found in old:
            going = min(sizes[meta(found)["name"]], spare)
            if going > 0:
                sizes[meta(found)["name"]] -= going
                spare -= going
        for found in old:
            self._resize(deployment, found, sizes[meta(found)["name"]])

    def _recreate(self, deployment: Object, newest: Object | None, old: list[Object]) -> None:
        for found in old:
            self._resize(deployment, found, 0)
        if any((found.get("status") or {}).get("replicas") for found in old):
            return
        if newest is None:
            self._create(deployment, deployment["spec"]["replicas"], old)
        else:
            self._resize(self._note_revision(deployment, newest, old), self._again(newest), deployment["spec"]["replicas"])

    def _is_scaling(self, deployment: Object, owned: list[Object]) -> bool:
        wanted = str(deployment["spec"]["replicas"])
        active = [found for found in owned if found["spec"]["replicas"] > 0]
        return any((meta(found).get("annotations") or {}).get(DESIRED, wanted) != wanted for found in active)

    def _scale_all(self, deployment: Object, newest: Object | None, old: list[Object]) -> None:
        """A change of ``replicas`` alone: the only active set takes it whole, several share it by their size."""
        wanted = deployment["spec"]["replicas"]
        active = [found for found in [*old, *([newest] if newest else [])] if found["spec"]["replicas"] > 0]
        if len(active) <= 1:
            if only := (active[0] if active else newest):
                self._resize(deployment, only, wanted)
            return
        total = sum(found["spec"]["replicas"] for found in active)
        room = (wanted + limits(deployment)[0] if wanted else 0) - total
        left = room
        for found in sorted(active, key=lambda item: (-item["spec"]["replicas"], meta(item)["name"])):
            share = round(found["spec"]["replicas"] * room / total)
            share = min(share, left) if room > 0 else max(share, left)
            left -= share
            self._resize(deployment, found, max(0, found["spec"]["replicas"] + share))

    def _create(self, deployment: Object, replicas: int, old: list[Object]) -> None:
        template = copy.deepcopy(deployment["spec"]["template"])
        digest = hashlib.sha256(msgspec.json.encode(template, order="sorted")).hexdigest()
        hashed = "".join("bcdfghjklmnpqrstvwxz2456789"[int(digest[i : i + 2], 16) % 27] for i in range(0, 20, 2))
        template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH: hashed}
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: hashed}
        number = max((revision(found) for found in old), default=0) + 1
        name = f"{meta(deployment)['name']}-{hashed}"
        body = {
            "metadata": {
                "name": name,
                "labels": template["metadata"]["labels"],
                "annotations": self._annotations(deployment, number),
                "ownerReferences": [owner(DEPLOYMENTS.kind, "apps/v1", deployment)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        self._registry.create(REPLICASETS, meta(deployment)["namespace"], body)
        self._annotate(deployment, number)
        self._progress.created(deployment, name)
        self._recorder.normal(deployment, "ScalingReplicaSet", f"Scaled up replica set {name} to {replicas}")

    def _note_revision(self, deployment: Object, newest: Object, old: list[Object]) -> Object:
        """A set that becomes the newest again gets the next revision; the Deployment shows it."""
        highest = max((revision(found) for found in old), default=0)
        number = revision(newest) if revision(newest) > highest else highest + 1
        annotations = meta(newest).get("annotations") or {}
        wanted = {**annotations, **self._annotations(deployment, number)}
        if number != revision(newest) and revision(newest):
            wanted[HISTORY] = ",".join(filter(None, (annotations.get(HISTORY, ""), str(revision(newest)))))
        wanted[DESIRED] = annotations.get(DESIRED, wanted[DESIRED])
        if wanted != annotations:
            self._store.put(REPLICASETS, {**newest, "metadata": {**meta(newest), "annotations": wanted}})
        return self._annotate(deployment, number)

    def _annotate(self, deployment: Object, number: int) -> Object:
        current = self._store.get(DEPLOYMENTS, meta(deployment)["namespace"], meta(deployment)["name"]) or deployment
        annotations = meta(current).get("annotations") or {}
        if annotations.get(REVISION) == str(number):
            return current
        return self._store.put(
            DEPLOYMENTS, {**current, "metadata": {**meta(current), "annotations": {**annotations, REVISION: str(number)}}}
        )

    def _annotations(self, deployment: Object, number: int) -> dict[str, str]:
        given = {key: value for key, value in (meta(deployment).get("annotations") or {}).items() if key not in _OWN}
        replicas = deployment["spec"]["replicas"]
        return given | {REVISION: str(number), DESIRED: str(replicas), MAXIMUM: str(replicas + limits(deployment)[0])}

    def _resize(self, deployment: Object, found: Object, replicas: int) -> None:
        current = self._again(found)
        sizes = self._annotations(deployment, revision(current))
        annotations = {**(meta(current).get("annotations") or {}), DESIRED: sizes[DESIRED], MAXIMUM: sizes[MAXIMUM]}
        before = current["spec"]["replicas"]
        if before == replicas and annotations == meta(current).get("annotations"):
            return
        metadata = {**meta(current), "annotations": annotations}
        if before != replicas:
            metadata["generation"] = metadata.get("generation", 1) + 1
            word = "up" if replicas > before else "down"
            name = meta(found)["name"]
            self._recorder.normal(
                deployment, "ScalingReplicaSet", f"Scaled {word} replica set {name} to {replicas} from {before}"
            )
        self._store.put(REPLICASETS, {**current, "metadata": metadata, "spec": {**current["spec"], "replicas": replicas}})

    def _clean_up(self, namespace: str, name: str) -> None:
        """Forget the oldest sets beyond ``revisionHistoryLimit`` once the rollout is over."""
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        if deployment is None or not complete(deployment):
            return
        owned = self._owned(deployment)
        idle = [found for found in owned if not found["spec"]["replicas"] and not (found.get("status") or {}).get("replicas")]
        idle = sorted((found for found in idle if bare_template(found) != bare_template(deployment)), key=revision)
        for found in idle[: max(0, len(idle) - deployment["spec"].get("revisionHistoryLimit", 10))]:
            self._store.drop(REPLICASETS, namespace, meta(found)["name"])
