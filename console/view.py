"""What the screens draw: one frozen picture of everything, made by the session at most a few times a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from services.model.fleet import EnvironmentView, FleetView, ServiceFigures, ServiceView
from services.model.rollout import Phase, Rollout

if TYPE_CHECKING:
    from services.audit.shipping.status import Shipping


def rolled_back_words(rollout: Rollout) -> str:
    """Where a rollback has brought a service, and how one goes on from there."""
    return f"its last rollback brought it to {rollout.plan.previous_version}; another revision: service screen, REVISIONS, R"


def phase_word(phase: Phase) -> str:
    """A rollout's phase as it is called everywhere on the screen."""
    return "needs a person" if phase is Phase.NEEDS_ATTENTION else phase.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A driver of this home lost its rollout to ``by`` (person@machine) ``at`` that moment."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DriverEnd:
    """A driver of this home ended ``at`` that moment in a way that nobody wanted; ``words`` say how. ``key`` is its rollout,
    ``place`` what it was about. ``before``: that was before this console was opened."""

    key: str
    place: str
    words: str
    at: datetime
    before: bool = False


class RollbackAsked(NamedTuple):
    """A rollback from here that no checkpoint tells of yet: asked for at that moment, or accepted then (its first patch)."""

    at: datetime
    accepted: bool = False
    silent: bool = False
    """It was accepted a while ago, and no driver has told of it since."""

    @property
    def going_on(self) -> bool:
        """Whether it was accepted, and its driver is on its way."""
        return self.accepted and not self.silent


@dataclass(frozen=True, slots=True)
class RolloutCard:
    """A rollout beside what its Lease says. ``watched`` is ``None`` where no cluster has answered yet."""

    rollout: Rollout
    environment: str
    watched: bool | None
    driver: str
    own: bool
    """Driven from this home: it can be restarted at once, and takes intents."""
    window_left: float = 0.0
    """Wall seconds in which one key still rolls back a finished rollout."""
    lease_age: float | None = None
    """Wall seconds since whoever drives it was last seen to renew the lease."""
    why_orphaned: str = ""
    """Why nobody is thought to watch it."""
    replaced: Replaced | None = None
    """Its driver of this home was replaced by another's."""
    asked: RollbackAsked | None = None
    """Its rollback that was asked for from here, where no checkpoint tells of it yet."""
    gave_up: str = ""
    """How the driver of this home ended that was to roll it back and did not."""
    unstored: bool = False
    """No cluster has it: this home alone knows of it."""

    @property
    def live(self) -> bool:
        return not self.rollout.phase.final

    @property
    def orphaned(self) -> bool:
        """Nobody is at work on it, nor on the way to it, though somebody should be."""
        if self.asked is not None and self.asked.going_on:
            return False
        return self.watched is False and self.rollout.phase in (Phase.RUNNING, Phase.PAUSED, Phase.ROLLING_BACK)

    @property
    def only_restores(self) -> bool:
        """It has a rollback to do and no step before it: what it takes back was not rolled out by it."""
        return not self.rollout.plan.steps

    @property
    def key(self) -> str:
        return self.rollout.id


@dataclass(frozen=True, slots=True)
class Picture:
    fleet: FleetView = field(default_factory=FleetView)
    rollouts: tuple[RolloutCard, ...] = ()
    ends: tuple[DriverEnd, ...] = ()
    """Drivers of this home that failed lately."""
    entries: tuple[dict[str, Any], ...] = ()
    """The newest journal entries, newest last."""
    journal_ok: bool = True
    journal_detail: str = ""
    shipping: Shipping | None = None
    """How the journal's entries come to their sinks; ``None`` where there are none."""
    operator: str = ""
    read_only: bool = False
    now: datetime | None = None
    pace: float = 0.0
    speed: float = 1.0
    figures: Mapping[tuple[str, str], ServiceFigures] = field(default_factory=dict)
    """What requests were like lately, by environment and service; of those that were looked at."""
    error_limit: float = 0.05
    """The share of failed requests above which a rollout is taken back."""
    connecting: bool = True
    failure: str = ""
    """Why the session could not start at all, if so."""

    def rollout(self, key: str | None) -> RolloutCard | None:
        return next((card for card in self.rollouts if card.key == key), None)

    def service(self, environment: str, name: str) -> ServiceView | None:
        for view in self.fleet.environments:
            if view.name == environment:
                return next((service for service in view.services if service.name == name), None)
        return None

    def environment(self, name: str) -> EnvironmentView | None:
        return next((view for view in self.fleet.environments if view.name == name), None)

    def pace_of(self, name: str) -> float:
        """The moment of what is shown of an environment (pace seconds): now, or when it was seen last where it is away."""
        view = self.environment(name)
        if view is None or view.reachable or view.age_seconds is None:
            return self.pace
        return self.pace - view.age_seconds * self.speed

    def rollouts_of(self, environment: str, service: str) -> tuple[RolloutCard, ...]:
        return tuple(
            card for card in self.rollouts if card.environment == environment and card.rollout.release.service == service
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What the operator has selected, bound to what it is, never to its place on the screen."""

    environment: str = ""
    service: str = ""
    rollout: str = ""
    pod: str = ""
    """The pod that has the keys."""
    event: str = ""
    """The event of one of the service's objects that has the keys."""
    revision: str = ""
    """The number of the service's revision to go back to, where one is selected that does not serve."""
    recorded: str = ""
    """The rollout that a selected entry names, whether a cluster still has it or not."""
    entry: str = ""
    """The sequence number of a selected entry."""
    phase: str = ""
    """``intent`` or ``outcome``, of a selected entry that is one."""


@runtime_checkable
class DrawnBeside(Protocol):
    """A dialog over a screen that shows what is in the picture, too."""

    def draw_beside(self, picture: Picture) -> None: ...
