"""Journal entries as rows of a table, and what a filter of them says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.message import Message

from console.screens.words import detail_of, outcome_of, outcome_tone
from console.termhints import Suggestion
from services.model.errors import Rejected
from widgets.grid import Column, Grid, Row
from widgets.grid.bounded import TooSlow, within
from widgets.grid.terms import Filter
from widgets.ink import Line, Span, Tone

Entry = Mapping[str, Any]
PATTERN_SECONDS = 0.05
"""CPU seconds in which a pattern must have been looked for in one entry."""
COLUMNS = (
    Column("seq", "#", 7, align="right", priority=6),
    Column("time", "TIME (UTC)", 14),
    Column("event", "EVENT", 27, least=12, implied=("deployment.", "rollout.")),
    Column("outcome", "OUTCOME", 11, flex=1, least=10),
    Column("environment", "ENV", 10, priority=1),
    Column("service", "SERVICE", 15, flex=1, priority=2),
    Column("version", "VERSION", 9, priority=5),
    Column("user", "USER", 8, priority=3, least=7),
    Column("what", "", 10, flex=4, priority=4),
)


def entry_row(entry: Entry) -> Row:
    """One entry as a row of the table."""
    told = dict(entry)
    what = str(told.get("command") or detail_of(told))
    return Row(
        str(told["seq"]),
        (
            (str(told["seq"]), Tone.MUTED),
            (str(told.get("timestamp", ""))[5:19].replace("T", " "), Tone.MUTED),
            (str(told.get("event", "")), Tone.STRONG),
            (outcome_of(told), outcome_tone(told)),
            str(told.get("environment", "")),
            str(told.get("service", "")),
            str(told.get("version", "")),
            (str(told.get("user", "")), Tone.MUTED),
            (what, Tone.MUTED),
        ),
    )


def hint_line(found: Sequence[Suggestion]) -> Line:
    """Suggestions on one line; tab takes the first."""
    first, *others = found
    line: list[Span] = [("tab ", Tone.MUTED), (first.shown, Tone.ACCENT), (f" {first.count}" if first.count else "", Tone.MUTED)]
    for each in others:
        line += [("   ", Tone.MUTED), (each.shown, Tone.TEXT), (f" {each.count}" if each.count else "", Tone.MUTED)]
    return tuple(line)


def finds(patterns: Filter, entry: Entry) -> bool:
    """Raises :class:`Rejected` where a pattern takes too long."""
    try:
        with within(PATTERN_SECONDS):
            return patterns.finds(entry_row(entry).text)
    except TooSlow:
        raise Rejected("filter", patterns.text, "takes too long on an entry", "a pattern without nested repeats") from None


class Entries(Grid):
    """The rows that the window holds. Its ends are those of the journal, not of what is held."""

    @dataclass
    class End(Message):
        """The operator goes to one end of the journal."""

        grid: Entries
        newest: bool

        @property
        def control(self) -> Entries:
            return self.grid

    def action_first(self) -> None:
        super().action_first()
        self.post_message(self.End(self, False))

    def action_last(self) -> None:
        super().action_last()
        self.post_message(self.End(self, True))
