"""A few letters, and one is at a service: every service of every environment, best match first."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from console.jump import Target, matching, targets, unanswered
from console.screens.words import grey, health_word
from console.screens.worn import Worn
from console.view import Picture
from widgets import glyphs, ink
from widgets.grid import Column, Grid, Row
from widgets.ink import Tone

COLUMNS = (
    Column("service", "SERVICE", 20, flex=3),
    Column("environment", "ENV", 12, flex=1),
    Column("version", "VERSION", 10, flex=1),
    Column("health", "HEALTH", 11),
)
HINT = "letters of a service, then words of its environment or version"
NOTHING = "no service has these letters in this order"


class JumpScreen(Worn, ModalScreen[None]):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = [
        Binding("escape,ctrl+j", "leave", "close", priority=True),
        Binding("down", "move(1)", "down", priority=True),
        Binding("up", "move(-1)", "up", priority=True),
        Binding("pagedown", "page(1)", "page down", priority=True),
        Binding("pageup", "page(-1)", "page up", priority=True),
    ]

    DEFAULT_CSS = """
    JumpScreen { align: center top; }
    JumpScreen > Vertical { width: 80; max-width: 96%; height: 22; max-height: 90%; margin: 2 0 0 0;
        border: round $primary; border-title-color: $text-primary; border-subtitle-color: $text-primary;
        padding: 0 1; background: $surface; }
    JumpScreen Input { height: 1; border: none; padding: 0; background: $panel; margin: 0 0 1 0; }
    """

    def __init__(self, go: Callable[[str, str], None]) -> None:
        super().__init__()
        self._go = go
        self._targets: tuple[Target, ...] = ()
        self._here = ""
        self._found: dict[str, Target] = {}
        self._input = Input(placeholder=HINT, compact=True, max_length=100)
        self._grid = Grid(COLUMNS, empty=NOTHING)
        self._grid.can_focus = False
        self._pane = Vertical(self._input, self._grid)

    @property
    def entered(self) -> bool:
        """Whether what is typed arrives."""
        return self._input.has_focus

    def compose(self) -> ComposeResult:
        yield self._pane

    def begin(self, picture: Picture, here: str) -> None:
        """Look for services among those of ``picture``; those of the environment ``here`` first."""
        self._among(picture)
        self._here = here
        with self.prevent(Input.Changed):
            self._input.value = ""
        self._look()

    def draw_beside(self, picture: Picture) -> None:
        """Look again among the services there are now: clusters answer one after the other. What is selected stays selected."""
        before = self._targets
        self._among(picture)
        if self._targets != before:
            self._list(self._grid.selected)

    def _among(self, picture: Picture) -> None:
        self._targets = targets(picture.fleet)
        silent = unanswered(picture.fleet)
        self._grid.set_empty(f"none so far; no answer yet from {', '.join(silent)}" if silent else NOTHING)

    def on_screen_resume(self) -> None:
        self.set_focus(self._input)

    @on(Input.Changed)
    def _look(self) -> None:
        self._list(None)

    def _list(self, selected: str | None) -> None:
        """What matches, with the row ``selected``, else the best, offered."""
        found, count = matching(self._input.value, self._targets, here=self._here)
        self._found = {target.key: target for target in found}
        self._grid.apply(row_of(target) for target in found)
        best = found[0].key if found else None
        self._grid.select(selected if selected in self._found else best)
        self._pane.border_title = ink.title(f"jump to a service: {count} of {len(self._targets)}")
        self._pane.border_subtitle = ink.title(f"enter opens {glyphs.current().bullet} esc closes")

    def action_move(self, by: int) -> None:
        self._grid.action_move(by)

    def action_page(self, by: int) -> None:
        self._grid.action_page(by)

    def action_leave(self) -> None:
        # keys that came fast may have left it already
        if self.is_current:
            self.app.pop_screen()

    @on(Input.Submitted)
    @on(Grid.RowChosen)
    def _open(self) -> None:
        target = self._found.get(self._grid.selected or "")
        if target is not None and self.is_current:
            self.app.pop_screen()
            self._go(target.environment, target.service.name)


def row_of(target: Target) -> Row:
    """A service with where it runs, what, and how well; grey where its cluster can't be reached."""
    service = target.service
    row = Row(
        target.key,
        (
            (service.name, Tone.STRONG),
            (target.environment, Tone.TEXT),
            (service.version, Tone.TEXT),
            health_word(service.health),
        ),
    )
    return row if target.reachable else grey(row)
