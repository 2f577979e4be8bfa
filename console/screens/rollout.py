"""One rollout, live: steps, traffic, the new version beside the old one, triggers, pods, calls, and what happens next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets._toast import ToastRack

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.evidence import course_of, judged_of
from console.screens.headline import Head, Headline, footline, head_of
from console.screens.pane import Pane
from console.screens.vitals import Vitals, figures_of, told_ago
from console.screens.words import entry_line, planned_calls, reading_of, telling
from console.view import Picture, RolloutCard, Selection
from services.model.rollout import Arm, Rollout, TriggerName, TriggerReading
from widgets import glyphs
from widgets.charts import Chart, Series, SeriesChart
from widgets.evidence.judgement import JudgementView
from widgets.ink import Line, Span, Tone
from widgets.logview import LogView
from widgets.note import Note
from widgets.pods import PodStrip
from widgets.stepper import Stepper
from widgets.triggers import Triggers, limit_of

VIEWS = ("steps", "evidence", "triggers", "calls")
"""The panes that share one place on a narrow terminal, in the order in which they are shown."""
CALLS = 100
TOAST_LINES = 4
"""Lines of a toast on a small terminal."""
CHART_SECONDS = 300.0


class RolloutScreen(ConsoleScreen):
    BINDINGS = bindings_of("rollout")
    where = "rollout"
    laid_out_ahead = False  # what is shown decides over the places: it would be laid out twice, and be there half as soon

    DEFAULT_CSS = """
    RolloutScreen #body { height: 1fr; }
    RolloutScreen #headline { padding: 0 1; max-height: 8; }
    RolloutScreen #panes { height: 1fr; border-top: solid $rule; }
    RolloutScreen #steps-pane { dock: left; width: 46; border-right: solid $rule; }
    RolloutScreen #stepper { height: 1fr; padding: 0 1; }
    RolloutScreen #live { width: 1fr; }
    RolloutScreen #vitals { padding: 0 1; }
    RolloutScreen #evidence { height: 1fr; border-top: solid $rule; }
    RolloutScreen #evidence VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    RolloutScreen #reasons { height: auto; layout: vertical; }
    RolloutScreen #limits { height: auto; }
    RolloutScreen #judgement { margin: 0 0 1 0; }
    RolloutScreen #charts { height: 9; layout: horizontal; margin: 1 0 0 0; }
    RolloutScreen #course { display: none; }
    RolloutScreen.-wide #course { display: block; }
    RolloutScreen SeriesChart { height: 1fr; width: 1fr; }
    RolloutScreen #next { padding: 0 1; height: auto; background: $surface; }
    RolloutScreen #calls-pane { height: 7; border-top: solid $rule; }
    RolloutScreen.-short #calls-pane { height: 4; }
    RolloutScreen.-wide #steps-pane { width: 66; }
    RolloutScreen.-wide #reasons { layout: horizontal; }
    RolloutScreen.-wide #judgement { margin: 0 2 0 0; }
    RolloutScreen.-wide #charts { height: 1fr; min-height: 8; }
    RolloutScreen.-narrow #panes { layout: vertical; }
    RolloutScreen.-narrow #live { width: 100%; }
    RolloutScreen.-narrow #steps-pane { dock: none; width: 100%; height: 1fr; border-right: none; border-top: solid $rule; }
    RolloutScreen.-narrow #calls-pane { height: 1fr; min-height: 6; }
    RolloutScreen.-narrow #charts { height: 7; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]

    def __init__(self) -> None:
        """It shows nothing until it is aimed."""
        super().__init__()
        self.key = ""
        self._view = 0
        self._calls: list[object] = []
        self._read: tuple[str, tuple[TriggerReading, ...]] = ("", ())
        """What the triggers of a rollout showed last."""
        self._seen: datetime | None = None
        """Of when the newest figures of the rollout are."""
        self._elsewhere = False
        """Some of the calls were made from another home."""

    def aim(self, key: str) -> None:
        """Show the rollout ``key``."""
        self.key = key

    def body(self) -> ComposeResult:
        yield Headline(id="headline")
        with Horizontal(id="panes"):
            with Vertical(id="live"):
                yield Vitals(id="vitals")
                with Pane("EVIDENCE, TRIGGERS, PODS", id="evidence"), VerticalScroll(id="evidence-scroll"):
                    with Horizontal(id="reasons"):
                        yield JudgementView(id="judgement")
                        with Vertical(id="limits"):
                            yield Triggers(id="triggers")
                            yield PodStrip(id="pods")
                    with Vertical(id="charts"):
                        yield SeriesChart(id="errors")
                        yield SeriesChart(id="latency")
                        yield SeriesChart(id="course")
            with Pane("STEPS", id="steps-pane"):
                yield Stepper(id="stepper")
        with Pane("CALLS", id="calls-pane"):
            yield LogView(capacity=CALLS, id="calls")
        yield Note(id="next")

    def focus_body(self) -> None:
        if self.folded() and VIEWS[self._view] == "calls":
            self.set_focus(self.query_one("#calls"))
        else:
            self.set_focus(self.query_one("#evidence-scroll"))

    def folded(self) -> bool:
        return self.has_class("-narrow")

    def do_view(self) -> None:
        self._view = (self._view + 1) % len(VIEWS)
        self._arrange()
        self.focus_body()
        self._name_panes()

    def on_resize(self) -> None:
        self.after_refresh(self._resized)

    def _resized(self) -> None:
        self._arrange()
        if self.focused is None and self.entered:
            self.focus_body()  # the part that had the keys was out of sight for a while

    def _arrange(self) -> None:
        """Which panes are seen. By their own styles: a class on the screen would style all of it anew."""
        if not self.query("#steps-pane"):
            return  # a resize that is answered while the screen is taken apart
        view = VIEWS[self._view] if self.folded() else ""
        self.query_one("#steps-pane").display = view in ("", "steps")
        self.query_one("#evidence").display = view in ("", "evidence", "triggers")
        self.query_one("#judgement").display = view in ("", "evidence")
        self.query_one("#limits").display = view in ("", "triggers")
        self.query_one("#charts").display = view in ("", "triggers")
        self.query_one("#calls-pane").display = view in ("", "calls")
        self.query_one("#live").styles.height = "1fr" if view in ("", "evidence", "triggers") else "auto"
        self.query_one("#panes").styles.height = "auto" if view == "calls" else "1fr"

    def place_toasts(self) -> None:
        """On a narrow terminal over the figures, and not over what is below them: the steps, and what comes next."""
        if not self.folded():
            super().place_toasts()
            return
        above = max(1, self.query_one("#vitals").region.bottom - TOAST_LINES)
        for rack in self.query_children(ToastRack):
            if rack.styles.margin.top != above:
                rack.styles.margin = (above, 0, 0, 0)

    def selection(self) -> Selection:
        card = self.console.picture.rollout(self.key)
        if card is None:
            return Selection(rollout=self.key)
        return Selection(card.environment, card.rollout.release.service, self.key)

    def title_text(self) -> str:
        card = self.console.picture.rollout(self.key)
        return f"rollout {glyphs.current().bullet} {card.rollout.release.service if card else self.key}"

    def draw(self, picture: Picture) -> None:
        self._arrange()
        self._name_panes()
        card = picture.rollout(self.key)
        if card is None:
            self._draw_unknown()
            return
        environment = picture.environment(card.environment)
        old = environment.age_seconds if environment is not None and not environment.reachable else None
        self._seen = picture.now - timedelta(seconds=old or 0.0) if picture.now is not None else None
        rollout, pace = self._with_readings(card), picture.pace_of(card.environment)
        self.query_one("#headline", Headline).show(head_of(card, picture))
        self.query_one("#stepper", Stepper).show(rollout, pace if card.live and not card.orphaned else None)
        self.query_one("#vitals", Vitals).show(figures_of(rollout, pace, card.live, triggers=not self.folded()))
        since = max(0.0, pace - rollout.samples[-1].at) if rollout.samples else None
        self.query_one("#judgement", JudgementView).show(judged_of(rollout))
        self.query_one("#triggers", Triggers).show(rollout.triggers, since, told_ago(rollout, pace))
        self.query_one("#pods", PodStrip).show(self.console.pods(card.environment, rollout.release.service))
        self._draw_charts(rollout)
        self.query_one("#next", Note).show(footline(card, picture))
        self.after_refresh(self.place_toasts)
        self._draw_calls(card, picture)

    def _draw_unknown(self) -> None:
        """No picture has it yet, or none any more: what is still in sight then must not pass for now, nor announce a step."""
        if self._seen is None:
            words = f"No cluster has shown the rollout {self.key} yet: its driver tells of it as it begins."
        else:
            words = f"No cluster shows the rollout {self.key} any more. All that is below is as it was at {self._seen:%H:%M:%S}Z."
            self.query_one("#next", Note).show((("NEXT  ", Tone.MUTED), ("not known", Tone.BAD)))
        title: Line = ((words, Tone.WARN if self._seen is None else Tone.ALARM),)
        self.query_one("#headline", Headline).show(Head(title=title))

    def _with_readings(self, card: RolloutCard) -> Rollout:
        """A driver that has just begun has looked at nothing yet: until it has, what was read last stays, with its age."""
        rollout = card.rollout
        if rollout.triggers:
            self._read = rollout.id, rollout.triggers
        elif card.live and self._read[0] == rollout.id:
            return msgspec.structs.replace(rollout, triggers=self._read[1])
        return rollout

    def _draw_calls(self, card: RolloutCard, picture: Picture) -> None:
        """This home's entries; where another home drove, the commands of its steps as the checkpoint has them."""
        entries = [entry for entry in picture.entries if entry.get("rollout") == self.key]
        mine = [(str(entry.get("timestamp", "")), entry_line(entry, commands=True)) for entry in telling(entries)]
        # a step of our own may be older than the entries at hand: then it is nobody else's
        elsewhere = planned_calls(card, entries) if card.replaced is not None or not card.own else []
        calls = [line for _, line in sorted([*mine, *elsewhere], key=lambda call: call[0])][-CALLS:]
        if calls != self._calls:
            self._calls = list(calls)
            self.query_one("#calls", LogView).replace(calls)
        if bool(elsewhere) != self._elsewhere:
            self._elsewhere = bool(elsewhere)
            self._name_panes()

    def _draw_charts(self, rollout: Rollout) -> None:
        errors, latency = reading_of(rollout, TriggerName.ERROR_RATE), reading_of(rollout, TriggerName.LATENCY_P99)
        self.query_one("#errors", SeriesChart).show(
            chart_of("ERRORS", rollout, lambda arm: arm.error_rate, "share", limit_of(errors))
        )
        self.query_one("#latency", SeriesChart).show(chart_of("P99", rollout, lambda arm: arm.p99, "s", limit_of(latency)))

        self.query_one("#course", SeriesChart).show(course_of(rollout.judgement))

    def _other_views(self) -> list[Span]:
        """On a narrow terminal the visible pane says which others there are."""
        others: list[Span] = [("   v ", Tone.ACCENT)] if self.folded() else []
        for index, view in enumerate(VIEWS if self.folded() else ()):
            here = index == self._view
            others.append((f" {view.upper() if here else view} ", Tone.STRONG if here else Tone.MUTED))
        return others

    def _name_panes(self) -> None:
        words = "  of another home: as the plan has them, the answers are in its journal" if self._elsewhere else ""
        for pane in self.query(Pane):
            pane.tell(*self._other_views(), (words if pane.id == "calls-pane" else "", Tone.MUTED))


def chart_of(title: str, rollout: Rollout, value: Callable[[Arm], float | None], unit: str, limit: float | None) -> Chart | None:
    """The new version beside the old one over the samples that are kept."""
    if not rollout.samples:
        return None
    last = rollout.samples[-1].at
    kept = [sample for sample in rollout.samples if last - sample.at <= CHART_SECONDS]
    series = (
        Series("canary", tuple((sample.at, value(sample.canary)) for sample in kept), Tone.CANARY),
        Series("stable", tuple((sample.at, value(sample.stable)) for sample in kept), Tone.STABLE),
    )
    return Chart(title, series, unit, limit, last)
