"""The gates of a deploy: what was asked, what was found, and what to do where one is not met."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.model.gates import GateName, GateOutcome, GateResult
from widgets import glyphs, text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone

_NAME = 16
_WORD = 8


@dataclass(frozen=True, slots=True)
class _Gates:
    results: tuple[GateResult, ...]
    asking: frozenset[GateName]


def _sign(outcome: GateOutcome) -> tuple[str, Tone]:
    signs = glyphs.current()
    return {
        GateOutcome.PASS: (signs.ok, Tone.GOOD),
        GateOutcome.FAIL: (signs.bad, Tone.BAD),
        GateOutcome.UNKNOWN: (signs.unknown, Tone.WARN),
        GateOutcome.WAIVED: (signs.waived, Tone.MUTED),
    }[outcome]


def _row(sign: str, name: str, word: str, tone: Tone, evidence: str, width: int) -> Lines:
    head: Line = ((f"{sign} ", tone), (text.pad(name, _NAME), Tone.STRONG), (text.pad(word, _WORD), tone))
    indent = 2 + _NAME + _WORD
    if width - indent < 20:
        return (head, *(((" " * 4 + part, Tone.TEXT),) for part in text.wrap(evidence, max(1, width - 4)) if part))
    first, *more = text.wrap(evidence, width - indent)
    return ((*head, (first, Tone.TEXT)), *(((" " * indent + part, Tone.TEXT),) for part in more))


def draw_checklist(results: Sequence[GateResult], asking: Collection[GateName], width: int) -> Lines:
    """Every gate, in their order: with its result, being asked, or not asked yet; then the sum."""
    signs = glyphs.current()
    found = {result.name: result for result in results}
    lines: list[Line] = []
    for name in GateName:
        result = found.get(name)
        if name in asking:
            before = f"was {result.outcome.value}: {result.evidence}" if result is not None else ""
            lines += _row(signs.asking, name.value, "asking", Tone.ACCENT, before, width)
        elif result is None:
            lines += _row(signs.pending, name.value, "not yet", Tone.MUTED, "", width)
        else:
            sign, tone = _sign(result.outcome)
            lines += _row(sign, name.value, result.outcome.value, tone, result.evidence, width)
            if result.detail:
                arrow = f"  {signs.arrow} "
                parts = text.wrap(result.detail, max(1, width - 4))
                lines += [((arrow if index == 0 else "    ", tone), (part, tone)) for index, part in enumerate(parts)]
    passed = sum(result.outcome.lets_through for result in results if result.name not in asking)
    complete = passed == len(GateName)
    lines.append(((f"{passed} of {len(GateName)} gates let it through", Tone.GOOD if complete else Tone.MUTED),))
    return tuple(lines)


class ChecklistView(Drawn[_Gates]):
    """Shows the checklist as it fills."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Gates((), frozenset()), id=id, classes=classes)

    def show(self, results: Sequence[GateResult], asking: Collection[GateName] = ()) -> None:
        """Show ``results``; the gates in ``asking`` wait for their answer."""
        self.replace(_Gates(tuple(results), frozenset(asking)))

    def draw(self, value: _Gates, width: int, height: int | None) -> Lines:
        return draw_checklist(value.results, value.asking, width)
