"""The journal: entries newest last, filtered, and the selected one as it is stored."""

from __future__ import annotations

from typing import Any

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Static

from console.screens.base import ConsoleScreen, bindings_of
from console.view import Picture, Selection
from widgets.grid import Column, Grid, Row
from widgets.text import sanitize


def entry_row(entry: dict[str, Any]) -> Row:
    outcome = str(entry.get("outcome") or entry.get("phase") or "")
    tone = "bad" if outcome in ("failed", "refused", "needs_attention", "unknown") or entry.get("rollback_triggered") else "text"
    return Row(
        str(entry["seq"]),
        (
            (str(entry["seq"]), "muted"),
            (str(entry.get("timestamp", ""))[:19].replace("T", " "), "muted"),
            (str(entry.get("event", "")), "strong"),
            (outcome, tone),
            str(entry.get("environment", "")),
            str(entry.get("service", "")),
            str(entry.get("version", "")),
            (str(entry.get("user", "")), "muted"),
            (str((entry.get("data") or {}).get("step") or entry.get("command") or ""), "muted"),
        ),
        (entry["seq"],),
    )


class JournalScreen(ConsoleScreen):
    BINDINGS = bindings_of("journal")
    where = "journal"

    DEFAULT_CSS = """
    JournalScreen #body { height: 1fr; }
    JournalScreen #panes { height: 1fr; }
    JournalScreen #entries { width: 1fr; }
    JournalScreen #entry-pane { width: 60; border-left: solid $panel-lighten-1; padding: 0 1; }
    JournalScreen #filter { display: none; height: 3; }
    JournalScreen #filter.-open { display: block; }
    JournalScreen.-narrow #panes { layout: vertical; }
    JournalScreen.-narrow #entries { height: 1fr; }
    JournalScreen.-narrow #entry-pane { width: 100%; height: 8; border-left: none; border-top: solid $panel-lighten-1; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-normal")]

    def __init__(self, rollout: str = "") -> None:
        super().__init__()
        self._rollout = rollout
        self._entries: dict[str, dict[str, Any]] = {}
        self._follow = True

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield Grid(
                [
                    Column("seq", "#", 6, align="right"),
                    Column("time", "TIME (UTC)", 19),
                    Column("event", "EVENT", 27),
                    Column("outcome", "OUTCOME", 16),
                    Column("environment", "ENV", 10, priority=2),
                    Column("service", "SERVICE", 15, priority=1),
                    Column("version", "VERSION", 9, priority=4),
                    Column("user", "USER", 10, priority=5),
                    Column("what", "", 10, flex=1, priority=3),
                ],
                empty="the journal is empty",
                id="entries",
            )
            with VerticalScroll(id="entry-pane"):
                yield Static("", id="entry", markup=False)
        yield Input(placeholder="filter entries; esc clears", id="filter")

    def on_mount(self) -> None:
        super().on_mount()
        grid = self.query_one("#entries", Grid)
        grid.focus()
        if grid.shown:
            grid.select(grid.shown[-1])

    def focus_body(self) -> None:
        self.query_one("#entries", Grid).focus()

    def selection(self) -> Selection:
        entry = self._entries.get(self.query_one("#entries", Grid).selected or "")
        if entry is None:
            return Selection()
        return Selection(str(entry.get("environment", "")), str(entry.get("service", "")), str(entry.get("rollout", "")))

    def draw(self, picture: Picture) -> None:
        entries = {
            str(entry["seq"]): entry for entry in picture.entries if not self._rollout or entry.get("rollout") == self._rollout
        }
        if entries.keys() == self._entries.keys():
            return
        grid = self.query_one("#entries", Grid)
        at_end = not self._entries or grid.selected == next(reversed(self._entries), None)
        self._entries = entries
        grid.apply(entry_row(entry) for entry in entries.values())
        if at_end and entries:
            grid.select(next(reversed(entries)))

    @on(Grid.RowHighlighted, "#entries")
    def show_entry(self, event: Grid.RowHighlighted) -> None:
        entry = self._entries.get(event.key or "")
        text = msgspec.json.format(msgspec.json.encode(entry), indent=2).decode() if entry else ""
        self.query_one("#entry", Static).update("\n".join(sanitize(line) for line in text.splitlines()))
        self.draw_keys()

    def do_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    def do_back(self) -> None:
        field = self.query_one("#filter", Input)
        if field.has_class("-open"):
            field.value = ""
            field.remove_class("-open")
            self.focus_body()
        else:
            super().do_back()

    @on(Input.Changed, "#filter")
    def filter_entries(self, event: Input.Changed) -> None:
        self.query_one("#entries", Grid).set_filter(event.value)

    @on(Input.Submitted, "#filter")
    def keep_filter(self) -> None:
        self.focus_body()
