"""What the console told in toasts, with time and full text. Being here is having seen it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.results import Result
from console.screens.base import bindings_of
from console.screens.filtered import FilteredScreen
from console.screens.pane import Pane
from console.view import Picture
from widgets import glyphs
from widgets.grid import Column, Grid, Row
from widgets.ink import Line, Span, Tone
from widgets.note import Note

COLUMNS = (
    Column("time", "TIME (UTC)", 10),
    Column("kind", "KIND", 9),
    Column("title", "WHAT", 24),
    Column("text", "", 20, flex=3, priority=1),
)


class ResultsScreen(FilteredScreen):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = bindings_of("results")
    where = "results"
    filtered = "results"

    DEFAULT_CSS = """
    ResultsScreen #body { height: 1fr; }
    ResultsScreen #results-pane { height: 1fr; }
    ResultsScreen #result-pane { height: 10; border-top: solid $rule; }
    ResultsScreen #result-scroll { padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._results: dict[str, Result] = {}

    def body(self) -> ComposeResult:
        with Pane("RESULTS", id="results-pane"):
            yield Grid(COLUMNS, empty="nothing was told yet", id="results")
        with Pane("IN FULL", id="result-pane"), VerticalScroll(id="result-scroll"):
            yield Note(id="result")
        yield self.filter_field()

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#results", Grid))

    def draw(self, picture: Picture) -> None:
        log = self.console.results
        grid = self.query_one("#results", Grid)
        found = {str(result.number): result for result in reversed(log.results)}
        if found.keys() != self._results.keys():
            newest = next(iter(found), None)
            followed = not self._results or grid.selected in (None, next(iter(self._results), None))
            self._results = found
            grid.apply(row_of(result) for result in found.values())
            if followed:
                grid.select(newest)
        log.see()
        self.query_one("#results-pane", Pane).tell((f"  newest first, {len(found)} kept", Tone.MUTED), *self.filter_words())

    @on(Grid.RowHighlighted, "#results")
    def show_result(self, event: Grid.RowHighlighted) -> None:
        result = self._results.get(event.grid.selected or "")
        lines: list[Line | str] = [] if result is None else [((result.title, Tone.STRONG),), *result.text.splitlines()]
        self.query_one("#result", Note).show(*lines)
        self.query_one("#result-scroll").scroll_home(animate=False)
        self.draw_keys()


def row_of(result: Result) -> Row:
    """A result on one line."""
    return Row(
        str(result.number),
        (
            (result.at.strftime("%H:%M:%S"), Tone.MUTED),
            kind_of(result),
            (result.title, Tone.STRONG),
            (" ".join(result.text.split()), Tone.TEXT),
        ),
    )


def kind_of(result: Result) -> Span:
    """How bad it is, in a sign and a word."""
    signs = glyphs.current()
    return {
        "error": (f"{signs.bad} error", Tone.BAD),
        "warning": (f"{signs.warning} warning", Tone.WARN),
    }.get(result.severity, (f"{signs.ok} done", Tone.MUTED))
