"""The fleet: environments, the services of the selected one, rollouts, and what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from console.screens.base import bindings_of
from console.screens.figures import reason_words
from console.screens.filtered import FilteredScreen
from console.screens.pane import Pane
from console.screens.status import freshness
from console.screens.words import (
    ROLLOUT_COLUMNS,
    SERVICE_COLUMNS,
    entry_line,
    environment_row,
    from_checkpoints,
    grey,
    rollout_row,
    service_row,
    telling,
    urgent_first,
)
from console.view import Picture, Selection
from services.model.fleet import EnvironmentView, ServiceView
from widgets import glyphs
from widgets.grid import Column, Grid
from widgets.ink import Span, Tone
from widgets.logview import LogView

ENVIRONMENT_COLUMNS = (Column("name", "NAME", 10, flex=1), Column("state", "STATE", 12))
RECENT = 40
ARRIVING = 5.0
"""Seconds in which what is there arrives, cluster by cluster: what it goes to by then is what a person came for."""
READING = 1.0
"""Seconds in which nobody can have read where the selection went by itself."""


class FleetScreen(FilteredScreen):
    BINDINGS = bindings_of("fleet")
    where = "fleet"
    filtered = "services"

    DEFAULT_CSS = """
    FleetScreen #body { height: 1fr; }
    FleetScreen #top { height: 1fr; }
    FleetScreen #left { width: 30; border-right: solid $rule; }
    FleetScreen #middle { width: 1fr; }
    FleetScreen #rollouts-pane { height: 30%; min-height: 5; border-top: solid $rule; }
    FleetScreen #recent-pane { height: 9; border-top: solid $rule; }
    FleetScreen.-narrow #left { width: 27; }
    FleetScreen.-short #rollouts-pane { height: 6; border-top: none; }
    FleetScreen.-short #recent-pane { height: 4; border-top: none; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]

    def __init__(self, environment: str = "") -> None:
        """``environment``: what to look at first; without it what a person most likely came to see."""
        super().__init__()
        self._environment = environment
        self._chosen = bool(environment)
        self._moved_at: float | None = None
        """When it went by itself to a rollout that came while something else was shown (monotonic)."""
        self._arrived_at: float | None = None
        """When there was anything to choose from (monotonic)."""
        self._recent: list[dict[str, Any]] = []

    def body(self) -> ComposeResult:
        connecting = f"connecting {glyphs.current().ellipsis}"
        with Horizontal(id="top"):
            with Pane("ENVIRONMENTS", id="left"):
                yield Grid(ENVIRONMENT_COLUMNS, empty=connecting, id="environments")
            with Pane("SERVICES", id="middle"):
                yield Grid(SERVICE_COLUMNS, empty=connecting, id="services")
        with Pane("ROLLOUTS", id="rollouts-pane"):
            yield Grid(ROLLOUT_COLUMNS, empty=connecting, id="rollouts")
        with Pane("LAST HOUR", id="recent-pane"):
            yield LogView(capacity=RECENT, empty="nothing was changed from this home, nor by a rollout", id="recent")
        yield self.filter_field()

    def on_mount(self) -> None:
        if self._environment:
            self.query_one("#environments", Grid).select(self._environment)

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#services", Grid))

    @property
    def environment(self) -> str:
        """The environment whose services are shown."""
        return self._environment

    def look_at(self, environment: str) -> None:
        """Show this environment's services, and its line among the environments."""
        environments = self.query_one("#environments", Grid)
        environments.select(environment)
        self.set_focus(environments)

    def title_text(self) -> str:
        return f"fleet {glyphs.current().bullet} {self._environment}" if self._environment else "fleet"

    def draw(self, picture: Picture) -> None:
        self.query_one("#environments", Grid).apply(environment_row(view) for view in picture.fleet.environments)
        if not self._chosen and picture.fleet.environments:
            self._choose(picture)
        self._draw_services(picture, picture.environment(self._environment))
        self._draw_rollouts(picture)
        self._draw_recent(picture)

    def _choose(self, picture: Picture) -> None:
        """What to look at first: a live rollout, if there is one. Once a person has touched anything, nothing moves by itself."""
        live = any(card.live for card in picture.rollouts)
        if self._environment and (self.console.touched or not live):
            self._chosen = self.console.touched
            return
        now = self.console.clock.monotonic()
        if self._arrived_at is None:
            self._arrived_at = now
        elif now - self._arrived_at > ARRIVING:
            self._moved_at = now
        self._environment = preferred_environment(picture)
        self.query_one("#environments", Grid).select(self._environment)
        if live:
            self._chosen = True
            self.set_focus(self.query_one("#rollouts", Grid))

    def choose(self, environment: str) -> None:
        """Show this environment's services, and give them the focus."""
        self._chosen = True
        self.query_one("#environments", Grid).select(environment)
        self.focus_body()

    def _draw_services(self, picture: Picture, view: EnvironmentView | None) -> None:
        services = self.query_one("#services", Grid)
        services.set_empty(_why_empty(view))
        now = picture.now.timestamp() if picture.now else 0.0
        found = view.services if view else ()
        reachable = view is not None and view.reachable
        figures = [picture.figures.get((service.environment, service.name)) for service in found]
        services.apply(
            service_row(service, reachable=reachable, now=now, figures=known, limit=picture.error_limit)
            for service, known in zip(found, figures, strict=True)
        )
        self._tell_services(picture)

    def _tell_services(self, picture: Picture) -> None:
        """Over the services: where they are, how old that is, and why figures of the selected one are missing."""
        view = picture.environment(self._environment)
        title: list[Span] = [(f"  {view.name}", Tone.TEXT)] if view else []
        title += self.filter_words()
        title += freshness(view) if not picture.connecting else ()
        selected = self.query_one("#services", Grid).selected or ""
        if view is not None and view.reachable and (why := reason_words(picture.figures.get((view.name, selected)))):
            title.append((f"  {glyphs.current().none} {why}", Tone.MUTED))
        self.query_one("#middle", Pane).tell(*title)

    def _draw_rollouts(self, picture: Picture) -> None:
        live = sum(card.live for card in picture.rollouts)
        grid = self.query_one("#rollouts", Grid)
        grid.set_empty("none on record: d deploys" if not picture.connecting else "connecting")
        lost = {view.name for view in picture.fleet.environments if not view.reachable and view.age_seconds is not None}
        cards = [(card.environment, card) for card in urgent_first(picture.rollouts)]
        rows = ((place, rollout_row(card, picture.pace_of(place))) for place, card in cards)
        grid.apply(grey(row) if place in lost else row for place, row in rows)
        # with the terminal's own focus gone no pane has it, and this one gets it back as it was
        if self.app.app_focus and not grid.has_focus and grid.shown and grid.selected != grid.shown[0]:
            grid.select(grid.shown[0])  # the most urgent is in view; no key applies to this pane without the focus
        title: list[Span] = [(f"  {live} live", Tone.ACCENT if live else Tone.MUTED)]
        if stale := sorted(lost & {card.environment for card in picture.rollouts if card.live}):
            title.append((f"  {glyphs.current().unknown} as last seen in {', '.join(stale)}", Tone.BAD))
        self.query_one("#rollouts-pane", Pane).tell(*title)

    def _draw_recent(self, picture: Picture) -> None:
        # stamps are ISO 8601 in UTC: they sort as text, and parsing five hundred of them would be felt
        since = (picture.now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S") if picture.now else ""
        recent = telling(entry for entry in picture.entries if str(entry.get("timestamp", "")) >= since)
        if elsewhere := [entry for entry in from_checkpoints(picture) if entry["timestamp"] >= since]:
            recent = sorted((*recent, *elsewhere), key=lambda entry: str(entry.get("timestamp", "")))
        recent = recent[-RECENT:]
        if recent != self._recent:
            self._recent = recent
            self.query_one("#recent", LogView).replace(entry_line(entry) for entry in recent)

    def services_in_view(self, picture: Picture) -> Sequence[ServiceView]:
        view = picture.environment(self._environment)
        if view is None or not view.reachable or not self.is_mounted:
            return ()
        seen = frozenset(self.query_one("#services", Grid).in_view)
        return [service for service in view.services if service.name in seen]

    def unpicked(self) -> str:
        if self._moved_at is None or self.console.clock.monotonic() - self._moved_at >= READING:
            return ""
        grid = self.query_one("#rollouts", Grid)
        if grid.picked or not grid.has_focus:
            return ""
        return "the selection went to this rollout by itself just now: look, and press again"

    def selection(self) -> Selection:
        if not self.is_mounted or any(not self.query(f"#{name}") for name in ("rollouts", "environments", "services", "recent")):
            return Selection()
        rollouts = self.query_one("#rollouts", Grid)
        if rollouts.has_focus:
            card = self.console.picture.rollout(rollouts.selected)
            if card is None:
                return Selection()
            return Selection(card.environment, card.rollout.release.service, card.key)
        if self.query_one("#environments", Grid).selected != self._environment:
            return Selection()  # the services of the environment just chosen are not shown yet
        if self.query_one("#environments", Grid).has_focus or self.query_one("#recent", LogView).has_focus:
            return Selection(self._environment)  # what a key applies to is in the pane that has the focus, or nowhere
        return Selection(self._environment, self.query_one("#services", Grid).selected or "")

    @on(Grid.RowHighlighted, "#environments")
    def show_environment(self, event: Grid.RowHighlighted) -> None:
        # what is selected now, not what was when the message left: several may be on their way
        selected = event.grid.selected
        if selected and selected != self._environment:
            self._environment = selected
            self._chosen = True
            services = self.query_one("#services", Grid)
            services.select(None)
            self.show(self.console.picture)
            services.select(services.shown[0] if services.shown else None)

    @on(Grid.RowChosen, "#environments")
    def enter_environment(self) -> None:
        self.focus_body()

    @on(Grid.RowHighlighted)
    def selection_changed(self) -> None:
        self._tell_services(self.console.picture)
        self.draw_keys()

    @on(Grid.RowChosen, "#services")
    def open_service(self, event: Grid.RowChosen) -> None:
        self.console.open_service(self._environment, event.key)

    @on(Grid.RowChosen, "#rollouts")
    def open_rollout(self, event: Grid.RowChosen) -> None:
        self.console.open_rollout(event.key)

    def do_open(self) -> None:
        selection = self.selection()
        if selection.rollout:
            self.console.open_rollout(selection.rollout)
        elif selection.service:
            self.console.open_service(selection.environment, selection.service)


def preferred_environment(picture: Picture) -> str:
    """Where a live rollout is, else production, else the first: what a person most likely came to see."""
    live = next((card.environment for card in urgent_first(picture.rollouts) if card.live), "")
    names = [view.name for view in picture.fleet.environments]
    return live or ("production" if "production" in names else names[0])


def _why_empty(view: EnvironmentView | None) -> str:
    if view is None or (view.age_seconds is None and not view.problem):
        return f"connecting {glyphs.current().ellipsis}"
    return view.problem or "no services in its namespaces"
