"""The registry of actions. Keys, key bar, palette and help are all read from here, so none of them can lie.

A guard answers why an action can't be done now, or ``None`` where it can; it is asked again when the key is pressed.
Lower-case letters never change a cluster, but for ``p``: a pause is safe.
"""

from collections.abc import Callable
from dataclasses import dataclass

from console.view import Picture, RolloutCard, Selection, phase_word
from services.model.fleet import EnvironmentView
from services.model.rollout import Phase
from widgets.format import age, expected

STALE_AFTER = 15.0
"""Wall seconds after which a cluster's picture is too old to act on."""


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
        if environment.age_seconds > STALE_AFTER:
            return f"the picture of {environment.name} is {age(environment.age_seconds)} old"
        return None


Guard = Callable[[Situation], str | None]

READ_ONLY = "observer mode (--read-only): nothing can be changed from here"
_KEY_NAMES = {"escape": "esc", "question_mark": "?", "slash": "/", "colon": ":", "f1": "F1", "alt+shift+r": "alt+R"}


def key_name(key: str) -> str:
    """A key as it is written on a keyboard."""
    return _KEY_NAMES.get(key, key)


def typed(key: str) -> bool:
    """Whether a text field takes this key as text."""
    return len(key) == 1 or key in ("question_mark", "slash", "colon", "enter")


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
    changes: bool = False
    """It can change a cluster."""

    @property
    def shown_keys(self) -> tuple[str, ...]:
        """Every key as it is written, once: terminals name some chords in two ways."""
        return tuple(dict.fromkeys(key_name(key) for key in self.keys))

    @property
    def shown_key(self) -> str:
        return key_name(self.keys[0])

    @property
    def text_key(self) -> str | None:
        """The key that does it while a text field has the focus, if any."""
        return next((key_name(key) for key in self.keys if not typed(key)), None)


def _always(_: Situation) -> str | None:
    return None


def _can_go_back(situation: Situation) -> str | None:
    return "this is the first screen; ctrl+q quits" if situation.first else None


def _can_fold(situation: Situation) -> str | None:
    return None if situation.folded else "everything is on the screen"


def _can_show_all(situation: Situation) -> str | None:
    return None if situation.only else "all entries are shown"


def _can_open(situation: Situation) -> str | None:
    if situation.screen == "service":
        return None if situation.card is not None else "no rollout is on record here"
    return None if situation.selection.service or situation.selection.rollout else "nothing is selected"


def _can_deploy(situation: Situation) -> str | None:
    picture = situation.picture
    if picture.read_only:
        return READ_ONLY
    if picture.failure:
        return f"the console is cut off: {picture.failure}"
    if not picture.journal_ok:
        return f"the journal can't be written ({picture.journal_detail}): nothing may start"
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


def _can_pause(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return None if card.rollout.phase is Phase.RUNNING else f"it is {phase_word(card.rollout.phase)} already"


def _can_resume(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return None if card.rollout.phase is Phase.PAUSED else f"it is not paused ({phase_word(card.rollout.phase)})"


def _can_promote(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return "it is rolling back" if card.rollout.phase is Phase.ROLLING_BACK else None


def _can_abort(situation: Situation) -> str | None:
    card, blocked = _driven_here(situation)
    if blocked or card is None:
        return blocked
    return "it is rolling back already" if card.rollout.phase is Phase.ROLLING_BACK else None


def _can_take_over(situation: Situation) -> str | None:
    card = situation.card
    if card is None:
        return "no rollout is selected"
    if not card.live:
        return f"the rollout is over ({phase_word(card.rollout.phase)})"
    if card.own and not card.orphaned and card.rollout.phase is not Phase.NEEDS_ATTENTION:
        return "this rollout is driven from here"
    return situation.unfit()


def _can_roll_back(situation: Situation) -> str | None:
    """Not refused for an old picture: the cluster itself tests every value, and waiting is worse than a refusal from there."""
    if situation.picture.read_only:
        return READ_ONLY
    if not situation.selection.service and not situation.selection.rollout:
        return "select a service or a rollout"
    card = situation.card
    if situation.selection.rollout and card is None:
        return "the rollout is not known here"
    if card is not None and card.rollout.phase is Phase.ROLLED_BACK:
        return "it is rolled back already"
    if card is not None and card.rollout.phase is Phase.REFUSED:
        return "it was refused and changed nothing"
    environment = situation.environment
    if environment is None and not situation.selection.environment:
        return "name its environment first"
    if environment is None or environment.age_seconds is None:
        name = environment.name if environment else situation.selection.environment
        return f"{name} was never reached: {(environment.problem if environment else '') or 'no answer yet'}"
    return None


_ROLLOUTS = frozenset({"fleet", "service", "rollout"})

ACTIONS: tuple[Action, ...] = (
    Action(
        "rollback",
        "ROLL BACK",
        ("R", "alt+R", "alt+shift+r"),
        "Roll back what is selected. At once while a rollout runs or its rollback window is open; elsewhere it first shows what "
        "it would restore. alt+R does it from inside a text field too.",
        "Change",
        _can_roll_back,
        priority=1,
        changes=True,
    ),
    Action("open", "open", ("enter",), "Open what is selected.", "Navigation", _can_open, frozenset({"fleet", "service"}), 10),
    Action(
        "deploy",
        "deploy",
        ("d",),
        "Deploy a version: form, checklist, plan, confirmation. Nothing changes before the confirmation.",
        "Change",
        _can_deploy,
        frozenset({"fleet", "service", "rollout", "journal"}),
        priority=20,
    ),
    Action(
        "recheck",
        "ask again",
        ("ctrl+r",),
        "Compile the plan and ask every gate again.",
        "Change",
        _can_deploy,
        frozenset({"deploy"}),
        priority=11,
    ),
    Action(
        "pause", "pause", ("p",), "Pause the rollout; its triggers go on watching.", "Change", _can_pause, _ROLLOUTS, 30, True
    ),
    Action(
        "resume", "continue", ("C",), "Go on after a pause, where it stopped.", "Change", _can_resume, _ROLLOUTS, 31, changes=True
    ),
    Action(
        "promote",
        "promote step",
        ("P",),
        "End this pause or analysis now and take the next step.",
        "Change",
        _can_promote,
        _ROLLOUTS,
        32,
        changes=True,
    ),
    Action("abort", "abort", ("A",), "Stop the rollout and roll it back.", "Change", _can_abort, _ROLLOUTS, 33, changes=True),
    Action(
        "take_over",
        "take over",
        ("T",),
        "Resume a rollout that nobody watches, or take over one that somebody else drives.",
        "Change",
        _can_take_over,
        _ROLLOUTS,
        34,
        changes=True,
    ),
    Action(
        "view",
        "next view",
        ("v",),
        "Show the next pane on a narrow terminal.",
        "Navigation",
        _can_fold,
        frozenset({"rollout"}),
        12,
    ),
    Action(
        "filter",
        "filter",
        ("slash",),
        "Show only the rows in which every word occurs; esc clears it.",
        "Navigation",
        _always,
        frozenset({"fleet", "journal"}),
        41,
    ),
    Action(
        "journal",
        "journal",
        ("J",),
        "What was done, by whom, with what result.",
        "Navigation",
        _always,
        frozenset({"fleet", "service", "deploy", "rollout"}),
        40,
    ),
    Action(
        "show_all",
        "all entries",
        ("a",),
        "Show the entries of every rollout, not only of the one it was opened for.",
        "Navigation",
        _can_show_all,
        frozenset({"journal"}),
        12,
    ),
    Action(
        "back",
        "back",
        ("escape", "q"),
        "Leave the field, clear the filter, or go back one screen.",
        "Navigation",
        _can_go_back,
        priority=42,
    ),
    Action("palette", "command", ("colon", "ctrl+p"), "Find any action by its name.", "General", _always, priority=43),
    Action("help", "help", ("question_mark", "f1"), "All keys that work here.", "General", _always, priority=2),
    Action("theme", "light/dark", ("ctrl+t",), "Switch between the dark and the light theme.", "General", _always, priority=70),
    Action("quit", "quit", ("ctrl+q",), "Leave the console. Rollouts go on in their drivers.", "General", _always, priority=60),
)

BY_ID = {action.id: action for action in ACTIONS}
_ORDER = (
    "rollback",
    "open",
    "view",
    "show_all",
    "deploy",
    "recheck",
    "pause",
    "resume",
    "promote",
    "abort",
    "take_over",
    "filter",
    "journal",
)


def actions_on(screen: str) -> tuple[Action, ...]:
    """The actions of a screen, in the order of the key bar: what makes it safe first."""
    here = [action for action in ACTIONS if not action.screens or screen in action.screens]
    return tuple(sorted(here, key=lambda action: _ORDER.index(action.id) if action.id in _ORDER else len(_ORDER)))


def label_for(action: Action, situation: Situation) -> str:
    """What an action would do now, in a few words: a rollback says how long it takes and to what."""
    card = situation.card
    if card is None:
        return action.label
    if action.id == "rollback" and card.rollout.phase is Phase.ROLLING_BACK and not card.orphaned:
        return "ROLL BACK (under way)"
    if action.id == "rollback" and (card.live or card.window_left > 0):
        plan = card.rollout.plan
        takes = f"about {expected(plan.rollback_seconds)} " if plan.rollback_seconds else ""
        return f"ROLL BACK now ({takes}to {plan.previous_version})"
    if action.id == "take_over" and card.own:
        return "resume"
    return action.label
