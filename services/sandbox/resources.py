"""Which resources the API serves: one row each, read by discovery, routing, validation and printing."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""One Kubernetes object as JSON. What the store holds is never changed in place: every write puts a new one."""

READ_VERBS = ("get", "list", "watch")
VERBS = ("create", "delete", "deletecollection", *READ_VERBS, "patch", "update")


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    versions: tuple[str, ...]
    """Served versions, the one it is stored in first."""
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    status: bool = False
    """Has a status subresource: writes to the object leave its status alone, and the other way round."""
    scale: bool = False
    generation: bool = False
    """``metadata.generation`` counts the changes of everything but metadata and status."""
    custom: bool = False
    """Defined by a CRD: no strategic merge patch."""
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def api_version(self, version: str = "") -> str:
        version = version or self.versions[0]
        return f"{self.group}/{version}" if self.group else version


ISTIO = "networking.istio.io"
GATEWAY = "gateway.networking.k8s.io"
CUSTOM_GROUPS = (ISTIO, GATEWAY)
"""Groups that are defined by CRDs where they are served at all."""

NAMESPACES = Resource("", ("v1",), "namespaces", "Namespace", namespaced=False, short=("ns",), status=True)
PODS = Resource("", ("v1",), "pods", "Pod", short=("po",), status=True, subresources=("log", "proxy"), categories=("all",))
SERVICES = Resource("", ("v1",), "services", "Service", short=("svc",), status=True, subresources=("proxy",), categories=("all",))
ENDPOINTS = Resource("", ("v1",), "endpoints", "Endpoints", short=("ep",))
CONFIGMAPS = Resource("", ("v1",), "configmaps", "ConfigMap", short=("cm",))
SECRETS = Resource("", ("v1",), "secrets", "Secret")
EVENTS = Resource("", ("v1",), "events", "Event", short=("ev",))
DEPLOYMENTS = Resource(
    "apps", ("v1",), "deployments", "Deployment", short=("deploy",), status=True, scale=True, generation=True, categories=("all",)
)
REPLICASETS = Resource(
    "apps", ("v1",), "replicasets", "ReplicaSet", short=("rs",), status=True, scale=True, generation=True, categories=("all",)
)
AUTOSCALERS = Resource(
    "autoscaling",
    ("v2", "v1"),
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short=("hpa",),
    status=True,
    categories=("all",),
)
LEASES = Resource("coordination.k8s.io", ("v1",), "leases", "Lease")
VIRTUALSERVICES = Resource(
    ISTIO, ("v1", "v1beta1"), "virtualservices", "VirtualService", short=("vs",), generation=True, custom=True
)
DESTINATIONRULES = Resource(
    ISTIO, ("v1", "v1beta1"), "destinationrules", "DestinationRule", short=("dr",), generation=True, custom=True
)
HTTPROUTES = Resource(GATEWAY, ("v1", "v1beta1"), "httproutes", "HTTPRoute", status=True, generation=True, custom=True)
INGRESSES = Resource("networking.k8s.io", ("v1",), "ingresses", "Ingress", short=("ing",), status=True, generation=True)
INGRESSCLASSES = Resource("networking.k8s.io", ("v1",), "ingressclasses", "IngressClass", namespaced=False, generation=True)

RESOURCES = (
    NAMESPACES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIGMAPS,
    SECRETS,
    EVENTS,
    DEPLOYMENTS,
    REPLICASETS,
    AUTOSCALERS,
    LEASES,
    VIRTUALSERVICES,
    DESTINATIONRULES,
    HTTPROUTES,
    INGRESSES,
    INGRESSCLASSES,
)

REVIEW_GROUP = "authorization.k8s.io"


def find(group: str, version: str, plural: str) -> Resource | None:
    for resource in RESOURCES:
        if resource.group == group and resource.plural == plural and version in resource.versions:
            return resource
    return None


def meta(found: Object) -> dict[str, Any]:
    """The metadata of an object, for reading."""
    metadata: dict[str, Any] = found["metadata"]
    return metadata


def labels(found: Object) -> dict[str, str]:
    return meta(found).get("labels") or {}


def controller_of(found: Object) -> dict[str, Any] | None:
    """The owner reference of the object's controller."""
    return next((owner for owner in meta(found).get("ownerReferences") or () if owner.get("controller")), None)
