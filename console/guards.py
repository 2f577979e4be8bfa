"""What stands in the way of an action, as a sentence for the operator; nothing where it can be done now.

A guard answers for the situation that it is given; it is asked when keys are drawn, and again when one is pressed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from console.view import Picture, RolloutCard, Selection, phase_word, rolled_back_words
from services.model.fleet import EnvironmentView
from services.model.rollout import Phase
from widgets.format import age

STALE_AFTER = 10.0
"""Wall seconds after which a cluster's picture is too old to act on: two signs of life in a row were missed."""
READ_ONLY = "observer mode (--read-only): nothing can be changed from here"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a guard may look at."""

    picture: Picture
    selection: Selection
    screen: str
    first: bool = False
    """There is no screen to go back to, and nothing to clear."""
    folded: bool = False
    """The screen is too narrow for all of its panes at once."""
    only: str = ""
    """What the screen was narrowed to by the way it was opened."""
    unpicked: str = ""
    """Why what is selected is nobody's choice, where it moved there by itself: nothing is changed on that."""

    @property
    def card(self) -> RolloutCard | None:
        """The selected rollout; for a selected service its live rollout, else the newest that changed anything."""
        if self.selection.rollout:
            return self.picture.rollout(self.selection.rollout)
        cards = self.picture.rollouts_of(self.selection.environment, self.selection.service)
        began = [card for card in cards if card.rollout.phase is not Phase.REFUSED]
        return next((card for card in began if card.live), began[0] if began else None)

    @property
    def environment(self) -> EnvironmentView | None:
        card = self.card
        return self.picture.environment(card.environment if card else self.selection.environment)

    def unfit(self) -> str | None:
        """Why nothing may be changed at all here."""
        if self.picture.read_only:
            return READ_ONLY
        if self.picture.failure:
            return f"the console is cut off: {self.picture.failure}"
        environment = self.environment
        if environment is None:
            return "nothing is selected"
        if not environment.reachable or environment.age_seconds is None:
            return f"{environment.name} can't be reached: {environment.problem or 'no answer yet'}"
        return too_old(environment)


def too_old(environment: EnvironmentView | None) -> str | None:
    """How old the picture of an environment is, where it is too old to act on without a thought."""
    if environment is None or environment.age_seconds is None:
        return "nothing was heard of its environment yet"
    if environment.age_seconds > STALE_AFTER or not environment.reachable:
        return f"the picture of {environment.name} is {age(environment.age_seconds)} old"
    return None


Guard = Callable[[Situation], str | None]


def always(_: Situation) -> str | None:
    return None


def can_go_back(situation: Situation) -> str | None:
    return "this is the first screen; ctrl+q quits" if situation.first else None


def is_elsewhere(screen: str) -> Guard:
    """Nothing stands in the way of going to a screen but being there."""

    def guard(situation: Situation) -> str | None:
        return "this is it" if situation.screen == screen else None

    return guard


def can_fold(situation: Situation) -> str | None:
    return None if situation.folded else "everything is on the screen"


def can_see_logs(situation: Situation) -> str | None:
    return None if situation.selection.service or situation.card is not None else "no service is selected"


def can_show_all(situation: Situation) -> str | None:
    return None if situation.only else "all entries are shown"


def can_open(situation: Situation) -> str | None:
    if situation.screen == "service":
        if situation.selection.pod or situation.selection.event:
            return None
        return None if situation.card is not None else "no rollout is on record here"
    return None if situation.selection.service or situation.selection.rollout else "nothing is selected"


def can_deploy(situation: Situation) -> str | None:
    picture = situation.picture
    if picture.read_only:
        return READ_ONLY
    if picture.failure:
        return f"the console is cut off: {picture.failure}"
    if not picture.journal_ok:
        return f"the journal takes nothing new ({picture.journal_detail}): nothing may start"
    return None


def _driven_here(situation: Situation) -> tuple[RolloutCard | None, str | None]:
    """The rollout that an intent would go to, or why it can't go anywhere."""
    card = situation.card
    if card is None:
        return None, "no rollout is selected"
    if not card.live:
        return card, f"the rollout is over ({phase_word(card.rollout.phase)})"
    if card.rollout.phase is Phase.NEEDS_ATTENTION:
        return card, "it needs a person: R rolls it back again, T resumes it"
    if card.orphaned:
        return card, "nobody watches this rollout: T resumes it"
    if not card.own:
        return card, f"{card.driver or 'somebody else'} drives this rollout: T takes it over"
    return card, situation.unfit()


def can_pause(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return None if card.rollout.phase is Phase.RUNNING else f"it is {phase_word(card.rollout.phase)} already"


def can_resume(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return None if card.rollout.phase is Phase.PAUSED else f"it is not paused ({phase_word(card.rollout.phase)})"


def can_promote(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return "it is rolling back" if card.rollout.phase is Phase.ROLLING_BACK else None


def can_abort(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return "it is rolling back already" if card.rollout.phase is Phase.ROLLING_BACK else None


def can_take_over(situation: Situation) -> str | None:
    card = situation.card
    if card is None:
        return "no rollout is selected"
    if not card.live:
        return f"the rollout is over ({phase_word(card.rollout.phase)})"
    if card.own and not card.orphaned and card.rollout.phase is not Phase.NEEDS_ATTENTION:
        return "this rollout is driven from here"
    return situation.unfit()


def can_roll_back(situation: Situation) -> str | None:
    """Not refused for an old picture: the cluster itself tests every value, and waiting is worse than a refusal from there.
    Of a rollout that is over it is asked first whether that is still meant (:class:`~console.intents.Intents`)."""
    if situation.picture.read_only:
        return READ_ONLY
    if not situation.selection.service and not situation.selection.rollout:
        return "select a service or a rollout"
    card = None if situation.selection.revision else situation.card
    if situation.selection.rollout and card is None:
        return "the rollout is not known here"
    if card is not None and card.rollout.phase is Phase.ROLLED_BACK:
        return rolled_back_words(card.rollout)
    if card is not None and card.rollout.phase is Phase.REFUSED:
        return "it was refused and changed nothing"
    environment = situation.environment
    if environment is None and not situation.selection.environment:
        return "name its environment first"
    if environment is None or environment.age_seconds is None:
        name = environment.name if environment else situation.selection.environment
        return f"{name} was never reached: {(environment.problem if environment else '') or 'no answer yet'}"
    return None


def can_open_entry(situation: Situation) -> str | None:
    return None if situation.selection.entry else "no entry is selected"


def can_see_counterpart(situation: Situation) -> str | None:
    if situation.selection.phase:
        return None
    return "the entry is neither an intent nor the outcome of one" if situation.selection.entry else "no entry is selected"


def can_open_rollout(situation: Situation) -> str | None:
    if situation.card is not None and situation.selection.rollout:
        return None
    if situation.selection.recorded:
        return "no cluster has this rollout any more: t tells its story"
    return "it belongs to no rollout"


def can_tell_story(situation: Situation) -> str | None:
    if situation.selection.recorded or situation.card is not None:
        return None
    return "no rollout is selected"
