"""What is asked before a key is answered that would undo somebody's work, cut a proof short, or act on what was long ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec
from textual.binding import Binding, BindingType

from console.screens.confirming import ConfirmingScreen
from console.screens.restore import RollBackScreen
from console.screens.words import change_words, driver_words
from console.view import Picture, RolloutCard, phase_word, rolled_back_words
from services.clock import Clock
from services.model.release import Tier
from services.model.rollout import Phase, Rollout
from services.model.steps import Analyse
from widgets.ink import Line, Tone

_VERDICTS = {
    "": "has said nothing yet",
    "no_data": "has no data",
    "regressed": "sees a regression",
    "undecided": "is undecided",
    "healthy": "had proof, but not at this share or not of now",
}


def asks_to_take_over(card: RolloutCard) -> bool:
    """Whether somebody is at work on the rollout: a driver that is not ours watches it."""
    return bool(card.watched) and not card.own and card.rollout.phase is not Phase.NEEDS_ATTENTION


def asks_to_promote(card: RolloutCard) -> bool:
    """Whether going on now would go before a proof of health where customers are."""
    return card.rollout.release.target.tier is Tier.PRODUCTION and not _proven(card.rollout)


def _proven(rollout: Rollout) -> bool:
    """Whether there is proof of health: at this share, while an analysis is under way. Metrics that are
    not read prove nothing."""
    from services.rollout import judging, state  # for a key that is seldom pressed

    if rollout.judgement is None or (rollout.freshness is not None and rollout.freshness.missing):
        return False
    if not isinstance(state.current(rollout), Analyse):
        return rollout.judgement.verdict == "healthy"
    try:
        return judging.proven(rollout)
    except msgspec.ValidationError:
        return False  # another version wrote it


def _place(card: RolloutCard) -> str:
    return f"{card.rollout.release.service} in {card.environment}"


class TakeOverScreen(ConfirmingScreen):
    """``newest`` is the rollout as the picture has it now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "confirm", "take over", priority=True),
        Binding("R", "app.roll_back_below", "roll back"),
    ]
    key = "T"
    deed = "takes it over now"

    def __init__(self, clock: Clock, card: RolloutCard, newest: Callable[[], RolloutCard | None]) -> None:
        lines: tuple[Line | str, ...] = (
            ((f"{driver_words(card)} drives it, and watches it.", Tone.WARN),),
            f"{change_words(card)}, {phase_word(card.rollout.phase)} at {card.rollout.weight} %.",
            "",
            "Taken over, that driver ends and its console is told. This home then drives it, and begins the step anew.",
            "To take the rollout back you need not have it: R rolls it back whoever drives it.",
        )
        super().__init__(clock, f"take {_place(card)} over from {card.driver or 'somebody else'}", lines)
        self._card, self._newest = card, newest

    def objection(self) -> str:
        newest = self._newest()
        if newest is None:
            return "no cluster shows it any more"
        if newest.own and not newest.orphaned:
            return "this home drives it by now"
        if not newest.live:
            return f"the rollout is over ({phase_word(newest.rollout.phase)})"
        return f"{newest.driver} drives it by now" if newest.watched and newest.driver != self._card.driver else ""


class PromoteScreen(ConfirmingScreen):
    """``newest`` is the rollout as the picture has it now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("P", "confirm", "promote", priority=True),
        Binding("R", "app.roll_back_below", "roll back"),
    ]
    key = "P"
    deed = "takes the next step now"

    def __init__(self, clock: Clock, card: RolloutCard, newest: Callable[[], RolloutCard | None]) -> None:
        rollout = card.rollout
        verdict = rollout.judgement.verdict if rollout.judgement is not None else ""
        step, following = (
            rollout.plan.steps[index].name if index < len(rollout.plan.steps) else "the end"
            for index in (rollout.step, rollout.step + 1)
        )
        left_alone = (
            "It is paused, and stays so until a person goes on: P ends the pause as well."
            if rollout.phase is Phase.PAUSED
            else "Left alone, the rollout goes on by itself once it is proven."
        )
        lines: tuple[Line | str, ...] = (
            ((f"Nothing proves yet that it is healthy: the judge {_VERDICTS.get(verdict, verdict)}.", Tone.WARN),),
            f'This ends "{step}" early and goes on to "{following}".',
            "",
            f"The triggers go on watching. {left_alone}",
        )
        super().__init__(clock, f"promote {_place(card)} without proof", lines)
        self._step, self._newest = rollout.step, newest

    def objection(self) -> str:
        newest = self._newest()
        if newest is None:
            return "no cluster shows it any more"
        if not newest.live or newest.rollout.phase is Phase.ROLLING_BACK:
            return f"it is {phase_word(newest.rollout.phase)}"
        return "it is at another step by now" if newest.rollout.step != self._step else ""


class OldPictureScreen(RollBackScreen):
    """To roll back a finished rollout of an environment that was not heard of for a while: ``old`` says for how long."""

    def __init__(self, clock: Clock, card: RolloutCard, old: str, picture: Callable[[], Picture]) -> None:
        ended = f" at {card.rollout.written:%H:%M:%S}Z" if card.rollout.written is not None else ""
        lines: tuple[Line | str, ...] = (
            ((f"{old[:1].upper()}{old[1:]}: something else may run there by now.", Tone.WARN),),
            f"As last seen: {change_words(card)}, {phase_word(card.rollout.phase)}{ended}, by {card.rollout.operator}.",
            "",
            f"This goes back to {card.rollout.plan.previous_version} as soon as the cluster answers.",
            "A value that was changed after this rollout is kept, and named.",
        )
        super().__init__(clock, f"roll back {_place(card)} on an old picture", lines)
        self._card, self._picture = card, picture

    def objection(self) -> str:
        """What came with a fresh picture: it was taken back, or somebody has begun something else since."""
        picture, release = self._picture(), self._card.rollout.release
        newest = picture.rollout(self._card.key)
        if newest is not None and newest.rollout.phase is Phase.ROLLED_BACK:
            return rolled_back_words(newest.rollout)
        later = [
            each
            for each in picture.rollouts_of(self._card.environment, release.service)
            if each.rollout.created > self._card.rollout.created and each.rollout.phase is not Phase.REFUSED
        ]
        return f"{later[0].rollout.operator} began to bring it to {later[0].rollout.versions[1]} since" if later else ""
