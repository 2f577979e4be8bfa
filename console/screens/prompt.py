"""The ``:`` prompt: a line at the foot of the screen, with what can be typed above it. What lies behind stays in sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from console.prompt import Act, Go, History, NotUnderstood, Offer, World, completed, offers, understood
from console.screens.worn import Worn
from widgets import glyphs, ink
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone
from widgets.note import Note
from widgets.text import pad

if TYPE_CHECKING:
    from console.screens.base import ConsoleScreen

SHOWN = 8
"""Lines of what can be typed."""
_NAME = 30


class Offers(Drawn[tuple[Offer, ...]]):
    """What can be typed, best lowest: next to the line in which one types."""

    def draw(self, value: tuple[Offer, ...], width: int, height: int | None) -> Lines:
        shown = value[:SHOWN]
        name = max((min(_NAME, cell_len(offer.line)) for offer in shown), default=0) + 2
        lines: list[Line] = []
        for index, offer in enumerate(shown):
            mark = glyphs.current().cursor if index == 0 else " "
            told = (offer.help, Tone.MUTED if offer.ready else Tone.WARN)
            lines.append(((f"{mark} ", Tone.ACCENT), (pad(offer.line, name), Tone.STRONG if offer.ready else Tone.MUTED), told))
        if len(value) > SHOWN:
            lines.append(((f"  {glyphs.current().ellipsis} {len(value) - SHOWN} more", Tone.MUTED),))
        return tuple(ink.fit(line, width) for line in reversed(lines))


class PromptScreen(Worn, ModalScreen[None]):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = [
        Binding("escape", "leave", "close", priority=True),
        Binding("tab", "complete", "complete", priority=True),
        Binding("right", "go_right", "complete, at the end of the line", priority=True),
        Binding("up", "recall(-1)", "the line before", priority=True),
        Binding("down", "recall(1)", "the line after", priority=True),
    ]

    DEFAULT_CSS = """
    PromptScreen { align: left bottom; background: transparent; }
    PromptScreen > Vertical { height: auto; background: $panel; border-top: solid $primary; }
    PromptScreen Offers { padding: 0 1; }
    PromptScreen Horizontal { height: 1; }
    PromptScreen #sign { width: 3; padding: 0 0 0 1; }
    PromptScreen Input { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    PromptScreen #told { width: auto; max-width: 70%; padding: 0 1; }
    """

    def __init__(self, run: Callable[[ConsoleScreen, Act | Go], None], keep: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__()
        self._run = run
        self._keep = keep
        self._below: ConsoleScreen | None = None
        self.history = History()
        self._offers = Offers(())
        self._told = Note(id="told")
        self._input = Input(compact=True, max_length=500)
        self.styles.background = "transparent"  # here, where the application's own style for screens can't go before it

    @property
    def entered(self) -> bool:
        """Whether what is typed arrives."""
        return self._input.has_focus

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._offers
            with Horizontal():
                yield Note(((":", Tone.ACCENT),), id="sign")
                yield self._input
                yield self._told

    def remember(self, lines: tuple[str, ...]) -> None:
        """What was typed before, oldest first."""
        self.history = History(lines)

    def ask(self, below: ConsoleScreen) -> None:
        """Begin a new line; what is typed applies to the screen that lies below."""
        self._below = below
        self.history.begin()
        self._put("")

    def on_screen_resume(self) -> None:
        self.set_focus(self._input)

    def _world(self) -> World | None:
        below = self._below
        return None if below is None else World(below.situation(), below.console.canonical_environment)

    def _put(self, line: str) -> None:
        with self.prevent(Input.Changed):
            self._input.value = line
        self._input.cursor_position = len(line)
        self._look()

    @on(Input.Changed)
    def _look(self) -> None:
        world = self._world()
        self._told.show(())
        self._offers.replace(offers(self._input.value.lstrip(": "), world) if world else ())

    def action_complete(self) -> None:
        world = self._world()
        if world is not None:
            line = self._input.value.lstrip(": ")
            self._put(completed(line, offers(line, world)))

    def action_go_right(self) -> None:
        """As anywhere; at the end of the line it completes."""
        if self._input.cursor_position < len(self._input.value):
            self._input.action_cursor_right()
        else:
            self.action_complete()

    def action_recall(self, by: int) -> None:
        self._put(self.history.move(by, self._input.value))

    def action_leave(self) -> None:
        # keys that came fast may have left it already
        if self.is_current:
            self.app.pop_screen()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        below, world = self._below, self._world()
        line = " ".join(self._input.value.lstrip(": ").split())
        if below is None or world is None or not self.is_current:
            return
        if not line:
            self.action_leave()
            return
        try:
            asked = understood(line, world)
        except NotUnderstood as error:
            self._told.show(((f"{glyphs.current().bad} {error}", Tone.BAD),))
            return
        self.history.add(line)
        self._keep(self.history.lines)
        self.app.pop_screen()
        self._run(below, asked)
