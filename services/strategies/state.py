"""What a plan is made from besides the release and the settings: the objects as the inventory last saw them."""

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
"""One Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service's objects as raw JSON; absent ones are ``None``. ``autoscaled``: an autoscaler owns stable's replicas
    (``None``: that could not be read, so they are taken as nobody's)."""

    stable: Document
    canary: Document | None = None
    route: Document | None = None
    """The VirtualService that routes to the service."""
    destination: Document | None = None
    """The DestinationRule that defines its subsets."""
    autoscaled: bool | None = False
