"""How the pods of a version behave: as the scenario says for what is newer than the seeded fleet, well for the rest."""

from importlib import resources

import msgspec
import semver
import yaml

from services.sandbox import fleet


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``errors``: share of requests that fail because of the version. ``latency``: factor on response times."""

    errors: float = 0.0
    latency: float = 1.0
    crash: bool = False
    stuck: bool = False
    leak: bool = False

    @property
    def fate(self) -> str:
        """The word for it that the simulated nodes of a real control plane know; empty where pods start well."""
        return "crash" if self.crash else "neverready" if self.stuck else ""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    behaviour: Behaviour


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
        seeded = fleet.version(namespace, service)
        return self.scenario.behaviour if seeded and _newer(tag, seeded) else WELL


def _newer(tag: str, seeded: str) -> bool:
    try:
        return semver.Version.parse(tag.removeprefix("v")) > semver.Version.parse(seeded.removeprefix("v"))
    except ValueError:
        return tag != seeded
