"""The canary workload: a clone of stable that only its labels, images and replicas tell apart."""

import copy
from collections.abc import Mapping

from services.model.objects import value_at
from services.strategies.state import Document
from services.traffic.backends import OWNED_BY_OTHERS


def clone(source: Document, name: str, *, images: Mapping[str, str], labels: Mapping[str, str], replicas: int) -> Document:
    """The body of a Deployment ``name``: ``source``'s spec with ``images`` (container → image), ``labels`` on template and
    selector, ``replicas`` pods. Status, annotations, owners and identity of the source are left behind."""
    spec = copy.deepcopy(source["spec"])
    spec["replicas"] = replicas
    spec.pop("paused", None)
    selector = spec.setdefault("selector", {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **labels}
    # What the source demands of these labels (track notin (canary)) would contradict the clone's own template.
    if expressions := selector.pop("matchExpressions", None):
        others = [expression for expression in expressions if expression.get("key") not in labels]
        selector.update({"matchExpressions": others} if others else {})
    template = spec["template"]
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    for kind in ("containers", "initContainers"):
        for container in template["spec"].get(kind) or ():
            container["image"] = images.get(container["name"], container["image"])
    own = {
        key: value for key, value in (value_at(source, "/metadata/labels") or {}).items() if not key.startswith(OWNED_BY_OTHERS)
    }
    return {
        "apiVersion": source.get("apiVersion", "apps/v1"),
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": value_at(source, "/metadata/namespace"), "labels": {**own, **labels}},
        "spec": spec,
    }
