"""What is unsafe now, the worst first. Everything that tells a person so (status line, ``!``, bell, title) reads it from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from console.guards import Situation
from console.view import Picture, RolloutCard, Selection
from services.model.fleet import EnvironmentView, Health, ServiceView
from services.model.rollout import Phase, Rollout
from services.model.steps import Pause
from widgets.format import age
from widgets.ink import Tone

if TYPE_CHECKING:
    from services.audit.shipping.status import SinkStatus


class Kind(StrEnum):
    """Ways to be unsafe, the worst first."""

    JOURNAL = "journal"
    """What is done now leaves no trace."""
    CUT_OFF = "cut off"
    """The console itself sees nothing any more."""
    ORPHANED = "nobody watches"
    NEEDS_PERSON = "needs a person"
    ROLLING_BACK = "rolls back"
    SHIPPING = "not shipped"
    """What is done now is in this machine's journal alone, for longer than it may be."""
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    PAUSED = "paused"
    """By an operator or because something is not as planned; a plan's own pause is no concern."""
    DEGRADED = "degraded"
    UNREADABLE = "partly unreadable"
    """A cluster that answers, but does not show everything."""


ALARMS = frozenset({Kind.JOURNAL, Kind.CUT_OFF, Kind.ORPHANED, Kind.NEEDS_PERSON, Kind.ROLLING_BACK, Kind.SHIPPING})
"""What a person has to hear of at once."""
_TONES = {
    **dict.fromkeys((Kind.JOURNAL, Kind.CUT_OFF, Kind.ORPHANED, Kind.NEEDS_PERSON), Tone.ALARM),
    **dict.fromkeys((Kind.SHIPPING, Kind.FAILED, Kind.UNREACHABLE), Tone.BAD),
    **dict.fromkeys((Kind.ROLLING_BACK, Kind.PAUSED, Kind.DEGRADED, Kind.UNREADABLE), Tone.WARN),
}
_RANK = {kind: rank for rank, kind in enumerate(Kind)}
_TIERS = {"canary": 1, "staging": 2, "dev": 3}
"""Of equally bad things those nearest to users go first; a tier of another name counts as production."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is unsafe. ``place`` is where to look: a rollout, a service, an environment; empty for the journal."""

    kind: Kind
    words: str
    place: Selection
    tone: Tone
    since: datetime | None
    """Since when, where that is known."""

    @property
    def identity(self) -> tuple[Kind, Selection]:
        """What makes it the same concern in another picture."""
        return self.kind, self.place


_seen: tuple[Picture, tuple[Concern, ...]] | None = None


def concerns(picture: Picture) -> tuple[Concern, ...]:
    """Everything unsafe that ``picture`` shows, the worst first. The order is total, so that nothing moves by itself."""
    global _seen
    # asked several times for each picture, and a fleet may have thousands of services
    if _seen is None or _seen[0] is not picture:
        tiers = {view.name: _TIERS.get(view.tier, 0) for view in picture.fleet.environments}

        def urgency(concern: Concern) -> tuple[int, int, str, str, str]:
            """Of one kind those of production first, then by name: two are never alike."""
            place = concern.place
            return _RANK[concern.kind], tiers.get(place.environment, 0), place.environment, place.service, place.rollout

        _seen = picture, tuple(sorted(_found(picture), key=urgency))
    return _seen[1]


def following(found: Sequence[Concern], last: Concern | None) -> Concern | None:
    """The concern to look at after ``last``: the next one, from the end the worst again; without ``last`` the worst."""
    identities = [concern.identity for concern in found]
    if last is None or last.identity not in identities:
        return found[0] if found else None
    return found[(identities.index(last.identity) + 1) % len(found)]


def _concern(kind: Kind, words: str, place: Selection, since: datetime | None = None) -> Concern:
    return Concern(kind, words, place, _TONES[kind], since)


def _found(picture: Picture) -> Iterator[Concern]:
    if not picture.journal_ok:
        yield _concern(Kind.JOURNAL, f"journal: {picture.journal_detail}", Selection())
    if picture.failure:
        yield _concern(Kind.CUT_OFF, f"cut off: {picture.failure}", Selection())
    for sink in picture.shipping.troubled[:1] if picture.shipping else ():
        since = datetime.fromtimestamp(sink.error_since, UTC) if sink.error_since else None
        yield _concern(Kind.SHIPPING, shipping_words(sink), Selection(), since)
    for card in picture.rollouts:
        kind = _kind_of(card)
        if kind is not None:
            yield _of_rollout(kind, card, picture)
    for view in picture.fleet.environments:
        yield from _of_environment(view, picture)


def shipping_words(sink: SinkStatus) -> str:
    """What is wrong with one sink, in a few words."""
    waits = f", {sink.backlog} entries wait" if sink.backlog else ""
    if sink.state == "stopped":
        return f"{sink.name} is stopped{waits}: {sink.error}"
    if sink.state == "held":
        return f"{sink.name} takes nothing{waits}: {sink.error}"
    return f"{sink.name} is {age(sink.lag_seconds)} behind{waits}" + (f": {sink.error}" if sink.error else "")


def _kind_of(card: RolloutCard) -> Kind | None:
    """The worst that there is to say of a rollout."""
    phase = card.rollout.phase
    if card.orphaned:
        return Kind.ORPHANED
    if phase is Phase.NEEDS_ATTENTION or card.gave_up:
        return Kind.NEEDS_PERSON
    if phase is Phase.ROLLING_BACK or card.asked is not None:
        return Kind.ROLLING_BACK
    return Kind.PAUSED if phase is Phase.PAUSED and not pauses_as_planned(card.rollout) else None


def pauses_as_planned(rollout: Rollout) -> bool:
    """Whether a paused rollout waits where its plan says that it waits for a person."""
    step = rollout.plan.steps[rollout.step] if rollout.step < len(rollout.plan.steps) else None
    return isinstance(step, Pause) and step.seconds is None and rollout.pause_reason.startswith("approval:")


def _of_rollout(kind: Kind, card: RolloutCard, picture: Picture) -> Concern:
    rollout = card.rollout
    name = f"{rollout.release.service} in {card.environment}"
    since = rollout.written if kind is Kind.ORPHANED else None
    began = rollout.rollback_started if kind is Kind.ROLLING_BACK else None
    if began is not None and picture.now is not None:
        since = picture.now - timedelta(seconds=max(0.0, picture.pace - began) / picture.speed)
    words = {
        Kind.ORPHANED: f"nobody watches {name}",
        Kind.NEEDS_PERSON: f"{name}: its rollback was given up" if card.gave_up else f"{name} needs a person",
        Kind.ROLLING_BACK: _rolls_back(card, name),
        Kind.PAUSED: f"{name} paused",
    }[kind]
    return _concern(kind, words, Selection(card.environment, rollout.release.service, rollout.id), since)


def _rolls_back(card: RolloutCard, name: str) -> str:
    if card.asked is None or card.asked.going_on:
        return f"{name} rolls back"
    return f"{name}: {'rollback not heard of' if card.asked.silent else 'rollback not accepted yet'}"


def _of_environment(view: EnvironmentView, picture: Picture) -> Iterator[Concern]:
    place = Selection(view.name)
    if not view.reachable:
        if not view.problem and view.age_seconds is None:
            return  # it was just asked for the first time
        since = None
        if picture.now is not None and view.age_seconds is not None:
            since = picture.now - timedelta(seconds=view.age_seconds)
        yield _concern(Kind.UNREACHABLE, f"{view.name} {last_seen(view)}", place, since)
        return
    if view.problem:
        yield _concern(Kind.UNREADABLE, f"{view.name}: {view.problem}", place)
    for service in view.services:
        yield from _of_service(service, view.name)


def _of_service(service: ServiceView, environment: str) -> Iterator[Concern]:
    kind = {Health.FAILED: Kind.FAILED, Health.DEGRADED: Kind.DEGRADED}.get(service.health)
    if kind is not None:
        yield _concern(kind, f"{service.name} in {environment} {kind.value}", Selection(environment, service.name))


def last_seen(view: EnvironmentView) -> str:
    """How old the picture of an environment is that can't be reached."""
    return f"unreachable, seen {age(view.age_seconds)} ago" if view.age_seconds is not None else "never reached"


def can_attend(situation: Situation) -> str | None:
    return None if concerns(situation.picture) else "nothing is unsafe"
