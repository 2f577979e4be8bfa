"""Text that came from outside, made safe to draw: nothing in it can move the cursor, reorder its neighbours or hide.

Control characters become their pictures (``ESC`` is ``␛``), characters without a picture and invisible ones become ``�``.
Widths are terminal cells, as ``rich.cells`` measures them.
"""

import unicodedata
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len

from widgets import glyphs

Align = Literal["left", "right"]

REPLACEMENT = "�"
PLAIN_REPLACEMENT = "?"
"""In place of every picture while the screen is drawn in ASCII."""
_MARKS = ("Mn", "Mc", "Me")
_STACKED = 2  # more combining marks than any script needs on one letter climb over the lines above
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}


def _picture(character: str, plain: bool) -> str:
    code = ord(character)
    if plain:
        return PLAIN_REPLACEMENT
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else REPLACEMENT


def sanitize(text: str) -> str:
    """``text`` on one line, with every character visible and inert. Tabs and odd blanks become a space; idempotent."""
    if text.isascii() and text.isprintable():
        return text
    return _sanitize(text, glyphs.current() is glyphs.ASCII)


@lru_cache(maxsize=16384)
def _sanitize(text: str, plain: bool) -> str:
    replacement = PLAIN_REPLACEMENT if plain else REPLACEMENT
    safe: list[str] = []
    marks = _STACKED
    for character in text:
        category = unicodedata.category(character)
        if category in _MARKS and character not in _INVISIBLE:
            marks += 1
            if marks <= _STACKED:
                safe.append(character)
            elif marks == _STACKED + 1:
                safe.append(replacement)
            continue
        marks = 0
        if character == "\t" or category == "Zs":
            safe.append(" ")
        elif not character.isprintable():
            safe.append(_picture(character, plain))
        elif character in _INVISIBLE or cell_len(character) == 0:
            safe.append(replacement)
        else:
            safe.append(character)
    return "".join(safe)


def width(text: str) -> int:
    """Cells that ``text`` takes once sanitised."""
    return cell_len(sanitize(text))


def cut(text: str, cells: int) -> str:
    """``text`` sanitised and at most ``cells`` wide; what is missing shows as an ellipsis."""
    safe = sanitize(text)
    if cell_len(safe) <= cells:
        return safe
    ellipsis = glyphs.current().ellipsis
    if cells <= 0:
        return ""
    kept = ""
    used = 0
    for character in safe:
        used += cell_len(character)
        if used > cells - 1:
            break
        kept += character
    return kept + ellipsis


def pad(text: str, cells: int, align: Align = "left") -> str:
    """``text`` sanitised and exactly ``cells`` wide."""
    short = cut(text, cells)
    blanks = " " * (cells - cell_len(short))
    return short + blanks if align == "left" else blanks + short


def wrap(text: str, cells: int) -> list[str]:
    """``text`` sanitised, on as many lines of at most ``cells`` as it needs; broken at blanks, in a word only where it must."""
    lines: list[str] = []
    line = ""
    for word in sanitize(text).split():
        while cell_len(word) > cells > 0:
            head = _head(word, cells)
            lines += [line, head] if line else [head]
            line, word = "", word[len(head) :]
        joined = f"{line} {word}" if line else word
        if cell_len(joined) > cells:
            lines.append(line)
            line = word
        else:
            line = joined
    return [*lines, line] if line or not lines else lines


def chop(text: str, cells: int) -> list[str]:
    """``text`` sanitised, on as many lines of at most ``cells`` as it needs, broken anywhere so that no character is lost."""
    rest = sanitize(text)
    lines: list[str] = []
    while cell_len(rest) > cells > 1:
        head = _head(rest, cells)
        lines.append(head)
        rest = rest[len(head) :]
    return [*lines, rest]


def _head(word: str, cells: int) -> str:
    used = 0
    for index, character in enumerate(word):
        used += cell_len(character)
        if used > cells:
            return word[: max(1, index)]
    return word
