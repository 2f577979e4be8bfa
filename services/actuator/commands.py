"""The same change as a command line that a person can read, or paste where the console can't reach.

Pasted, a command carries no epoch: it does what it says whoever drives the service. Secrets of an object are never part of a
command: where a change holds one, the command gets the value from the cluster, or asks the person for it.
"""

import shlex
from collections.abc import Sequence

import msgspec

from services.actuator.mutation import Mutation, Write
from services.actuator.shown import shown
from services.model.objects import Json, ObjectRef, dotted, pointer, pointer_parts

REPLICAS = pointer("spec", "replicas")
TEMPLATE = pointer("spec", "template")


def kubectl(mutation: Mutation, *, context: str) -> str:
    """``kubectl scale`` where only the replicas of a Deployment change, else ``kubectl patch``."""
    return kubectl_for(mutation.object, mutation.writes, context=context)


def kubectl_for(ref: ObjectRef, writes: Sequence[Write], *, context: str, revision: int = 0) -> str:
    """The command line that makes ``writes`` on ``ref``; see :func:`kubectl`.

    A pod template that is restored as a whole, to a known ``revision``, or with a secret in it is restored from the
    Deployment's own history (0: the revision before); any other change that holds a secret is left to the person's editor.
    """
    in_template = ref.kind == "Deployment" and all((write.path + "/").startswith(TEMPLATE + "/") for write in writes)
    secret = any(shown(write.path, write.value) != write.value for write in writes)
    if in_template and writes and (secret or revision or any(write.path == TEMPLATE for write in writes)):
        return kubectl_undo(ref, revision, context=context)
    if secret:
        return kubectl_edit(ref, [write.path for write in writes], context=context)
    if ref.kind == "Deployment" and len(writes) == 1 and writes[0].path == REPLICAS and writes[0].value is not None:
        return kubectl_scale(ref, writes[0].value, context=context)
    return kubectl_patch(ref, [_operation(write) for write in writes], context=context)


def kubectl_scale(ref: ObjectRef, replicas: int, *, context: str) -> str:
    return kubectl_line(context, ref.namespace, "scale", str(ref), f"--replicas={replicas}")


def kubectl_undo(ref: ObjectRef, revision: int = 0, *, context: str) -> str:
    """To the template of ``revision``, else to that of the revision before."""
    to = [f"--to-revision={revision}"] if revision else []
    return kubectl_line(context, ref.namespace, "rollout", "undo", str(ref), *to)


def kubectl_status(ref: ObjectRef, *, context: str, timeout: float | None = None) -> str:
    """Waits until the workload is ready; for ``timeout`` wall seconds at most, where given."""
    most = [f"--timeout={timeout:.0f}s"] if timeout is not None else []
    return kubectl_line(context, ref.namespace, "rollout", "status", str(ref), *most)


def kubectl_delete(ref: ObjectRef, *, context: str) -> str:
    return kubectl_line(context, ref.namespace, "delete", str(ref))


def kubectl_get(ref: ObjectRef, *, context: str) -> str:
    return kubectl_line(context, ref.namespace, "get", str(ref), "-o", "yaml")


def kubectl_edit(ref: ObjectRef, paths: Sequence[str] = (), *, context: str) -> str:
    """By the person's own hand. ``paths`` are values that must not be told: where they belong is said in a comment, which a
    shell leaves out."""
    line = kubectl_line(context, ref.namespace, "edit", str(ref))
    where = " ".join(", ".join(dotted(path) for path in paths).split())  # a line feed would end the comment
    return f"{line}  # {where}: not shown, it holds secrets" if where else line


def kubectl_patch(ref: ObjectRef, operations: Sequence[Json], *, context: str) -> str:
    """As a JSON patch: the one kind that changes single items of lists (containers, routes) and leaves the rest alone."""
    body = msgspec.json.encode(operations).decode()
    return kubectl_line(context, ref.namespace, "patch", ref.kind.lower(), ref.name, "--type=json", "-p", body)


def kubectl_line(context: str, namespace: str, verb: str, *arguments: str) -> str:
    """Every command line that is shown is made here: it names the cluster it is meant for, since whoever pastes it may have
    another one as current context."""
    return shlex.join(["kubectl", verb, *arguments, "-n", namespace, "--context", context])


def _operation(write: Write) -> dict[str, Json]:
    if write.value is None:
        return {"op": "remove", "path": write.path}
    last = pointer_parts(write.path)[-1]
    return {"op": "replace" if last.isdigit() else "add", "path": write.path, "value": write.value}
