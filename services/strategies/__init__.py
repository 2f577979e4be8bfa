"""From a release and the state of its service to a plan: a pure function, one file a strategy.

A plan is data. The engine that runs it knows steps, never strategies.
"""

from collections.abc import Callable

from services.model.errors import Rejected
from services.model.release import Release, Strategy
from services.model.steps import Plan
from services.settings import Settings
from services.strategies.canary import canary
from services.strategies.clone import clone
from services.strategies.rolling import rolling
from services.strategies.state import ServiceState

__all__ = ["ServiceState", "clone", "compile_plan"]

COMPILERS: dict[Strategy, Callable[[Release, ServiceState, Settings], Plan]] = {
    Strategy.CANARY: canary,
    Strategy.ROLLING: rolling,
}


def compile_plan(release: Release, state: ServiceState, settings: Settings) -> Plan:
    """The steps that bring ``release`` to its service as it stands in ``state``.

    Raises :class:`Rejected` where it can't be done as asked; nothing has been attempted then.
    """
    compiler = COMPILERS.get(release.strategy)
    if compiler is None:
        raise Rejected("strategy", release.strategy.value, "not one of the strategies", ", ".join(COMPILERS))
    return compiler(release, state, settings)
