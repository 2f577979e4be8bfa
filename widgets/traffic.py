"""Who serves how much: what was asked for, and what the route says."""

from dataclasses import dataclass

from widgets import format as figures
from widgets import glyphs, ink
from widgets.ink import Line, Span, Tone


@dataclass(frozen=True, slots=True)
class Traffic:
    """The canary's share in whole percent: ``want`` as asked for, ``have`` as the route says; ``None`` while unknown."""

    want: int | None
    have: int | None
    canary: str = "canary"
    stable: str = "stable"


def draw_traffic(traffic: Traffic, width: int) -> Line:
    """The bar with its words: stable from the left, canary from the right."""
    signs = glyphs.current()
    settled = traffic.want == traffic.have
    figures_line: Line = (
        ("  want ", Tone.MUTED),
        (f"{figures.weight(traffic.want):>4}", Tone.STRONG),
        ("  have ", Tone.MUTED),
        (f"{figures.weight(traffic.have):>4}", Tone.STRONG if settled else Tone.WARN),
        ("" if settled else f" {signs.warning} differs", Tone.WARN),
    )
    left: Span = (f"{traffic.stable} ", Tone.STABLE)
    right: Span = (f" {traffic.canary}", Tone.CANARY)
    room = width - ink.cells((left, right)) - ink.cells(figures_line)
    if room < 8:
        return figures_line[:-1] if room < 0 else figures_line
    bar: Line
    if traffic.have is None:
        bar = ((signs.unknown * room, Tone.MUTED),)
    else:
        canary = round(room * max(0, min(100, traffic.have)) / 100)
        if 0 < traffic.have < 100:
            canary = max(1, min(room - 1, canary))
        bar = ((signs.bar_empty * (room - canary), Tone.STABLE), (signs.bar_full * canary, Tone.CANARY))
    return (left, *bar, right, *figures_line)
