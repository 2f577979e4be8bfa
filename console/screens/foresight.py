"""What the analyses of a plan will be able to see, for whoever is about to confirm it: a sentence, a table, a replay."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.model.errors import QuarterdeckError
from widgets import glyphs, ink, text
from widgets.drawn import Drawn
from widgets.format import age, count, percent
from widgets.ink import Line, Lines, Tone

if TYPE_CHECKING:
    from console.draft import Draft
    from console.screens.base import ConsoleScreen
    from services.rollout.foresight import Foresight
    from services.rollout.outlook import Outlook

SIGHT = "what its analyses will see"
"""The group of the worker that asks."""
_TABLE = 40
"""Cells from which on every analysis has a line of its own."""


@dataclass(frozen=True, slots=True)
class Sight:
    """``age`` (wall s) of what is only remembered; ``problem``: why it can't be asked at all; ``asking``: the answer is on its
    way. Empty without a plan."""

    foresight: Foresight | None = None
    age: float | None = None
    problem: str = ""
    asking: bool = False


def draw_sight(value: Sight, width: int) -> Lines:
    """What is known, how it is known, and what is not; and what there is to know of alerts."""
    lines = _draw_analyses(value, width)
    alerts = value.foresight.alerts if value.foresight is not None else ""
    if not alerts:
        return lines
    told = text.wrap(f"{glyphs.current().warning} {alerts}", width)
    return (*lines[:-1], *(((part, Tone.WARN),) for part in told), ())


def _draw_analyses(value: Sight, width: int) -> Lines:
    known = value.foresight
    if known is None and not value.problem:
        return ((("asking what the running version serves", Tone.MUTED),), ()) if value.asking else ()
    if known is None or not known.outlook:
        why = value.problem or (known.problem if known is not None else "")
        words = f"{glyphs.current().unknown} unknown what its analyses will see: {why or 'still measuring'}"
        return (*(((part, Tone.WARN if why else Tone.MUTED),) for part in text.wrap(words, width)), ())
    weakest = max(known.outlook, key=lambda one: (one.undecided, one.errors.surely is None, one.errors.surely or 0.0))
    lines: list[Line] = [((part, _tone(weakest)),) for part in text.wrap(weakest.words(), width)]
    if width >= _TABLE and len(known.outlook) > 1:
        lines += [ink.fit(line, width) for line in _table(known.outlook)]
    lines += [((part, Tone.MUTED),) for part in text.wrap(_measured(known, value.age), width)]
    if known.saturation is not None:
        lines += [((part, Tone.MUTED),) for part in text.wrap(known.saturation.words(), width)]
    if known.problem:
        lines += [((part, Tone.WARN),) for part in text.wrap(f"{glyphs.current().unknown} nothing newer: {known.problem}", width)]
    return (*lines, ())


def _tone(one: Outlook) -> str:
    return Tone.WARN if one.undecided or one.errors.surely is None else Tone.TEXT


def _table(outlook: tuple[Outlook, ...]) -> Lines:
    """Shares of failures that are seen nine times in ten and at even odds; until twice as many as now are, and until health is
    proven."""
    from services.rollout.outlook import time_words

    head: Line = (("STEP       SURELY  EVENS   TWICE   PROVEN", Tone.MUTED),)
    rows: list[Line] = []
    for one in outlook:
        proof = "never" if one.health is None else time_words(one.health)
        twice = "never" if one.errors.doubled is None else time_words(one.errors.doubled)
        rows.append(
            (
                (text.pad(f"{one.weight} % {one.seconds:.0f} s", 11), Tone.TEXT),
                (text.pad("never" if one.errors.surely is None else percent(one.errors.surely), 8), Tone.STRONG),
                (text.pad("never" if one.errors.even is None else percent(one.errors.even), 8), Tone.TEXT),
                (text.pad(twice, 8), Tone.TEXT),
                (proof, Tone.WARN if one.undecided else Tone.TEXT),
            )
        )
    return (head, *rows)


def _measured(known: Foresight, old: float | None) -> str:
    """Where the figures come from, and how old they are."""
    from services.rollout.outlook import rate_words, replay_words, time_words

    baseline = known.baseline
    if baseline is None or not baseline.seconds:
        return ""
    rate = f"{rate_words(baseline.requests / baseline.seconds)} requests a second, {percent(baseline.error_rate)} fail"
    when = "just now" if known.measured is None else f"by a rollout {age(old)} ago"
    said = f"{rate}: {count(baseline.requests)} requests in {time_words(baseline.seconds)}, measured {when}."
    if known.unreplayed:
        return f"{said} Not replayed: {known.unreplayed}."
    return f"{said} {replay_words(baseline)}".rstrip()


class SightView(Drawn[Sight]):
    """Shows what the analyses will see."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Sight(), id=id)

    def show(
        self, foresight: Foresight | None = None, age: float | None = None, *, problem: str = "", asking: bool = False
    ) -> None:
        self.replace(Sight(foresight, age, problem, asking))

    def draw(self, value: Sight, width: int, height: int | None) -> Lines:
        return draw_sight(value, width)


class Foreseeing:
    """Tells every view of a screen what the analyses of its plan will see, as it is measured; nothing else waits for it."""

    def __init__(self, screen: ConsoleScreen) -> None:
        self._screen = screen

    def ask(self, draft: Draft) -> None:
        """From now on of this plan."""
        self._show(asking=True)
        self._screen.run_worker(self._follow(draft), group=SIGHT, exclusive=True, exit_on_error=False)

    def forget(self) -> None:
        self._screen.workers.cancel_group(self._screen, SIGHT)
        self._show()

    def failed(self) -> None:
        """The worker met a defect of ours."""
        self._show(problem="an unexpected error, see the log")

    async def _follow(self, draft: Draft) -> None:
        console = self._screen.console
        try:
            async with contextlib.aclosing(console.session.deploys.foresight(draft)) as looks:
                async for look in looks:
                    now = console.picture.now
                    old = (now - look.measured).total_seconds() if now is not None and look.measured is not None else None
                    self._show(look, old)
        except QuarterdeckError as error:
            self._show(problem=str(error))

    def _show(self, found: Foresight | None = None, old: float | None = None, **more: Any) -> None:
        for view in self._screen.query(SightView):
            view.show(found, old, **more)
