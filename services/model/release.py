"""A deploy that was asked for, and the same deploy once everything about it has been checked."""

from enum import StrEnum

import msgspec


class Tier(StrEnum):
    """How careful an environment is; the canonical environment names are the same words (R2.1)."""

    DEV = "dev"
    STAGING = "staging"
    CANARY = "canary"
    PRODUCTION = "production"


class Strategy(StrEnum):
    ROLLING = "rolling"
    CANARY = "canary"


class DeployRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Raw strings as they came from a form, the command line or a file. Nothing here has been checked."""

    service: str
    version: str
    environment: str
    strategy: str = ""
    ticket: str = ""
    namespace: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a release goes: a configured environment, resolved against the known clusters."""

    environment: str
    tier: Tier
    context: str
    namespace: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A validated deploy (R2). ``version`` has the form the image tag has (with or without ``v``)."""

    service: str
    version: str
    target: Target
    strategy: Strategy
    ticket: str = ""
