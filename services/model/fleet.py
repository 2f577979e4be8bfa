"""What the screen shows of a cluster: environments, services and pods, each with its age."""

from enum import StrEnum

import msgspec


class Health(StrEnum):
    OK = "ok"
    PROGRESSING = "progressing"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class PodView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    track: str
    """``canary`` or ``stable``."""
    ready: bool
    phase: str
    reason: str = ""
    """Why it waits or died, e.g. ``CrashLoopBackOff``."""
    restarts: int = 0
    created: float = 0.0
    """Unix seconds."""
    node: str = ""


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """One deployable service of one namespace. ``desired`` and ``ready`` count the stable workload's pods."""

    name: str
    namespace: str
    environment: str
    context: str
    kind: str
    version: str
    ready: int
    desired: int
    health: Health
    detail: str = ""
    rollout: str | None = None
    canary_version: str = ""
    canary_ready: int = 0
    canary_weight: int | None = None
    changed: float | None = None
    """Unix seconds of the last change of version, where known."""


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a service's requests were like lately, both versions together. ``None`` is not known, never zero."""

    age: float = 0.0
    """Wall seconds since they were last told."""
    errors: float | None = None
    """Share (0-1) of the requests that failed."""
    p99: float | None = None
    """Seconds that 99 of 100 requests stayed at or below."""
    trend: tuple[float | None, ...] = ()
    """The P99 between one look and the next, oldest first."""
    problem: str = ""
    """Why something is not known; one line, inert."""


class EnvironmentView(msgspec.Struct, frozen=True, kw_only=True):
    """``age_seconds`` is how old the picture is (wall); ``None`` before there was one. ``problem`` says why it is stale."""

    name: str
    tier: str
    context: str
    namespaces: tuple[str, ...]
    reachable: bool
    age_seconds: float | None
    services: tuple[ServiceView, ...]
    problem: str = ""


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    environments: tuple[EnvironmentView, ...] = ()
