"""Events: what controllers tell people about an object, kept for an hour at most and in bounded number."""

from collections import deque

from services.sandbox.registry import Registry
from services.sandbox.resources import EVENTS, NAMESPACES, Object, meta

KEPT = 400


class Recorder:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: deque[tuple[str, str]] = deque()
        self._last: dict[tuple[str, str, str], str] = {}

    def normal(self, about: Object, reason: str, message: str) -> None:
        self._record(about, "Normal", reason, message)

    def warning(self, about: Object, reason: str, message: str) -> None:
        self._record(about, "Warning", reason, message)

    def forget(self) -> None:
        """Every event is older than what is kept."""
        for namespace, name in self._names:
            self._registry.store.drop(EVENTS, namespace, name)
        self._names.clear()
        self._last.clear()

    def _record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Say it, or count it once more where it is what was last said."""
        namespace, store, now = meta(about)["namespace"], self._registry.store, self._registry.now()
        key = (meta(about)["uid"], reason, message)
        if (name := self._last.get(key)) and (said := store.get(EVENTS, namespace, name)):
            store.put(EVENTS, {**said, "count": said["count"] + 1, "lastTimestamp": now})
            return
        body = {
            "metadata": {"generateName": f"{meta(about)['name']}."},
            "involvedObject": {
                "kind": about["kind"],
                "namespace": namespace,
                "name": meta(about)["name"],
                "uid": meta(about)["uid"],
                "apiVersion": about["apiVersion"],
                "resourceVersion": meta(about)["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "sandbox"},
            "reportingComponent": "sandbox",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        if not store.get(NAMESPACES, "", namespace):
            return
        name = meta(self._registry.create(EVENTS, namespace, body))["name"]
        self._last[key] = name
        self._names.append((namespace, name))
        while len(self._names) > KEPT:
            space, oldest = self._names.popleft()
            store.drop(EVENTS, space, oldest)
            self._last = {key: value for key, value in self._last.items() if value != oldest}
