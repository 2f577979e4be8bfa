"""The line in which a filter is typed, with what is wrong with it beside the field."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from widgets import glyphs
from widgets.grid.terms import LONGEST
from widgets.ink import Tone
from widgets.note import Note


class FilterField(Horizontal):
    """Out of sight until it is opened. Its ``Input`` has the id ``filter``."""

    DEFAULT_CSS = """
    FilterField { display: none; height: 1; background: $panel; }
    FilterField.-open { display: block; }
    FilterField > Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $panel; }
    FilterField > #filter-problem { width: auto; max-width: 75%; padding: 0 1; display: none; }
    FilterField > #filter-problem.-told { display: block; }
    """

    def __init__(self, placeholder: str) -> None:
        super().__init__(id="filter-line")
        self._placeholder = placeholder
        self.kept = ""
        """What was in force when it was opened: leaving it without enter goes back to that."""

    def compose(self) -> ComposeResult:
        yield Input(placeholder=self._placeholder, id="filter", compact=True, max_length=LONGEST)
        yield Note(id="filter-problem")

    @property
    def opened(self) -> bool:
        return self.has_class("-open")

    @property
    def input(self) -> Input:
        return self.query_one("#filter", Input)

    def open(self, kept: str) -> None:
        """Show it, for ``kept`` to be changed. Opened already, it goes on with what it was opened for."""
        if not self.opened:
            self.kept = kept
            self.add_class("-open")

    def close(self, text: str) -> None:
        """Put it out of sight; ``text`` is in it when it is opened again."""
        with self.input.prevent(Input.Changed):
            self.input.value = text
        self.tell("")
        self.remove_class("-open")

    def tell(self, problem: str) -> None:
        """What is wrong with what is typed; nothing where it is empty."""
        note = self.query_one("#filter-problem", Note)
        note.set_class(bool(problem), "-told")
        note.show(((f"{glyphs.current().bad} ", Tone.BAD), (problem, Tone.BAD)) if problem else ())
