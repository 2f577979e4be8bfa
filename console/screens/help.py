"""Help: every key that works on the screen below, read from the registry, with the reason where one does not work now. It can be
searched, and enter does what is selected, by the same way as its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from console.actions import Action, Situation, actions_on, label_for
from console.prompt import name_of
from console.screens.worn import Worn
from widgets import glyphs, ink
from widgets.filterfield import FilterField
from widgets.grid import Column, Grid, Row
from widgets.grid.terms import meant
from widgets.ink import Line, Tone
from widgets.note import Note

if TYPE_CHECKING:
    from console.screens.base import ConsoleScreen

GROUPS = ("Change", "Logs", "Navigation", "General")
LISTS = (
    ("j k, arrows", "move in a list; g and G go to its ends, page up and down by pages"),
    ("tab", "the next pane or field; shift+tab the one before"),
    ("mouse", "a click selects or presses; what changes a cluster takes a second click; a double click opens"),
)
IN_PLANS = (("space, z", "in a plan: fold one step, fold all of them"),)
_PLANS = frozenset({"deploy"})
"""The screens that show a plan."""
COLUMNS = (
    Column("keys", "KEY", 11),
    Column("label", "", 15),
    Column("help", "", 40, flex=1),
    Column("group", "GROUP", 10, priority=1),
)
_ACTION = "action "


def help_rows(screen: str, situation: Situation, fields: Sequence[tuple[str, str]] = ()) -> list[Row]:
    """All actions of a screen by group, then its text fields, then how lists are moved in."""
    rows = [
        _row(f"{_ACTION}{action.id}", " ".join(action.shown_keys), action.label, *_now(action, situation), group=group)
        for group in GROUPS
        for action in actions_on(screen)
        if action.group == group
    ]
    return [*rows, *(_row(key, keys, "", text, Tone.TEXT, group=group) for key, keys, text, group in _others(screen, fields))]


def _others(screen: str, fields: Sequence[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
    """What is no action: each with the key of its row, its keys, what they do, and its group."""
    lists = (*LISTS[:1], *(IN_PLANS if screen in _PLANS else ()), *LISTS[1:])
    found = [(f"field {keys}", keys, text, "Text field") for keys, text in fields]
    return [*found, *((f"list {keys}", keys, text, "Lists") for keys, text in lists)]


def _row(key: str, keys: str, label: str, text: str, tone: Tone, *, group: str) -> Row:
    return Row(key, ((keys, Tone.ACCENT), (label, Tone.STRONG), (text, tone), (group, Tone.MUTED)))


def _now(action: Action, situation: Situation) -> tuple[str, Tone]:
    reason = action.refusal(situation)
    if reason is not None:
        return f"not now: {reason}", Tone.WARN
    label = label_for(action, situation)
    return (f"now: {label}", Tone.ACCENT) if label != action.label else (action.help, Tone.TEXT)


def help_text(screen: str, situation: Situation, key: str, fields: Sequence[tuple[str, str]] = ()) -> list[Line | str]:
    """Everything about one row: what it does, what it would do now or why it can't, and how it is typed."""
    action = next((each for each in actions_on(screen) if f"{_ACTION}{each.id}" == key), None)
    if action is None:
        return [f"{keys}: {text}" for row, keys, text, _ in _others(screen, fields) if row == key]
    reason = action.refusal(situation)
    now: Line = (
        ((f"not now: {reason}", Tone.WARN),) if reason else ((f"enter does it now: {label_for(action, situation)}", Tone.ACCENT),)
    )
    return [action.help, now, ((f"as a command: :{name_of(action)}", Tone.MUTED),)]


class HelpScreen(Worn, ModalScreen[None]):
    """``R`` still rolls back from here: help is where a person looks for it. Kept and shown again: putting a screen together
    takes longer than a key may."""

    BINDINGS = [
        Binding("escape", "leave", "close", priority=True),
        Binding("q,question_mark,f1", "close", "close"),
        Binding("slash", "search", "search"),
        Binding("R", "app.roll_back_below", "roll back"),
        Binding("down", "move(1)", "down"),
        Binding("up", "move(-1)", "up"),
    ]

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Vertical { width: 94%; max-width: 124; height: 94%; max-height: 42;
        border: round $primary; border-title-color: $text-primary; border-subtitle-color: $text-primary;
        padding: 0 1; background: $surface; }
    HelpScreen #explained { height: 6; border-top: solid $rule; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._below: ConsoleScreen | None = None
        self._grid = Grid(COLUMNS)
        self._explained = Note(id="explained")
        self._field = FilterField("words of what you look for; enter goes to the list")
        self._pane = Vertical(self._grid, self._explained, self._field)

    def compose(self) -> ComposeResult:
        yield self._pane

    def on_screen_resume(self) -> None:
        self.set_focus(self._grid)

    def explain(self, below: ConsoleScreen) -> None:
        """Show the keys of the screen that lies below."""
        self._below = below
        bullet = glyphs.current().bullet
        self._pane.border_title = ink.title(f"keys of the {below.where} screen")
        self._pane.border_subtitle = ink.title(f"/ searches {bullet} enter does it {bullet} esc closes")
        if self.is_mounted:
            self._clear()
        rows = help_rows(below.where, below.situation(), below.field_keys)
        self._grid.apply(rows)
        # enter does what is selected, and help is opened and closed without a look: what is selected first changes nothing
        harmless = [action.id for action in actions_on(below.where) if action.group != GROUPS[0]]
        self._grid.select(f"{_ACTION}{harmless[0]}")

    @on(Grid.RowHighlighted)
    def _explain_row(self) -> None:
        if self._below is not None and self._grid.selected:
            below = self._below
            self._explained.show(*help_text(below.where, below.situation(), self._grid.selected, below.field_keys))

    @on(Grid.RowChosen)
    def _do(self, event: Grid.RowChosen) -> None:
        below = self._below
        if below is not None and event.key.startswith(_ACTION) and self.is_current:
            self.app.pop_screen()
            below.choose_action(event.key.removeprefix(_ACTION))

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        problem = self._grid.set_filter(meant(event.value))
        if problem:
            self._grid.set_filter(self._field.kept)
        self._field.tell(problem)

    @on(Input.Submitted)
    def _searched(self, event: Input.Submitted) -> None:
        if problem := self._grid.set_filter(meant(event.value)):
            self._field.tell(problem)
        else:
            self._field.kept = self._grid.filter
            self.set_focus(self._grid)

    def action_search(self) -> None:
        self._field.open(self._grid.filter)
        self.set_focus(self._field.input)

    def action_move(self, by: int) -> None:
        self._grid.action_move(by)

    def action_leave(self) -> None:
        """Leave the field as it was, clear the search, or close."""
        if self._field.input.has_focus and self._field.kept:
            self._field.input.value = self._field.kept
            self.set_focus(self._grid)
        elif self._field.opened:
            self._clear()
        else:
            self.action_close()

    def action_close(self) -> None:
        # keys that came fast may have left it already
        if self.is_current:
            self.app.pop_screen()

    def _clear(self) -> None:
        self._field.close("")
        self._grid.set_filter("")
        self.set_focus(self._grid)
