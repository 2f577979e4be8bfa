"""Coloured lines as plain values, and their way to the terminal.

A widget's drawing is a tuple of lines, a line a tuple of spans ``(text, tone)``. A tone is what a piece of text means
(good, bad, muted), never a colour: the theme decides that. Text is made safe here, where every line has to pass.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from widgets import text as safe


class Tone(StrEnum):
    """What a piece of text means. Each has a colour from the theme; the strong ones also a weight that NO_COLOR leaves."""

    TEXT = "text"
    MUTED = "muted"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    ALARM = "alarm"
    ACCENT = "accent"
    CANARY = "canary"
    STABLE = "stable"


Span = tuple[str, str]
Line = tuple[Span, ...]
Lines = tuple[Line, ...]

TONE_CLASSES = frozenset(f"tone--{tone.value}" for tone in Tone)

_RULES = {
    Tone.TEXT: "color: $foreground;",
    Tone.MUTED: "color: $text-muted;",
    Tone.STRONG: "color: $foreground; text-style: bold;",
    Tone.GOOD: "color: $text-success;",
    Tone.WARN: "color: $text-warning; text-style: bold;",
    Tone.BAD: "color: $text-error; text-style: bold;",
    Tone.ALARM: "color: $text-error; text-style: bold reverse;",
    Tone.ACCENT: "color: $text-primary; text-style: bold;",
    Tone.CANARY: "color: $text-accent;",
    Tone.STABLE: "color: $text-primary;",
}


def tone_css(widget: str) -> str:
    """The rules that give the tones their colours inside ``widget`` (a CSS type name)."""
    return "\n".join(f"{widget} > .tone--{tone.value} {{ {rule} }}" for tone, rule in _RULES.items())


LEGIBLE = 4.5
"""The least contrast of words on their background (WCAG 2.2, level AA)."""

_BLACK, _WHITE = ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)


def plain(line: Line) -> str:
    """The words of a line without their tones."""
    return "".join(text for text, _ in line)


def cells(line: Line) -> int:
    """Cells that a line takes."""
    return sum(safe.width(text) for text, _ in line)


def fit(line: Line, width: int) -> Line:
    """``line``, safe and at most ``width`` cells wide, cut with an ellipsis."""
    if cells(line) <= width:
        return tuple((safe.sanitize(text), tone) for text, tone in line)
    kept: list[Span] = []
    left = width
    for position, (text, tone) in enumerate(line):
        needed = safe.width(text)
        rest = cells(line[position + 1 :])
        if needed < left or (needed == left and not rest):
            kept.append((safe.sanitize(text), tone))
            left -= needed
            continue
        # a span that just fits still has to give up a cell to show that something follows it
        kept.append((safe.cut(text + " " * (needed == left), left), tone))
        break
    return tuple(kept)


def fill(line: Line, width: int, align: safe.Align = "left") -> Line:
    """``line`` exactly ``width`` cells wide."""
    short = fit(line, width)
    blanks = (" " * (width - cells(short)), Tone.TEXT.value)
    return (*short, blanks) if align == "left" else (blanks, *short)


def spread(left: Line, right: Line, width: int) -> Line:
    """``left`` at the left edge and ``right`` at the right one; where they don't fit, the left one is cut."""
    short = fit(right, width)
    room = max(0, width - cells(short) - 1)
    return (*fill(left, room), (" " * (width - room - cells(short)), Tone.TEXT.value), *short)


def joined(parts: Iterable[Line], separator: Span) -> Line:
    """The parts that are not empty, with ``separator`` between them."""
    found: list[Span] = []
    for part in parts:
        if part:
            found += [separator, *part] if found else part
    return tuple(found)


def changed(before: Lines, after: Lines, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Where the lines of one drawing differ from those of another of as many lines, ``width`` cells wide: column, line, columns
    and lines of each part."""
    for y, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        same = tuple(span for span, _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        first = min(cells(same), width)
        last = width
        if cells(old) == cells(new) <= width:
            end = zip(reversed(old[len(same) :]), reversed(new[len(same) :]), strict=False)
            last -= width - cells(new) + cells(tuple(span for span, _ in takewhile(lambda pair: pair[0] == pair[1], end)))
        elif max(cells(old), cells(new)) > width:
            first = 0  # where it is cut depends on all of it
        yield first, y, max(1, last - first), 1


def strip(widget: Widget, line: Line, width: int, over: Style | None = None) -> Strip:
    """``line`` as the strip that ``widget`` draws, padded to ``width``; ``over`` is laid over every style (a cursor)."""
    # the colour of the words stays: a cursor must not hide what is bad
    paper = None if over is None else Style(bgcolor=over.bgcolor, bold=over.bold or None)
    segments = []
    for text, tone in fill(line, width):
        style = widget.get_component_rich_style(f"tone--{tone}")
        segments.append(Segment(text, legible(style if paper is None else style + paper)))
    return Strip(segments, width)


def _luminance(color: ColorTriplet) -> float:
    linear = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache(maxsize=512)
def legible(style: Style) -> Style:
    """``style`` with its colour moved towards black or white until it can be read on its background, whatever the theme.

    Terminal colours (ANSI) stay as they are: only the terminal knows how they look."""
    if style.color is None or style.bgcolor is None or style.color.triplet is None or style.bgcolor.triplet is None:
        return style
    color, ground = style.color.triplet, style.bgcolor.triplet
    pole = min((_BLACK, _WHITE), key=lambda end: -contrast(end, ground))
    for part in range(11):
        mixed = ColorTriplet(*(round(own + (end - own) * part / 10) for own, end in zip(color, pole, strict=True)))
        if contrast(mixed, ground) >= LEGIBLE:
            return style if part == 0 else style + Style(color=Color.from_triplet(mixed))
    return style + Style(color=Color.from_triplet(pole))


def title(text: str) -> Content:
    """``text`` for a border title: safe, and never parsed as markup."""
    return Content(safe.sanitize(text))
