"""Leaving while rollouts run: they go on, and this says who watches each of them. One more key leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.screens.words import change_words, phase_words
from console.screens.worn import Worn
from console.view import RolloutCard
from widgets import glyphs, ink
from widgets.ink import Line, Tone
from widgets.note import Note

WATCH = "quarterdeck watch"
"""Follows the rollouts of the usual configuration and home."""


def leaving_title(cards: Sequence[RolloutCard]) -> str:
    """How many go on without this console, and how many stand still because nobody watches them."""
    still = sum(card.orphaned for card in cards)
    going = len(cards) - still
    first = "1 rollout" if (still or going) == 1 else f"{still or going} rollouts"
    words = []
    if still:
        words.append(f"{first} {'stands' if still == 1 else 'stand'} still")
    if going:
        words.append(f"{going if still else first} {'goes' if going == 1 else 'go'} on")
    return ", ".join(words)


def leaving_lines(cards: Sequence[RolloutCard], drivers: Mapping[str, int | None], watch: str = WATCH) -> list[Line]:
    """What goes on without this console. ``drivers`` are the processes of this home, by rollout; ``watch`` is the command that
    follows them."""
    lines: list[Line] = []
    for card in sorted(cards, key=lambda card: not card.orphaned):
        what = f"{card.rollout.release.service} {change_words(card)} in {card.environment}  "
        lines.append(((what, Tone.STRONG), phase_words(card)))
        lines.append(_watched(card, drivers.get(card.key)))
    lines.append(((" ", Tone.TEXT),))
    followed = any(not card.orphaned for card in cards)
    if followed and watch == WATCH:
        lines.append((("Leaving changes nothing for them. ", Tone.TEXT), (watch, Tone.ACCENT), (" follows them.", Tone.TEXT)))
    elif followed:
        # paths are long: on a line of its own it is wrapped, not cut
        lines += [(("Leaving changes nothing for them. To follow them:", Tone.TEXT),), ((watch, Tone.ACCENT),)]
    if any(card.orphaned for card in cards):
        lines.append((("Stay for what nobody watches: on its screen T resumes it, R rolls it back.", Tone.BAD),))
    return lines


def _watched(card: RolloutCard, process: int | None) -> Line:
    if card.orphaned:
        return (("  stands still: no driver watches its triggers", Tone.BAD),)
    if process is not None:
        return ((f"  goes on in its driver, process {process} of this home, which watches its triggers", Tone.TEXT),)
    where = "from this home" if card.own else "from another home"
    return ((f"  goes on {where}, driven by {card.driver or 'somebody else'}, who watches its triggers", Tone.TEXT),)


class LeavingScreen(Worn, ModalScreen[bool]):
    """Dismissed with True where the operator leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,ctrl+q", "dismiss(True)", "leave"),
        Binding("escape", "dismiss(False)", "stay"),
    ]
    DEFAULT_CSS = """
    LeavingScreen { align: center middle; }
    LeavingScreen > VerticalScroll { width: 90%; max-width: 110; height: auto; max-height: 90%;
        border: round $primary; border-title-color: $text-primary; border-subtitle-color: $text-primary;
        padding: 1 2; background: $surface; scrollbar-size-vertical: 1; }
    """

    def __init__(self, cards: Sequence[RolloutCard], drivers: Mapping[str, int | None], watch: str = WATCH) -> None:
        super().__init__()
        self._lines = leaving_lines(cards, drivers, watch)
        self._title = leaving_title(cards)

    def compose(self) -> ComposeResult:
        with VerticalScroll() as pane:
            pane.border_title = ink.title(self._title)
            pane.border_subtitle = ink.title(f"enter leaves {glyphs.current().bullet} esc stays")
            yield Note(*self._lines)
