"""One rollout, live: steps, traffic, canary beside stable, triggers, pods, and what happens next."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.fleet import entry_line, phase_text
from console.view import Picture, RolloutCard, Selection
from services.model.rollout import Arm, Phase, Rollout, Sample
from widgets.charts import Chart, Series, SeriesChart
from widgets.format import age, countdown, milliseconds, percent, seconds
from widgets.logview import LogView
from widgets.pods import PodStrip
from widgets.stepper import Stepper
from widgets.text import sanitize
from widgets.traffic import Traffic, TrafficBar
from widgets.triggers import Triggers


class RolloutScreen(ConsoleScreen):
    BINDINGS = bindings_of("rollout")
    where = "rollout"

    DEFAULT_CSS = """
    RolloutScreen #body { height: 1fr; }
    RolloutScreen #panes { height: 1fr; }
    RolloutScreen #steps-pane { width: 44; border-right: solid $panel-lighten-1; }
    RolloutScreen #live { width: 1fr; padding: 0 1; }
    RolloutScreen .headline { height: auto; padding: 0 1; }
    RolloutScreen .alarm { color: $text-error; text-style: bold; }
    RolloutScreen #next { height: auto; padding: 0 1; text-style: bold; }
    RolloutScreen SeriesChart { height: 7; }
    RolloutScreen #calls { height: 6; border-top: solid $panel-lighten-1; }
    RolloutScreen.-narrow #steps-pane { width: 36; }
    RolloutScreen.-narrow SeriesChart { height: 4; }
    RolloutScreen.-narrow #calls { height: 3; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal"), (160, "-wide")]

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self._calls: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        yield Static("", id="headline", classes="headline", markup=False)
        with Horizontal(id="panes"):
            with VerticalScroll(id="steps-pane"):
                yield Stepper(id="stepper")
            with VerticalScroll(id="live"):
                yield TrafficBar(id="traffic")
                yield Static("", id="figures", markup=False)
                yield SeriesChart(id="errors")
                yield SeriesChart(id="latency")
                yield Triggers(id="triggers")
                yield PodStrip(id="pods")
        yield Static("", id="next", markup=False)
        with Vertical(id="calls"):
            yield LogView(capacity=200, id="call-log")

    def focus_body(self) -> None:
        self.query_one("#steps-pane").focus()

    def on_mount(self) -> None:
        super().on_mount()
        self.focus_body()

    def selection(self) -> Selection:
        card = self.console.picture.rollout(self.key)
        if card is None:
            return Selection()
        return Selection(card.environment, card.rollout.release.service, self.key)

    def title_text(self) -> str:
        card = self.console.picture.rollout(self.key)
        if card is None:
            return "rollout"
        release = card.rollout.release
        return f"{release.service} → {release.version} · {card.environment} · {release.strategy.value}"

    def draw(self, picture: Picture) -> None:
        card = picture.rollout(self.key)
        if card is None:
            self.query_one("#headline", Static).update(f"The cluster has not shown the rollout {sanitize(self.key)} yet.")
            return
        rollout = card.rollout
        headline = self.query_one("#headline", Static)
        headline.set_class(card.orphaned or rollout.phase is Phase.NEEDS_ATTENTION, "alarm")
        headline.update(sanitize(headline_text(card, picture)))
        self.query_one("#stepper", Stepper).show(rollout, picture.pace if card.live else None)
        routed = rollout.plan.route is not None
        self.query_one("#traffic", TrafficBar).show(Traffic(rollout.weight, rollout.actual_weight) if routed else None)
        self.query_one("#figures", Static).update(figures_text(rollout))
        limits = {reading.name.value: reading.limit for reading in rollout.triggers}
        self.query_one("#errors", SeriesChart).show(
            chart("ERRORS", rollout.samples, lambda arm: arm.error_rate, "share", limits.get("error-rate"), rollout.now)
        )
        self.query_one("#latency", SeriesChart).show(
            chart("P99", rollout.samples, lambda arm: arm.p99, "s", limits.get("latency-p99"), rollout.now)
        )
        since = picture.pace - rollout.samples[-1].at if rollout.samples and card.live else None
        self.query_one("#triggers", Triggers).show(rollout.triggers, since)
        self.query_one("#pods", PodStrip).show(self.console.session_pods(card))
        self.query_one("#next", Static).update(sanitize(next_text(card, picture)))
        mine = tuple(entry for entry in picture.entries if entry.get("rollout") == self.key)
        if mine != self._calls:
            self._calls = mine
            self.query_one("#call-log", LogView).replace([entry_line(entry) for entry in mine[-100:]])


def headline_text(card: RolloutCard, picture: Picture) -> str:
    """Who, with what ticket, since when, in which state, and why."""
    rollout = card.rollout
    state, _ = phase_text(card)
    parts = [state, rollout.release.ticket, rollout.operator, f"since {rollout.created:%H:%M:%S}Z"]
    if card.live:
        parts.append(f"({seconds(max(0.0, picture.pace - rollout.started))})")
    elif rollout.finished is not None:
        parts.append(f"took {seconds(rollout.finished - rollout.started)}")
    if card.driver and card.live and not card.own:
        parts.append(f"driven by {card.driver}")
    text = " · ".join(part for part in parts if part)
    if card.orphaned:
        text += "\nNobody watches this rollout: its triggers are off and no step will be taken. T resumes it, R rolls it back."
    if rollout.reason is not None:
        reason = rollout.reason
        text += f"\n{reason.kind} {reason.name}: {reason.detail}" if reason.detail else f"\n{reason.kind} {reason.name}"
    if rollout.pause_reason and rollout.phase is Phase.PAUSED:
        text += f"\npaused: {rollout.pause_reason}"
    for command in rollout.left:
        text += f"\nby hand: {command}"
    return text


def figures_text(rollout: Rollout) -> str:
    """Errors and latency of both versions as figures, with the counts they come from."""
    if not rollout.samples:
        return "no samples yet"
    sample = rollout.samples[-1]
    lines = [
        f"{name:<8}{percent(arm.error_rate):>8} errors  {milliseconds(arm.p99):>8} P99  {arm.requests:>10,.0f} requests  "
        f"{arm.ready}/{arm.pods} pods  cpu {percent(arm.cpu)}  memory {percent(arm.memory)}"
        for name, arm in (("canary", sample.canary), ("stable", sample.stable))
    ]
    if rollout.baseline is not None:
        lines.append(f"before  {percent(rollout.baseline.error_rate):>8} errors  {milliseconds(rollout.baseline.p99):>8} P99")
    return "\n".join(lines)


def chart(title: str, samples: tuple[Sample, ...], value: object, unit: str, limit: float | None, now: float) -> Chart | None:
    """The canary beside stable over the samples kept."""
    if not samples or not callable(value):
        return None

    def points(arm_of: str) -> tuple[tuple[float, float | None], ...]:
        found: list[tuple[float, float | None]] = []
        for sample in samples:
            arm: Arm = getattr(sample, arm_of)
            found.append((sample.at, value(arm)))
        return tuple(found)

    return Chart(
        title, (Series("canary", points("canary"), "canary"), Series("stable", points("stable"), "stable")), unit, limit, now
    )


def next_text(card: RolloutCard, picture: Picture) -> str:
    """What happens next, and when; for a finished rollout how long one key still rolls it back."""
    rollout = card.rollout
    if not card.live:
        if card.window_left > 0:
            return f"NEXT  nothing: it is over. R rolls it back at once for another {age(card.window_left)}."
        return "NEXT  nothing: it is over."
    due = f" in {countdown(rollout.next_at - picture.pace)}" if rollout.next_at is not None else ""
    return f"NEXT  {rollout.next}{due}" if rollout.next else ""
