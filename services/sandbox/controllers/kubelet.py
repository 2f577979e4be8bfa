"""What happens to a pod on its simulated node: placed, started, ready, crashing, or stuck; and gone once it is deleted."""

import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from services.sandbox.behaviour import Behaviour
from services.sandbox.recorder import Recorder
from services.sandbox.registry import Registry
from services.sandbox.resources import PODS, Object, meta
from services.sandbox.schedule import Schedule

NODES = ("node-a", "node-b", "node-c")
PLACE_SECONDS, STOP_SECONDS, CRASH_SECONDS = 0.5, 2.0, 2.0
START_SECONDS, READY_SECONDS = (1.0, 3.0), (1.0, 4.0)
BACKOFF_SECONDS, BACKOFF_LIMIT = 10.0, 300.0
"""The pause before the second restart doubles with each one, up to the limit, as a real kubelet's does."""


class Kubelet:
    def __init__(
        self, registry: Registry, schedule: Schedule, recorder: Recorder, random: Random, behaviour: Callable[[Object], Behaviour]
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._schedule = schedule
        self._recorder = recorder
        self._random = random
        self._behaviour = behaviour
        self._turn = itertools.cycle(NODES)
        self._addresses = itertools.count(1)
        self._leaving: set[str] = set()
        self.hurry = False
        """Everything starts at once: while the fleet is being set up."""

    def added(self, pod: Object) -> None:
        self._later(PLACE_SECONDS, pod, self._place)

    def changed(self, pod: Object) -> None:
        """A pod that is being deleted goes after a short while."""
        uid = meta(pod)["uid"]
        if "deletionTimestamp" in meta(pod) and uid not in self._leaving:
            self._leaving.add(uid)
            self._later(STOP_SECONDS, pod, self._remove)

    def _later(self, seconds: float, pod: Object, action: Callable[[Object], None]) -> None:
        namespace, name, uid = meta(pod)["namespace"], meta(pod)["name"], meta(pod)["uid"]

        def act() -> None:
            current = self._store.get(PODS, namespace, name)
            if (
                current is not None
                and meta(current)["uid"] == uid
                and (action == self._remove or "deletionTimestamp" not in meta(current))
            ):
                action(current)

        hurried = self.hurry and action not in (self._crash, self._restart)
        self._schedule.later(0.0 if hurried else seconds, act)

    def _remove(self, pod: Object) -> None:
        self._leaving.discard(meta(pod)["uid"])
        self._registry.delete(PODS, meta(pod)["namespace"], meta(pod)["name"], grace=0)

    def _place(self, pod: Object) -> None:
        node = next(self._turn)
        pod = self._store.put(PODS, {**pod, "spec": {**pod["spec"], "nodeName": node}})
        self._recorder.normal(pod, "Scheduled", f"Successfully assigned {meta(pod)['namespace']}/{meta(pod)['name']} to {node}")
        waiting = [self._container(pod, spec, {"waiting": {"reason": "ContainerCreating"}}) for spec in pod["spec"]["containers"]]
        self._write(pod, "Pending", waiting)
        self._later(self._random.uniform(*START_SECONDS), pod, self._start)

    def _start(self, pod: Object) -> None:
        self._run(pod)
        current = self._store.get(PODS, meta(pod)["namespace"], meta(pod)["name"]) or pod
        for spec in pod["spec"]["containers"]:
            self._recorder.normal(current, "Started", f"Started container {spec['name']}")
        behaviour = self._behaviour(pod)
        if behaviour.crash:
            self._later(CRASH_SECONDS, pod, self._crash)
        elif not behaviour.stuck:
            self._later(self._random.uniform(*READY_SECONDS), pod, self._get_ready)
        else:
            self._recorder.warning(current, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")

    def _run(self, pod: Object) -> None:
        running = {"running": {"startedAt": self._registry.now()}}
        self._write(pod, "Running", [self._container(pod, spec, running) for spec in pod["spec"]["containers"]])

    def _get_ready(self, pod: Object) -> None:
        statuses = [{**status, "ready": True} for status in pod["status"]["containerStatuses"]]
        self._write(pod, "Running", statuses, good=True)

    def _crash(self, pod: Object) -> None:
        """Exit with an error; the first restart is at once, the following after ever longer pauses."""
        restarts = pod["status"]["containerStatuses"][0]["restartCount"]
        ended = {"exitCode": 1, "reason": "Error", "startedAt": self._registry.now(), "finishedAt": self._registry.now()}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        statuses = [
            {**self._container(pod, spec, waiting), "lastState": {"terminated": ended}, "restartCount": restarts}
            for spec in pod["spec"]["containers"]
        ]
        pause = 0.5 if restarts == 0 else min(BACKOFF_LIMIT, BACKOFF_SECONDS * 2 ** min(restarts - 1, 10))
        self._write(pod, "Running", statuses)
        self._recorder.warning(pod, "BackOff", "Back-off restarting failed container")
        self._later(pause, pod, self._restart)

    def _restart(self, pod: Object) -> None:
        running = {"running": {"startedAt": self._registry.now()}}
        statuses = [
            {**status, "state": running, "started": True, "restartCount": status["restartCount"] + 1}
            for status in pod["status"]["containerStatuses"]
        ]
        self._write(pod, "Running", statuses)
        self._later(CRASH_SECONDS, pod, self._crash)

    def _container(self, pod: Object, spec: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": f"sim://{spec['image']}" if "running" in state else "",
            "ready": False,
            "started": "running" in state,
            "restartCount": 0,
            "state": state,
            "lastState": {},
        }

    def _write(self, pod: Object, phase: str, containers: list[dict[str, Any]], *, good: bool = False) -> None:
        before = {condition["type"]: condition for condition in pod["status"].get("conditions") or ()}
        now = self._registry.now()

        def condition(kind: str, status: str) -> dict[str, Any]:
            old = before.get(kind)
            since = old["lastTransitionTime"] if old and old["status"] == status else now
            found = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
            if status == "False":
                names = " ".join(spec["name"] for spec in pod["spec"]["containers"])
                found |= {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}
            return found

        status = {key: value for key, value in pod["status"].items() if key not in ("phase", "conditions", "containerStatuses")}
        if "podIP" not in status:
            number = next(self._addresses)
            address = f"10.244.{number // 250 % 250}.{number % 250 + 1}"
            status |= {"hostIP": "192.0.2.1", "podIP": address, "podIPs": [{"ip": address}], "startTime": now}
        word = "True" if good else "False"
        conditions = [condition("Initialized", "True"), condition("Ready", word), condition("ContainersReady", word)]
        conditions.append(condition("PodScheduled", "True"))
        status |= {"phase": phase, "conditions": conditions, "containerStatuses": containers}
        self._registry.set_status(PODS, pod, status)
