"""The Service ``SERVICE-canary``: what a route sends the canary's share to."""

from services.model.objects import value_at
from services.traffic.labels import selector_of
from services.traffic.router import Document, Surroundings

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

_COPIED = ("port", "targetPort", "protocol", "appProtocol", "name")


def canary_service(around: Surroundings, labels: dict[str, str]) -> tuple[Document, ...]:
    """The Service to create for the canary: the ports of the stable one, and its selector with ``labels``. Nothing where there
    is one already."""
    if around.canary_own is not None or around.own is None:
        return ()
    ports = [
        {key: port[key] for key in _COPIED if key in port}
        for port in value_at(around.own, "/spec/ports") or ()
        if isinstance(port, dict)
    ]
    spec: Document = {"selector": {**selector_of(around.own), **labels}, "ports": ports}
    return (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": around.canary_name,
                "namespace": around.namespace,
                "labels": {**own_labels(around.own), **labels},
            },
            "spec": spec,
        },
    )


def own_labels(document: Document) -> dict[str, str]:
    """The labels of an object, those left out by which somebody else knows what is theirs."""
    found = value_at(document, "/metadata/labels") or {}
    return {str(key): str(value) for key, value in found.items() if not str(key).startswith(OWNED_BY_OTHERS)}
