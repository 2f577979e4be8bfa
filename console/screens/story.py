"""The story of one rollout as a time line, told from this home's journal alone."""

from __future__ import annotations

from dataclasses import replace

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.pane import Pane
from console.view import Picture, RolloutCard, Selection, phase_word
from services.audit.story import OPEN, Kind, Moment, Story, story_of
from services.model.rollout import StepOutcome
from widgets import glyphs
from widgets.format import age, seconds
from widgets.ink import Line, Span, Tone
from widgets.note import Note
from widgets.timeline import Mark, RibbonBar, Timeline

SETTLED = 10.0
"""Wall seconds within which an intent may still be answered."""


class StoryScreen(ConsoleScreen):
    BINDINGS = bindings_of("story")
    where = "story"

    DEFAULT_CSS = """
    StoryScreen #body { height: 1fr; }
    StoryScreen #about { padding: 0 1; max-height: 4; }
    StoryScreen #ribbon { padding: 0 1; max-height: 2; }
    StoryScreen #story-pane { height: 1fr; border-top: solid $rule; }
    StoryScreen #timeline { padding: 0 1; }
    """

    def __init__(self, rollout: str) -> None:
        super().__init__()
        self.key = rollout
        self._story: Story | None = None
        self._told = -1
        """The newest entry of the rollout among the journal's newest when it was read."""
        self._reading = False
        self._problem = ""

    def body(self) -> ComposeResult:
        yield Note(id="about")
        yield RibbonBar(id="ribbon")
        with Vertical(), Pane("STORY", id="story-pane"):
            yield Timeline(id="timeline")

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#timeline"))

    def title_text(self) -> str:
        return f"story {glyphs.current().bullet} {self._story.service if self._story and self._story.service else self.key}"

    def selection(self) -> Selection:
        card = self.console.picture.rollout(self.key)
        if card is None:
            return Selection(recorded=self.key)
        return Selection(card.environment, card.rollout.release.service, self.key, recorded=self.key)

    def draw(self, picture: Picture) -> None:
        newest = max((int(entry["seq"]) for entry in picture.entries if entry.get("rollout") == self.key), default=0)
        if newest != self._told and not self._reading:
            self._reading = True
            self._read(newest)
        card = picture.rollout(self.key)
        story = self._story
        if story is None:
            empty = self._problem or f"reading the journal {glyphs.current().ellipsis}"
            self.query_one("#timeline", Timeline).show((), empty)
            self.query_one("#about", Note).show(((self.key, Tone.STRONG),))
            return
        marks = marks_of(story, card, picture)
        self.query_one("#about", Note).show(*about(story, card))
        self.query_one("#ribbon", RibbonBar).show(marks)
        self.query_one("#timeline", Timeline).show(marks, "nothing about it is in this home's journal")
        self.query_one("#story-pane", Pane).tell(
            (f"  {len(story.moments)} moments from this home's journal", Tone.MUTED),
            (f", durations in sandbox time (x{picture.speed:g})" if picture.speed != 1 else "", Tone.MUTED),
            (f"  {self._problem}" if self._problem else "", Tone.BAD),
        )

    @work(group="the journal", exit_on_error=False)
    async def _read(self, newest: int) -> None:
        """All that the journal has of it, anew: a rollout has some hundred entries."""
        try:
            entries, whole = await self.console.session.pages.of_rollout(self.key)
        except OSError as error:
            self._problem = f"the journal can't be read: {error.strerror or error}"
        else:
            # what is not in the files yet, or no longer, may be among the newest that are at hand
            known = {entry["seq"] for entry in entries}
            late = [
                entry for entry in self.console.picture.entries if entry.get("rollout") == self.key and entry["seq"] not in known
            ]
            speed = self.console.picture.speed
            self._story, self._problem = story_of(self.key, [*entries, *late], whole=whole, speed=speed), ""
        finally:
            self._told, self._reading = newest, False
        self.show(self.console.picture)

    def do_journal(self) -> None:
        self.console.open_journal(Selection(rollout=self.key))

    def do_its_rollout(self) -> None:
        self.console.open_rollout(self.key)


def about(story: Story, card: RolloutCard | None) -> list[Line]:
    """What the story is of, in a line; and whether a cluster still knows it."""
    signs = glyphs.current()
    dot: Span = (f" {signs.bullet} ", Tone.MUTED)
    parts: list[Span] = [(story.service or story.rollout, Tone.STRONG)]
    if story.version:
        previous = f"{story.previous} {signs.arrow} " if story.previous else ""
        if story.only_restores:
            previous = "roll back to "
        parts.append((f" {previous}{story.version}", Tone.STRONG))
    for words in (story.environment, "" if story.only_restores else story.strategy, story.ticket):
        if words:
            parts += [dot, (words, Tone.TEXT)]
    word = story.outcome.replace("_", " ") or (phase_word(card.rollout.phase) if card is not None else "no end on record here")
    parts += [dot, (word, _outcome_tone(story.outcome))]
    second = f"{story.rollout}   {'' if card is not None else 'no cluster has its checkpoint any more: told from the journal'}"
    return [tuple(parts), ((second.strip(), Tone.MUTED),)]


def _outcome_tone(outcome: str) -> Tone:
    if outcome == "succeeded":
        return Tone.GOOD
    return Tone.BAD if outcome in ("needs_attention", "refused") else Tone.WARN if outcome else Tone.MUTED


def marks_of(story: Story, card: RolloutCard | None, picture: Picture) -> tuple[Mark, ...]:
    """The story as a time line; what is known of its present as its last mark."""
    now = picture.now.timestamp() if picture.now is not None else None
    marks = [_mark(_known_now(moment, card), now, picture.speed) for moment in story.moments]
    last = _present(story, card)
    if last is not None and marks:
        reached = max(mark.until or mark.at for mark in marks)
        signs = glyphs.current()
        marks.append(Mark(reached, (signs.ellipsis, Tone.WARN), (last,)))
    return tuple(marks)


def _present(story: Story, card: RolloutCard | None) -> Span | None:
    """What follows the last entry, where that is not its end."""
    if story.over or not story.moments or story.moments[-1].outcome == "lost":
        return None
    if card is None:
        return "no end is on record here: it went on elsewhere, or nobody drives it any more", Tone.WARN
    if card.orphaned:
        return f"nobody watches it now ({card.why_orphaned or 'its driver ended'}): T resumes it, R rolls it back", Tone.ALARM
    if not card.own:
        word = phase_word(card.rollout.phase)
        return f"from here on {card.driver or 'another home'} drives it ({word}): the rest is in that home's journal", Tone.WARN
    if card.live:
        return card.rollout.next or phase_word(card.rollout.phase), Tone.ACCENT
    return f"it is {phase_word(card.rollout.phase)}, and its end is not in this journal", Tone.WARN


def _known_now(moment: Moment, card: RolloutCard | None) -> Moment:
    """A step whose end is not on record, as its rollout has it by now: done meanwhile, or under way."""
    if moment.outcome != OPEN or card is None or moment.step is None or moment.step >= len(card.rollout.steps):
        return moment
    own = card.rollout.steps[moment.step]
    driven = card.own and card.live and not card.orphaned
    if own.outcome is StepOutcome.DONE or (own.outcome is StepOutcome.RUNNING and driven):
        return replace(moment, outcome=own.outcome.value, seconds=own.seconds)
    return moment


def _mark(moment: Moment, now: float | None, speed: float) -> Mark:
    sign, tone = _sign(moment, now)
    took = moment.seconds
    words = moment.words
    if moment.kind is Kind.UNKNOWN and now is not None and now - moment.at.timestamp() < SETTLED:
        words = words.replace("no outcome on record, unknown whether it was done", "under way")
    if moment.kind is Kind.PAUSED and moment.until is None and now is not None:
        words = f"{words} ({age((now - moment.at.timestamp()) * speed)} so far)"
    right: Span = ("", Tone.MUTED)
    if moment.kind is Kind.STEP and moment.outcome == OPEN:
        right = ("no end recorded", _step_tone(moment.outcome))
    elif moment.kind is Kind.STEP:
        right = (f"{moment.outcome.replace('_', ' ')}  {seconds(took)}", _step_tone(moment.outcome))
    elif took is not None:
        right = (seconds(took), Tone.MUTED)
    return Mark(
        moment.at.timestamp(),
        (sign, tone),
        ((words, _words_tone(moment)),),
        moment.until.timestamp() if moment.until is not None else None,
        right,
        moment.details,
        "" if moment.kind in (Kind.STEP, Kind.TRIGGER) else moment.who,
        _bar(moment),
    )


def _sign(moment: Moment, now: float | None) -> Span:
    signs = glyphs.current()
    if moment.kind is Kind.STEP:
        other = {
            OPEN: (signs.unknown, Tone.WARN),
            "running": (signs.running, Tone.ACCENT),
            "aborted": (signs.aborted, Tone.WARN),
            "failed": (signs.bad, Tone.BAD),
            "skipped": (signs.skipped, Tone.MUTED),
        }
        return other.get(moment.outcome, (signs.ok, Tone.GOOD))
    if moment.kind is Kind.UNKNOWN and now is not None and now - moment.at.timestamp() < SETTLED:
        return signs.asking, Tone.MUTED
    restored = moment.outcome == "restored"
    ended = moment.outcome == "succeeded"
    return {
        Kind.CONFIRMED: (signs.running, Tone.ACCENT),
        Kind.GATES: (signs.ok, Tone.GOOD),
        Kind.DRIVER: (signs.live, Tone.ACCENT),
        Kind.TRIGGER: (signs.bad, Tone.BAD),
        Kind.ROLLBACK: (signs.aborted, Tone.WARN),
        Kind.RESTORED: (signs.ok if restored else signs.bad, Tone.GOOD if restored else Tone.BAD),
        Kind.PAUSED: (signs.paused, Tone.WARN),
        Kind.PERSON: (signs.live, Tone.ACCENT),
        Kind.UNKNOWN: (signs.unknown, Tone.ALARM),
        Kind.MISSING: (signs.ellipsis, Tone.WARN),
        Kind.ENDED: (signs.ok if ended else signs.aborted, _outcome_tone(moment.outcome)),
        Kind.OTHER: (signs.bullet, Tone.MUTED),
    }[moment.kind]


def _words_tone(moment: Moment) -> Tone:
    if moment.kind in (Kind.TRIGGER, Kind.UNKNOWN) or moment.outcome in ("not_restored", "overdue", "needs_attention", "failed"):
        return Tone.BAD
    if moment.kind in (Kind.MISSING, Kind.PAUSED) or (moment.kind is Kind.ROLLBACK and moment.outcome == "started"):
        return Tone.WARN
    return Tone.STRONG if moment.kind in (Kind.CONFIRMED, Kind.ENDED, Kind.RESTORED) else Tone.TEXT


def _step_tone(outcome: str) -> Tone:
    tones = {"failed": Tone.BAD, "aborted": Tone.WARN, "promoted by a person": Tone.WARN, OPEN: Tone.WARN, "running": Tone.ACCENT}
    return tones.get(outcome, Tone.MUTED)


def _bar(moment: Moment) -> str:
    if moment.kind is Kind.STEP:
        return Tone.WARN if moment.outcome in ("aborted", "failed", OPEN) else Tone.STABLE
    return Tone.WARN if moment.kind is Kind.PAUSED and moment.until is not None else ""
