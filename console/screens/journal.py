"""The journal: all of it, in a window that slides; live at its newest end, filtered, and the selected entry beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from console.fieldterms import Query, parse
from console.pages import NEWEST
from console.screens.base import bindings_of
from console.screens.entries import COLUMNS, Entries, Entry, entry_row, finds, hint_line
from console.screens.entry import EntryScreen, EntryView, entry_selection, tell_no_counterpart
from console.screens.filtered import FilteredScreen
from console.screens.pane import Pane
from console.termhints import Suggestion, Values, suggestions, values_of
from console.view import Picture, Selection
from console.window import LARGEST, Window
from services.audit.exporting import Form
from services.model.errors import QuarterdeckError
from widgets import glyphs
from widgets.filterfield import FilterField
from widgets.grid import Grid, Row
from widgets.grid.terms import BadFilter, Filter
from widgets.grid.terms import parse as parse_words
from widgets.ink import Span, Tone
from widgets.note import Note
from widgets.toast import toast

AHEAD = 60
"""Lines above the first one on the screen at which older entries are read."""
HINT = "words !word /regex/ service:payment user:jane outcome:failed since:2h; tab completes, enter keeps, esc leaves it"


class JournalScreen(FilteredScreen):
    """Kept and shown again: putting a screen together takes longer than a key may."""

    BINDINGS = [*bindings_of("journal"), Binding("tab", "complete", "complete", priority=True)]
    where = "journal"
    filtered = "entries"
    field_keys = (("tab", "complete"), ("enter", "keep the filter"))

    DEFAULT_CSS = """
    JournalScreen #body { height: 1fr; }
    JournalScreen #panes { height: 1fr; }
    JournalScreen #entries-pane { width: 1fr; }
    JournalScreen #entry-pane { width: 64; border-left: solid $rule; }
    JournalScreen #hints { display: none; padding: 0 1; height: auto; max-height: 3; background: $panel; }
    JournalScreen #hints.-told { display: block; }
    JournalScreen.-narrow #panes { layout: vertical; }
    JournalScreen.-narrow #entries-pane { height: 3fr; width: 100%; }
    JournalScreen.-narrow #entry-pane { width: 100%; height: 2fr; border-left: none; border-top: solid $rule; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-normal")]

    def __init__(self) -> None:
        super().__init__()
        self._rollout = ""
        self._query = Query()
        self._typed = ""
        self._words = Filter()
        self._window = Window(self._wanted)
        self._rows: dict[str, Row] = {}
        self._following = True
        self._goes_to = ""
        """The end at which the window is being begun anew: ``first`` or empty."""
        self._seen = 0
        """The newest entry when the operator left the newest end."""
        self._values: Values = {}
        """What stood in the fields when the filter was opened."""
        self._reading: Window | None = None
        """What a page is being read for."""

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Pane("JOURNAL", id="entries-pane"):
                yield Entries(COLUMNS, empty="no entries", id="entries")
            with Pane("ENTRY", id="entry-pane"):
                yield EntryView(id="entry")
        yield Note(id="hints")
        yield self.filter_field()

    def filter_field(self) -> FilterField:
        return FilterField(HINT)

    @property
    def _list(self) -> Entries:
        return self.query_one("#entries", Entries)

    def focus_body(self) -> None:
        self.set_focus(self._list)

    # ---- what is shown

    def open_at(self, rollout: str) -> None:
        """Begin anew, at the newest entry: of ``rollout`` only, or of everything where it is empty."""
        self._rollout = rollout
        self._anew()
        if self.is_mounted:
            self.close_filter()

    def only(self) -> str:
        """The rollout whose entries alone are shown; empty where all are."""
        return self._rollout

    def do_show_all(self) -> None:
        self._rollout = ""
        self._anew()
        self.show(self.console.picture)

    def _wanted(self, entry: Entry) -> bool:
        if self._rollout and entry.get("rollout") != self._rollout:
            return False
        if not self._query.wanted(entry):
            return False
        # patterns are left to the list: only there is their time bounded
        return not self._words.words or self._words.has_words(entry_row(entry).search)

    def _anew(self) -> None:
        """Forget what was read, and follow the newest."""
        self._window = Window(self._wanted)
        self._rows = {}
        self._following, self._goes_to, self._seen = True, "", 0

    def _selected(self) -> Entry | None:
        return self._window.entries.get(self._list.selected or "") if self.is_mounted else None

    def selection(self) -> Selection:
        return entry_selection(self._selected(), self.console.picture)

    def unpicked(self) -> str:
        """At its newest end what is selected is whatever came last: an entry of anybody's rollout."""
        if self._rollout or (self.is_mounted and self._list.picked is not None):
            return ""
        return "select an entry first"

    def draw(self, picture: Picture) -> None:
        window, grid = self._window, self._list
        if (not self._goes_to and window.feed(picture.entries)) or len(self._rows) != len(window.entries):
            self._arrange()
        if self._following and window.misses(picture.entries):
            self._anew()  # more came at once than a picture holds: begin at the newest again
            window = self._window
            window.feed(picture.entries)
            self._arrange()
        self.query_one("#entries-pane", Pane).tell(
            ("" if picture.journal_ok else f"  can't be written: {picture.journal_detail}", Tone.ALARM),
            *self._below(picture),
            (f"  only {self._only_words(picture)}, a shows all" if self._rollout else "", Tone.ACCENT),
            *self.filter_words(),
            (f"  {self._held_words()}", Tone.MUTED),
        )
        grid.set_empty("nothing of it in this home's journal; a shows all that is" if self._rollout else "no entries")
        self.query_one("#entry", EntryView).show(self._selected(), picture)
        if not self._goes_to and self._reading is not window and not window.at_start and self._room_above(grid):
            self._read_older(window)

    def _arrange(self) -> None:
        """Give the list the rows of the window; at its newest end it follows."""
        entries, grid = self._window.entries, self._list
        self._rows = {key: self._rows.get(key) or entry_row(entry) for key, entry in entries.items()}
        grid.apply(self._rows.values())
        if self._goes_to == "first":
            if grid.shown:
                grid.select(grid.shown[0])
                self._goes_to = ""
        elif self._following and grid.shown:
            grid.select(grid.shown[-1])
            self._seen = self._window.high

    def _room_above(self, grid: Grid) -> bool:
        """Whether older entries are needed: the first ones on hand are near, or too few are shown for the pane."""
        if grid.filter and len(self._rows) >= LARGEST:
            return False  # a pattern that hardly ever occurs does not read the whole journal by itself
        return grid.scroll_offset.y < AHEAD if len(grid.shown) > grid.size.height else bool(self._window.begun)

    def _held_words(self) -> str:
        window = self._window
        if not window.begun:
            return "nothing read yet"
        reading = f", reading {glyphs.current().ellipsis}" if self._reading else ""
        if window.at_start:
            return f"{len(self._rows)} entries, from the first{reading}"
        return f"{len(self._rows)} entries, back to #{window.low}{reading}"

    def _below(self, picture: Picture) -> tuple[Span, ...]:
        """How many new entries are below what is looked at."""
        if self._following:
            return (("  live", Tone.GOOD),)
        count = sum(int(entry["seq"]) > self._seen and self._wanted(entry) for entry in picture.entries)
        more = bool(picture.entries) and int(picture.entries[0]["seq"]) > self._seen + 1
        if not count:
            return (("  G follows", Tone.MUTED),)
        return ((f"  {count}{'+' if more else ''} new below, G", Tone.ACCENT),)

    def _only_words(self, picture: Picture) -> str:
        card = picture.rollout(self._rollout)
        if card is None:
            return f"the rollout {self._rollout}"
        arrow = glyphs.current().arrow
        return f"{card.rollout.release.service} {arrow} {card.rollout.versions[1]} in {card.environment}"

    # ---- reading on

    @work(group="the journal", exit_on_error=False)
    async def _read_older(self, window: Window) -> None:
        if self._reading is window or window.at_start:
            return
        self._reading = window
        try:
            window.older(await self.console.session.pages.older(window.low if window.begun else NEWEST, self._wanted))
        finally:
            if self._reading is window:
                self._reading = None
        if window is self._window:
            self._arrange()
        self.show(self.console.picture)

    @work(group="the journal", exit_on_error=False)
    async def _read_newer(self, window: Window, after: int) -> None:
        if self._reading is window:
            return
        self._reading = window
        try:
            window.newer(await self.console.session.pages.newer(after, self._wanted))
        finally:
            if self._reading is window:
                self._reading = None
        if window is self._window:
            self._arrange()
        self.show(self.console.picture)

    @on(Entries.End, "#entries")
    def go_to_end(self, event: Entries.End) -> None:
        if event.newest:
            if self._window.misses(self.console.picture.entries):
                self._anew()
            self._following = True
            self._arrange()
        elif not self._window.at_start:
            self._window = Window(self._wanted)
            self._rows = {}
            self._following, self._goes_to = False, "first"
            self._read_newer(self._window, 0)
        self.show(self.console.picture)

    @on(Grid.RowHighlighted, "#entries")
    def show_entry(self, event: Grid.RowHighlighted) -> None:
        grid = self._list
        if self._goes_to:
            return  # on the way to the first entry: what is selected until then is nobody's choice
        last = grid.shown[-1] if grid.shown else None
        at_end = grid.selected == last and not self._window.misses(self.console.picture.entries)
        if self._following and not at_end:
            self._seen = self._window.high
        # a filter may leave nothing to select: that is nobody's wish to stop following
        self._following = at_end or not grid.shown
        if grid.selected == last and not at_end:
            self._read_newer(self._window, self._window.high)
        self.show(self.console.picture)

    # ---- the filter

    def do_filter(self) -> None:
        newest = {str(entry["seq"]): entry for entry in self.console.picture.entries}
        self._values = values_of({**self._window.entries, **newest}.values())
        super().do_filter()
        self._hint(self._field.input.value)

    def _hint(self, text: str) -> None:
        """Say what may be typed next; nothing while the field is out of sight."""
        self._show_hints(suggestions(text, self._values) if self._field.opened else ())

    def _show_hints(self, found: Sequence[Suggestion]) -> None:
        note = self.query_one("#hints", Note)
        note.set_class(bool(found), "-told")
        note.show(hint_line(found)) if found else note.show()
        self.after_refresh(self.place_toasts)

    def typed_in(self) -> Widget | None:
        hints = self.query_one("#hints", Note)
        return hints if self._field.opened and hints.has_class("-told") else super().typed_in()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "complete":
            return self.is_mounted and self._field.input.has_focus
        return super().check_action(action, parameters)

    def action_complete(self) -> None:
        """The first suggestion takes the place of the word that is being typed."""
        if found := suggestions(self._field.input.value, self._values):
            self._field.input.value = found[0].text
            self._field.input.cursor_position = len(found[0].text)

    @on(Input.Changed, "#filter")
    def hint_for_typed(self, event: Input.Changed) -> None:
        self._hint(event.value)

    def _filtered(self) -> None:
        super()._filtered()
        self._hint(self._field.input.value)

    def filter_words(self) -> tuple[Span, ...]:
        if self._query.narrows and not self._list.dropped:
            return ((f"  /{self._typed}  {len(self._list.shown)} found", Tone.ACCENT),)
        return super().filter_words()

    def filter_text(self) -> str:
        return self._typed

    def set_filter(self, text: str) -> str:
        try:
            query = parse(text, self.console.clock.now())
            words = parse_words(query.words)
        except BadFilter as error:
            return str(error)
        if problem := self._list.set_filter(query.words):
            return problem
        if (query, words) != (self._query, self._words):
            self._query, self._words = query, words
            self._anew()
        self._typed = text
        return ""

    # ---- what the filter leaves, in a file

    def do_save(self) -> None:
        self._save(Form.JSONL)

    def do_save_table(self) -> None:
        self._save(Form.CSV)

    @work(group="save", exclusive=True, exit_on_error=False)
    async def _save(self, form: Form) -> None:
        """Every entry of the journal that is wanted, not only those on hand."""
        toast(self, f"reading the journal {glyphs.current().ellipsis}", title="Save", seconds=3)
        name = f"journal-{self._rollout}" if self._rollout else "journal"
        try:
            path, count = await self.console.session.saved_entries(name, form, self._all_wanted())
        except (QuarterdeckError, OSError) as error:
            toast(self, str(error), title="Save", severity="error", seconds=15)
            return
        narrowed = f" that {self._typed} leaves" if self._typed else ""
        toast(self, f"{count} entries{narrowed} in {path}", title="Saved", seconds=10)

    async def _all_wanted(self) -> AsyncIterator[Sequence[Entry]]:
        """From the first entry to the newest there is now. Patterns are tried here, in bounded time for each page."""
        wanted, patterns, after = self._wanted, self._words, 0
        while True:
            page = await self.console.session.pages.newer(after, wanted)
            if found := [entry for entry in page.entries if not patterns.patterns or finds(patterns, entry)]:
                yield found
            if page.end:
                return
            after = page.last

    # ---- where an entry leads

    @on(Grid.RowChosen, "#entries")
    def open_whole(self) -> None:
        self.do_entry()

    def do_entry(self) -> None:
        entry = self._selected()
        if entry is not None:
            self.app.push_screen(EntryScreen(entry, self.query_one("#entry", EntryView).as_stored))

    def do_health(self) -> None:
        self.console.open_health()

    def do_stored(self) -> None:
        view = self.query_one("#entry", EntryView)
        view.switch(not view.as_stored)

    def do_its_rollout(self) -> None:
        self.console.open_rollout(self.selection().rollout)

    def do_counterpart(self) -> None:
        entry = self._selected()
        if entry is not None:
            self._go_to_counterpart(entry)

    @work(group="the journal", exit_on_error=False)
    async def _go_to_counterpart(self, entry: Entry) -> None:
        other = await self.console.session.pages.counterpart(entry)
        if other is None:
            tell_no_counterpart(self, entry)
        elif str(other["seq"]) in self._list.shown:
            self._list.pick(str(other["seq"]))
        else:
            self.app.push_screen(EntryScreen(other, self.query_one("#entry", EntryView).as_stored))
