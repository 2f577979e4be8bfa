"""The objects of the simulated cluster in memory, with the history that watches read."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from services.sandbox.errors import expired
from services.sandbox.resources import Object, Resource, meta

Listener = Callable[["Event"], None]


@dataclass(frozen=True, slots=True)
class Event:
    """One change: ``ADDED``, ``MODIFIED`` or ``DELETED``, the object after it and, where there was one, before it."""

    kind: str
    resource: Resource
    object: Object
    previous: Object | None
    revision: int
    _lines: dict[str, bytes] = field(default_factory=dict, compare=False)

    def line(self, kind: str, api_version: str) -> bytes:
        """The change as a line of a watch, made once however many watch."""
        key = f"{kind} {api_version}"
        if key not in self._lines:
            found = self.object if self.object["apiVersion"] == api_version else {**self.object, "apiVersion": api_version}
            self._lines[key] = msgspec.json.encode({"type": kind, "object": found}) + b"\n"
        return self._lines[key]


class Store:
    """Objects by resource, namespace and name; one counter of revisions; a bounded history of changes.

    It knows nothing of rules: ``Registry`` is the way to change a simulated cluster, the mirror of a real one puts what it sees.
    """

    def __init__(self, history: int = 512) -> None:
        self._objects: dict[str, dict[str, dict[str, Object]]] = {}
        self._history: deque[Event] = deque(maxlen=history)
        self._listeners: list[Listener] = []
        self._oldest = 0
        self.revision = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource.key, {}).get(namespace, {}).get(name)

    def all(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """Objects of one namespace, or of all, ordered by namespace and name."""
        spaces = self._objects.get(resource.key, {})
        names = sorted(spaces) if namespace is None else [namespace] if namespace in spaces else []
        return [spaces[space][name] for space in names for name in sorted(spaces[space])]

    def each(self, resource: Resource, namespace: str) -> Iterator[Object]:
        """Objects of one namespace in no order, for readers that look at many."""
        return iter(self._objects.get(resource.key, {}).get(namespace, {}).values())

    def put(self, resource: Resource, found: Object) -> Object:
        """Keep a new state of an object under a new revision and tell everyone."""
        self.revision += 1
        kept = {**found, "metadata": {**meta(found), "resourceVersion": str(self.revision)}}
        return self._keep(resource, kept)

    def mirror(self, resource: Resource, found: Object) -> None:
        """Keep an object exactly as another API server has it."""
        self.revision += 1
        self._keep(resource, found)

    def _keep(self, resource: Resource, kept: Object) -> Object:
        metadata = meta(kept)
        space = self._objects.setdefault(resource.key, {}).setdefault(metadata.get("namespace", ""), {})
        previous = space.get(metadata["name"])
        space[metadata["name"]] = kept
        self._publish(Event("ADDED" if previous is None else "MODIFIED", resource, kept, previous, self.revision))
        return kept

    def drop(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Forget an object; returns its last state."""
        previous = self._objects.get(resource.key, {}).get(namespace, {}).pop(name, None)
        if previous is None:
            return None
        self.revision += 1
        last = {**previous, "metadata": {**meta(previous), "resourceVersion": str(self.revision)}}
        self._publish(Event("DELETED", resource, last, previous, self.revision))
        return last

    def _publish(self, event: Event) -> None:
        if len(self._history) == self._history.maxlen:
            self._oldest = self._history[0].revision
        self._history.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def forget_history(self) -> None:
        """Everything before now is too old to watch from, as after a compaction."""
        self._history.clear()
        self._oldest = self.revision

    def since(self, revision: int) -> list[Event]:
        """Changes after a revision; ApiError 410 where some of them are no longer known."""
        if revision < self._oldest:
            raise expired(f"too old resource version: {revision} ({self._oldest + 1})")
        newer = itertools.takewhile(lambda event: event.revision > revision, reversed(self._history))
        return list(newer)[::-1]

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` at each change from now on; returns how to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
