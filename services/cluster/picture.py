"""What is known of a cluster's namespaces: tables of decoded objects, indexed by owner. No I/O, no clock of its own."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from services.cluster.objects import (
    CHECKPOINT,
    KIND_LABEL,
    RECORD,
    RESOURCES,
    TYPES,
    Autoscaler,
    ConfigMap,
    Deployment,
    DestinationRule,
    Lease,
    Meta,
    Pod,
    ReplicaSet,
    Service,
    Stamp,
    VirtualService,
)
from services.model.objects import Json, ObjectRef

Key = tuple[str, str]
"""Namespace and name."""
Encoded = bytes | msgspec.Raw
T = TypeVar("T", Deployment, ReplicaSet, Pod, Service, ConfigMap, Lease, Autoscaler, VirtualService, DestinationRule)

KINDS = (
    "Deployment",
    "ReplicaSet",
    "Pod",
    "Service",
    "VirtualService",
    "DestinationRule",
    "HTTPRoute",
    "Ingress",
    "ConfigMap",
    "Lease",
    "HorizontalPodAutoscaler",
)
"""Every kind a picture has a table of."""
_KEPT_WHOLE = ("Deployment", "Service", "VirtualService", "DestinationRule", "HTTPRoute", "Ingress")
"""Kinds that plans and patches start from: kept as they came, too."""
_DATED = ("Lease", "ConfigMap")
"""Kinds of which it is kept when they were last seen to change."""


class Entry(NamedTuple):
    """One object as it came: decoded, or what is wrong with it; and whole where its kind is kept so."""

    key: Key
    found: Any
    raw: bytes | None
    problem: str


_stamp = msgspec.json.Decoder(Stamp)


class Table(Generic[T]):
    """The objects of one kind."""

    def __init__(self, kind: str) -> None:
        self.objects: dict[Key, T] = {}
        self.raw: dict[Key, bytes] = {}
        self.dates: dict[Key, float] = {}
        self.undecodable: dict[Key, str] = {}
        self._owned: dict[str, dict[Key, T]] = {}
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TYPES[kind])
        self._whole = kind in _KEPT_WHOLE
        self._dated = kind in _DATED

    def decode(self, encoded: Encoded) -> Entry:
        """Raises msgspec.DecodeError where it is not an object with a name."""
        found: T | None = None
        problem = ""
        try:
            found = self._decoder.decode(encoded)
            meta = found.metadata
        except msgspec.ValidationError as error:
            meta = _stamp.decode(encoded).metadata
            problem = str(error)
        if not meta.name:
            raise msgspec.DecodeError("an object without a name")
        return Entry((meta.namespace, meta.name), found, bytes(encoded) if self._whole else None, problem)

    def put(self, entry: Entry, now: float) -> None:
        """Add or replace an object. One that does not have the form of its kind is named in ``undecodable`` and left out."""
        key, found, raw, problem = entry
        before = self.objects.get(key)
        self._take_out(key)
        if found is None:
            self.undecodable[key] = problem
        else:
            self.objects[key] = found
            if owner := found.metadata.controller:
                self._owned.setdefault(owner, {})[key] = found
            if raw is not None:
                self.raw[key] = raw
        if self._dated and not (before is not None and found is not None and _same(before.metadata, found.metadata)):
            self.dates[key] = now

    def remove(self, key: Key, now: float) -> None:
        self._take_out(key)
        if self._dated:
            self.dates[key] = now

    def keep_only(self, namespace: str, keys: Collection[Key], now: float) -> None:
        """Remove what a fresh list of the namespace did not show."""
        for key in [key for key in (*self.objects, *self.undecodable) if key[0] == namespace and key not in keys]:
            self.remove(key, now)

    def owned_by(self, uid: str) -> Collection[T]:
        return self._owned.get(uid, {}).values()

    def _take_out(self, key: Key) -> None:
        before = self.objects.pop(key, None)
        self.raw.pop(key, None)
        self.undecodable.pop(key, None)
        if before is not None and (owner := before.metadata.controller):
            siblings = self._owned.get(owner, {})
            siblings.pop(key, None)
            if not siblings:
                self._owned.pop(owner, None)


def _same(before: Meta, after: Meta) -> bool:
    return bool(after.resource_version) and before.resource_version == after.resource_version


class Picture:
    """The objects of a cluster as last seen. Mappings are live, by (namespace, name); times the caller's monotonic seconds."""

    def __init__(self) -> None:
        self._deployments: Table[Deployment] = Table("Deployment")
        self._replicasets: Table[ReplicaSet] = Table("ReplicaSet")
        self._pods: Table[Pod] = Table("Pod")
        self._services: Table[Service] = Table("Service")
        self._virtual_services: Table[VirtualService] = Table("VirtualService")
        self._destination_rules: Table[DestinationRule] = Table("DestinationRule")
        self._config_maps: Table[ConfigMap] = Table("ConfigMap")
        self._leases: Table[Lease] = Table("Lease")
        self._autoscalers: Table[Autoscaler] = Table("HorizontalPodAutoscaler")
        self._tables: dict[str, Table[Any]] = {
            "Deployment": self._deployments,
            "ReplicaSet": self._replicasets,
            "Pod": self._pods,
            "Service": self._services,
            "VirtualService": self._virtual_services,
            "DestinationRule": self._destination_rules,
            "HTTPRoute": Table("HTTPRoute"),
            "Ingress": Table("Ingress"),
            "ConfigMap": self._config_maps,
            "Lease": self._leases,
            "HorizontalPodAutoscaler": self._autoscalers,
        }

    @property
    def deployments(self) -> Mapping[Key, Deployment]:
        return self._deployments.objects

    @property
    def pods(self) -> Mapping[Key, Pod]:
        return self._pods.objects

    @property
    def services(self) -> Mapping[Key, Service]:
        return self._services.objects

    @property
    def virtual_services(self) -> Mapping[Key, VirtualService]:
        return self._virtual_services.objects

    @property
    def destination_rules(self) -> Mapping[Key, DestinationRule]:
        return self._destination_rules.objects

    @property
    def leases(self) -> Mapping[Key, Lease]:
        return self._leases.objects

    @property
    def autoscalers(self) -> Mapping[Key, Autoscaler]:
        return self._autoscalers.objects

    @property
    def checkpoints(self) -> Mapping[Key, ConfigMap]:
        return self._labelled(CHECKPOINT)

    @property
    def records(self) -> Mapping[Key, ConfigMap]:
        return self._labelled(RECORD)

    def replicasets_of(self, uid: str) -> Collection[ReplicaSet]:
        """ReplicaSets controlled by the Deployment with this UID."""
        return self._replicasets.owned_by(uid)

    def pods_of(self, uid: str) -> Collection[Pod]:
        """Pods controlled by the ReplicaSet with this UID."""
        return self._pods.owned_by(uid)

    def raw(self, ref: ObjectRef) -> dict[str, Json] | None:
        """A fresh copy of the whole object as last seen; Deployments, Services and routes only."""
        encoded = self._tables[ref.kind].raw.get((ref.namespace, ref.name))
        if encoded is None:
            return None
        found: dict[str, Json] = msgspec.json.decode(encoded)
        # The items of a list don't say what they are.
        return {"apiVersion": RESOURCES[ref.kind].api_version, "kind": ref.kind, **found}

    def whole(self, kind: str, namespace: str) -> tuple[dict[str, Json], ...]:
        """Fresh copies of all objects of a kind that is kept whole, in a namespace, by name."""
        names = sorted(name for place, name in self._tables[kind].raw if place == namespace)
        found = (self.raw(ObjectRef(kind, namespace, name)) for name in names)
        return tuple(each for each in found if each is not None)

    def changed_at(self, ref: ObjectRef) -> float | None:
        """When a Lease or ConfigMap was last seen to change (or go); ``None`` where it never was there."""
        return self._tables[ref.kind].dates.get((ref.namespace, ref.name))

    def undecodable(self) -> Mapping[ObjectRef, str]:
        """Objects that don't have the form of their kind, and what is wrong with each."""
        return {
            ObjectRef(kind, *key): problem for kind, table in self._tables.items() for key, problem in table.undecodable.items()
        }

    def decode(self, kind: str, encoded: Encoded) -> Entry:
        """Decode an object's JSON. Raises msgspec.DecodeError where it is not an object with a name."""
        return self._tables[kind].decode(encoded)

    def put(self, kind: str, encoded: Encoded, now: float = 0.0) -> None:
        """Add or replace one object, given its JSON; raises as ``decode`` does."""
        self._tables[kind].put(self.decode(kind, encoded), now)

    def remove(self, kind: str, encoded: Encoded, now: float = 0.0) -> None:
        """Remove one object, given its JSON as last seen; raises as ``decode`` does."""
        self._tables[kind].remove(self.decode(kind, encoded).key, now)

    def replace(self, kind: str, namespace: str, entries: Iterable[Entry], now: float = 0.0) -> None:
        """Make a namespace's objects of a kind exactly these."""
        table = self._tables[kind]
        keys: set[Key] = set()
        for entry in entries:
            keys.add(entry.key)
            table.put(entry, now)
        table.keep_only(namespace, keys, now)

    def _labelled(self, value: str) -> dict[Key, ConfigMap]:
        return {key: found for key, found in self._config_maps.objects.items() if found.metadata.labels.get(KIND_LABEL) == value}
