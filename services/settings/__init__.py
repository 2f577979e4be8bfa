"""Configuration files turned into one validated :class:`Settings`."""

from services.model.gates import Person
from services.settings.load import load, parse
from services.settings.locate import current_login, find, home
from services.settings.policy import Binding, Policy
from services.settings.problems import ConfigurationError, Problem
from services.settings.schema import (
    CanaryPlan,
    CanaryStep,
    Environment,
    Metrics,
    Probes,
    RollingPlan,
    SandboxClock,
    Smoke,
    Tickets,
    Triggers,
)
from services.settings.secrets import SecretRef, SecretUnavailable
from services.settings.settings import Settings

__all__ = [
    "Binding",
    "CanaryPlan",
    "CanaryStep",
    "ConfigurationError",
    "Environment",
    "Metrics",
    "Person",
    "Policy",
    "Probes",
    "Problem",
    "RollingPlan",
    "SandboxClock",
    "SecretRef",
    "SecretUnavailable",
    "Settings",
    "Smoke",
    "Tickets",
    "Triggers",
    "current_login",
    "find",
    "home",
    "load",
    "operator",
    "parse",
]


def operator(settings: Settings, login: str) -> Person | None:
    """The configured person behind a login; ``None`` where nobody is named."""
    return settings.operator(login)
