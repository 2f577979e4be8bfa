"""The cluster objects the house reads, reduced to the fields it uses, and the table of where each kind lives.

Thousands of these are kept, so they are frozen structs without collector tracking (``gc=False``: they can't form cycles). A field
that an API server may leave out has the default Kubernetes gives it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

CHECKPOINT = "checkpoint"
RECORD = "record"
KIND_LABEL = "quarterdeck/kind"
SERVICE_LABEL = "quarterdeck/service"
ROLLOUT_LABEL = "quarterdeck/rollout"
"""A label on checkpoints and records, an annotation on Leases: the rollout they belong to."""
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"


class Resource(NamedTuple):
    """Where a kind lives: API group (empty for the core), version and plural name."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


RESOURCES: Mapping[str, Resource] = {
    "Deployment": Resource("apps", "v1", "deployments"),
    "ReplicaSet": Resource("apps", "v1", "replicasets"),
    "Pod": Resource("", "v1", "pods"),
    "Service": Resource("", "v1", "services"),
    "Event": Resource("", "v1", "events"),
    "ConfigMap": Resource("", "v1", "configmaps"),
    "Namespace": Resource("", "v1", "namespaces"),
    "Lease": Resource("coordination.k8s.io", "v1", "leases"),
    # Served by every release there is, unlike v2, and the same in all that is read here.
    "HorizontalPodAutoscaler": Resource("autoscaling", "v1", "horizontalpodautoscalers"),
    "VirtualService": Resource("networking.istio.io", "v1beta1", "virtualservices"),
    "DestinationRule": Resource("networking.istio.io", "v1beta1", "destinationrules"),
    "HTTPRoute": Resource("gateway.networking.k8s.io", "v1", "httproutes"),
    "Ingress": Resource("networking.k8s.io", "v1", "ingresses"),
    "IngressClass": Resource("networking.k8s.io", "v1", "ingressclasses"),
}

OLDER: Mapping[str, tuple[str, ...]] = {"HTTPRoute": ("v1beta1",)}
"""Versions of a kind that are the same in all that is used here, for servers that don't serve the one in ``RESOURCES``."""
WITHOUT_NAMESPACE = ("IngressClass", "Namespace")


def path_of(kind: str, namespace: str, name: str = "", *, version: str = "") -> str:
    """URL path of one object, or of the namespace's collection where ``name`` is empty; in ``version`` where it is given.

    Raises KeyError for an unknown kind."""
    resource = RESOURCES[kind]
    root = f"/apis/{resource.group}" if resource.group else "/api"
    space = "" if kind in WITHOUT_NAMESPACE else f"/namespaces/{quote(namespace, safe='')}"
    path = f"{root}/{version or resource.version}{space}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


class _Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class OwnerReference(_Struct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Meta(_Struct, frozen=True):
    name: str = ""
    """Empty in a watch's bookmarks only."""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def controller(self) -> str:
        """UID of the owner that controls this object, or empty."""
        return next((owner.uid for owner in self.owner_references if owner.controller), "")


class Condition(_Struct, frozen=True):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None


class Resources(_Struct, frozen=True):
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}


class Container(_Struct, frozen=True):
    name: str
    image: str = ""
    resources: Resources = Resources()


class TemplateMeta(_Struct, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class PodSpec(_Struct, frozen=True):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_name: str = ""


class PodTemplate(_Struct, frozen=True):
    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()


class DeploymentSpec(_Struct, frozen=True):
    replicas: int = 1
    template: PodTemplate = PodTemplate()
    paused: bool = False


class DeploymentStatus(_Struct, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(_Struct, frozen=True):
    metadata: Meta
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(_Struct, frozen=True):
    replicas: int = 1
    template: PodTemplate = PodTemplate()


class ReplicaSetStatus(_Struct, frozen=True):
    replicas: int = 0
    ready_replicas: int = 0


class ReplicaSet(_Struct, frozen=True):
    metadata: Meta
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class Waiting(_Struct, frozen=True):
    reason: str = ""
    message: str = ""


class Terminated(_Struct, frozen=True):
    reason: str = ""
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerState(_Struct, frozen=True):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Struct, frozen=True):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(_Struct, frozen=True):
    phase: str = ""
    reason: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(_Struct, frozen=True):
    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)

    @property
    def restarts(self) -> int:
        """Restarts of all its containers together."""
        return sum(status.restart_count for status in self.status.container_statuses)


class ServiceSpec(_Struct, frozen=True):
    selector: dict[str, str] = {}


class Service(_Struct, frozen=True):
    metadata: Meta
    spec: ServiceSpec = ServiceSpec()


class ConfigMap(_Struct, frozen=True, weakref=True, gc=True):
    metadata: Meta
    data: dict[str, str] = {}


class LeaseSpec(_Struct, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: datetime | None = None


class Lease(_Struct, frozen=True):
    metadata: Meta
    spec: LeaseSpec = LeaseSpec()


class ScaleTarget(_Struct, frozen=True):
    kind: str = ""
    name: str = ""


class AutoscalerSpec(_Struct, frozen=True):
    scale_target_ref: ScaleTarget = ScaleTarget()
    min_replicas: int = 1
    max_replicas: int = 0


class Autoscaler(_Struct, frozen=True):
    """Who sets the replicas of its target: kind ``HorizontalPodAutoscaler``."""

    metadata: Meta
    spec: AutoscalerSpec = AutoscalerSpec()


class Destination(_Struct, frozen=True):
    host: str = ""
    subset: str = ""


class RouteDestination(_Struct, frozen=True):
    destination: Destination = Destination()
    weight: int | None = None


class HttpRoute(_Struct, frozen=True):
    name: str = ""
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(_Struct, frozen=True):
    hosts: tuple[str, ...] = ()
    http: tuple[HttpRoute, ...] = ()


class VirtualService(_Struct, frozen=True):
    metadata: Meta
    spec: VirtualServiceSpec = VirtualServiceSpec()


class Subset(_Struct, frozen=True):
    name: str = ""
    labels: dict[str, str] = {}


class DestinationRuleSpec(_Struct, frozen=True):
    host: str = ""
    subsets: tuple[Subset, ...] = ()


class DestinationRule(_Struct, frozen=True):
    metadata: Meta
    spec: DestinationRuleSpec = DestinationRuleSpec()


class Whole(_Struct, frozen=True):
    """An object of which nothing but the metadata is decoded, since whoever needs it needs it as it came."""

    metadata: Meta


TYPES: Mapping[str, type[Any]] = {
    "Deployment": Deployment,
    "ReplicaSet": ReplicaSet,
    "Pod": Pod,
    "Service": Service,
    "ConfigMap": ConfigMap,
    "Lease": Lease,
    "HorizontalPodAutoscaler": Autoscaler,
    "VirtualService": VirtualService,
    "DestinationRule": DestinationRule,
    "HTTPRoute": Whole,
    "Ingress": Whole,
}
"""The struct each kind is decoded into."""


class Stamp(_Struct, frozen=True):
    """The metadata alone, of an object of any kind."""

    metadata: Meta


class ListMeta(_Struct, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(_Struct, frozen=True):
    """One page of a list, its items not yet decoded."""

    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class WatchEvent(_Struct, frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, its object not yet decoded."""

    type: str
    object: msgspec.Raw


class StatusCause(_Struct, frozen=True):
    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(_Struct, frozen=True):
    causes: tuple[StatusCause, ...] | None = None
    retry_after_seconds: int = 0


class Status(_Struct, frozen=True):
    """What an API server answers when it did not do what was asked (kind ``Status``)."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def main_container(containers: Sequence[Container], service: str) -> Container | None:
    """The container that runs the service: the one whose image repository ends in its name, else the one of that name, else the
    first. Plans go by the same order (``services/strategies/images.py``): what is shown is the image that would be replaced."""
    named = [container for container in containers if image_name(container.image) == service]
    named += [container for container in containers if container.name == service]
    return next(iter((*named, *containers)), None)


def image_name(image: str) -> str:
    """The last part of an image's repository: ``proxy`` of ``registry:5000/team/proxy:v1@sha256:…``."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def image_version(image: str) -> str:
    """The tag of an image; for an image that only has a digest, its first twelve digits; else empty."""
    reference, _, digest = image.partition("@")
    tag = reference.rpartition("/")[2].partition(":")[2]
    return tag or digest.rpartition(":")[2][:12]


def template_version(template: PodTemplate, service: str) -> str:
    """The version a pod template runs: that of its main container's image."""
    container = main_container(template.spec.containers, service)
    return image_version(container.image) if container else ""
