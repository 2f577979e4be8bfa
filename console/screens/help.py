"""Help: every key that works on the screen below, read from the registry, with the reason where one does not work now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.actions import Situation, actions_on, label_for
from widgets import ink
from widgets.drawn import Drawn
from widgets.ink import Line, Tone
from widgets.text import pad, wrap

if TYPE_CHECKING:
    from console.screens.base import ConsoleScreen

GROUPS = ("Change", "Navigation", "General")
LISTS = (
    ("j k, arrows", "move in a list; g and G go to its ends, page up and down by pages"),
    ("tab", "the next pane or field; shift+tab the one before"),
    ("space, z", "in a plan: fold one step, fold all of them"),
    ("mouse", "a click selects or presses, a double click opens, the wheel scrolls"),
)
_KEYS, _LABEL = 13, 14


def help_lines(screen: str, situation: Situation, width: int, fields: Sequence[tuple[str, str]] = ()) -> list[Line]:
    """All actions of a screen by group, then how lists are moved in; wrapped to ``width``."""
    lines: list[Line] = []
    for group in GROUPS:
        lines.append(((group.upper(), Tone.MUTED),))
        for action in actions_on(screen):
            if action.group == group:
                keys = " ".join(action.shown_keys)
                reason = action.guard(situation)
                lines += _entry(keys, action.label, action.help, width, Tone.MUTED if reason else Tone.TEXT)
                now = f"not now: {reason}" if reason else f"now: {label_for(action, situation)}"
                if reason or label_for(action, situation) != action.label:
                    lines += _entry("", "", now, width, Tone.WARN if reason else Tone.ACCENT)
        lines.append(((" ", Tone.TEXT),))
    if fields:
        lines.append((("TEXT FIELDS", Tone.MUTED),))
        for keys, text in fields:
            lines += _entry(keys, "", text, width, Tone.TEXT)
        lines.append(((" ", Tone.TEXT),))
    lines.append((("LISTS AND PANES", Tone.MUTED),))
    for keys, text in LISTS:
        lines += _entry(keys, "", text, width, Tone.TEXT)
    return lines


def _entry(keys: str, label: str, text: str, width: int, tone: Tone) -> list[Line]:
    indent = _KEYS + _LABEL
    parts = wrap(text, max(16, width - indent))
    head: Line = ((pad(keys, _KEYS), Tone.ACCENT), (pad(label, _LABEL), Tone.STRONG), (parts[0] if parts else "", tone))
    return [head, *(((" " * indent, Tone.TEXT), (part, tone)) for part in parts[1:])]


@dataclass(frozen=True, slots=True)
class _Explained:
    screen: str
    situation: Situation
    fields: tuple[tuple[str, str], ...]


class _Keys(Drawn["_Explained | None"]):
    """The help text, wrapped to the room there is."""

    def draw(self, value: _Explained | None, width: int, height: int | None) -> ink.Lines:
        return () if value is None else tuple(help_lines(value.screen, value.situation, width, value.fields))


class HelpScreen(ModalScreen[None]):
    """``R`` still rolls back from here: help is where a person looks for it. Kept and shown again: putting a screen together
    takes longer than a key may."""

    BINDINGS = [
        Binding("escape,q,question_mark,enter,f1", "dismiss", "close"),
        Binding("R", "app.roll_back_below", "roll back"),
        Binding("j,down", "scroll(1)", "down"),
        Binding("k,up", "scroll(-1)", "up"),
    ]

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll { width: 94%; max-width: 124; height: auto; max-height: 94%;
        border: round $primary; padding: 0 2; background: $surface; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys = _Keys(None)
        self._pane = VerticalScroll(self._keys)
        self._pane.border_subtitle = ink.title("esc closes")

    def compose(self) -> ComposeResult:
        yield self._pane

    def explain(self, below: ConsoleScreen) -> None:
        """Show the keys of the screen that lies below."""
        self._pane.border_title = ink.title(f"keys of the {below.where} screen")
        self._pane.scroll_home(animate=False)
        self._keys.replace(_Explained(below.where, below.situation(), below.field_keys))

    def action_scroll(self, by: int) -> None:
        self._pane.scroll_relative(y=by, animate=False)
