"""How the pods of a version behave: as the scenario says for what is newer than the seeded fleet, well for the rest."""

from importlib import resources
from typing import Any

import msgspec
import semver
import yaml

from services.sandbox import fleet
from services.sandbox.weather import Incident, Noise


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``errors``: share of requests that fail because of the version. ``latency``: factor on response times. Both begin
    ``after`` pace seconds after the version's first requests. ``avoided``: no request reaches it, whatever a route says."""

    errors: float = 0.0
    latency: float = 1.0
    after: float = 0.0
    crash: bool = False
    stuck: bool = False
    leak: bool = False
    avoided: bool = False

    @property
    def fate(self) -> str:
        """The word for it that the simulated nodes of a real control plane know; empty where pods start well."""
        return "crash" if self.crash else "neverready" if self.stuck else ""


class Raised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alert: of ``service``, else of the one whose new version is out; ``after`` so many pace seconds of the new version's
    first requests, in its namespace. Without ``after`` it fires all the time, in ``namespace``."""

    name: str
    severity: str = "critical"
    service: str = ""
    namespace: str = "production"
    after: float | None = None

    def labels(self, service: str, namespace: str) -> dict[str, str]:
        return {"alertname": self.name, "severity": self.severity, "service": service, "namespace": namespace}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rate``: requests a second to each service, in place of its own. ``settings``: sections of the written configuration."""

    title: str
    behaviour: Behaviour = Behaviour()
    rate: float | None = None
    noise: Noise = Noise()
    incident: Incident | None = None
    settings: dict[str, Any] = {}
    alerts: tuple[Raised, ...] = ()


WELL = Behaviour()


def scenarios() -> dict[str, Scenario]:
    """All scenarios by name."""
    found = {}
    for file in resources.files("services.sandbox.scenarios").iterdir():
        if file.name.endswith(".yaml"):
            found[file.name.removesuffix(".yaml")] = msgspec.convert(yaml.safe_load(file.read_text("utf-8")), Scenario)
    return dict(sorted(found.items()))


def split_image(image: str) -> tuple[str, str]:
    """Name and tag of an image: ``registry/a/payment-service:v2.15.0`` → ``("payment-service", "v2.15.0")``."""
    name, _, tag = image.rpartition("/")[2].partition(":")
    return name, tag


class Behaviours:
    """The behaviour of every image, under the scenario that is on now."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def of(self, namespace: str, image: str) -> Behaviour:
        """Broken versions stay so; what is newer than what the namespace was seeded with follows the scenario."""
        service, tag = split_image(image)
        if f"{service}:{tag}" in fleet.BROKEN:
            return Behaviour(crash=True)
        return self.scenario.behaviour if self.is_new(namespace, image) else WELL

    def is_new(self, namespace: str, image: str) -> bool:
        """Whether the scenario is about this image: a version newer than what the namespace was seeded with."""
        service, tag = split_image(image)
        seeded = fleet.version(namespace, service)
        return bool(seeded) and _newer(tag, seeded)


def _newer(tag: str, seeded: str) -> bool:
    try:
        return semver.Version.parse(tag.removeprefix("v")) > semver.Version.parse(seeded.removeprefix("v"))
    except ValueError:
        return tag != seeded
