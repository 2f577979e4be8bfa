"""The last look at what goes to a terminal that has ASCII only: what others drew is written in it too.

Our own drawings have their ASCII signs already (:mod:`widgets.glyphs`). Borders and scrollbars come from Textual, and names and
messages from a cluster: lines become lines (the ends of a scrollbar, which stand beside figures, too), and what has no likeness a
question mark for each of its cells.
"""

from functools import lru_cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from widgets import glyphs
from widgets.text import width

_LINES = {
    **dict.fromkeys("─━┄┅┈┉╌╍═▔▀", "-"),
    **dict.fromkeys("│┃┆┇┊┋╎╏║▏▎▍▌▐▕▊▋▉▁▂▃▄▅▆▇", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛", "+"),
    **dict.fromkeys("█▓", "#"),
    **dict.fromkeys("▒░", "."),
    **{
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "×": "x",
        "≈": "~",
        "≤": "<",
        "≥": ">",
        "µ": "u",
        "—": "-",
        "\u00a0": " ",
        "🔎": "  ",
    },
}
_LIKENESS = {
    **{getattr(glyphs.UNICODE, name): getattr(glyphs.ASCII, name) for name in glyphs.Glyphs.__slots__ if name != "levels"},
    **_LINES,
}


@lru_cache(maxsize=4096)
def in_ascii(text: str) -> str:
    """``text`` in ASCII, as many cells wide."""
    if text.isascii():
        return text
    return "".join(sign if sign.isascii() else _LIKENESS.get(sign, "?" * width(sign)) for sign in text)


class AsciiOnly(LineFilter):
    """Writes every segment in ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.text.isascii() else Segment(in_ascii(segment.text), segment.style, segment.control)
            for segment in segments
        ]
