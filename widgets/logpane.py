"""Lines that containers wrote, the newest at the end: a bounded number of them, followed, searched, wrapped, and always inert.

A line keeps its number for as long as it is kept, so that what a person reads stays where it is while old lines go and new ones
come. Only the lines on the screen are ever looked at closely.
"""

import bisect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from widgets import glyphs, ink
from widgets import text as safe
from widgets.grid.bounded import TooSlow, within
from widgets.ink import Line, Span, Tone
from widgets.toned import Toned

MOST_LINES = 10_000
MOST_CHARACTERS = 16 * 1024 * 1024
"""Of all lines together: ten thousand of the longest would be ten times as much."""
_SEARCHING, _MARKING = 0.25, 0.02
"""CPU seconds for a look through all lines, and for setting off what was found in one."""
_CUT_MARK = " [cut]"
_STAMP = 13
_TAGS = (Tone.ACCENT, Tone.CANARY, Tone.GOOD, Tone.STABLE, Tone.WARN, Tone.STRONG)
"""By which prefixes are told apart at a glance; the names say whose they are."""
_SEVERE = re.compile(r"\b(?:ERROR|FATAL|PANIC|CRITICAL|SEVERE)\b|\blevel=(?:error|fatal|panic)\b", re.IGNORECASE)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\blevel=warn", re.IGNORECASE)
_LOOKED_AT = 160
"""Characters at the start of a line in which its severity is looked for."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line: who wrote it (``tag``, empty where there is only one; ``hue`` its place among the others), when (Unix seconds),
    what; ``cut`` where its end is missing, ``told`` where it is said about the log, not by it."""

    text: str
    tag: str = ""
    hue: int = 0
    at: float | None = None
    cut: bool = False
    told: bool = False


class LogPane(ScrollView, Toned, can_focus=True):
    """Shows records; follows the newest until the person scrolls up, and again after ``G``."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"logpane--match"}
    DEFAULT_CSS = """
    LogPane { height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    LogPane > .logpane--match { background: $warning 30%; text-style: bold; }
    """ + ink.tone_css("LogPane")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "rows(1)", "Down", show=False),
        Binding("up,k", "rows(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "pages(-1)", "Page up", show=False),
        Binding("home,g", "oldest", "Oldest", show=False),
        Binding("end,G", "follow", "Newest", show=False),
    ]

    @dataclass
    class Moved(Message):
        """It follows now, or does so no longer."""

        pane: "LogPane"

        @property
        def control(self) -> "LogPane":
            return self.pane

    def __init__(self, *, empty: str = "no lines yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self._empty = empty
        self._records: list[Record] = []
        self._first = 0
        """The number of the oldest line that is kept."""
        self._characters = 0
        self._ends: list[int] = []
        """The row after each line's last one, counted from the first line ever added; only while lines are wrapped."""
        self._width = 0
        self._tag = 0
        self.wraps = False
        self.stamps = False
        self.follows = True
        self.missed = 0
        """Lines that came since it follows no longer."""
        self.dropped = 0
        """Lines that went for lack of room."""
        self._pattern: re.Pattern[str] | None = None
        self._found: int | None = None
        self._moving = False

    # what it holds

    @property
    def records(self) -> Sequence[Record]:
        return self._records

    @property
    def found(self) -> int | None:
        """The number, from 0, of the kept line that the search stands on."""
        return None if self._found is None or self._found < self._first else self._found - self._first

    def add(self, records: Iterable[Record]) -> None:
        """Put ``records`` at the end; of too many the oldest go."""
        new = list(records)
        if not new:
            return
        self._records += new
        self._characters += sum(len(each.text) for each in new)
        tag = max((len(each.tag) for each in new), default=0)
        if not self.follows:
            self.missed += len(new)
        if tag > self._tag:
            self._tag = tag
            self._ends = []
        before = self._rows_before_first()
        gone = self._drop()
        self._lay_out()
        self._place(max(0, self._rows_before_first() - before) if gone else 0)

    def clear(self) -> None:
        """Forget every line."""
        self._first += len(self._records)
        self._records, self._ends, self._characters, self._tag = [], [], 0, 0
        self._found, self.missed, self.dropped, self.follows = None, 0, 0, True
        self._lay_out()
        self._place(0)

    def say_when_empty(self, words: str) -> None:
        """What stands there while there is no line."""
        self._empty = words
        self.refresh()

    def set_wraps(self, wraps: bool) -> None:
        """Whether long lines go on below, or are cut at the edge. The line on top stays there."""
        self._relaid(wraps=wraps)

    def set_stamps(self, stamps: bool) -> None:
        """Whether each line begins with its time (UTC)."""
        self._relaid(stamps=stamps)

    def search(self, pattern: re.Pattern[str] | None) -> None:
        """Mark what ``pattern`` finds, from now on."""
        self._pattern, self._found = pattern, None
        self.refresh()

    def next_match(self, backwards: bool = False) -> int | None:
        """Go to the next line that the pattern finds, round the end; its number from 0, ``None`` where there is none.

        Raises :class:`TooSlow` where the pattern takes too long."""
        if self._pattern is None or not self._records:
            return None
        count = len(self._records)
        if self.found is not None:
            start = self.found
        else:
            start = self._line_at(self.scroll_offset.y + self.size.height - 1)[0] + 1 if backwards else self._top_line() - 1
        step = -1 if backwards else 1
        with within(_SEARCHING):
            ways = ((start + step * away) % count for away in range(1, count + 1))
            index = next((way for way in ways if self._pattern.search(self._records[way].text)), None)
        if index is not None:
            self._found = index + self._first
            self._show(index)
        return index

    def action_rows(self, by: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + by, animate=False, force=True, immediate=True)

    def action_pages(self, by: int) -> None:
        self.action_rows(by * max(1, self.size.height - 1))

    def action_oldest(self) -> None:
        self.scroll_to(y=0, animate=False, force=True, immediate=True)

    def action_follow(self) -> None:
        self.follows, self.missed = True, 0
        self._to_end()
        self.post_message(self.Moved(self))

    # where things are

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._moving or round(old_value) == round(new_value):
            return
        follows = self.scroll_offset.y >= self.max_scroll_y
        if follows != self.follows:
            self.follows = follows
            self.missed = 0
            self.post_message(self.Moved(self))

    def on_resize(self) -> None:
        top = self._top_line()
        self._ends = []
        self._lay_out()
        if self.follows:
            self._to_end()
        else:
            self._bring(self._start_of(top))

    def _relaid(self, *, wraps: bool | None = None, stamps: bool | None = None) -> None:
        top = self._top_line()
        self.wraps = self.wraps if wraps is None else wraps
        self.stamps = self.stamps if stamps is None else stamps
        self._ends = []
        self._lay_out()
        if self.follows:
            self._to_end()
        else:
            self._bring(self._start_of(top))
        self.refresh()

    def _drop(self) -> int:
        """Let the oldest go; how many went."""
        gone = max(0, len(self._records) - MOST_LINES)
        size = self._characters - sum(len(each.text) for each in self._records[:gone])
        while size > MOST_CHARACTERS and gone < len(self._records) - 1:
            size -= len(self._records[gone].text)
            gone += 1
        if gone:
            del self._records[:gone]
            del self._ends[:gone]
            self._first += gone
            self.dropped += gone
            self._characters = size
        return gone

    def _rows_before_first(self) -> int:
        """The row of the oldest line, counted as the ends are."""
        if not self.wraps:
            return self._first
        return self._ends[0] - self._height(self._records[0]) if self._ends else 0

    def _lay_out(self) -> None:
        """Where each line is, as far as that is not known yet."""
        width = self.scrollable_content_region.width
        if self.wraps:
            if width != self._width:
                self._ends, self._width = [], width
            end = self._ends[-1] if self._ends else 0
            for record in self._records[len(self._ends) :]:
                end += self._height(record)
                self._ends.append(end)
            rows = self._ends[-1] - self._rows_before_first() if self._ends else 0
        else:
            rows = len(self._records)
        self.virtual_size = Size(self.size.width, rows)

    def _height(self, record: Record) -> int:
        return len(_rows(_whole(record), max(2, self._width - self._indent())))

    def _indent(self) -> int:
        return (self._tag + 2 if self._tag else 0) + (_STAMP if self.stamps else 0)

    def _line_at(self, row: int) -> tuple[int, int]:
        """The line at a row of the whole, and which of its rows that is."""
        if not self.wraps:
            return row, 0
        wanted = row + self._rows_before_first()
        index = bisect.bisect_right(self._ends, wanted)
        if index >= len(self._ends):
            return len(self._ends), 0
        start = self._ends[index - 1] if index else self._rows_before_first()
        return index, wanted - start

    def _start_of(self, index: int) -> int:
        if not self.wraps or not self._ends:
            return index
        index = min(index, len(self._ends) - 1)
        return (self._ends[index - 1] if index else self._rows_before_first()) - self._rows_before_first()

    def _top_line(self) -> int:
        return self._line_at(self.scroll_offset.y)[0]

    def _show(self, index: int) -> None:
        """Bring a line onto the screen, with some of what is around it, and stay there."""
        top, height, row = self.scroll_offset.y, max(1, self.size.height), self._start_of(index)
        if not top <= row < top + height:
            self._bring(max(0, row - height // 3))
        follows = self.scroll_offset.y >= self.max_scroll_y and index == len(self._records) - 1
        if self.follows != follows:
            self.follows, self.missed = follows, 0
            self.post_message(self.Moved(self))
        self.refresh()

    def _place(self, gone: int) -> None:
        """After lines came and ``gone`` rows went: at the end while it follows, else where the person reads."""
        if self.follows:
            self._to_end()
        elif gone:
            self._bring(max(0, self.scroll_offset.y - gone))
        self.refresh()

    def _to_end(self) -> None:
        self._moving = True
        self.scroll_end(animate=False, force=True, immediate=True)
        self._moving = False

    def _bring(self, row: int) -> None:
        self._moving = True
        self.scroll_to(y=row, animate=False, force=True, immediate=True)
        self._moving = False

    # drawing

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if not self._records:
            return ink.strip(self, ((f" {self._empty}", Tone.MUTED),) if y == 0 else (), width)
        index, part = self._line_at(self.scroll_offset.y + y)
        if index >= len(self._records):
            return ink.strip(self, (), width)
        record = self._records[index]
        over = self.get_component_rich_style("logpane--match") if index == self.found else None
        return ink.strip(self, (*self._head(record, part), *self._body(record, part, width)), width, over)

    def _head(self, record: Record, part: int) -> Line:
        """Who and when; blank on the rows below a line's first."""
        spans: list[Span] = []
        if self.stamps:
            spans.append((safe.pad(clock_time(record.at) if part == 0 else "", _STAMP), Tone.MUTED))
        if self._tag:
            name = safe.pad(record.tag if part == 0 else "", self._tag)
            spans.append((f"{name}{glyphs.current().axis if part == 0 else ' '} ", _TAGS[record.hue % len(_TAGS)]))
        return tuple(spans)

    def _body(self, record: Record, part: int, width: int) -> Line:
        tone = Tone.ACCENT if record.told else _severity(record.text)
        text = record.text
        room = max(1, width - self._indent())
        if self.wraps:
            rows = _rows(_whole(record), max(2, room))
            return self._marked(rows[part] if part < len(rows) else "", tone)
        text = text[: 4 * room]  # what is cut away need not be made safe first
        if record.cut:
            # the mark is to be seen, wherever the edge of the screen cuts the line once more
            return (*self._marked(safe.cut(text, room - len(_CUT_MARK)), tone), (_CUT_MARK, Tone.WARN))
        return self._marked(safe.cut(text, room), tone)

    def _marked(self, text: str, tone: str) -> Line:
        """``text`` with what the search finds set off."""
        if self._pattern is None:
            return ((text, tone),)
        spans: list[Span] = []
        last = 0
        try:
            with within(_MARKING):
                for match in self._pattern.finditer(text):
                    if match.end() > match.start():
                        spans += [(text[last : match.start()], tone), (match.group(), Tone.ALARM)]
                        last = match.end()
        except TooSlow:
            return ((text, tone),)
        return (*spans, (text[last:], tone))


def clock_time(at: float | None) -> str:
    """A moment as the time of its day, UTC."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def _whole(record: Record) -> str:
    return record.text + _CUT_MARK if record.cut else record.text


@lru_cache(maxsize=2048)
def _rows(text: str, room: int) -> tuple[str, ...]:
    """``text``, safe, on as many rows of ``room`` cells as it needs, broken anywhere. In one pass: a line may be long."""
    shown = safe.sanitize(text)
    if shown.isascii():
        return tuple(shown[start : start + room] for start in range(0, len(shown), room)) or ("",)
    rows: list[str] = []
    begun, used = 0, 0
    for place, character in enumerate(shown):
        takes = cell_len(character)
        if used + takes > room:
            rows.append(shown[begun:place])
            begun, used = place, 0
        used += takes
    return (*rows, shown[begun:])


def _severity(text: str) -> Tone:
    head = text[:_LOOKED_AT]
    if _SEVERE.search(head):
        return Tone.BAD
    return Tone.WARN if _WARNING.search(head) else Tone.TEXT
