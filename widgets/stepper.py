"""The steps of a rollout: what is done, what runs and for how long, what comes."""

from dataclasses import dataclass

from services.model.rollout import Phase, Rollout, StepOutcome, StepState
from widgets import format as figures
from widgets import glyphs, ink
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Span, Tone

_WIDE = 56  # from here on there is room for the word beside the sign, and for the note
_VERDICTS = {"undecided": Tone.WARN, "no_data": Tone.WARN, "promoted": Tone.ACCENT}
BUDGET_SECONDS = 300
"""A rollback has to be over within this (R5)."""


@dataclass(frozen=True, slots=True)
class _Steps:
    rollout: Rollout | None
    now: float | None


def _sign(outcome: StepOutcome, paused: bool) -> Span:
    signs = glyphs.current()
    if outcome is StepOutcome.RUNNING and paused:
        return (signs.paused, Tone.WARN)
    return {
        StepOutcome.PENDING: (signs.pending, Tone.MUTED),
        StepOutcome.RUNNING: (signs.running, Tone.ACCENT),
        StepOutcome.DONE: (signs.ok, Tone.GOOD),
        StepOutcome.FAILED: (signs.bad, Tone.BAD),
        StepOutcome.SKIPPED: (signs.skipped, Tone.MUTED),
        StepOutcome.ABORTED: (signs.aborted, Tone.WARN),
    }[outcome]


def draw_step(
    name: str, expected: float, state: StepState, *, paused: bool, since: float, left: float | None, width: int
) -> Line:
    """One step on one line. ``since`` is the pace time gone since the state was written, ``left`` what remains where known."""
    sign, tone = _sign(state.outcome, paused)
    wide = width >= _WIDE
    expected = state.expected_seconds or expected
    right: list[Span] = []
    word = state.outcome.value
    if state.outcome is StepOutcome.RUNNING:
        gone = state.seconds + (0.0 if paused else max(0.0, since))
        if paused:
            right = [("paused", Tone.WARN), (f"  {figures.seconds(gone)}", Tone.MUTED)]
        else:
            of = f" / {figures.seconds(expected)}" if expected and wide else ""
            right = [(f"{figures.seconds(gone)}{of}", Tone.TEXT)]
            remaining = left if left is not None else (expected - gone if expected else None)
            if remaining is not None and remaining >= 0:
                right.append((f"  {figures.countdown(remaining)}", Tone.ACCENT))
            elif remaining is not None:
                right.append(("  over time", Tone.WARN))
            if wide:
                right.insert(0, (f"{word}  ", Tone.ACCENT))
    elif state.outcome is StepOutcome.DONE:
        told = state.verdict or (word if wide else "")
        right = [
            (f"{told}  " if told else "", _VERDICTS.get(state.verdict, Tone.GOOD)),
            (figures.seconds(state.seconds), Tone.MUTED),
        ]
    elif state.outcome is StepOutcome.PENDING:
        right = [(f"~{figures.seconds(expected)}" if expected and wide else "", Tone.MUTED)]
    else:
        right = [(word, tone)]
    name_tone = {StepOutcome.RUNNING: Tone.STRONG, StepOutcome.PENDING: Tone.MUTED}.get(state.outcome, Tone.TEXT)
    words: list[Span] = [(f"{sign} ", tone), (name, name_tone)]
    if state.note:
        words.append((f"  {state.note}", Tone.MUTED if state.outcome is not StepOutcome.FAILED else Tone.BAD))
    return ink.spread(tuple(words), tuple(right), width)


def _closing(rollout: Rollout, now: float) -> Line | None:
    """The line below the steps while, or after, a rollout is taken back."""
    signs = glyphs.current()
    since = rollout.rollback_started
    if rollout.phase is Phase.ROLLING_BACK:
        gone = 0.0 if since is None else max(0.0, now - since)
        tone = Tone.WARN if gone <= BUDGET_SECONDS else Tone.ALARM
        return ((f"{signs.running} rolling back  ", tone), (f"{figures.seconds(gone)} of {BUDGET_SECONDS}s", Tone.STRONG))
    if rollout.phase is Phase.ROLLED_BACK:
        took = f" in {figures.seconds(rollout.finished - since)}" if since is not None and rollout.finished is not None else ""
        return ((f"{signs.ok} rolled back, service restored{took}", Tone.GOOD),)
    if rollout.phase is Phase.NEEDS_ATTENTION:
        return ((f"{signs.bad} a person is needed", Tone.ALARM),)
    return None


def draw_steps(rollout: Rollout, now: float | None, width: int, height: int | None = None) -> Lines:
    """Every step on a line; where ``height`` has no room for all, those around the one under way, and how many are hidden."""
    at = rollout.now if now is None else now
    paused = rollout.phase is Phase.PAUSED
    left = rollout.next_at - at if rollout.next_at is not None else None
    lines: list[Line] = []
    for index, step in enumerate(rollout.plan.steps):
        state = rollout.steps[index] if index < len(rollout.steps) else StepState()
        lines.append(
            draw_step(
                step.name,
                step.expected_seconds,
                state,
                paused=paused,
                since=at - rollout.now,
                left=left if index == rollout.step else None,
                width=width,
            )
        )
    closing = _closing(rollout, at)
    room = None if height is None else height - (closing is not None)
    shown = lines if room is None else _around(lines, rollout.step, room)
    return (*shown, closing) if closing is not None else tuple(shown)


def _around(lines: list[Line], current: int, room: int) -> list[Line]:
    if len(lines) <= room or room < 3:
        return lines[: max(0, room)] if room < 3 else lines
    signs = glyphs.current()
    first = max(0, min(current - room // 3, len(lines) - room))
    shown = lines[first : first + room]
    if first:
        shown[0] = ((f"{signs.ellipsis} {first + 1} before", Tone.MUTED),)
    after = len(lines) - first - room
    if after > 0:
        shown[-1] = ((f"{signs.ellipsis} {after + 1} to come", Tone.MUTED),)
    return shown


class Stepper(Drawn[_Steps]):
    """Shows the steps of a rollout. With ``height: auto`` all of them, else as many as there is room for."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Steps(None, None), id=id, classes=classes)

    def show(self, rollout: Rollout | None, now: float | None = None) -> None:
        """Show ``rollout`` as it stands at pace second ``now`` (without it: when it was written)."""
        self.replace(_Steps(rollout, now))

    def draw(self, value: _Steps, width: int, height: int | None) -> Lines:
        if value.rollout is None:
            return ((("no rollout", Tone.MUTED),),)
        return draw_steps(value.rollout, value.now, width, height)
