"""The journal: entries newest last, filtered, and the selected one as it is stored."""

from __future__ import annotations

from typing import Any

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

from console.screens.base import bindings_of
from console.screens.filtered import FilteredScreen
from console.screens.pane import Pane
from console.screens.words import change_words, detail_of, outcome_of, outcome_tone
from console.view import Picture, Selection
from widgets import text
from widgets.drawn import Drawn
from widgets.grid import Column, Grid, Row
from widgets.ink import Line, Lines, Tone


def entry_row(entry: dict[str, Any]) -> Row:
    """One entry as a row of the table."""
    what = str(entry.get("command") or detail_of(entry))
    return Row(
        str(entry["seq"]),
        (
            (str(entry["seq"]), Tone.MUTED),
            (str(entry.get("timestamp", ""))[5:19].replace("T", " "), Tone.MUTED),
            (str(entry.get("event", "")), Tone.STRONG),
            (outcome_of(entry), outcome_tone(entry)),
            str(entry.get("environment", "")),
            str(entry.get("service", "")),
            str(entry.get("version", "")),
            (str(entry.get("user", "")), Tone.MUTED),
            (what, Tone.MUTED),
        ),
    )


class StoredEntry(Drawn[str]):
    """A document as it is stored: indented, nothing cut, nothing left out."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id)

    def show(self, entry: dict[str, Any] | None) -> None:
        self.replace(msgspec.json.format(msgspec.json.encode(entry), indent=2).decode() if entry else "")

    def draw(self, value: str, width: int, height: int | None) -> Lines:
        return tuple(line for words in value.splitlines() for line in _hanging(words, width))


def _hanging(words: str, width: int) -> list[Line]:
    indent = " " * min(len(words) - len(words.lstrip()), width // 2)
    parts = text.chop(words.strip(), max(8, width - len(indent) - 2))
    return [((indent if index == 0 else indent + "  ", Tone.MUTED), (part, Tone.TEXT)) for index, part in enumerate(parts)]


class JournalScreen(FilteredScreen):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = bindings_of("journal")
    where = "journal"
    filtered = "entries"

    DEFAULT_CSS = """
    JournalScreen #body { height: 1fr; }
    JournalScreen #panes { height: 1fr; }
    JournalScreen #entries-pane { width: 1fr; }
    JournalScreen #entry-pane { width: 56; border-left: solid $rule; }
    JournalScreen #entry-scroll { padding: 0 1; scrollbar-size-vertical: 1; }
    JournalScreen.-narrow #panes { layout: vertical; }
    JournalScreen.-narrow #entries-pane { height: 3fr; width: 100%; }
    JournalScreen.-narrow #entry-pane { width: 100%; height: 2fr; border-left: none; border-top: solid $rule; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-normal")]

    def __init__(self) -> None:
        super().__init__()
        self._rollout = ""
        self._entries: dict[str, dict[str, Any]] = {}
        self._last = ""

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Pane("JOURNAL", id="entries-pane"):
                yield Grid(
                    [
                        Column("seq", "#", 5, align="right"),
                        Column("time", "TIME (UTC)", 14),
                        Column("event", "EVENT", 27),
                        Column("outcome", "OUTCOME", 10, flex=1),
                        Column("environment", "ENV", 10, priority=1),
                        Column("service", "SERVICE", 15, flex=1, priority=2),
                        Column("version", "VERSION", 9, priority=5),
                        Column("user", "USER", 8, priority=6),
                        Column("what", "", 10, flex=4, priority=4),
                    ],
                    empty="no entries",
                    id="entries",
                )
            with Pane("ENTRY AS STORED", id="entry-pane"), VerticalScroll(id="entry-scroll"):
                yield StoredEntry(id="entry")
        yield self.filter_field()

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#entries", Grid))

    def open_at(self, rollout: str) -> None:
        """Begin anew, at the newest entry: of ``rollout`` only, or of everything where it is empty."""
        self._rollout = rollout
        self._entries = {}
        if self.is_mounted:
            self.close_filter()

    def only(self) -> str:
        """The rollout whose entries alone are shown; empty where all are."""
        return self._rollout

    def do_show_all(self) -> None:
        self._rollout = ""
        self.show(self.console.picture)

    def selection(self) -> Selection:
        entry = self._entries.get(self.query_one("#entries", Grid).selected or "") if self.is_mounted else None
        if entry is None:
            return Selection()
        known = self.console.picture.rollout(str(entry.get("rollout", "")))
        return Selection(str(entry.get("environment", "")), str(entry.get("service", "")), known.key if known else "")

    def draw(self, picture: Picture) -> None:
        entries = {
            str(entry["seq"]): entry for entry in picture.entries if not self._rollout or entry.get("rollout") == self._rollout
        }
        last = next(reversed(entries), "")
        grid = self.query_one("#entries", Grid)
        if entries.keys() != self._entries.keys():
            followed = not self._entries or grid.selected == self._last
            self._entries, self._last = entries, last
            grid.apply(entry_row(entry) for entry in entries.values())
            if followed and last:
                grid.select(last)
        self.query_one("#entries-pane", Pane).tell(
            ("" if picture.journal_ok else f"  can't be written: {picture.journal_detail}", Tone.ALARM),
            (f"  only {self._only_words(picture)}, a shows all" if self._rollout else "", Tone.ACCENT),
            (f"  {len(entries)} newest entries", Tone.MUTED),
            *self.filter_words(),
        )

    def _only_words(self, picture: Picture) -> str:
        card = picture.rollout(self._rollout)
        if card is None:
            return f"the rollout {self._rollout}"
        return f"{card.rollout.release.service} {change_words(card)} in {card.environment}"

    @on(Grid.RowHighlighted, "#entries")
    def show_entry(self, event: Grid.RowHighlighted) -> None:
        self.query_one("#entry", StoredEntry).show(self._entries.get(event.key or ""))
        self.query_one("#entry-scroll").scroll_home(animate=False)
        self.draw_keys()
