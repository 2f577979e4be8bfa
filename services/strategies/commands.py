"""The steps of a plan as kubectl command lines: what an operator would type to do the same by hand. They are shown and
journalled, never run."""

import json
import shlex
from collections.abc import Iterable, Mapping

from services.model.objects import Change, Json, ObjectRef
from services.model.release import Target
from services.traffic.istio import Guard


def set_image(target: Target, workload: ObjectRef, images: Mapping[str, str]) -> str:
    pairs = [f"{container}={image}" for container, image in images.items()]
    return _kubectl(target, "set", "image", str(workload), *pairs)


def scale(target: Target, workload: ObjectRef, replicas: int) -> str:
    return _kubectl(target, "scale", str(workload), f"--replicas={replicas}")


def wait_ready(target: Target, workload: ObjectRef, timeout: float) -> str:
    return _kubectl(target, "rollout", "status", str(workload), f"--timeout={timeout:.0f}s")


def resume(target: Target, workload: ObjectRef) -> str:
    return _kubectl(target, "rollout", "resume", str(workload))


def delete(target: Target, workload: ObjectRef) -> str:
    return _kubectl(target, "delete", str(workload))


def create(target: Target, workload: ObjectRef) -> str:
    """The clone's manifest is too long for a command line; the plan's changes list what it adds to its source."""
    return _kubectl(target, "create", "-f", f"{workload.name}.json")


def patch(target: Target, changes: Iterable[Change], tests: Iterable[Guard] = ()) -> str:
    """A JSON patch of one object: ``tests`` first, then each change put in place."""
    changes = tuple(changes)
    operations: list[dict[str, Json]] = [{"op": "test", "path": path, "value": value} for path, value in tests]
    operations += [_operation(change) for change in changes]
    ref = changes[0].object
    return _kubectl(
        target, "patch", ref.kind.lower(), ref.name, "--type=json", "-p", json.dumps(operations, separators=(",", ":"))
    )


def _operation(change: Change) -> dict[str, Json]:
    if change.new is None:
        return {"op": "remove", "path": change.path}
    return {"op": "add" if change.old is None else "replace", "path": change.path, "value": change.new}


def _kubectl(target: Target, verb: str, *arguments: str) -> str:
    return shlex.join(["kubectl", verb, *arguments, "-n", target.namespace, "--context", target.context])
