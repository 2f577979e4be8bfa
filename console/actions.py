"""The registry of actions. Keys, key bar, palette and help are all read from here, so none of them can lie.

A guard answers why an action can't be done now, or ``None`` where it can; it is asked again when the key is pressed.
Lower-case letters never change a cluster, but for ``p``: a pause is safe.
"""

from collections.abc import Callable
from dataclasses import dataclass

from console.view import Picture, RolloutCard, Selection
from services.model.fleet import EnvironmentView
from services.model.rollout import Phase

STALE_AFTER = 15.0
"""Wall seconds after which a cluster's picture is too old to act on."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a guard may look at."""

    picture: Picture
    selection: Selection
    screen: str

    @property
    def card(self) -> RolloutCard | None:
        """The selected rollout; for a selected service its live rollout, else its newest."""
        if self.selection.rollout:
            return self.picture.rollout(self.selection.rollout)
        cards = self.picture.rollouts_of(self.selection.environment, self.selection.service)
        return next((card for card in cards if card.live), cards[0] if cards else None)

    @property
    def environment(self) -> EnvironmentView | None:
        card = self.card
        return self.picture.environment(card.environment if card else self.selection.environment)

    def unfit(self) -> str | None:
        """Why nothing may be changed at all here."""
        if self.picture.read_only:
            return "observer mode (--read-only): nothing can be changed from here"
        environment = self.environment
        if environment is None:
            return "nothing is selected"
        if not environment.reachable or environment.age_seconds is None:
            return f"{environment.name} can't be reached: {environment.problem or 'no answer yet'}"
        if environment.age_seconds > STALE_AFTER:
            return f"the picture of {environment.name} is {environment.age_seconds:.0f} s old"
        return None


Guard = Callable[[Situation], str | None]

_KEY_NAMES = {"escape": "esc", "question_mark": "?", "slash": "/", "colon": ":"}


def key_name(key: str) -> str:
    """A key as it is written on a keyboard."""
    return _KEY_NAMES.get(key, key)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the operator can do. ``screens`` empty: everywhere. ``priority`` orders the key bar, low first."""

    id: str
    label: str
    keys: tuple[str, ...]
    help: str
    group: str
    guard: Guard
    screens: frozenset[str] = frozenset()
    priority: int = 50
    in_text: bool = False
    """Works while a text field has the focus (its keys are chords there)."""

    @property
    def shown_key(self) -> str:
        return key_name(self.keys[0])


def _always(_: Situation) -> str | None:
    return None


def _can_deploy(situation: Situation) -> str | None:
    if situation.picture.read_only:
        return "observer mode (--read-only): nothing can be changed from here"
    if situation.picture.connecting:
        return "still connecting"
    if not situation.picture.journal_ok:
        return f"the journal can't be written ({situation.picture.journal_detail}): nothing may start"
    return None


def _own_driver(situation: Situation, card: RolloutCard | None) -> str | None:
    if card is None:
        return "no rollout is selected"
    if not card.live:
        return f"the rollout is over ({card.rollout.phase.value.replace('_', ' ')})"
    if card.orphaned:
        return "nobody watches this rollout: T resumes it"
    if not card.own:
        return f"{card.driver or 'somebody else'} drives this rollout: T takes it over"
    return None


def _can_pause(situation: Situation) -> str | None:
    card = situation.card
    blocked = _own_driver(situation, card) or situation.unfit()
    if blocked or card is None:
        return blocked
    return None if card.rollout.phase is Phase.RUNNING else f"it is {card.rollout.phase.value.replace('_', ' ')} already"


def _can_promote(situation: Situation) -> str | None:
    card = situation.card
    blocked = _own_driver(situation, card) or situation.unfit()
    if blocked or card is None:
        return blocked
    if card.rollout.phase is Phase.ROLLING_BACK:
        return "it is rolling back"
    return None


def _can_abort(situation: Situation) -> str | None:
    card = situation.card
    blocked = _own_driver(situation, card) or situation.unfit()
    if blocked or card is None:
        return blocked
    return "it is rolling back already" if card.rollout.phase is Phase.ROLLING_BACK else None


def _can_take_over(situation: Situation) -> str | None:
    card = situation.card
    if card is None:
        return "no rollout is selected"
    if not card.live:
        return "the rollout is over"
    if card.own and not card.orphaned and card.rollout.phase is not Phase.NEEDS_ATTENTION:
        return "this rollout is driven from here"
    return situation.unfit()


def _can_roll_back(situation: Situation) -> str | None:
    if situation.picture.read_only:
        return "observer mode (--read-only): nothing can be changed from here"
    if not situation.selection.service and not situation.selection.rollout:
        return "select a service or a rollout"
    card = situation.card
    if card is not None and card.rollout.phase is Phase.ROLLED_BACK:
        return "it is rolled back already"
    return None


ACTIONS: tuple[Action, ...] = (
    Action("open", "open", ("enter",), "Open what is selected.", "Navigation", _always, frozenset({"fleet"}), 10),
    Action("back", "back", ("escape", "q"), "Go back one screen; clear the filter first.", "Navigation", _always, priority=15),
    Action(
        "deploy", "deploy", ("d",), "Deploy a version: form, checklist, plan, confirmation.", "Change", _can_deploy, priority=20
    ),
    Action(
        "rollback",
        "ROLL BACK",
        ("R", "alt+R", "alt+shift+r"),
        "Roll back the selected rollout or service. At once where a rollout runs or its rollback window is open; alt+R does it "
        "from inside a text field too.",
        "Change",
        _can_roll_back,
        priority=1,
        in_text=True,
    ),
    Action(
        "pause", "pause", ("p",), "Pause the rollout at this step.", "Change", _can_pause, frozenset({"fleet", "rollout"}), 30
    ),
    Action(
        "promote",
        "promote",
        ("P",),
        "Go on: end this pause or analysis now and take the next step.",
        "Change",
        _can_promote,
        frozenset({"fleet", "rollout"}),
        31,
    ),
    Action(
        "abort", "abort", ("A",), "Stop the rollout and roll it back.", "Change", _can_abort, frozenset({"fleet", "rollout"}), 32
    ),
    Action(
        "take_over",
        "resume",
        ("T",),
        "Resume a rollout that nobody watches, or take over one that somebody else drives.",
        "Change",
        _can_take_over,
        frozenset({"fleet", "rollout"}),
        33,
    ),
    Action(
        "journal", "journal", ("J",), "The journal: what was done, by whom, with what result.", "Navigation", _always, priority=40
    ),
    Action(
        "filter",
        "filter",
        ("slash",),
        "Show only rows that contain a text.",
        "Navigation",
        _always,
        frozenset({"fleet", "journal"}),
        41,
    ),
    Action("palette", "command", ("colon", "ctrl+p"), "Find any action by its name.", "General", _always, priority=42),
    Action("help", "help", ("question_mark",), "All keys that work here.", "General", _always, priority=43),
    Action("quit", "quit", ("ctrl+q",), "Leave the console. Rollouts go on in their drivers.", "General", _always, priority=60),
)

BY_ID = {action.id: action for action in ACTIONS}


def actions_on(screen: str) -> tuple[Action, ...]:
    """The actions of a screen, in the order of the key bar."""
    return tuple(sorted((a for a in ACTIONS if not a.screens or screen in a.screens), key=lambda a: a.priority))
