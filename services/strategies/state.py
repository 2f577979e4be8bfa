"""What a plan is made from besides the release and the settings: the objects as the inventory last saw them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.model.objects import value_at
from services.traffic.router import Pods, Surroundings

Document = dict[str, Any]
"""One Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service's objects as raw JSON; absent ones are ``None``. ``autoscaled``: an autoscaler owns stable's replicas
    (``None``: that could not be read, so they are taken as nobody's)."""

    stable: Document
    canary: Document | None = None
    own: Document | None = None
    """The Service of its name."""
    canary_own: Document | None = None
    """The Service ``SERVICE-canary``."""
    virtual_services: tuple[Document, ...] = ()
    """All of the namespace, whatever they route to; so are the other routes."""
    destination_rules: tuple[Document, ...] = ()
    http_routes: tuple[Document, ...] = ()
    ingresses: tuple[Document, ...] = ()
    classes: Mapping[str, str] | None = None
    """Controller by IngressClass; ``None`` where they can't be read."""
    unseen: tuple[str, ...] = ()
    """Kinds of routes that may not be read."""
    autoscaled: bool | None = False

    def around(self, service: str, namespace: str, context: str = "") -> Surroundings:
        """The same as the routers look at it. ``context`` is the cluster's name in command lines."""
        return Surroundings(
            service=service,
            namespace=namespace,
            stable=self.stable,
            canary=self.canary,
            own=self.own,
            canary_own=self.canary_own,
            virtual_services=self.virtual_services,
            destination_rules=self.destination_rules,
            http_routes=self.http_routes,
            ingresses=self.ingresses,
            classes=self.classes,
            unseen=self.unseen,
            context=context,
        )

    @property
    def ready(self) -> Pods:
        """The ready pods of both workloads, as these say themselves."""
        stable, canary = (int(value_at(found, "/status/readyReplicas") or 0) for found in (self.stable, self.canary))
        return Pods(stable, canary)
