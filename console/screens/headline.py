"""The lines over and under a rollout: who, what, since when, in which state and why; and what comes next."""

from dataclasses import dataclass

from console.screens.words import asked_words, driver_words, next_line, phase_words, replaced_words, since_words
from console.view import Picture, RolloutCard
from services.model.rollout import Phase
from widgets import glyphs, ink, text
from widgets.drawn import Drawn
from widgets.format import age, seconds
from widgets.ink import Line, Lines, Span, Tone


@dataclass(frozen=True, slots=True)
class Head:
    """``title`` what it is, ``about`` who answers for it since when, ``urgent`` what a person has to know before all else."""

    title: Line = ()
    about: Line = ()
    urgent: tuple[Span, ...] = ()


def head_of(card: RolloutCard, picture: Picture) -> Head:
    """The head of a rollout's screen."""
    rollout, release = card.rollout, card.rollout.release
    signs = glyphs.current()
    dot = (f" {signs.bullet} ", Tone.MUTED.value)
    title: Line = (
        (release.service, Tone.STRONG),
        *_change(card),
        dot,
        (card.environment, Tone.STRONG),
        dot,
        *(() if card.only_restores else ((release.strategy.value, Tone.TEXT), dot)),
        phase_words(card),
    )
    since = since_words(card, picture.pace_of(card.environment))
    about = [
        ((words, Tone.MUTED.value),)
        for words in (release.ticket, rollout.operator, f"since {rollout.created:%H:%M:%S}Z", since)
        if words
    ]
    return Head(title, ink.joined(about, dot), tuple(_urgent(card, picture)))


def _change(card: RolloutCard) -> Line:
    plan, arrow = card.rollout.plan, glyphs.current().arrow
    if card.only_restores:
        return ((" roll back to ", Tone.TEXT), (plan.previous_version, Tone.STRONG))
    return ((f" {plan.previous_version} {arrow} ", Tone.TEXT), (card.rollout.release.version, Tone.STRONG))


class Headline(Drawn[Head]):
    """Title and particulars on one line where both fit, else on two; then a line, or as many as it takes, for each urgency."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Head(), id=id)

    def show(self, head: Head) -> None:
        self.replace(head)

    def draw(self, value: Head, width: int, height: int | None) -> Lines:
        fits = ink.cells(value.title) + ink.cells(value.about) + 2 <= width
        lines = [ink.spread(value.title, value.about, width)] if fits else [value.title, value.about]
        for words, tone in value.urgent:
            lines += [((part, tone),) for part in _at_most_two(words, width)]
        return tuple(ink.fit(line, width) for line in lines)


def _at_most_two(words: str, width: int) -> list[str]:
    """``words`` on two lines at most: whoever wrote them, they don't push the figures off the screen."""
    first, *more = text.wrap(words, width) or [""]
    return [first, text.cut(" ".join(more), width)] if more else [first]


def _urgent(card: RolloutCard, picture: Picture) -> list[Span]:
    rollout = card.rollout
    found: list[Span] = []
    if card.orphaned:
        why = f" ({card.why_orphaned})" if card.why_orphaned else ""
        last = f" {card.driver} drove it last." if card.driver and not card.own else ""
        words = f"Nobody watches this rollout{why}: its triggers are off and no step will be taken."
        found.append((f"{words} T resumes it, R rolls it back.{last}", Tone.ALARM))
    if card.asked is not None:
        words = asked_words(card.asked)
        found.append(
            (f"{glyphs.current().aborted} {words[:1].upper()}{words[1:]}.", Tone.WARN if card.asked.going_on else Tone.ALARM)
        )
    problems = "; ".join(_problems(card, picture))
    if card.gave_up:
        found.append((f"The rollback from this home was given up: {problems or card.gave_up}", Tone.ALARM))
    elif problems:
        found.append((f"not restored: {problems}", Tone.BAD))
    # what a person can do comes before why: the lines are few
    found += [(f"by hand: {command}", Tone.BAD) for command in rollout.left]
    if card.unstored:
        found.append(("No cluster has taken its checkpoint: this is what this home knows of it.", Tone.WARN))
    if card.replaced is not None and not card.orphaned:
        found.append((replaced_words(card.replaced), Tone.WARN))
    if card.live and not card.orphaned and (not card.own or card.replaced is not None):
        found.append((f"driven by {driver_words(card)}. You only watch: T takes it over, R rolls it back by force.", Tone.ACCENT))
    environment = picture.environment(card.environment)
    if environment is not None and not environment.reachable:
        old = f"{age(environment.age_seconds)} old" if environment.age_seconds is not None else "of unknown age"
        found.append(
            (
                f"{glyphs.current().unknown} {environment.name} can't be reached, all figures are {old}: {environment.problem}",
                Tone.BAD,
            )
        )
    if rollout.reason is not None:
        what = {"trigger": "fired", "operator": "by an operator"}.get(rollout.reason.kind, rollout.reason.kind)
        detail = f": {rollout.reason.detail}" if rollout.reason.detail else ""
        found.append((f"{rollout.reason.name} {what}{detail}", Tone.WARN))
        found += [(f"also {also.name}: {also.detail}", Tone.WARN) for also in rollout.also]
    if rollout.pause_reason and rollout.phase is Phase.PAUSED:
        found.append((f"paused: {rollout.pause_reason}", Tone.WARN))
    if rollout.phase is Phase.ROLLED_BACK and rollout.finished is not None and rollout.rollback_started is not None:
        took = seconds(rollout.finished - rollout.rollback_started)
        found.append((f"{rollout.plan.previous_version} is restored; it took {took}.", Tone.GOOD))
    return found


def _problems(card: RolloutCard, picture: Picture) -> list[str]:
    """What went wrong with its last rollback, as the journal of this home has it."""
    if card.rollout.phase is not Phase.NEEDS_ATTENTION:
        return []
    ends = (
        entry.get("data") or {}
        for entry in reversed(picture.entries)
        if entry.get("rollout") == card.key
        and entry.get("event") == "deployment.rollback"
        and entry.get("outcome") == "not_restored"
    )
    return [str(problem) for problem in next(ends, {}).get("problems") or ()]


def footline(card: RolloutCard, picture: Picture) -> Line:
    """What happens next."""
    environment = picture.environment(card.environment)
    following = next_line(card, picture.pace_of(card.environment))
    if environment is not None and not environment.reachable and environment.age_seconds is not None and card.asked is None:
        following = ((f"{age(environment.age_seconds)} ago: ", Tone.BAD), *following)  # what has come since is not known
    return (("NEXT  ", Tone.MUTED), *following)
