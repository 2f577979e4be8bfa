"""The command log: each call to each cluster as the ``kubectl`` line that makes the same one, with what was answered and when."""

from __future__ import annotations

from datetime import UTC, datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.calls import Logged
from console.screens.base import bindings_of
from console.screens.filtered import FilteredScreen
from console.screens.pane import Pane
from console.view import Picture
from widgets import glyphs
from widgets.format import milliseconds
from widgets.grid import Column, Grid, Row
from widgets.ink import Line, Tone
from widgets.note import Note
from widgets.toast import toast

COLUMNS = (
    Column("time", "TIME (UTC)", 10),
    Column("by", "BY", 14, priority=3),
    Column("answer", "ANSWER", 9),
    Column("took", "TOOK", 7, align="right", priority=2),
    Column("times", "TIMES", 6, align="right", priority=4),
    Column("command", "COMMAND", 40, flex=1),
)
_WELL = frozenset({"ok", "unchanged"})


class CallsScreen(FilteredScreen):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = bindings_of("calls")
    where = "calls"
    filtered = "calls"

    DEFAULT_CSS = """
    CallsScreen #body { height: 1fr; }
    CallsScreen #calls-pane { height: 1fr; }
    CallsScreen #call-pane { height: 8; border-top: solid $rule; }
    CallsScreen #call-scroll { padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, Logged] = {}
        self._last = ""

    def body(self) -> ComposeResult:
        with Pane("CALLS", id="calls-pane"):
            yield Grid(COLUMNS, empty="no cluster was asked anything yet", id="calls")
        with Pane("COMMAND", id="call-pane"), VerticalScroll(id="call-scroll"):
            yield Note(id="call")
        yield self.filter_field()

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#calls", Grid))

    def draw(self, picture: Picture) -> None:
        grid = self.query_one("#calls", Grid)
        logged = {each.key: each for each in self.console.logged_calls()}
        if logged != self._logged:
            # whoever stands at the newest follows; whoever reads further up is left alone
            followed = not self._logged or grid.selected in (None, self._last)
            self._logged = logged
            grid.apply(row_of(each) for each in logged.values())
            newest = grid.shown[-1] if grid.shown else ""
            if followed and newest:
                grid.select(newest)
            self._last = newest
        changes = sum(each.changes for each in logged.values())
        counts = f"  {changes} changes, {len(logged) - changes} reads; what drivers changed is from the journal"
        self.query_one("#calls-pane", Pane).tell((counts, Tone.MUTED), *self.filter_words())

    @on(Grid.RowHighlighted, "#calls")
    def show_call(self, event: Grid.RowHighlighted) -> None:
        logged = self._logged.get(event.grid.selected or "")
        self.query_one("#call", Note).show(*(_whole(logged) if logged else ()))
        self.draw_keys()

    def do_copy(self) -> None:
        """Into the terminal's clipboard (OSC 52), as it would be pasted."""
        logged = self._logged.get(self.query_one("#calls", Grid).selected or "")
        if logged is None:
            toast(self, "no call is selected", severity="warning")
            return
        self.app.copy_to_clipboard(logged.command)
        toast(self, "the line is in the clipboard, where the terminal allows that (OSC 52)", seconds=4)


def row_of(logged: Logged) -> Row:
    """A call on one line; what changes something stands out from what only reads."""
    return Row(
        logged.key,
        (
            (_clock(logged.at), Tone.MUTED),
            (logged.by, Tone.MUTED),
            (logged.answer, _tone(logged)),
            (milliseconds(logged.seconds) if logged.seconds is not None else "", Tone.MUTED),
            (f"x{logged.times}" if logged.times > 1 else "", Tone.MUTED),
            (logged.command, Tone.STRONG if logged.changes else Tone.TEXT),
        ),
    )


def _tone(logged: Logged) -> Tone:
    if logged.failed:
        return Tone.BAD
    return Tone.GOOD if logged.changes and (logged.answer in _WELL or logged.answer.startswith("2")) else Tone.TEXT


def _whole(logged: Logged) -> list[Line]:
    lines: list[Line] = [((logged.command, Tone.STRONG),)]
    if logged.problem:
        lines.append(((f"{glyphs.current().bad} {logged.problem}", Tone.BAD),))
    return lines


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
