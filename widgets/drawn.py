"""The base of every widget that is a drawing of one frozen value: equal value, no repaint; new height, new layout."""

from abc import abstractmethod
from typing import Generic, TypeVar

from textual.geometry import Region, Size
from textual.strip import Strip

from widgets import glyphs, ink
from widgets.ink import Lines, Tone
from widgets.toned import Toned

Value = TypeVar("Value")


class Drawn(Toned, Generic[Value]):
    """Draws ``value`` through :meth:`draw`. Subclasses give ``draw`` and a ``show`` with plain arguments."""

    DEFAULT_CSS = """
    Drawn {
        height: auto;
        width: 1fr;
    }
    """ + ink.tone_css("Drawn")

    def __init__(self, value: Value, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._value = value
        self._drawn: tuple[Value, int, int | None, glyphs.Glyphs, Lines] | None = None

    @property
    def value(self) -> Value:
        """What is drawn now."""
        return self._value

    @abstractmethod
    def draw(self, value: Value, width: int, height: int | None) -> Lines:
        """The lines of ``value``. ``height`` is the room there is, ``None`` while the layout asks for the natural height."""

    def replace(self, value: Value) -> None:
        """Draw ``value`` from now on."""
        if value == self._value:
            return
        before = self._drawn
        self._value = value
        if not self.is_attached or before is None:
            return
        # only what differs goes to the terminal, which may be far away: a clock is a few cells of a whole screen
        lines = self._lines(before[1], before[2])
        if len(lines) != len(before[4]):
            self.refresh(layout=True)
        elif len(lines) > self.content_size.height:
            self.refresh()  # the last line that is seen says that more is cut off
        elif regions := [Region(*part) for part in ink.changed(before[4], lines, before[1])]:
            self.refresh(*regions)

    def _lines(self, width: int, height: int | None) -> Lines:
        known = self._drawn
        signs = glyphs.current()
        if known is not None and known[0] is self._value and known[1:3] == (width, height) and known[3] is signs:
            return known[4]
        lines = self.draw(self._value, width, height)
        self._drawn = (self._value, width, height, signs, lines)
        return lines

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return max((ink.cells(line) for line in self._lines(container.width, None)), default=0)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width, None))

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        height = None if self.styles.is_auto_height else self.content_size.height
        lines = self._lines(width, height)
        line = lines[y] if y < len(lines) else ()
        if y == self.content_size.height - 1 and len(lines) > y + 1:
            # what is cut off below says so
            line = ink.fit((*line, (f" {glyphs.current().ellipsis}", Tone.MUTED)), width)
        return ink.strip(self, line, width)
