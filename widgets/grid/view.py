"""The virtual table: draws only the lines on the screen, so ten thousand rows cost as much as fifty.

The selection belongs to a row's key. Rows may be added, moved or removed under it: it stays with its object, and where that
object is no longer shown nothing is selected, rather than whatever took its place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from widgets import glyphs, ink
from widgets.grid.bounded import TooSlow, within
from widgets.grid.columns import GAP, Column, Placed, place
from widgets.grid.model import Row, arrange, as_line, by_key, diff, without
from widgets.grid.terms import BadFilter, Filter, parse
from widgets.ink import Line, Span, Tone
from widgets.toned import Toned

PATIENCE = 0.04
"""Seconds of CPU time in which the patterns of a filter must have been looked for in every row that is new: a key press."""
_HEADER = 1
_MARGIN = 2  # cells left of the first column, for the cursor's sign


class Grid(ScrollView, Toned, can_focus=True):
    """A table of rows under a fixed header. ``apply`` gives it all rows; it finds out what changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--header", "grid--cursor"}

    DEFAULT_CSS = """
    Grid {
        height: 1fr;
        width: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    Grid > .grid--header { color: $text-muted; text-style: bold; }
    Grid > .grid--cursor { background: $foreground 8%; }
    Grid:focus > .grid--cursor { background: $primary 35%; text-style: bold; }
    """ + ink.tone_css("Grid")

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]

    @dataclass
    class RowHighlighted(Message):
        """The selection is another one: ``key``, or ``None`` where ``gone`` is no longer shown (or nothing is)."""

        grid: "Grid"
        key: str | None
        gone: str | None = None

        @property
        def control(self) -> "Grid":
            return self.grid

    @dataclass
    class RowChosen(Message):
        """Enter or a double click on a row that is there."""

        grid: "Grid"
        key: str

        @property
        def control(self) -> "Grid":
            return self.grid

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        empty: str = "nothing here",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._columns = tuple(columns)
        self._empty = empty
        self._rows: dict[str, Row] = {}
        self._shown: tuple[str, ...] = ()
        self._index: dict[str, int] = {}
        self._filter = Filter()
        self._faults = False
        self._verdicts: dict[str, tuple[Row, bool]] = {}  # of the filter's patterns, by key: looked for once a row
        self._dropped = ""
        self._wanted: str | None = None  # the key the selection belongs to, shown or not
        self._picked: str | None = None
        self._fresh = True  # until anything was selected, the first row offers itself
        self._place = 0  # where the cursor stands, for the next move when its row is gone
        self._placed: tuple[int, tuple[Placed, ...]] = (-1, ())

    # what it holds

    @property
    def selected(self) -> str | None:
        """The key of the selected row; ``None`` where none is selected or the selected one is no longer shown."""
        return self._wanted if self._wanted in self._index else None

    @property
    def gone(self) -> str | None:
        """The key that was selected and is no longer shown."""
        return self._wanted if self._wanted is not None and self._wanted not in self._index else None

    @property
    def picked(self) -> str | None:
        """The selected row, where a person went to it: not where it was selected by whoever shows the rows."""
        return self._picked if self._picked == self.selected else None

    @property
    def row_count(self) -> int:
        """How many rows there are, filtered ones included."""
        return len(self._rows)

    @property
    def shown(self) -> tuple[str, ...]:
        """The keys on the lines, in their order."""
        return self._shown

    @property
    def in_view(self) -> tuple[str, ...]:
        """The keys on the lines that are on the screen."""
        top = self.scroll_offset.y
        return self._shown[top : top + max(0, self.size.height - _HEADER)]

    @property
    def filter(self) -> str:
        """The filter that is in force, as it was typed."""
        return self._filter.text

    @property
    def faults_only(self) -> bool:
        return self._faults

    @property
    def dropped(self) -> str:
        """Why the filter that was in force is no more, if rows came on which its pattern took too long."""
        return self._dropped

    # what changes it

    def apply(self, rows: Iterable[Row]) -> None:
        """Show exactly ``rows``. Repaints the lines that changed; the selection stays with its key.

        Raises:
            ValueError: two rows have the same key.
        """
        self._rearrange(by_key(rows))

    def begin_anew(self) -> None:
        """Forget rows and selection: what comes next is of something else. The first row then offers itself again."""
        self._wanted, self._picked, self._fresh, self._place = None, None, True, 0
        self._rearrange({}, announce=False)
        self.scroll_to(y=0, animate=False, force=True)

    def set_filter(self, search: str) -> str:
        """Show the rows in which every term of ``search`` holds (see :mod:`widgets.grid.terms`). Returns what is wrong with it,
        if anything: then the filter before stays in force. A selection that is filtered away moves to the first match."""
        if search == self.filter:
            return ""
        try:
            wanted = parse(search)
            verdicts = self._judged(self._rows.values(), wanted, {})
        except BadFilter as error:
            return str(error)
        except TooSlow:
            return f"takes longer than {PATIENCE * 1000:.0f} ms to look for: nested repeats?"
        self._filter, self._verdicts, self._dropped = wanted, verdicts, ""
        self._narrow()
        return ""

    def set_faults(self, only: bool) -> None:
        """Show only what is told as bad, as worth a look, or as unsure."""
        if only != self._faults:
            self._faults = only
            self._narrow()

    def _narrow(self) -> None:
        before = self.selected
        self._rearrange(self._rows, announce=False)
        if self.selected is None and self._shown:
            self._wanted, self._place = self._shown[0], 0
            self._follow()
        if self.selected != before:
            self.post_message(self.RowHighlighted(self, self.selected, self.gone))
        self.refresh()

    def _judged(self, rows: Iterable[Row], wanted: Filter, known: dict[str, tuple[Row, bool]]) -> dict[str, tuple[Row, bool]]:
        """Whether the patterns of ``wanted`` hold, by key; what is known of a row that is the same is not asked again. Only rows
        with the words are looked at. Raises TooSlow."""
        if not wanted.patterns:
            return {}
        verdicts: dict[str, tuple[Row, bool]] = {}
        new: list[tuple[Row, str]] = []
        for row in arrange(rows, wanted):
            had = known.get(row.key)
            if had is not None and had[0] is row:
                verdicts[row.key] = had
            else:
                new.append((row, row.text))
        with within(PATIENCE):
            verdicts.update((row.key, (row, wanted.finds(text))) for row, text in new)
        return verdicts

    def _arranged(self, rows: dict[str, Row]) -> tuple[str, ...]:
        """The keys to show."""
        if self._filter.patterns:
            try:
                self._verdicts = self._judged(rows.values(), self._filter, self._verdicts)
            except TooSlow:
                self._dropped = f"{self.filter} takes too long on what came: all is shown"
                self._filter, self._verdicts = Filter(), {}
        found = arrange(rows.values(), self._filter, faults=self._faults)
        if self._filter.patterns:
            return tuple(row.key for row in found if self._verdicts[row.key][1])
        return tuple(row.key for row in found)

    def set_empty(self, text: str) -> None:
        """What to say while there is no row."""
        if text != self._empty:
            self._empty = text
            self.refresh()

    def select(self, key: str | None) -> None:
        """Select a row that is shown; any other key selects nothing."""
        wanted = key if key in self._index else None
        self._fresh = False
        if wanted != self._wanted:
            self._wanted = wanted
            self._follow()
            self.post_message(self.RowHighlighted(self, wanted))
            self.refresh()

    def pick(self, key: str | None) -> None:
        """Select a row because a person asked for it."""
        self._picked = key  # first: whoever hears of the selection asks whose it is
        self.select(key)

    def _rearrange(self, rows: dict[str, Row], announce: bool = True) -> None:
        # an equal row stays the one it was: what a filter has found out about it holds
        rows = {key: old if (old := self._rows.get(key)) == row and old is not None else row for key, row in rows.items()}
        shown = self._arranged(rows)
        change = diff(self._rows, self._shown, rows, shown)
        before = self.selected
        self._rows = rows
        if not change:
            return
        if change.moved:
            self._shown = shown
            self._index = {key: index for index, key in enumerate(shown)}
            if self._fresh and shown:
                self._wanted, self._fresh = shown[0], False
            kept_line = before is not None and before == self.selected
            offset = self._place - self.scroll_offset.y
            self._resize()
            if kept_line:
                self._place = self._index[before or ""]
                # the selected row keeps its line on the screen while others come and go above it
                self.scroll_to(y=max(0, self._place - offset), animate=False, force=True)
            self._place = max(0, min(self._place, len(shown) - 1))
            self.refresh()
        else:
            self._refresh_keys(change.changed)
        if announce and self.selected != before:
            self.post_message(self.RowHighlighted(self, self.selected, self.gone))

    def _refresh_keys(self, keys: Iterable[str]) -> None:
        top, height = self.scroll_offset.y, self.size.height - _HEADER
        for key in keys:
            line = self._index[key] - top
            if 0 <= line < height:
                self.refresh(Region(0, line + _HEADER, self.size.width, 1))

    def _resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._shown) + _HEADER)

    # moving

    def action_move(self, by: int) -> None:
        # from a row that is gone, down goes to the row that took its line and up to the one above it
        self._go(self._place + (0 if self.gone is not None and by > 0 else by))

    def action_page(self, by: int) -> None:
        self._go(self._place + by * max(1, self.size.height - _HEADER - 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._shown) - 1)

    def action_choose(self) -> None:
        if self.selected is not None:
            self.post_message(self.RowChosen(self, self.selected))

    def _go(self, index: int) -> None:
        if self._shown:
            self.pick(self._shown[max(0, min(index, len(self._shown) - 1))])

    def _follow(self) -> None:
        """Bring the selected row onto the screen."""
        if self.selected is None:
            return
        if not self.size.height:
            return  # before it has its size nothing is out of sight; then it is looked at again
        self._place = self._index[self.selected]
        top, height = self.scroll_offset.y, max(1, self.size.height - _HEADER)
        if self._place < top:
            self.scroll_to(y=self._place, animate=False, force=True)
        elif self._place >= top + height:
            self.scroll_to(y=self._place - height + 1, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y - _HEADER
        if event.y < _HEADER or not 0 <= index < len(self._shown):
            return
        self.pick(self._shown[index])
        if event.chain == 2:
            self.action_choose()

    def on_resize(self) -> None:
        self._resize()
        self._follow()

    # drawing

    def _layout_columns(self, width: int) -> tuple[Placed, ...]:
        if self._placed[0] != width:
            self._placed = (width, place(self._columns, width - _MARGIN))
        return self._placed[1]

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y < _HEADER:
            return ink.strip(self, self._header(width), width, self.get_component_rich_style("grid--header"))
        index = self.scroll_offset.y + y - _HEADER
        if index >= len(self._shown):
            return ink.strip(self, self._blank(index), width)
        row = self._rows[self._shown[index]]
        if row.key != self._wanted:
            return ink.strip(self, self._line(row, width, "  "), width)
        over = self.get_component_rich_style("grid--cursor")
        return ink.strip(self, self._line(row, width, glyphs.current().cursor + " "), width, over)

    def _header(self, width: int) -> Line:
        spans: list[Span] = [(" " * _MARGIN, Tone.MUTED)]
        for placed in self._layout_columns(width):
            spans += [*ink.fill(((placed.column.title, Tone.MUTED),), placed.width, placed.column.align), (" " * GAP, Tone.MUTED)]
        return tuple(spans[:-1])

    def _line(self, row: Row, width: int, mark: str) -> Line:
        spans: list[Span] = [(mark, Tone.ACCENT)]
        for placed in self._layout_columns(width):
            line = as_line(row.cells[placed.index]) if placed.index < len(row.cells) else ()
            if placed.width < placed.column.width and placed.column.implied:
                line = without(line, placed.column.implied)
            spans += [*ink.fill(line, placed.width, placed.column.align), (" " * GAP, Tone.TEXT)]
        return tuple(spans[:-1])

    def _blank(self, index: int) -> Line:
        if index or self._shown:
            return ()
        if self._rows:
            if self._faults:
                return (("  nothing is wrong", Tone.GOOD), (f" among {self.filter}" if self.filter else "", Tone.STRONG))
            return (("  no row matches ", Tone.MUTED), (self.filter, Tone.STRONG))
        return ((f"  {self._empty}", Tone.MUTED),)
