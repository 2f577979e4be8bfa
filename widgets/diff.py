"""What a plan will change: its steps, each unfolding into old → new and the equivalent command line."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from services.model.objects import Change, Json, dotted
from services.model.steps import Plan, Step, Undo, object_changes
from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.ink import Line, Tone
from widgets.lined import Lined


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lines of a plan, and for each step the line that it begins on."""

    lines: tuple[Line, ...]
    heads: tuple[int, ...]


def words_of(value: Json) -> str:
    """A value as it stands in a diff; ``absent`` where there is none."""
    if value is None:
        return "absent"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _whole(lead: str, words: str, tone: Tone, width: int) -> list[Line]:
    """``words`` after ``lead``, on as many lines as it takes: what will be changed is never cut."""
    parts = text.chop(words, max(8, width - len(lead)))
    return [((lead if index == 0 else " " * len(lead), tone), (part, tone)) for index, part in enumerate(parts)]


def _change(change: Change, width: int) -> list[Line]:
    volatile = "  (may move by itself)" if change.volatile else ""
    path, old, new = dotted(change.path), words_of(change.old), words_of(change.new)
    arrow = f" {glyphs.current().arrow} "
    short: Line = ((f"      {path}  ", Tone.TEXT), (old, Tone.BAD), (arrow, Tone.MUTED), (new, Tone.GOOD), (volatile, Tone.MUTED))
    if ink.cells(short) <= width:
        return [short]
    return [
        *_whole("      ", path + volatile, Tone.TEXT, width),
        *_whole("      - ", old, Tone.BAD, width),
        *_whole("      + ", new, Tone.GOOD, width),
    ]


def _step(step: Step, number: int, folded: bool, width: int) -> list[Line]:
    signs = glyphs.current()
    count = len(step.changes)
    opens = bool(step.changes or step.command)
    sign = (signs.folded if folded else signs.unfolded) if opens else " "
    changes = f"  {count} change{'s' if count != 1 else ''}" if count else ""
    takes = f"  ~{figures.seconds(step.expected_seconds)}" if step.expected_seconds else ""
    lines: list[Line] = [((f"{sign} {number:>2}  ", Tone.ACCENT), (step.name, Tone.STRONG), (changes + takes, Tone.MUTED))]
    if folded:
        return lines
    for ref, found in object_changes(step).items():
        lines.append(((f"    {ref}", Tone.ACCENT), (f" in {ref.namespace}", Tone.MUTED)))
        for change in found:
            lines += _change(change, width)
    if step.command:
        lines += _whole("    $ ", step.command, Tone.MUTED, width)
    if step.undo is not Undo.NONE:
        lines.append((("    undo: ", Tone.MUTED), (step.undo.value, Tone.MUTED)))
    return lines


def draw_plan(plan: Plan, folded: Collection[int], width: int) -> Drawing:
    """The whole plan on lines of ``width`` cells; the steps whose index is in ``folded`` show their head only."""
    lines: list[Line] = []
    heads: list[int] = []
    for index, step in enumerate(plan.steps):
        heads.append(len(lines))
        lines += _step(step, index + 1, index in folded, width)
    for note in plan.notes:
        lines += _whole("  note: ", note, Tone.WARN, width)
    return Drawing(tuple(lines), tuple(heads))


class PlanDiff(Lined):
    """Shows a plan; ``j``/``k`` move from step to step, space or Enter folds one, ``z`` all of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next step", show=False),
        Binding("up,k", "move(-1)", "Previous step", show=False),
        Binding("home,g", "move(-100000)", "First step", show=False),
        Binding("end,G", "move(100000)", "Last step", show=False),
        Binding("space,enter", "fold", "Fold", show=False),
        Binding("z", "fold_all", "Fold all", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plan: Plan | None = None
        self._folded: frozenset[int] = frozenset()
        self._at = 0
        self._heads: tuple[int, ...] = ()

    @property
    def folded(self) -> frozenset[int]:
        """Indices of the steps that show their head only."""
        return self._folded

    @property
    def step(self) -> int:
        """Index of the step under the cursor."""
        return self._at

    def show(self, plan: Plan | None) -> None:
        """Show ``plan``; with another digest all its steps are unfolded and the cursor is on the first."""
        if plan == self._plan:
            return
        if plan is None or self._plan is None or plan.digest != self._plan.digest:
            self._folded, self._at = frozenset(), 0
        self._plan = plan
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def action_move(self, by: int) -> None:
        if self._heads:
            self._at = max(0, min(len(self._heads) - 1, self._at + by))
            self._redraw()
            self.bring(len(self.lines) - 1 if self._at == len(self._heads) - 1 else self._heads[self._at + 1] - 1)
            self.bring(self._heads[self._at])

    def action_fold(self) -> None:
        if self._heads:
            self._folded ^= {self._at}
            self._redraw()

    def action_fold_all(self) -> None:
        every = frozenset(range(len(self._heads)))
        self._folded = frozenset() if self._folded == every else every
        self._redraw()
        if self._heads:
            self.bring(self._heads[self._at])

    def on_click(self, event: events.Click) -> None:
        line = self.scroll_offset.y + event.y
        if line in self._heads:
            self._at = self._heads.index(line)
            self.action_fold()

    def _redraw(self) -> None:
        if self._plan is None:
            self._heads = ()
            self.put(((("no plan yet", Tone.MUTED),),))
            return
        drawing = draw_plan(self._plan, self._folded, self.scrollable_content_region.width)
        self._heads = drawing.heads
        self.put(drawing.lines, drawing.heads[self._at] if drawing.heads else None)
