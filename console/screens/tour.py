"""The strip above the keys in which the first-run tour says what to try next. It takes no key and covers nothing."""

from __future__ import annotations

from dataclasses import dataclass

from console.tour import Tour
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone
from widgets.text import wrap


@dataclass(frozen=True, slots=True)
class Said:
    """One step as it is shown; ``keys`` empty: the tour is over."""

    place: str
    keys: str
    text: str


OVER = Said(
    "tour", "", "That was it. Next: the prompt takes commands (:), f jumps to a service. esc on the fleet puts this strip away."
)


def said(tour: Tour) -> Said:
    """The step that is due."""
    step = tour.step
    if step is None:
        return OVER
    return Said("tour {}/{}".format(*tour.place), step.keys, f"{step.text} (esc on the fleet ends the tour)")


class TourStrip(Drawn[Said | None]):
    """Out of sight while there is no tour."""

    DEFAULT_CSS = """
    TourStrip { display: none; height: auto; max-height: 3; padding: 0 1; background: $primary 15%; }
    TourStrip.-shown { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(None, id="tour")

    def show(self, value: Said | None) -> None:
        self.set_class(value is not None, "-shown")
        self.replace(value)

    def draw(self, value: Said | None, width: int, height: int | None) -> Lines:
        if value is None:
            return ()
        head: Line = ((f"{value.place}  ", Tone.MUTED), (f"{value.keys} " if value.keys else "", Tone.ACCENT))
        indent = sum(len(text) for text, _ in head)
        parts = wrap(value.text, max(20, width - indent))
        return ((*head, (parts[0], Tone.TEXT)), *(((" " * indent, Tone.TEXT), (part, Tone.TEXT)) for part in parts[1:]))
