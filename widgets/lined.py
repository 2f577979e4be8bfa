"""The base of the long texts: any number of lines, of which only those on the screen are drawn."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from widgets import ink
from widgets.ink import Line
from widgets.toned import Toned


class Lined(ScrollView, Toned, can_focus=True):
    """Scrolls over lines; a subclass says which lines there are by :meth:`put`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"lined--cursor"}

    DEFAULT_CSS = """
    Lined {
        height: 1fr;
        width: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    Lined > .lined--cursor { background: $foreground 8%; }
    Lined:focus > .lined--cursor { background: $primary 35%; text-style: bold; }
    """ + ink.tone_css("Lined")

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("home,g", "scroll_home", "First", show=False),
        Binding("end,G", "scroll_end", "Last", show=False),
    ]

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._lines: Sequence[Line] = ()
        self._cursor: int | None = None

    @property
    def lines(self) -> Sequence[Line]:
        """Every line, on the screen or not."""
        return self._lines

    def put(self, lines: Sequence[Line], cursor: int | None = None) -> None:
        """Show ``lines``; repaints only where one on the screen is another."""
        old, before = self._lines, self._cursor
        self._lines, self._cursor = lines, cursor
        if len(lines) != len(old):
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()
            return
        top = self.scroll_offset.y
        for line in range(top, min(top + self.size.height, len(lines))):
            if lines[line] != old[line] or (line in (before, cursor) and before != cursor):
                self.refresh(Region(0, line - top, self.size.width, 1))

    def bring(self, line: int) -> None:
        """Scroll as far as it takes to have ``line`` on the screen."""
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if line < top:
            self.scroll_to(y=line, animate=False, force=True)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False, force=True)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._lines))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = self.scroll_offset.y + y
        if index >= len(self._lines):
            return ink.strip(self, (), width)
        over = self.get_component_rich_style("lined--cursor") if index == self._cursor else None
        return ink.strip(self, self._lines[index], width, over)
