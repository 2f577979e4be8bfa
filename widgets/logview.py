"""The calls that were made and what came back: the newest at the end, never more than a given number kept."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from widgets import format as figures
from widgets import text
from widgets.ink import Line, Span, Tone
from widgets.lined import Lined

_STATUS = 11


@dataclass(frozen=True, slots=True)
class LogEntry:
    """``time`` as it is shown; ``status`` what was answered (``200``, ``ok``, ``refused``) and ``ms`` after how many
    milliseconds; ``tone`` of the status."""

    time: str
    text: str
    status: str = ""
    ms: float | None = None
    tone: str = Tone.TEXT


def draw_entry(entry: LogEntry) -> Line:
    """One entry on one line: time, answer, duration, then the call, which may be cut."""
    spans: list[Span] = [(f"{text.cut(entry.time, 20)} ", Tone.MUTED)]
    if entry.status or entry.ms is not None:
        took = figures.milliseconds(None if entry.ms is None else entry.ms / 1000) if entry.ms is not None else ""
        spans += [(text.pad(entry.status, _STATUS), entry.tone), (f"{took:>7}  ", Tone.MUTED)]
    return (*spans, (entry.text, Tone.TEXT))


class LogView(Lined):
    """Shows entries and follows the newest, unless the person has scrolled up to read."""

    def __init__(
        self, *, capacity: int = 1000, empty: str = "no calls yet", id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._empty = empty
        self._entries: deque[LogEntry] = deque(maxlen=capacity)
        self._follows = True
        self._height = 0
        self._drawing = False

    def replace(self, entries: Iterable[LogEntry]) -> None:
        """Show these entries, of too many the last."""
        new = deque(entries, maxlen=self._entries.maxlen)
        if new != self._entries:
            self._entries = new
            self._redraw()

    def on_mount(self) -> None:
        self._redraw()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        # A scroll that comes of another height or of new entries is nobody's wish to stop following.
        if self.size.height == self._height and not self._drawing:
            self._follows = self.scroll_offset.y >= self.max_scroll_y

    def on_resize(self) -> None:
        self._height = self.size.height
        if self._follows:
            self.scroll_end(animate=False, force=True, immediate=True)

    def _redraw(self) -> None:
        self._drawing = True
        self.put(tuple(draw_entry(entry) for entry in self._entries) or (((self._empty, Tone.MUTED),),))
        if self._follows:
            self.scroll_end(animate=False, force=True, immediate=True)
        self._drawing = False
