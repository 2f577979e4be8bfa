"""The same change as a command line that a person can read, or paste where the console can't reach.

Pasted, a command carries no epoch: it does what it says whoever drives the service.
"""

import shlex
from collections.abc import Sequence

import msgspec

from services.actuator.mutation import Mutation, Write
from services.model.objects import Json, ObjectRef, pointer, pointer_parts

REPLICAS = pointer("spec", "replicas")


def kubectl(mutation: Mutation, *, context: str = "") -> str:
    """``kubectl scale`` where only the replicas of a Deployment change, else ``kubectl patch``."""
    return kubectl_for(mutation.object, mutation.writes, context=context)


def kubectl_for(ref: ObjectRef, writes: Sequence[Write], *, context: str = "") -> str:
    """The command line that makes ``writes`` on ``ref``; see :func:`kubectl`."""
    if ref.kind == "Deployment" and len(writes) == 1 and writes[0].path == REPLICAS and writes[0].value is not None:
        return kubectl_scale(ref, writes[0].value, context=context)
    return kubectl_patch(ref, writes, context=context)


def kubectl_scale(ref: ObjectRef, replicas: int, *, context: str = "") -> str:
    return shlex.join(["kubectl", *_in(context), "scale", str(ref), "-n", ref.namespace, f"--replicas={replicas}"])


def kubectl_patch(ref: ObjectRef, writes: Sequence[Write], *, context: str = "") -> str:
    """As a JSON patch: the one kind that changes single items of lists (containers, routes) and leaves the rest alone."""
    body = msgspec.json.encode([_operation(write) for write in writes]).decode()
    return shlex.join(
        ["kubectl", *_in(context), "patch", ref.kind.lower(), ref.name, "-n", ref.namespace, "--type=json", "-p", body]
    )


def _operation(write: Write) -> dict[str, Json]:
    if write.value is None:
        return {"op": "remove", "path": write.path}
    last = pointer_parts(write.path)[-1]
    return {"op": "replace" if last.isdigit() else "add", "path": write.path, "value": write.value}


def _in(context: str) -> list[str]:
    return ["--context", context] if context else []
