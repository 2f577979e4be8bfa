"""The canary workload: a clone of stable that only its labels, images and replicas tell apart."""

import copy
from collections.abc import Mapping

from services.model.objects import value_at
from services.strategies.state import Document

OWNED_BY_OTHERS = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "helm.sh/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "argocd.argoproj.io/",
    "applyset.kubernetes.io/",
    "kapp.k14s.io/",
    "objectset.rio.cattle.io/",
    "addonmanager.kubernetes.io/",
)
"""Labels by which Helm, Argo CD, Flux, ``kubectl apply --prune``, kapp, Fleet and the add-on manager know their objects. A clone
that carried them would be pruned by its owner."""


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
