"""The fleet: environments, the services of the selected one, live rollouts, and what happened last."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from console.screens.base import ConsoleScreen, bindings_of, last_seen
from console.view import Picture, RolloutCard, Selection
from services.model.fleet import EnvironmentView, Health, ServiceView
from services.model.rollout import Phase
from widgets.format import age, countdown, weight
from widgets.grid import Column, Grid, Row
from widgets.logview import LogEntry, LogView

HEALTH = {
    Health.OK: ("● ok", "good"),
    Health.PROGRESSING: ("◌ rolling", "accent"),
    Health.DEGRADED: ("! degraded", "warn"),
    Health.FAILED: ("✖ failed", "bad"),
    Health.UNKNOWN: ("? unknown", "muted"),
}
PHASES = {
    Phase.RUNNING: ("▶ running", "accent"),
    Phase.PAUSED: ("॥ paused", "warn"),
    Phase.ROLLING_BACK: ("↶ rolling back", "warn"),
    Phase.SUCCEEDED: ("✔ succeeded", "good"),
    Phase.ROLLED_BACK: ("↶ rolled back", "warn"),
    Phase.NEEDS_ATTENTION: ("! needs a person", "bad"),
    Phase.REFUSED: ("✖ refused", "muted"),
}


def phase_text(card: RolloutCard) -> tuple[str, str]:
    """A rollout's state in a glyph and words, and its tone; that nobody watches it goes before all else."""
    return ("✖ NOBODY WATCHES", "bad") if card.orphaned else PHASES[card.rollout.phase]


def environment_row(view: EnvironmentView) -> Row:
    bad = sum(service.health in (Health.FAILED, Health.DEGRADED) for service in view.services)
    if not view.reachable:
        state = (f"? {age(view.age_seconds)}", "muted")
    elif bad:
        state = (f"! {bad} of {len(view.services)}", "bad")
    else:
        state = (f"● {len(view.services)} ok", "good")
    return Row(view.name, ((view.name, "strong" if view.tier == "production" else "text"), state))


def service_row(service: ServiceView, reachable: bool) -> Row:
    mark, tone = HEALTH[service.health] if reachable else HEALTH[Health.UNKNOWN]
    canary = (
        f"{service.canary_version} {weight(service.canary_weight)}" if service.canary_version and service.canary_ready else ""
    )
    return Row(
        service.name,
        (
            service.name,
            (service.version, "text"),
            (f"{service.ready}/{service.desired}", "text" if service.ready == service.desired else "bad"),
            (mark, tone),
            (canary, "canary"),
            (service.detail, "muted"),
        ),
    )


def rollout_row(card: RolloutCard, pace: float) -> Row:
    rollout = card.rollout
    mark, tone = phase_text(card)
    total = len(rollout.plan.steps)
    at = f"{min(rollout.step + 1, total)}/{total}" if card.live and total else ""
    due = countdown(rollout.next_at - pace) if card.live and rollout.next_at is not None else ""
    return Row(
        rollout.id,
        (
            rollout.release.service,
            (card.environment, "muted"),
            (rollout.release.version, "text"),
            (mark, tone),
            (at, "muted"),
            (weight(rollout.weight) if card.live and rollout.plan.route else "", "canary"),
            (due, "text"),
        ),
    )


def entry_line(entry: dict[str, Any]) -> LogEntry:
    """One journal entry as a line: when, where, what, and how it ended."""
    outcome = str(entry.get("outcome") or entry.get("phase") or "")
    words = [
        str(entry.get("environment") or ""),
        str(entry.get("service") or ""),
        str(entry.get("version") or ""),
        str(entry.get("event") or ""),
        str((entry.get("data") or {}).get("step") or ""),
    ]
    bad = outcome in ("failed", "refused", "rolled_back", "needs_attention", "unknown") or bool(entry.get("rollback_triggered"))
    milliseconds = entry.get("duration_seconds")
    return LogEntry(
        str(entry.get("timestamp", ""))[11:19],
        " ".join(word for word in words if word),
        outcome,
        milliseconds * 1000 if isinstance(milliseconds, int | float) else None,
        "bad" if bad else "text",
    )


class FleetScreen(ConsoleScreen):
    BINDINGS = bindings_of("fleet")
    where = "fleet"

    DEFAULT_CSS = """
    FleetScreen { layout: vertical; }
    FleetScreen #body { height: 1fr; }
    FleetScreen #top { height: 1fr; }
    FleetScreen .title { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    FleetScreen #left { width: 24; border-right: solid $panel-lighten-1; }
    FleetScreen #middle { width: 1fr; }
    FleetScreen #right { width: 40; border-left: solid $panel-lighten-1; }
    FleetScreen #recent-pane { height: 7; border-top: solid $panel-lighten-1; }
    FleetScreen #filter { display: none; height: 3; }
    FleetScreen #filter.-open { display: block; }
    FleetScreen.-wide #right { width: 68; }
    FleetScreen.-narrow #top { layout: vertical; }
    FleetScreen.-narrow #left { width: 100%; height: 6; border-right: none; }
    FleetScreen.-narrow #middle { width: 100%; height: 1fr; }
    FleetScreen.-narrow #right { width: 100%; height: 5; border-left: none; border-top: solid $panel-lighten-1; }
    FleetScreen.-narrow #recent-pane { height: 3; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal"), (150, "-wide")]

    def __init__(self) -> None:
        super().__init__()
        self._environment = ""
        self._recent: tuple[dict[str, Any], ...] = ()

    def body(self) -> ComposeResult:
        with Horizontal(id="top"):
            with Vertical(id="left"):
                yield Static("ENVIRONMENTS", classes="title", markup=False)
                yield Grid([Column("name", "", 12, flex=1), Column("state", "", 10)], empty="connecting …", id="environments")
            with Vertical(id="middle"):
                yield Static("SERVICES", classes="title", id="services-title", markup=False)
                yield Grid(
                    [
                        Column("name", "SERVICE", 18, flex=2),
                        Column("version", "VERSION", 10),
                        Column("ready", "READY", 6, align="right"),
                        Column("health", "HEALTH", 11),
                        Column("canary", "CANARY", 14, priority=2),
                        Column("detail", "", 10, flex=3, priority=3),
                    ],
                    empty="connecting …",
                    id="services",
                )
            with Vertical(id="right"):
                yield Static("ROLLOUTS", classes="title", markup=False)
                yield Grid(
                    [
                        Column("service", "SERVICE", 14, flex=1),
                        Column("environment", "ENV", 10, priority=4),
                        Column("version", "VERSION", 9, priority=5),
                        Column("state", "STATE", 17),
                        Column("step", "STEP", 5, align="right", priority=2),
                        Column("weight", "CANARY", 6, align="right", priority=1),
                        Column("next", "NEXT", 6, align="right", priority=3),
                    ],
                    empty="no rollouts yet: d deploys",
                    id="rollouts",
                )
        yield Input(placeholder="filter services; esc clears", id="filter")
        with Vertical(id="recent-pane"):
            yield LogView(capacity=50, id="recent")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#services", Grid).focus()

    def focus_body(self) -> None:
        self.query_one("#services", Grid).focus()

    def title_text(self) -> str:
        return f"fleet · {self._environment}" if self._environment else "fleet"

    def draw(self, picture: Picture) -> None:
        environments = self.query_one("#environments", Grid)
        services = self.query_one("#services", Grid)
        rollouts = self.query_one("#rollouts", Grid)
        if not self._environment and picture.fleet.environments:
            self._environment = preferred_environment(picture)
            environments.apply(environment_row(view) for view in picture.fleet.environments)
            environments.select(self._environment)
        environments.apply(environment_row(view) for view in picture.fleet.environments)
        view = picture.environment(self._environment)
        connecting = "connecting …" if picture.connecting else "no services"
        services.set_empty((view.problem if view else "") or connecting)
        services.apply([service_row(service, view.reachable) for service in view.services] if view else [])
        title = f"SERVICES · {self._environment}" if view else "SERVICES"
        if view and not view.reachable:
            title += f"   ? {last_seen(view)}: {view.problem}"
        self.query_one("#services-title", Static).update(title)
        rollouts.apply(rollout_row(card, picture.pace) for card in picture.rollouts)
        recent = picture.entries[-40:]
        if recent != self._recent:
            self._recent = recent
            self.query_one("#recent", LogView).replace([entry_line(entry) for entry in recent])

    def selection(self) -> Selection:
        rollouts = self.query_one("#rollouts", Grid)
        if rollouts.has_focus:
            card = self.console.picture.rollout(rollouts.selected)
            if card is None:
                return Selection(environment=self._environment)
            return Selection(card.environment, card.rollout.release.service, card.rollout.id)
        return Selection(self._environment, self.query_one("#services", Grid).selected or "")

    @on(Grid.RowHighlighted, "#environments")
    def show_environment(self, event: Grid.RowHighlighted) -> None:
        if event.key and event.key != self._environment:
            self._environment = event.key
            self.query_one("#services", Grid).select(None)
            self.show(self.console.picture)

    @on(Grid.RowChosen, "#environments")
    def enter_environment(self) -> None:
        self.query_one("#services", Grid).focus()

    @on(Grid.RowHighlighted)
    def selection_changed(self) -> None:
        self.draw_keys()

    def on_descendant_focus(self) -> None:
        if self.is_mounted and self.query("#keys"):
            self.draw_keys()

    @on(Grid.RowChosen, "#services")
    def open_service(self, event: Grid.RowChosen) -> None:
        self.console.open_service(self._environment, event.key)

    @on(Grid.RowChosen, "#rollouts")
    def open_rollout(self, event: Grid.RowChosen) -> None:
        self.console.open_rollout(event.key)

    def do_open(self) -> None:
        focused = self.focused
        if isinstance(focused, Grid) and focused.selected:
            focused.post_message(Grid.RowChosen(focused, focused.selected))

    def do_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    def do_back(self) -> None:
        field = self.query_one("#filter", Input)
        if field.has_class("-open"):
            field.value = ""
            field.remove_class("-open")
            self.focus_body()

    @on(Input.Changed, "#filter")
    def filter_services(self, event: Input.Changed) -> None:
        self.query_one("#services", Grid).set_filter(event.value)

    @on(Input.Submitted, "#filter")
    def keep_filter(self) -> None:
        self.focus_body()


def preferred_environment(picture: Picture) -> str:
    """Where a live rollout is, else production, else the first: what a person most likely came to see."""
    live = next((card.environment for card in picture.rollouts if card.live), "")
    names = [view.name for view in picture.fleet.environments]
    return live or ("production" if "production" in names else names[0])
