"""What a rollback outside any window would restore, and the one key that does it."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.draft import Preview
from widgets import glyphs, ink
from widgets.note import Note


class RestoreScreen(ModalScreen[bool]):
    """Dismissed with True where the operator confirms. Enter alone does nothing: it is too easily pressed twice."""

    BINDINGS = [
        Binding("escape,q", "dismiss(False)", "leave it"),
        Binding("R,alt+R,alt+shift+r", "dismiss(True)", "roll back", priority=True),
    ]

    DEFAULT_CSS = """
    RestoreScreen { align: center middle; }
    RestoreScreen > VerticalScroll { width: 90%; max-width: 110; height: auto; max-height: 90%;
        border: round $warning; padding: 1 2; background: $surface; scrollbar-size-vertical: 1; }
    """

    def __init__(self, preview: Preview) -> None:
        super().__init__()
        self._preview = preview

    def compose(self) -> ComposeResult:
        with VerticalScroll() as pane:
            pane.border_title = ink.title(self._preview.title)
            pane.border_subtitle = ink.title(f"R rolls back now {glyphs.current().bullet} esc leaves it")
            yield Note(*self._preview.lines)
