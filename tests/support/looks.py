"""What a screen looks like, as text: its words, and the style of each piece in every theme.

A look is words and attributes, small enough to keep for every screen, size and theme, and legible in a review: first the lines,
then for each line its styles as ``cells letter`` runs, then what each letter means: foreground, background and attributes, theme
by theme.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.style import Style
from textual.color import Color
from textual.filter import Monochrome

from widgets import glyphs, ink

Drawn = tuple[tuple[tuple[str, Style], ...], ...]
_ORNAMENTS = frozenset(" ─│╭╮╰╯┄▁▂▃▄▅▆▇█░▏▎▍▌▋▊▉▐▔" + glyphs.UNICODE.gap + "└┤")
"""Lines, bars and scrollbars: nothing that has to be read."""


@dataclass(frozen=True)
class Poor:
    """Words that stand out too little from their background."""

    theme: str
    words: str
    ratio: float
    style: str


def drawn(app: Any, *, without_colour: bool = False) -> Drawn:
    """The screen as it is, line by line; ``without_colour`` as under NO_COLOR."""
    lines = []
    monochrome = Monochrome()
    for strip in app.screen._compositor.render_strips():
        segments = [segment for segment in strip if segment.text]
        if without_colour:
            segments = monochrome.apply(segments, Color(0, 0, 0))
        lines.append(tuple((segment.text, segment.style or Style()) for segment in segments))
    return tuple(lines)


def words_of(look: Drawn) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in look]


def _name(style: Style) -> str:
    attributes = "".join(letter for letter, on in (("b", style.bold), ("r", style.reverse), ("u", style.underline)) if on)
    colours = (each.get_truecolor().hex[1:] if each is not None else "-" for each in (style.color, style.bgcolor))
    return " on ".join(colours) + (f" {attributes}" if attributes else "")


def _cells(line: Iterable[tuple[str, Style]]) -> list[str]:
    return [name for text, style in line for name in [_name(style)] * cell_len(text)]


def look_of(looks: Mapping[str, Drawn]) -> str:
    """The look in every theme, which draw the same words."""
    words, *others = (words_of(look) for look in looks.values())
    assert all(words == other for other in others), "a theme changes words"
    letters: dict[tuple[str, ...], str] = {}
    styles = []
    for lines in zip(*looks.values(), strict=True):
        cells = zip(*(_cells(line) for line in lines), strict=True)
        runs = [(letters.setdefault(style, _letter(len(letters))), len(list(run))) for style, run in groupby(cells)]
        styles.append(" ".join(f"{count}{letter}" for letter, count in runs))
    legend = [
        f"{letter}  " + "  ".join(f"{theme} {name}" for theme, name in zip(looks, style, strict=True))
        for style, letter in letters.items()
    ]
    return "\n".join([*words, "", *styles, "", *legend, ""])


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index] if index < 26 else alphabet[index // 26 - 1].upper() + alphabet[index % 26]


def poor(look: Drawn, theme: str, least: float) -> list[Poor]:
    """Every piece of words with a contrast below ``least`` (WCAG 2.2)."""
    found = []
    for line in look:
        for text, style in line:
            if style.color is None or style.bgcolor is None or set(text) <= _ORNAMENTS:
                continue
            ratio = ink.contrast(style.color.get_truecolor(), style.bgcolor.get_truecolor())
            if ratio < least:
                found.append(Poor(theme, text.strip(), round(ratio, 2), _name(style)))
    return found
