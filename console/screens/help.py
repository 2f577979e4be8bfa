"""Help: every key that works on the screen below, read from the registry, with the reason where one does not work now."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from console.actions import Situation, actions_on, key_name
from widgets.text import sanitize

LISTS = (
    ("j k ↓ ↑", "move in a list; g and G to its ends; page up and down"),
    ("tab", "next pane; shift+tab the one before"),
    ("mouse", "click selects and presses; the wheel scrolls"),
)


def help_text(screen: str, situation: Situation) -> str:
    """All actions of a screen by group, then how lists are moved in."""
    lines: list[str] = []
    for group in ("Change", "Navigation", "General"):
        lines.append(group.upper())
        for action in actions_on(screen):
            if action.group != group:
                continue
            keys = " ".join(key_name(key) for key in action.keys)
            reason = action.guard(situation)
            lines.append(f"  {keys:<22} {action.label:<11} {action.help}")
            if reason:
                lines.append(f"  {'':<22} {'':<11} not now: {reason}")
        lines.append("")
    lines.append("LISTS")
    lines += [f"  {keys:<22} {'':<11} {text}" for keys, text in LISTS]
    return sanitize_lines(lines)


def sanitize_lines(lines: list[str]) -> str:
    return "\n".join(sanitize(line) for line in lines)


class HelpScreen(ModalScreen[None]):
    BINDINGS = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll { width: 90%; max-width: 130; height: auto;
        max-height: 90%; border: round $accent; padding: 1 2; background: $surface; }
    """

    def __init__(self, screen: str, situation: Situation) -> None:
        super().__init__()
        self._text = help_text(screen, situation)
        self._of = screen

    def compose(self) -> ComposeResult:
        with VerticalScroll() as pane:
            pane.border_title = f"keys on {self._of}"
            pane.border_subtitle = "esc closes"
            yield Static(self._text, markup=False)
