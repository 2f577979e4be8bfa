"""The first-run tour of the sandbox: one step at a time, done when the person has done it. It looks on and presses no key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.actions import BY_ID
from console.view import Picture, RolloutCard
from services.model.rollout import Phase

SERVICE, ENVIRONMENT, VERSION = "payment-service", "production", "v2.15.0"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the tour looks at: the screen that the person is on, and the picture."""

    where: str
    picture: Picture

    @property
    def cards(self) -> tuple[RolloutCard, ...]:
        """The rollouts of the tour's service that began, newest first."""
        cards = self.picture.rollouts_of(ENVIRONMENT, SERVICE)
        return tuple(card for card in cards if card.rollout.phase is not Phase.REFUSED)


@dataclass(frozen=True, slots=True)
class Step:
    """``keys`` are pressed to do it, ``text`` says what and why; ``done`` whether it has been done."""

    keys: str
    text: str
    done: Callable[[Sight], bool]


def _key(action: str) -> str:
    return BY_ID[action].shown_key


def _returning(sight: Sight) -> bool:
    return any(card.rollout.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK) for card in sight.cards)


STEPS: tuple[Step, ...] = (
    Step(
        _key("deploy"),
        f"opens the deploy form. This is a sandbox: nothing here is real, so try everything. Every key is under {_key('help')}.",
        lambda sight: sight.where == "deploy" or any(card.live for card in sight.cards),
    ),
    Step(
        "enter",
        f"goes from field to field: {ENVIRONMENT}, {SERVICE}, {VERSION}, canary, ticket CHG-4821. Once the checklist has passed, "
        f"type {ENVIRONMENT} to confirm: that starts it.",
        lambda sight: bool(sight.cards) and sight.where != "deploy",
    ),
    Step(
        _key("open"),
        "on a rollout opens it. Its canary gets 5 % of the requests, then 10, 25 and 50 %, each share judged before the next.",
        lambda sight: sight.where == "rollout",
    ),
    Step(
        _key("rollback"),
        "takes it back, at once and from everywhere: the requests return to the version before within seconds.",
        _returning,
    ),
    Step(
        _key("calls"),
        "shows each call to a cluster as the kubectl line that makes the same one.",
        lambda sight: sight.where == "calls",
    ),
    Step(
        _key("journal"),
        "is the journal: who did what, when, with what result. q goes back.",
        lambda sight: sight.where == "journal",
    ),
)


class Tour:
    """Where the person is in it. Steps are taken in order; one that is done already is not asked for."""

    def __init__(self, steps: tuple[Step, ...] = STEPS) -> None:
        self._steps = steps
        self._place = 0

    @property
    def step(self) -> Step | None:
        """What is to be done now; ``None`` once all is done."""
        return self._steps[self._place] if self._place < len(self._steps) else None

    @property
    def place(self) -> tuple[int, int]:
        """The number of the step, from 1, and of how many."""
        return min(self._place + 1, len(self._steps)), len(self._steps)

    def look(self, sight: Sight) -> bool:
        """See whether the step is done; whether another follows now."""
        before = self._place
        while self.step is not None and self.step.done(sight):
            self._place += 1
        return self._place != before
