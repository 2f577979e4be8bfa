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
