"""The embedded cluster: store, rules and controllers in one, seeded with the fleet."""

import asyncio
from datetime import timedelta
from random import Random

from services.clock import Clock
from services.sandbox import fleet
from services.sandbox.behaviour import Behaviour, Behaviours
from services.sandbox.controllers.deployments import Deployments
from services.sandbox.controllers.endpoints import Endpoints
from services.sandbox.controllers.kubelet import Kubelet
from services.sandbox.controllers.loop import Controllers
from services.sandbox.controllers.progress import Progress
from services.sandbox.controllers.replicasets import ReplicaSets
from services.sandbox.controllers.rules import complete
from services.sandbox.manifests import manifests, rehearsals
from services.sandbox.recorder import Recorder
from services.sandbox.registry import Registry
from services.sandbox.resources import DEPLOYMENTS, Object, meta
from services.sandbox.schedule import Schedule
from services.sandbox.store import Store

_FIRST, _LAST = timedelta(days=23), timedelta(days=3, hours=5)
"""How long ago the fleet was first deployed, and last."""
_ROUNDS = 100
"""More than any rolling update of the fleet takes where every pod starts at once."""


def _before(body: Object) -> Object:
    """The same Deployment in its previous release."""
    workload, spec = fleet.BY_NAME[meta(body)["name"]], body["spec"]
    container = {**spec["template"]["spec"]["containers"][0], "image": fleet.image(workload.name, workload.before)}
    return {**body, "spec": {**spec, "template": {**spec["template"], "spec": {"containers": [container]}}}}


class EmbeddedCluster:
    """A whole cluster in this process. Needs a running event loop: its controllers act in it."""

    def __init__(self, clock: Clock, random: Random, behaviours: Behaviours) -> None:
        self.store = Store()
        self.registry = Registry(self.store, clock.now, random)
        self.schedule = Schedule(clock)
        self._clock = clock
        self._behaviours = behaviours
        recorder = self._recorder = Recorder(self.registry)
        progress = Progress(self.registry, self.schedule, clock)
        self._kubelet = Kubelet(self.registry, self.schedule, recorder, random, self.behaviour)
        self.controllers = Controllers(
            self.registry,
            Deployments(self.registry, recorder, progress),
            ReplicaSets(self.registry, recorder),
            Endpoints(self.registry),
            self._kubelet,
            asyncio.get_running_loop().call_soon,
        )

    def behaviour(self, pod: Object) -> Behaviour:
        return self._behaviours.of(meta(pod)["namespace"], pod["spec"]["containers"][0]["image"])

    async def play(self) -> None:
        """Nothing has to be told: the pods ask for the scenario themselves."""

    def seed(self) -> None:
        """Put the fleet there, running since days and one release old: nobody waits for its first start."""
        self._kubelet.hurry = True
        now = self._clock.now()
        with self.registry.at(now - _FIRST):
            for namespace in ("default", "kube-system", *fleet.NAMESPACES):
                self.registry.ensure_namespace(namespace)
            seeded = list(manifests())
            for resource, namespace, body in seeded:
                self.registry.create(resource, namespace, _before(body) if resource is DEPLOYMENTS else body)
            self._settle()
        with self.registry.at(now - _LAST):
            for resource, namespace, body in seeded:
                if resource is DEPLOYMENTS:
                    self.registry.update(resource, namespace, meta(body)["name"], body)
            self._settle()
        self._recorder.forget()
        for resource, namespace, body in rehearsals(now):
            self.registry.create(resource, namespace, body)
        self._kubelet.hurry = False

    def _settle(self) -> None:
        for _ in range(_ROUNDS):
            self.controllers.settle()
            self.schedule.run_due()
            if self.healthy():
                return

    def healthy(self) -> bool:
        """Whether every workload that was seeded healthy is ready."""
        return all_ready(self.store)


def all_ready(store: Store) -> bool:
    """Whether every workload of the fleet is as it was seeded; those that were seeded broken don't count."""
    for namespace in fleet.NAMESPACES:
        for workload in fleet.WORKLOADS:
            found = store.get(DEPLOYMENTS, namespace, workload.name)
            if not fleet.broken(workload, namespace) and (found is None or not complete(found)):
                return False
    return True
