"""The simulated fleet: which services run where, in which version, with how many pods and under what load."""

from dataclasses import dataclass

NAMESPACES = ("dev", "staging", "canary", "production")
REGISTRY = "registry.sandbox.internal"
PROGRESS_DEADLINE = 120
"""Pace seconds."""
PORT = 8080


@dataclass(frozen=True, slots=True)
class Workload:
    """One service. ``rate``: requests a second in production; ``p99``: seconds; ``errors``: share of requests that fail."""

    name: str
    versions: dict[str, str]
    """By namespace; ``*`` for all others."""
    before: str
    """What ran everywhere until then: the revision before the current one."""
    replicas: int
    rate: float
    p99: float
    errors: float
    memory: str
    cpu: str = "1"
    router: str = ""
    """What splits its requests: ``istio``, ``gateway`` (an HTTPRoute) or ``nginx`` (an Ingress); empty: by ready pods."""
    smoke: str = "/api/v1/ping"

    def version(self, namespace: str) -> str:
        return self.versions.get(namespace, self.versions["*"])

    def replicas_in(self, namespace: str) -> int:
        return self.replicas if namespace == "production" else max(1, round(self.replicas / (2 if namespace == "canary" else 3)))

    def rate_in(self, namespace: str) -> float:
        return self.rate * SHARE_OF_LOAD[namespace]


SHARE_OF_LOAD = {"dev": 0.5, "staging": 1.0, "canary": 1.0, "production": 1.0}
"""Of a service's load in production. Load tests send the others as much as the judge needs to decide within a step."""

WORKLOADS = (
    Workload("payment-service", {"*": "v2.14.1"}, "v2.14.0", 6, 20_000.0, 0.045, 0.0005, "512Mi", router="istio"),
    Workload("checkout", {"*": "v1.9.0", "dev": "v1.10.0-rc.2"}, "v1.8.4", 6, 6_000.0, 0.080, 0.001, "512Mi", router="istio"),
    Workload("cart", {"*": "v3.2.1", "staging": "v3.3.0", "dev": "v3.3.0"}, "v3.2.0", 4, 9_000.0, 0.025, 0.0008, "256Mi"),
    Workload("catalog", {"*": "v5.0.3"}, "v5.0.2", 4, 12_000.0, 0.018, 0.0004, "512Mi", router="gateway"),
    Workload(
        "search", {"*": "v4.0.2", "staging": "v4.1.0", "dev": "v4.2.0-alpha.1"}, "v4.0.1", 5, 4_000.0, 0.120, 0.002, "1Gi", "2"
    ),
    Workload("accounts", {"*": "v2.7.0"}, "v2.6.3", 3, 1_500.0, 0.035, 0.0003, "256Mi"),
    Workload("notifications", {"*": "v1.4.2", "dev": "v1.5.0-beta.1"}, "v1.4.1", 2, 800.0, 0.060, 0.0015, "256Mi"),
    Workload("recommendations", {"*": "v0.9.3", "dev": "v0.9.4-rc.1"}, "v0.9.2", 3, 2_500.0, 0.150, 0.003, "1Gi", "2"),
    Workload(
        "web-frontend",
        {"*": "v7.12.0", "staging": "v7.12.1"},
        "v7.11.2",
        4,
        10_000.0,
        0.030,
        0.0006,
        "256Mi",
        router="nginx",
    ),
    Workload("ledger", {"*": "v1.1.5"}, "v1.1.4", 2, 5.0, 0.090, 0.001, "256Mi", "500m", router="istio"),
)

BY_NAME = {workload.name: workload for workload in WORKLOADS}


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that is ready to go to production: rehearsed in staging, its ticket approved."""

    service: str
    version: str
    ticket: str


OFFER_SERVICE, OFFER_VERSION = "payment-service", "v2.15.0"
"""The release that the scenarios are told with. They apply to every version newer than what was seeded."""

OFFERS = (
    Offer(OFFER_SERVICE, OFFER_VERSION, "CHG-4821"),
    Offer("catalog", "v5.1.0", "CHG-4831"),
    Offer("web-frontend", "v7.13.0", "CHG-4832"),
    Offer("cart", "v3.4.0", "CHG-4833"),
)
"""One for each way of splitting requests: VirtualService, HTTPRoute, nginx Ingress, and replica counts."""

BROKEN = {"recommendations:v0.9.4-rc.1"}
"""Images that crash in any scenario: a fleet in which all is well looks like none."""


def image(service: str, version: str) -> str:
    return f"{REGISTRY}/{service}:{version}"


def version(namespace: str, service: str) -> str:
    """What the service was seeded with there; empty where it is not part of the fleet."""
    workload = BY_NAME.get(service.removesuffix("-canary"))
    return workload.version(namespace) if workload and namespace in NAMESPACES else ""


def broken(workload: Workload, namespace: str) -> bool:
    return f"{workload.name}:{workload.version(namespace)}" in BROKEN
