"""The steps of a plan as kubectl command lines: what an operator would type to do the same by hand. They are shown and
journalled, never run, and hold no secret (see :mod:`services.actuator.shown`)."""

import shlex
from collections.abc import Iterable, Mapping

import msgspec

from services.actuator.commands import kubectl_line, kubectl_patch, kubectl_scale, kubectl_status
from services.actuator.shown import shown
from services.model.objects import Change, Json, ObjectRef, pointer, value_at
from services.model.release import Target
from services.strategies.draft import differences
from services.strategies.state import Document
from services.traffic.router import Guard


def set_image(target: Target, workload: ObjectRef, images: Mapping[str, str]) -> str:
    pairs = [f"{container}={image}" for container, image in images.items()]
    return kubectl_line(target.context, workload.namespace, "set", "image", str(workload), *pairs)


def scale(target: Target, workload: ObjectRef, replicas: int) -> str:
    return kubectl_scale(workload, replicas, context=target.context)


def wait_ready(target: Target, workload: ObjectRef, timeout: float) -> str:
    return kubectl_status(workload, context=target.context, timeout=timeout)


def resume(target: Target, workload: ObjectRef) -> str:
    return kubectl_line(target.context, workload.namespace, "rollout", "resume", str(workload))


def delete(target: Target, workload: ObjectRef) -> str:
    return kubectl_line(target.context, workload.namespace, "delete", str(workload))


def create(target: Target, body: Document) -> str:
    """``body`` told to kubectl as a here-document would be: as it stands, on one line."""
    document = msgspec.json.encode(body).decode()
    return f"echo {shlex.quote(document)} | {kubectl_line(target.context, body['metadata']['namespace'], 'create', '-f', '-')}"


def clone(target: Target, source: Document, body: Document, *, exists: bool) -> str:
    """``source`` as the cluster has it, made ``body`` on the way (``kubectl patch --local``), then created, or put in the place
    of the one that ``exists``.

    The environment of its containers goes from kubectl to kubectl and stands nowhere. Each value that is changed is tested
    first, and so are the containers' names: where the source is no longer what the plan saw, the patch refuses, and the last
    kubectl gets nothing and says so.
    """
    # The count is put there even where both are equal now: stable's may have moved by the time this is typed.
    replicas = pointer("spec", "replicas")
    found = [each for each in differences(source["spec"], body["spec"], "/spec") if each[0] != replicas]
    ref = ObjectRef("Deployment", body["metadata"]["namespace"], body["metadata"]["name"])
    origin = ObjectRef("Deployment", ref.namespace, str(value_at(source, "/metadata/name")))
    operations = [
        *_named_containers(source),
        *({"op": "test", "path": path, "value": old} for path, old, _ in found if old is not None),
        {"op": "add", "path": "/metadata", "value": body["metadata"]},
        *(_operation(Change(ref, path, old, new)) for path, old, new in found),
        {"op": "add", "path": replicas, "value": body["spec"]["replicas"]},
    ]
    read = kubectl_line(target.context, ref.namespace, "get", str(origin), "-o", "json")
    edits = msgspec.json.encode(operations).decode()
    turned = shlex.join(["kubectl", "patch", "--local", "-f", "-", "--type=json", "-p", edits, "-o", "json"])
    write = kubectl_line(target.context, ref.namespace, "replace" if exists else "create", "-f", "-")
    return f"{read} | {turned} | {write}"


def tells_secrets(changes: Iterable[Change]) -> bool:
    """Whether a value among ``changes`` must not stand in a command line."""
    return any(shown(change.path, value) != value for change in changes for value in (change.old, change.new))


def patch(target: Target, changes: Iterable[Change], tests: Iterable[Guard] = ()) -> str:
    """A JSON patch of one object: ``tests`` first, then each change put in place. Raises :class:`ValueError` where that would
    tell a secret."""
    changes = tuple(changes)
    if tells_secrets(changes):
        raise ValueError(f"a patch of {changes[0].object} would tell a secret")
    operations: list[dict[str, Json]] = [{"op": "test", "path": path, "value": value} for path, value in tests]
    operations += [_operation(change) for change in changes]
    return kubectl_patch(changes[0].object, operations, context=target.context)


def _named_containers(workload: Document) -> list[dict[str, Json]]:
    return [
        {"op": "test", "path": pointer("spec", "template", "spec", kind, index, "name"), "value": container["name"]}
        for kind in ("containers", "initContainers")
        for index, container in enumerate(value_at(workload, pointer("spec", "template", "spec", kind)) or ())
    ]


def _operation(change: Change) -> dict[str, Json]:
    if change.new is None:
        return {"op": "remove", "path": change.path}
    return {"op": "add" if change.old is None else "replace", "path": change.path, "value": change.new}
