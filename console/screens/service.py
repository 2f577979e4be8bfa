"""One service: what serves now, its pods by version, its rollouts."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.fleet import rollout_row
from console.view import Picture, Selection
from widgets.format import age, weight
from widgets.grid import Column, Grid
from widgets.pods import POD_COLUMNS, pod_rows
from widgets.text import sanitize


class ServiceScreen(ConsoleScreen):
    BINDINGS = bindings_of("service")
    where = "service"

    DEFAULT_CSS = """
    ServiceScreen #body { height: 1fr; }
    ServiceScreen #summary { height: auto; padding: 0 1; }
    ServiceScreen .title { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    ServiceScreen #pods-pane { height: 2fr; }
    ServiceScreen #rollouts-pane { height: 1fr; min-height: 5; border-top: solid $panel-lighten-1; }
    """

    def __init__(self, environment: str, service: str) -> None:
        super().__init__()
        self.environment = environment
        self.service = service

    def body(self) -> ComposeResult:
        yield Static("", id="summary", markup=False)
        with Vertical(id="pods-pane"):
            yield Static("PODS", classes="title", markup=False)
            yield Grid(POD_COLUMNS, empty="no pods", id="pods")
        with Vertical(id="rollouts-pane"):
            yield Static("ROLLOUTS", classes="title", markup=False)
            yield Grid(
                [
                    Column("service", "SERVICE", 14, flex=1),
                    Column("environment", "ENV", 10),
                    Column("version", "VERSION", 9),
                    Column("state", "STATE", 17),
                    Column("step", "STEP", 5, align="right"),
                    Column("weight", "CANARY", 6, align="right"),
                    Column("next", "NEXT", 6, align="right"),
                ],
                empty="no rollouts on record here",
                id="rollouts",
            )

    def on_mount(self) -> None:
        super().on_mount()
        self.focus_body()

    def focus_body(self) -> None:
        self.query_one("#pods", Grid).focus()

    def title_text(self) -> str:
        return f"{self.service} · {self.environment}"

    def selection(self) -> Selection:
        rollouts = self.query_one("#rollouts", Grid)
        return Selection(self.environment, self.service, (rollouts.selected or "") if rollouts.has_focus else "")

    def draw(self, picture: Picture) -> None:
        view = picture.service(self.environment, self.service)
        environment = picture.environment(self.environment)
        if view is None or environment is None:
            text = f"{self.service} is not in {self.environment} any more."
        else:
            text = f"{view.name} {view.version}   {view.ready}/{view.desired} ready   {view.health.value} {view.detail}"
            if view.canary_version and view.canary_ready:
                text += f"\ncanary {view.canary_version}: {view.canary_ready} ready, {weight(view.canary_weight)} of the requests"
            if not environment.reachable:
                seen = f"seen {age(environment.age_seconds)} ago" if environment.age_seconds is not None else "never seen"
                text += f"\n? {environment.name} can't be reached ({environment.problem}); {seen}"
        self.query_one("#summary", Static).update(sanitize(text))
        now = picture.now.timestamp() if picture.now else 0.0
        self.query_one("#pods", Grid).apply(pod_rows(self.console.service_pods(self.environment, self.service), now))
        self.query_one("#rollouts", Grid).apply(
            rollout_row(card, picture.pace) for card in picture.rollouts_of(self.environment, self.service)
        )

    @on(Grid.RowChosen, "#rollouts")
    def open_rollout(self, event: Grid.RowChosen) -> None:
        self.console.open_rollout(event.key)
