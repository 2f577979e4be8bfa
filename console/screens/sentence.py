"""A plan in a sentence, for the person who is about to confirm it."""

from console.draft import Draft
from widgets import glyphs
from widgets.format import expected, seconds
from widgets.ink import Line, Tone


def sentence_of(draft: Draft) -> tuple[Line, ...]:
    """What the plan does to users, in a sentence; how long it and a rollback take; what else to know."""
    release, plan = draft.release, draft.plan
    total = sum(step.expected_seconds for step in plan.steps)
    arrow = glyphs.current().arrow
    text = (
        f"{release.service} in {release.target.environment} goes {plan.previous_version} {arrow} {release.version} by "
        f"{release.strategy.value} in {len(plan.steps)} steps, about {seconds(total)}. "
        f"A rollback is expected to take {expected(plan.rollback_seconds)}."
    )
    lines: list[Line] = [((text, Tone.STRONG),)]
    lines += [((note, Tone.TEXT),) for note in plan.notes]
    return tuple(lines)
