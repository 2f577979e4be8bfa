"""One service: the versions that serve now, its revisions and who brought them, pods, routes, events, and its rollouts."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal

from console.inspecting import Inspecting, Said, Standing
from console.screens.base import ConsoleScreen, bindings_of
from console.screens.figures import errors_cell, latency_cell, reason_words
from console.screens.pane import Pane
from console.screens.revisions import event_rows, pod_rows, revision_rows, rollout_rows, route_rows, servings
from console.screens.status import last_seen
from console.screens.words import grey, health_word
from console.tailing import LogsOf
from console.view import Picture, Selection
from services.model.errors import QuarterdeckError
from services.model.fleet import EnvironmentView, ServiceView
from widgets import glyphs
from widgets.grid import Grid, Row
from widgets.ink import Line, Span, Tone
from widgets.note import Note
from widgets.revisions import EVENT_COLUMNS, OF_REVISION_COLUMNS, REVISION_COLUMNS, ROLLOUT_COLUMNS, RULE_COLUMNS, serving_lines

VIEWS = ("pods", "events", "routes")
"""What shares one place on a narrow terminal, in the order in which it is shown."""
STANDING_SECONDS = 1.0
EVENT_SECONDS = 5.0
"""Wall seconds between looks while the screen is open."""


class ServiceScreen(ConsoleScreen):
    BINDINGS = bindings_of("service")
    where = "service"

    DEFAULT_CSS = """
    ServiceScreen #body { height: 1fr; }
    ServiceScreen #summary { padding: 0 1; max-height: 6; }
    ServiceScreen #top, ServiceScreen #middle { height: 1fr; border-top: solid $rule; }
    ServiceScreen #middle { height: 2fr; }
    ServiceScreen #revisions-pane { width: 1fr; border-right: solid $rule; }
    ServiceScreen #rollouts-pane { width: 1fr; }
    ServiceScreen #pods-pane { width: 3fr; border-right: solid $rule; }
    ServiceScreen #routes-pane { width: 2fr; }
    ServiceScreen #events-pane { height: 1fr; min-height: 5; border-top: solid $rule; }
    ServiceScreen.-narrow #top, ServiceScreen.-narrow #middle { layout: vertical; }
    ServiceScreen.-narrow #revisions-pane, ServiceScreen.-narrow #rollouts-pane, ServiceScreen.-narrow #pods-pane,
    ServiceScreen.-narrow #routes-pane { border-right: none; width: 100%; }
    ServiceScreen.-short #top, ServiceScreen.-short #middle, ServiceScreen.-short #events-pane { border-top: none; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]

    def __init__(self, environment: str = "", service: str = "") -> None:
        """Without ``environment`` and ``service`` it shows nothing until it is aimed at one."""
        super().__init__()
        self.environment = environment
        self.service = service
        self._view = 0
        self._standing = Standing()
        self._said: Said | None = None
        self._trouble = ""

    def aim(self, environment: str, service: str) -> None:
        """Show another service, as if nothing had been shown here before."""
        self.environment, self.service = environment, service
        self._view, self._standing, self._said, self._trouble = 0, Standing(), None, ""
        if not self.entered:
            return
        for grid in self.query(Grid):
            grid.begin_anew()
            grid.set_empty("none on record here: d deploys" if grid.id == "rollouts" else "asking")
        self._arrange()
        self.focus_body()
        self.look()

    def body(self) -> ComposeResult:
        yield Note(id="summary")
        with Horizontal(id="top"):
            with Pane("REVISIONS", id="revisions-pane"):
                yield Grid(REVISION_COLUMNS, empty="asking", id="revisions")
            with Pane("ROLLOUTS", id="rollouts-pane"):
                yield Grid(ROLLOUT_COLUMNS, empty="none on record here: d deploys", id="rollouts")
        with Horizontal(id="middle"):
            with Pane("PODS", id="pods-pane"):
                yield Grid(OF_REVISION_COLUMNS, empty="no pods", id="pods")
            with Pane("ROUTES", id="routes-pane"):
                yield Grid(RULE_COLUMNS, empty="asking", id="routes")
        with Pane("EVENTS", id="events-pane"):
            yield Grid(EVENT_COLUMNS, empty="asking", id="events")

    def on_mount(self) -> None:
        self._arrange()
        self.look()

    def on_resize(self) -> None:
        self.after_refresh(self._arrange)

    def focus_body(self) -> None:
        first = {"pods": "#pods", "events": "#events", "routes": "#routes"}[VIEWS[self._view] if self.folded() else "pods"]
        self.set_focus(self.query_one(first, Grid))

    def folded(self) -> bool:
        return self.has_class("-narrow")

    def do_view(self) -> None:
        self._view = (self._view + 1) % len(VIEWS)
        self._arrange()
        self.focus_body()

    def _arrange(self) -> None:
        """Which panes are seen. By their own styles: a class on the screen would style all of it anew."""
        view = VIEWS[self._view] if self.folded() else ""
        seen = {
            "#revisions-pane": view in ("", "pods"),
            "#pods-pane": view in ("", "pods"),
            "#rollouts-pane": view in ("", "routes"),
            "#routes-pane": view in ("", "routes"),
            "#events-pane": view in ("", "events"),
            "#top": view in ("", "pods", "routes"),
            "#middle": view in ("", "pods", "routes"),
        }
        for part, shown in seen.items():
            self.query_one(part).display = shown
        self._name_panes()

    def _name_panes(self) -> None:
        """On a narrow terminal the first visible pane says which others there are."""
        others: list[Span] = [("   v ", Tone.ACCENT)] if self.folded() else []
        for index, view in enumerate(VIEWS if self.folded() else ()):
            here = index == self._view
            others.append((f" {view.upper() if here else view} ", Tone.STRONG if here else Tone.MUTED))
        first = {"pods": "#revisions-pane", "events": "#events-pane", "routes": "#rollouts-pane"}[VIEWS[self._view]]
        for pane in self.query(Pane):
            more = others if f"#{pane.id}" == first else []
            note = self._events_note() if pane.id == "events-pane" else ()
            pane.tell(*note, *more)

    def _events_note(self) -> tuple[Span, ...]:
        if self._said is not None and self._said.problem and self._said.events:
            return ((f"  {glyphs.current().unknown} not read any more: {self._said.problem}", Tone.WARN),)
        if self._said is not None and not self._said.whole:
            return (("  of the first 5,000 in the namespace", Tone.WARN),)
        return ()

    def services_in_view(self, picture: Picture) -> Sequence[ServiceView]:
        view, environment = picture.service(self.environment, self.service), picture.environment(self.environment)
        return [view] if view is not None and environment is not None and environment.reachable else []

    def title_text(self) -> str:
        return f"{self.service} {glyphs.current().bullet} {self.environment}"

    # ---- what is asked while it is open

    @work(group="inspecting", exclusive=True, exit_on_error=False)
    async def look(self) -> None:
        """Ask again and again; what can't be asked now is said, and what was known stays."""
        clock, asked = self.console.clock, -EVENT_SECONDS
        inspecting: Inspecting | None = None
        while True:
            view = self.console.picture.service(self.environment, self.service)
            if view is not None and self.console.in_sight() is self:
                try:
                    inspecting = inspecting or self.console.session.inspecting
                    self._standing = await inspecting.standing(self.environment, view.namespace, self.service)
                    self._trouble = ""
                    self._draw_standing(self.console.picture)
                    if clock.monotonic() - asked >= EVENT_SECONDS:
                        pods = [pod.name for revision in self._standing.revisions for pod in revision.pods]
                        said = await inspecting.events(self.environment, view.namespace, self.service, pods)
                        asked = clock.monotonic()
                        # what was read before is worth more than why it can't be read now
                        self._said = (
                            Said(self._said.events, self._said.whole, said.problem) if said.problem and self._said else said
                        )
                        self._draw_events(self.console.picture)
                except QuarterdeckError as error:
                    self._trouble = error.title
                    self._draw_standing(self.console.picture)
            await clock.sleep(STANDING_SECONDS)

    # ---- drawing

    def draw(self, picture: Picture) -> None:
        view, environment = picture.service(self.environment, self.service), picture.environment(self.environment)
        self.query_one("#summary", Note).show(*self._summary(view, environment, picture))
        cards = picture.rollouts_of(self.environment, self.service)
        self.query_one("#rollouts", Grid).apply(rollout_rows(cards, picture))
        self._draw_standing(picture)
        self._draw_events(picture)

    def _draw_standing(self, picture: Picture) -> None:
        now = picture.now.timestamp() if picture.now else 0.0
        live = next((card for card in picture.rollouts_of(self.environment, self.service) if card.live), None)
        for name, rows in (
            ("revisions", revision_rows(self._standing, now)),
            ("pods", pod_rows(self._standing, self.service, now)),
            ("routes", route_rows(self._standing, self.service, live.rollout if live is not None else None)),
        ):
            grid = self.query_one(f"#{name}", Grid)
            if self._is_gone(picture):
                grid.set_empty("it is not there")
            elif self._trouble:
                grid.set_empty(f"not known: {self._trouble}")
            elif self._standing.revisions:
                grid.set_empty("none")
            grid.apply(self._as_old(rows, picture))

    def _draw_events(self, picture: Picture) -> None:
        grid = self.query_one("#events", Grid)
        if self._said is None:
            if self._is_gone(picture):
                grid.set_empty("it is not there")
            return
        grid.set_empty(f"not known: {self._said.problem}" if self._said.problem else "nothing was said in the last hour")
        now = picture.now.timestamp() if picture.now else 0.0
        grid.apply(self._as_old(event_rows(self._said, now), picture))
        self._name_panes()

    def _is_gone(self, picture: Picture) -> bool:
        """Whether a cluster that answers has no such service."""
        environment = picture.environment(self.environment)
        return environment is not None and environment.reachable and picture.service(self.environment, self.service) is None

    def _as_old(self, rows: list[Row], picture: Picture) -> list[Row]:
        environment = picture.environment(self.environment)
        return rows if environment is not None and environment.reachable else [grey(row) for row in rows]

    def _summary(self, view: ServiceView | None, environment: EnvironmentView | None, picture: Picture) -> list[Line]:
        lines: list[Line] = []
        if environment is not None and not environment.reachable:
            sign = glyphs.current().unknown
            lines.append(((f"{sign} {environment.name} {last_seen(environment)}: {environment.problem}", Tone.BAD),))
        if view is None:
            return lines or [((f"{self.service} is not in {self.environment} (any more).", Tone.WARN),)]
        head: Line = (
            (view.name, Tone.STRONG),
            (f" {glyphs.current().bullet} {self.environment}", Tone.STRONG),
            (f"   {view.version}   ", Tone.TEXT),
            health_word(view.health),
            (f"   {view.detail}" if view.detail else "", Tone.MUTED),
        )
        cards = picture.rollouts_of(self.environment, self.service)
        live = next((card.rollout for card in cards if card.live), None)
        return [*lines, head, *self._figures(view, picture), *serving_lines(servings(view, self._standing, live))]

    def _figures(self, view: ServiceView, picture: Picture) -> list[Line]:
        """Errors and P99 of all its requests, with what is not known of them and why."""
        figures = picture.figures.get((view.environment, view.name))
        if figures is None:
            return []
        return [
            (
                ("errors ", Tone.MUTED),
                *errors_cell(figures, picture.error_limit),
                ("   P99 ", Tone.MUTED),
                *latency_cell(figures, digits=0),
                (f"   {reason_words(figures) or 'of the last minute'}", Tone.MUTED),
            )
        ]

    # ---- selection and keys

    def selection(self) -> Selection:
        if not self.is_mounted or any(not self.query(f"#{name}") for name in ("rollouts", "pods", "revisions", "events")):
            # being put together, or taken apart: what it is about is known all the while, and R is for that
            return Selection(self.environment, self.service)
        rollouts = self.query_one("#rollouts", Grid)
        chosen = (rollouts.selected or "") if rollouts.has_focus else ""
        pods = self.query_one("#pods", Grid)
        pod = (pods.selected or "") if pods.has_focus else ""
        events = self.query_one("#events", Grid)
        event = (events.selected or "") if events.has_focus else ""
        return Selection(self.environment, self.service, chosen, pod=pod, event=event, revision=self._revision())

    def _revision(self) -> str:
        """The number of the selected revision, where it is one to go back to: of the service itself, not serving, and nothing is
        under way that would have to be rolled back first."""
        grid = self.query_one("#revisions", Grid)
        if not grid.has_focus or any(card.live for card in self.console.picture.rollouts_of(self.environment, self.service)):
            return ""
        chosen = grid.selected or grid.gone
        if chosen is None:
            return ""
        track, _, number = chosen.partition("/")
        current = {str(each.number) for each in self._standing.revisions if each.current and each.track == "stable"}
        return number if track == "stable" and number not in current else ""

    def do_rollback(self) -> None:
        if revision := self.selection().revision:
            self.console.roll_back_to(self.environment, self.service, revision)
        else:
            super().do_rollback()

    def do_logs(self) -> None:
        """Of the selected pod, or revision, where one has the keys; else of the service."""
        revisions = self.query_one("#revisions", Grid)
        wanted = LogsOf(self.environment, self.service)
        if pod := self.selection().pod:
            wanted = LogsOf(self.environment, self.service, pod=pod)
        elif revisions.has_focus:
            chosen = next(
                (each for each in self._standing.revisions if f"{each.track}/{each.number}" == revisions.selected), None
            )
            if chosen is not None:
                wanted = LogsOf(self.environment, self.service, replica_set=chosen.replica_set)
        self.console.open_logs(wanted)

    @on(Grid.RowHighlighted)
    def selection_changed(self) -> None:
        self.draw_keys()

    @on(Grid.RowChosen, "#rollouts")
    def open_rollout(self, event: Grid.RowChosen) -> None:
        self.console.open_rollout(event.key)

    @on(Grid.RowChosen, "#pods")
    def open_pod(self) -> None:
        self.do_open()

    @on(Grid.RowChosen, "#events")
    def open_event(self) -> None:
        self.do_open()

    def do_open(self) -> None:
        """What has the keys: of a pod its log, of an event all that was said, for that is all there is; elsewhere a rollout."""
        situation = self.situation()
        if situation.selection.pod:
            self.do_logs()
        elif situation.selection.event:
            self._open_event(situation.selection.event)
        elif situation.card is not None:
            self.console.open_rollout(situation.card.key)

    def _open_event(self, key: str) -> None:
        from console.screens.event import EventScreen

        event = next((each for each in self._said.events if each.key == key), None) if self._said is not None else None
        if event is not None:
            now = self.console.picture.now
            self.app.push_screen(EventScreen(event, now.timestamp() if now else 0.0))
