"""The routers by the name that a plan's steps call them, and what a route says of the canary."""

from types import ModuleType

from services.model.objects import Json
from services.model.rollout import Rollout
from services.traffic import istio

ROUTERS: dict[str, ModuleType] = {"istio": istio}


def serves_canary(rollout: Rollout, document: dict[str, Json]) -> bool:
    """Whether the rollout's route, as it is in ``document``, sends requests to the canary, whoever laid it out."""
    return any(router.reaches(document, rollout.release.service) for router in ROUTERS.values())
