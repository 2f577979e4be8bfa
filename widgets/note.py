"""A few lines of text with tones; the safe way to show words that somebody else wrote."""

from widgets import text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone


class Note(Drawn[tuple[Line, ...]]):
    """Shows lines, wrapped to its width where a line is a single span, else cut."""

    def __init__(self, *lines: Line | str, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_as_lines(lines), id=id, classes=classes)

    def show(self, *lines: Line | str) -> None:
        """Show these lines; a plain string is text of no particular tone."""
        self.replace(_as_lines(lines))

    def draw(self, value: tuple[Line, ...], width: int, height: int | None) -> Lines:
        drawn: list[Line] = []
        for line in value:
            if len(line) == 1:
                drawn += [((part, line[0][1]),) for part in text.wrap(line[0][0], width)]
            else:
                drawn.append(line)
        return tuple(drawn)


def _as_lines(lines: tuple[Line | str, ...]) -> tuple[Line, ...]:
    return tuple(((line, Tone.TEXT.value),) if isinstance(line, str) else line for line in lines)
