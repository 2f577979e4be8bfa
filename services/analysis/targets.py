"""The pods that are looked at, with the limits of the container that runs the service."""

import contextlib
import re
from typing import Any

import msgspec

from services.cluster.objects import Container, Pod


class PodTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One pod to read. Limits are cores and bytes, ``None`` where the container has none. ``ready`` as the cluster says."""

    name: str
    namespace: str
    cpu_limit: float | None = None
    memory_limit: float | None = None
    ready: bool = True


_QUANTITY = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)")
_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    **{suffix: 1000.0**power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: 1024.0**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def quantity(value: Any) -> float | None:
    """A Kubernetes quantity (``500m``, ``1.5``, ``256Mi``, ``1e3``) in its base unit; ``None`` for anything else."""
    found = _QUANTITY.fullmatch(str(value).strip())
    if found:
        number, exponent, suffix = found.groups()
        with contextlib.suppress(ValueError):
            return float(number + (exponent or "")) * _FACTORS[suffix or ""]
    return None


def target_of(pod: Pod, service: str) -> PodTarget:
    """The target that a pod is. The limits are those of the container whose image repository ends in the service's name,
    else of the first: the one whose process the metrics speak of."""
    container = next((each for each in pod.spec.containers if _repository(each.image) == service), None)
    if container is None and pod.spec.containers:
        container = pod.spec.containers[0]
    return PodTarget(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        cpu_limit=_limit(container, "cpu"),
        memory_limit=_limit(container, "memory"),
        ready=pod.ready,
    )


def _limit(container: Container | None, resource: str) -> float | None:
    limit = quantity(container.resources.limits.get(resource)) if container is not None else None
    return limit if limit and limit > 0 else None


def _repository(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
