"""The registry of actions. Keys, key bar, palette, prompt and help are all read from here, so none of them can lie.

A guard answers why an action can't be done now, or ``None`` where it can; it is asked again when the key is pressed.
Lower-case letters never change a cluster, but for ``p``: a pause is safe.
"""

from dataclasses import dataclass

from console import guards
from console.attention import can_attend
from console.guards import Guard, Situation
from services.model.rollout import Phase
from services.rollout.state import expected_rollback
from widgets.format import expected

__all__ = ["ACTIONS", "BY_ID", "Action", "Situation", "actions_on", "key_name", "label_for", "typed"]

_KEY_NAMES = {
    **{"escape": "esc", "f1": "F1", "alt+shift+r": "alt+R"},
    **{"question_mark": "?", "slash": "/", "colon": ":", "at": "@", "exclamation_mark": "!", "space": "space"},
}
_TEXT_KEYS = frozenset({"question_mark", "slash", "colon", "at", "exclamation_mark", "space", "enter"})


def key_name(key: str) -> str:
    """A key as it is written on a keyboard."""
    return _KEY_NAMES.get(key, key)


def typed(key: str) -> bool:
    """Whether a text field takes this key as text."""
    return len(key) == 1 or key in _TEXT_KEYS


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

    def refusal(self, situation: Situation) -> str | None:
        """Why it can't be done now. What may change a cluster also needs that somebody chose what it is about."""
        return (situation.unpicked if self.changes else "") or self.guard(situation)

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


_ROLLOUTS = frozenset({"fleet", "service", "rollout"})
_LISTS = frozenset({"fleet", "journal", "calls", "results"})
_LOGS = frozenset({"logs"})
_ENTRIES = frozenset({"journal", "entry"})

ACTIONS: tuple[Action, ...] = (
    Action(
        "rollback",
        "ROLL BACK",
        ("R", "alt+R", "alt+shift+r"),
        "Roll back what is selected. At once while a rollout runs, and for an hour after it; later it first shows what it would "
        "restore. Of one that is over it asks first where the picture is older than 10 s. alt+R does it in a text field too.",
        "Change",
        guards.can_roll_back,
        priority=1,
        changes=True,
    ),
    Action(
        "open",
        "open",
        ("enter",),
        "Open what is selected; of a pod its log, of an event all that was said.",
        "Navigation",
        guards.can_open,
        frozenset({"fleet", "service"}),
        10,
    ),
    Action(
        "deploy",
        "deploy",
        ("d",),
        "Deploy a version: form, checklist, plan, confirmation. Nothing changes before the confirmation.",
        "Change",
        guards.can_deploy,
        frozenset({"fleet", "service", "rollout", "journal"}),
        priority=20,
    ),
    Action(
        "recheck",
        "ask again",
        ("ctrl+r",),
        "Compile the plan and ask every gate again.",
        "Change",
        guards.can_deploy,
        frozenset({"deploy"}),
        priority=11,
    ),
    Action(
        "pause",
        "pause",
        ("p",),
        "Pause the rollout; its triggers go on watching.",
        "Change",
        guards.can_pause,
        _ROLLOUTS,
        30,
        True,
    ),
    Action(
        "resume",
        "continue",
        ("C",),
        "Go on after a pause, where it stopped.",
        "Change",
        guards.can_resume,
        _ROLLOUTS,
        31,
        changes=True,
    ),
    Action(
        "promote",
        "promote step",
        ("P",),
        "End this pause or analysis now and take the next step. In production it asks first where no verdict says healthy.",
        "Change",
        guards.can_promote,
        _ROLLOUTS,
        32,
        changes=True,
    ),
    Action(
        "abort", "abort", ("A",), "Stop the rollout and roll it back.", "Change", guards.can_abort, _ROLLOUTS, 33, changes=True
    ),
    Action(
        "take_over",
        "take over",
        ("T",),
        "Resume a rollout that nobody watches; of one that somebody else drives it asks first whether to take it over.",
        "Change",
        guards.can_take_over,
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
        guards.can_fold,
        frozenset({"rollout", "service"}),
        12,
    ),
    Action(
        "logs",
        "logs",
        ("l",),
        "The logs of the selected service's pods, of one revision's, or of one pod.",
        "Navigation",
        guards.can_see_logs,
        _ROLLOUTS,
        16,
    ),
    Action(
        "follow",
        "follow",
        ("G",),
        "Go to the newest line, and on with it. Scrolling up stops following.",
        "Logs",
        guards.always,
        _LOGS,
        10,
    ),
    Action("next_match", "next", ("n",), "The next line that the search finds.", "Logs", guards.always, _LOGS, 12),
    Action("previous_match", "previous", ("N",), "The line before that the search finds.", "Logs", guards.always, _LOGS, 13),
    Action(
        "since",
        "since",
        ("0", "1", "2", "3", "4", "5"),
        "From when on: 0 the last lines, 1 the last minute, 2 five minutes, 3 a quarter of an hour, 4 half an hour, 5 an hour.",
        "Logs",
        guards.always,
        _LOGS,
        14,
    ),
    Action(
        "previous_log",
        "before the restart",
        ("b",),
        "What the container wrote before its last restart; again for what it writes now.",
        "Logs",
        guards.always,
        _LOGS,
        15,
    ),
    Action("wrap", "wrap", ("w",), "Long lines go on below, or are cut at the edge.", "Logs", guards.always, _LOGS, 16),
    Action("stamps", "times", ("u",), "Show when each line was written (UTC), or not.", "Logs", guards.always, _LOGS, 17),
    Action("container", "container", ("c",), "The next container of the pods.", "Logs", guards.always, _LOGS, 18),
    Action(
        "save",
        "save",
        ("s",),
        "Write what is shown to a file in the home directory, for its owner only: the lines of a log, or every entry of the "
        "journal that the filter leaves, one JSON document a line.",
        "General",
        guards.always,
        _LOGS | {"journal"},
        42,
    ),
    Action(
        "save_table",
        "save as CSV",
        ("x",),
        "Write every entry that the filter leaves to a table (CSV) in the home directory, for its owner only.",
        "General",
        guards.always,
        frozenset({"journal"}),
        46,
    ),
    Action(
        "health",
        "health",
        ("h",),
        "Whether the journal's chain holds, up to where it is signed, and how it goes with each sink that entries are sent to.",
        "Navigation",
        guards.always,
        frozenset({"journal"}),
        43,
    ),
    Action(
        "verify",
        "examine chain",
        ("e",),
        "Check the whole chain and every signed checkpoint again, in a process of its own.",
        "Navigation",
        guards.always,
        frozenset({"health"}),
        10,
    ),
    Action(
        "filter",
        "filter",
        ("slash",),
        "Show only the rows in which every term holds: a word, !word, /regular expression/ or !/regular expression/. Enter keeps "
        "it, also when you leave the screen; esc in the field leaves what was kept before, esc on the list clears it. In a log: "
        "a text or a /regular expression/ to go to.",
        "Navigation",
        guards.always,
        _LISTS | _LOGS,
        41,
    ),
    Action(
        "faults",
        "faults only",
        ("ctrl+z",),
        "Show only what is failed, degraded, paused or not known to be well; again shows all.",
        "Navigation",
        guards.always,
        _LISTS,
        44,
    ),
    Action(
        "journal",
        "journal",
        ("J",),
        "What was done, by whom, with what result.",
        "Navigation",
        guards.always,
        frozenset({"fleet", "service", "deploy", "rollout", "calls", "results", "story"}),
        40,
    ),
    Action(
        "show_all",
        "all entries",
        ("a",),
        "Show the entries of every rollout, not only of the one it was opened for.",
        "Navigation",
        guards.can_show_all,
        frozenset({"journal"}),
        12,
    ),
    Action(
        "entry",
        "whole entry",
        ("enter",),
        "Open the selected entry on the whole screen, with what it belongs to.",
        "Navigation",
        guards.can_open_entry,
        frozenset({"journal"}),
        10,
    ),
    Action(
        "stored",
        "as stored",
        ("y",),
        "Show the entry as it is stored (JSON), or as fields again.",
        "Navigation",
        guards.can_open_entry,
        _ENTRIES,
        13,
    ),
    Action(
        "counterpart",
        "its outcome",
        ("i",),
        "From an intent to its outcome, and from an outcome to its intent.",
        "Navigation",
        guards.can_see_counterpart,
        _ENTRIES,
        14,
    ),
    Action(
        "its_rollout",
        "its rollout",
        ("o",),
        "Open the rollout that the entry or the story is about.",
        "Navigation",
        guards.can_open_rollout,
        _ENTRIES | {"story"},
        15,
    ),
    Action(
        "story",
        "story",
        ("t",),
        "The story of one rollout as a time line, from this home's journal: who, what, when, how long, and why.",
        "Navigation",
        guards.can_tell_story,
        _ROLLOUTS | _ENTRIES,
        39,
    ),
    Action(
        "back",
        "back",
        ("escape", "q"),
        "Leave the field as it was, clear the filter, or go back one screen.",
        "Navigation",
        guards.can_go_back,
        priority=8,
    ),
    Action(
        "prompt",
        "command",
        ("colon",),
        "Type what to do or where to go: an action's name, `service NAME`, `rollout ID`, `deploy NAME VERSION`. Tab completes.",
        "General",
        guards.always,
        priority=43,
    ),
    Action("palette", "all actions", ("ctrl+p",), "Find any action by its name.", "General", guards.always, priority=62),
    Action(
        "jump",
        "jump",
        ("f", "ctrl+j"),
        "Go to any service of any environment by a few of its letters.",
        "Navigation",
        guards.always,
        priority=45,
    ),
    Action(
        "calls",
        "calls",
        ("at",),
        "Each call to a cluster as the kubectl line that makes the same one, with its answer and time.",
        "General",
        guards.is_elsewhere("calls"),
        priority=61,
    ),
    Action(
        "copy",
        "copy",
        ("c",),
        "Copy the command line into the terminal's clipboard.",
        "Navigation",
        guards.always,
        frozenset({"calls"}),
        11,
    ),
    Action(
        "results",
        "results",
        ("ctrl+l",),
        "What the console told, with time and full text; errors are counted at the top until they are seen here.",
        "General",
        guards.is_elsewhere("results"),
        priority=63,
    ),
    Action("help", "help", ("question_mark", "f1"), "All keys that work here.", "General", guards.always, priority=2),
    Action(
        "attention",
        "unsafe",
        ("exclamation_mark",),
        "Go to what is unsafe now, the worst first; once more goes to the next.",
        "Navigation",
        can_attend,
        priority=9,
    ),
    Action(
        "theme",
        "theme",
        ("ctrl+t",),
        "The next theme: dark, light, high contrast, monochrome. It is remembered.",
        "General",
        guards.always,
        priority=70,
    ),
    Action(
        "quit", "quit", ("ctrl+q",), "Leave the console. Rollouts go on in their drivers.", "General", guards.always, priority=60
    ),
)

BY_ID = {action.id: action for action in ACTIONS}
_ORDER = (
    "rollback",
    "open",
    "view",
    "logs",
    "follow",
    "next_match",
    "previous_match",
    "since",
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


def whole_label_for(action: Action, situation: Situation) -> str:
    """The same where there is room: a rollback also says of what and where."""
    label, card = label_for(action, situation), situation.card
    if action.id != "rollback" or card is None or not label.startswith("ROLL BACK now"):
        return label
    return label.replace("now", f"{card.rollout.release.service} in {card.environment} now", 1)


def label_for(action: Action, situation: Situation) -> str:
    """What an action would do now, in a few words: a rollback says how long it takes and to what."""
    if action.id == "filter" and situation.screen == "logs":
        return "search"
    if action.id == "rollback" and situation.selection.revision:
        return f"ROLL BACK to revision {situation.selection.revision}"
    if action.changes and situation.unpicked:
        return action.label
    card = situation.card
    if action.id == "counterpart" and situation.selection.phase == "outcome":
        return "its intent"
    if card is None:
        return action.label
    if action.id == "rollback" and card.rollout.phase is Phase.ROLLING_BACK and not card.orphaned:
        return "ROLL BACK (under way)"
    if action.id == "rollback" and (card.live or card.window_left > 0):
        seconds = expected_rollback(card.rollout)
        takes = f"about {expected(seconds)} " if seconds else ""
        return f"ROLL BACK now ({takes}to {card.rollout.plan.previous_version})"
    if action.id == "take_over" and card.own:
        return "resume"
    if action.id == "take_over" and card.live and not card.orphaned and card.driver:
        return f"take over from {card.driver}"
    return action.label
