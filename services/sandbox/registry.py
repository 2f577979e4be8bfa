"""The rules by which objects of the simulated cluster are created, changed and deleted; whoever writes does it here."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import Any

from services.sandbox.defaults import check, fill
from services.sandbox.errors import ApiError, already_exists, bad_request, conflict, forbidden, invalid, not_found
from services.sandbox.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, RESOURCES, SERVICES, Object, Resource, meta
from services.sandbox.store import Store

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels and nothing that looks alike, so no words come out."""


def stamp(at: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Registry:
    """Writes to a ``Store`` with a real API server's rules: optimistic locking, generations, graceful deletion."""

    def __init__(self, store: Store, now: Callable[[], datetime], random: Random) -> None:
        self.store = store
        self._now = now
        self._random = random
        self._addresses = 0

    def now(self) -> str:
        return stamp(self._now())

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Within, everything is stamped as if it were done at that moment."""
        now, self._now = self._now, lambda: moment
        try:
            yield
        finally:
            self._now = now

    def suffix(self, letters: int = 5) -> str:
        """The random end of a generated name."""
        return "".join(self._random.choices(_SUFFIX, k=letters))

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

    def create(self, resource: Resource, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        """Raises ApiError 404 (no such namespace), 409 (exists), 422 (a rule is broken)."""
        given = meta(body) if isinstance(body.get("metadata"), dict) else {}
        name = given.get("name") or (given["generateName"] + self.suffix() if given.get("generateName") else "")
        if not name:
            raise invalid(resource.kind, resource.group, "", "metadata.name", "Required value: name or generateName is required")
        if resource.namespaced:
            space = self.store.get(NAMESPACES, "", namespace)
            if space is None:
                raise not_found("namespaces", "", namespace)
            if given.get("namespace") not in (None, "", namespace):
                raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
            if "deletionTimestamp" in meta(space):
                raise forbidden(resource.plural, resource.group, "", "create", namespace)
        if given.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if self.store.get(resource, namespace, name) is not None:
            raise already_exists(resource.plural, resource.group, name)
        metadata = {
            key: value for key, value in given.items() if key not in ("managedFields", "selfLink", "deletionTimestamp") and value
        }
        metadata |= {"name": name, "uid": self._uid(), "creationTimestamp": self.now()}
        if resource.namespaced:
            metadata["namespace"] = namespace
        if resource.generation:
            metadata["generation"] = 1
        body = {**body, "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata}
        if resource.status and resource is not PODS:
            body.pop("status", None)
        body = fill(resource, body)
        if resource is SERVICES:
            body = self._addressed(body)
        check(resource, body, None)
        return body if dry_run else self.store.put(resource, body)

    def update(
        self, resource: Resource, namespace: str, name: str, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """Replace an object, or its status. Raises ApiError 404, 409 (stale resourceVersion or other uid), 422."""
        old = self.read(resource, namespace, name)
        before, given = meta(old), meta(body) if isinstance(body.get("metadata"), dict) else {}
        if given.get("name", name) != name:
            raise bad_request("the name of the object does not match the name on the URL")
        if given.get("resourceVersion") not in (None, "", before["resourceVersion"]):
            raise conflict(resource.plural, resource.group, name)
        if given.get("uid") not in (None, "", before["uid"]):
            why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {before['uid']}"
            raise conflict(resource.plural, resource.group, name, why)
        if subresource == "status":
            new = {**old, "status": body.get("status") or {}}
        else:
            kept = (
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
            )
            metadata = {key: value for key, value in given.items() if key not in (*kept, "managedFields", "selfLink") and value}
            metadata |= {key: before[key] for key in (*kept, "resourceVersion") if key in before}
            # whoever may write the object may not write its status, nor give one to what has none yet
            told = {key: value for key, value in body.items() if not (resource.status and key == "status")}
            status = {"status": old["status"]} if resource.status and "status" in old else {}
            new = {**told, "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata, **status}
            new = fill(resource, new)
            if resource is SERVICES:
                new["spec"] = {"clusterIP": old["spec"].get("clusterIP"), **new["spec"]}
            check(resource, new, old)
            if resource.generation and _counted(resource, new) != _counted(resource, old):
                metadata["generation"] = before.get("generation", 1) + 1
        if new == old:
            return old
        if dry_run:
            return new
        if "deletionTimestamp" in before and not meta(new).get("finalizers") and before.get("finalizers"):
            return self.store.drop(resource, namespace, name) or new
        return self.store.put(resource, new)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        grace: int | None = None,
        preconditions: dict[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object; pods linger ``deletionTimestamp`` set for their grace period. Returns its last state."""
        old = self.read(resource, namespace, name)
        for field in ("uid", "resourceVersion"):
            wanted = (preconditions or {}).get(field)
            if wanted and wanted != meta(old)[field]:
                raise conflict(
                    resource.plural, resource.group, name, f"Precondition failed: {field} is {meta(old)[field]}, not {wanted}"
                )
        if dry_run:
            return old
        if resource is PODS and grace is None:
            grace = old["spec"].get("terminationGracePeriodSeconds", 30)
        if meta(old).get("finalizers") or (resource is PODS and grace and old["spec"].get("nodeName")):
            if "deletionTimestamp" in meta(old):
                return old
            metadata = meta(old) | {"deletionTimestamp": self.now(), "deletionGracePeriodSeconds": grace or 0}
            return self.store.put(resource, {**old, "metadata": metadata})
        if resource is NAMESPACES:
            self._empty(name)
        return self.store.drop(resource, namespace, name) or old

    def _empty(self, namespace: str) -> None:
        for resource in RESOURCES:
            for found in self.store.all(resource, namespace) if resource.namespaced else ():
                self.store.drop(resource, namespace, meta(found)["name"])

    def orphan(self, owner: Object) -> None:
        """Take the owner's reference off everything it owns, so that it outlives the owner."""
        uid, namespace = meta(owner)["uid"], meta(owner).get("namespace", "")
        for resource in RESOURCES:
            for found in self.store.all(resource, namespace):
                owners = meta(found).get("ownerReferences") or []
                if any(reference["uid"] == uid for reference in owners):
                    rest = [reference for reference in owners if reference["uid"] != uid]
                    self.store.put(resource, {**found, "metadata": {**meta(found), "ownerReferences": rest}})

    def set_status(self, resource: Resource, found: Object, status: dict[str, Any]) -> None:
        """What controllers write; silently nothing where the object is gone meanwhile."""
        namespace, name = meta(found)["namespace"], meta(found)["name"]
        current = self.store.get(resource, namespace, name)
        if current is not None and meta(current)["uid"] == meta(found)["uid"] and current.get("status") != status:
            self.store.put(resource, {**current, "status": status})

    def ensure_namespace(self, name: str) -> None:
        if self.store.get(NAMESPACES, "", name) is None:
            self.create(NAMESPACES, "", {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})

    def upsert(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create, or replace what is there."""
        try:
            return self.create(resource, namespace, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return self.update(resource, namespace, meta(body)["name"], body)

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _addressed(self, service: Object) -> Object:
        if service["spec"].get("clusterIP"):
            return service
        self._addresses += 1
        address = f"10.96.{self._addresses // 250}.{self._addresses % 250 + 1}"
        return {**service, "spec": {**service["spec"], "clusterIP": address, "clusterIPs": [address]}}


def _counted(resource: Resource, found: Object) -> Object:
    """What a generation counts the changes of; a Deployment's annotations belong to it."""
    counted = {key: value for key, value in found.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return {**counted, "": meta(found).get("annotations") or {}} if resource is DEPLOYMENTS else counted


def config_map(name: str, data: dict[str, str], labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": CONFIGMAPS.kind, "metadata": {"name": name, "labels": labels or {}}, "data": data}
