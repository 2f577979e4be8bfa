"""What a pane says while it has nothing to show: what is missing, why, and what to do."""

from dataclasses import dataclass

from widgets import text
from widgets.drawn import Drawn
from widgets.ink import Lines, Tone


@dataclass(frozen=True, slots=True)
class Nothing:
    """``title`` what is missing, ``detail`` why, ``hint`` the next action."""

    title: str
    detail: str = ""
    hint: str = ""


class Empty(Drawn[Nothing]):
    """Centred words in place of a list."""

    DEFAULT_CSS = "Empty { height: 1fr; }"

    def __init__(
        self, title: str = "", detail: str = "", hint: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(Nothing(title, detail, hint), id=id, classes=classes)

    def show(self, title: str, detail: str = "", hint: str = "") -> None:
        self.replace(Nothing(title, detail, hint))

    def draw(self, value: Nothing, width: int, height: int | None) -> Lines:
        words = ((value.title, Tone.STRONG), (value.detail, Tone.MUTED), (value.hint, Tone.ACCENT))
        room = max(1, min(width, 72))
        lines = [(line, tone) for words_, tone in words if words_ for line in text.wrap(words_, room)]
        above = max(0, ((height or 0) - len(lines)) // 2)
        centred = tuple(
            ((" " * max(0, (width - text.width(line)) // 2), Tone.TEXT.value), (line, tone.value)) for line, tone in lines
        )
        return ((),) * above + centred
