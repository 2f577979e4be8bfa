"""A part of a screen with a title line that shows which part has the keys."""

from textual.app import ComposeResult
from textual.containers import Vertical

from widgets import glyphs
from widgets.ink import Line, Span, Tone
from widgets.note import Note


class PaneTitle(Note):
    """One line; a sign before it where its pane has the focus."""

    DEFAULT_CSS = "PaneTitle { dock: top; height: 1; }"


class Pane(Vertical):
    """A titled part. What stands in the title may be anybody's words."""

    DEFAULT_CSS = """
    Pane > PaneTitle { background: $surface; }
    Pane > PaneTitle.-focused { background: $primary 22%; }
    """

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._titled = title
        self._more: Line = ()
        self._title = PaneTitle()
        self._focused = False

    def compose(self) -> ComposeResult:
        yield self._title

    def on_mount(self) -> None:
        self._redraw()

    def tell(self, *more: Span) -> None:
        """What stands after the pane's name."""
        if more != self._more:
            self._more = more
            self._redraw()

    def on_descendant_focus(self) -> None:
        self._mark(True)

    def on_descendant_blur(self) -> None:
        self._mark(False)

    def _mark(self, focused: bool) -> None:
        if focused != self._focused:
            self._focused = focused
            # on the title alone: a class on the pane would style everything in it anew
            self._title.set_class(focused, "-focused")
            self._redraw()

    def _redraw(self) -> None:
        sign = glyphs.current().cursor if self._focused else " "
        tone = Tone.STRONG if self._focused else Tone.MUTED
        # two pieces: a line of one would be wrapped, and lose the blank in the sign's place
        self._title.show(((sign, tone), (self._titled, tone), *self._more))
