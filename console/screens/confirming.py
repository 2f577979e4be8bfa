"""A question that one key answers with yes: not before a person can have read it, however often the key was pressed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.screens.worn import Worn
from services.clock import Clock
from widgets import glyphs, ink
from widgets.ink import Line, Tone
from widgets.note import Note

RESTING = 0.5
"""Seconds for which the confirming key has to rest, from the moment the question is on the screen and after each press that
came too early. A key pressed twice by mistake, or held down, confirms nothing."""
_LOOK = 0.1


class ConfirmingScreen(Worn, ModalScreen[bool]):
    """Dismissed with True where the operator confirms. Enter alone does nothing: it is too easily pressed twice.

    A subclass binds its key to ``confirm`` and names key and deed (``key``, ``deed``)."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(False)", "leave it")]
    DEFAULT_CSS = """
    ConfirmingScreen { align: center middle; }
    ConfirmingScreen > VerticalScroll { width: 90%; max-width: 110; height: auto; max-height: 100%;
        margin-bottom: 4; /* for the newest toast: nothing lies over what is being confirmed */
        border: round $warning; padding: 1 2; background: $surface; scrollbar-size-vertical: 1; }
    """
    key: ClassVar[str]
    deed: ClassVar[str]

    def __init__(self, clock: Clock, title: str, lines: Iterable[Line | str]) -> None:
        super().__init__()
        self._clock = clock
        self._asked = title
        self._lines = tuple(lines)
        self._rests_until: float | None = None
        """Monotonic; ``None`` until the question is on the screen."""
        self._told = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll() as pane:
            pane.border_title = ink.title(self._asked)
            yield Note(*self._lines)

    def on_mount(self) -> None:
        self._name_keys()
        self.call_after_refresh(self._rest)
        self.set_interval(_LOOK, self._name_keys)

    @property
    def ready(self) -> bool:
        """Whether the key would confirm now."""
        return self._rests_until is not None and self._clock.monotonic() >= self._rests_until and not self.objection()

    def objection(self) -> str:
        """Why the answer can't be yes any more: the world went on while the question was on the screen."""
        return ""

    def action_confirm(self) -> None:
        """Yes, or a key that came too early: then it has to rest again."""
        if self.ready:
            self.dismiss(True)
        elif self._rests_until is not None:
            self._rest()

    def _rest(self) -> None:
        self._rests_until = self._clock.monotonic() + RESTING
        self._name_keys()

    def _name_keys(self) -> None:
        if not self.query(VerticalScroll):
            return  # it was left before it was drawn, and is being taken apart
        gone = self.objection()
        if gone and gone != self._told:
            self._told = gone
            words = f"{glyphs.current().bad} {gone[:1].upper()}{gone[1:]}. Nothing was done."
            self.query_one(Note).show(((words, Tone.ALARM),), "", *self._lines)
        if gone:
            self._entitle("nothing is left to confirm: esc leaves it")
            return
        now = f"{self.key} {self.deed}" if self.ready else f"{self.key} works when it has rested for half a second"
        self._entitle(f"{now} {glyphs.current().bullet} esc leaves it")

    def _entitle(self, words: str) -> None:
        title = ink.title(words)
        pane = self.query_one(VerticalScroll)
        if pane.border_subtitle != title:
            pane.border_subtitle = cast("str", title)
