"""Which controller has to look at what when something changes, and the garbage collector."""

from collections.abc import Callable

from services.sandbox.controllers.deployments import Deployments
from services.sandbox.controllers.endpoints import Endpoints
from services.sandbox.controllers.kubelet import Kubelet
from services.sandbox.controllers.replicasets import ReplicaSets
from services.sandbox.controllers.rules import selected
from services.sandbox.registry import Registry
from services.sandbox.resources import DEPLOYMENTS, PODS, REPLICASETS, RESOURCES, SERVICES, Object, Resource, controller_of, meta
from services.sandbox.store import Event

Key = tuple[str, str, str]


class Controllers:
    """Collects what has changed and reconciles it, each object once a round, until all is quiet."""

    def __init__(
        self,
        registry: Registry,
        deployments: Deployments,
        replica_sets: ReplicaSets,
        endpoints: Endpoints,
        kubelet: Kubelet,
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._reconcilers = {
            "deployments": deployments.reconcile,
            "replicasets": replica_sets.reconcile,
            "endpoints": endpoints.reconcile,
        }
        self._kubelet = kubelet
        self._soon = soon
        self._waiting: dict[Key, None] = {}
        self._orphans: list[tuple[str, str]] = []
        self._called = False
        self._store.subscribe(self._see)

    def _see(self, event: Event) -> None:
        found = event.object
        namespace, name = meta(found).get("namespace", ""), meta(found)["name"]
        if event.resource is DEPLOYMENTS:
            self._want("deployments", namespace, name)
        elif event.resource is REPLICASETS:
            self._want("replicasets", namespace, name)
            self._want_owner(found, DEPLOYMENTS, "deployments")
        elif event.resource is SERVICES:
            self._want("endpoints", namespace, name)
        elif event.resource is PODS:
            if event.kind == "ADDED":
                self._kubelet.added(found)
            elif event.kind == "MODIFIED":
                self._kubelet.changed(found)
            self._want_owner(found, REPLICASETS, "replicasets")
            for service in self._store.each(SERVICES, namespace):
                if selected(service, found):
                    self._want("endpoints", namespace, meta(service)["name"])
        if event.kind == "DELETED":
            self._orphans.append((namespace, meta(found)["uid"]))
            self._call()

    def _want_owner(self, found: Object, resource: Resource, reconciler: str) -> None:
        if (owner := controller_of(found)) and owner["kind"] == resource.kind:
            self._want(reconciler, meta(found)["namespace"], owner["name"])

    def _want(self, reconciler: str, namespace: str, name: str) -> None:
        self._waiting[(reconciler, namespace, name)] = None
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._soon(self.settle)

    def settle(self) -> None:
        """Reconcile until nothing is left to do now."""
        try:
            while self._waiting or self._orphans:
                while self._orphans:
                    self._collect(*self._orphans.pop())
                waiting, self._waiting = self._waiting, {}
                for reconciler, namespace, name in waiting:
                    self._reconcilers[reconciler](namespace, name)
        finally:
            self._called = False

    def _collect(self, namespace: str, uid: str) -> None:
        """Delete what the object with this uid owned."""
        for resource in RESOURCES:
            for found in self._store.all(resource, namespace) if resource.namespaced else ():
                if any(owner["uid"] == uid for owner in meta(found).get("ownerReferences") or ()):
                    self._registry.delete(resource, namespace, meta(found)["name"])
