"""One service: what serves now, its pods by version, its rollouts."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.pane import Pane
from console.screens.status import last_seen
from console.screens.words import ROLLOUT_COLUMNS, grey, health_word, rollout_row
from console.view import Picture, Selection
from services.model.fleet import EnvironmentView, ServiceView
from widgets import glyphs
from widgets.format import weight
from widgets.grid import Grid
from widgets.ink import Line, Tone
from widgets.note import Note
from widgets.pods import POD_COLUMNS, pod_rows


class ServiceScreen(ConsoleScreen):
    BINDINGS = bindings_of("service")
    where = "service"

    DEFAULT_CSS = """
    ServiceScreen #body { height: 1fr; }
    ServiceScreen #summary { padding: 0 1; max-height: 6; }
    ServiceScreen #pods-pane { height: 2fr; border-top: solid $rule; }
    ServiceScreen #rollouts-pane { height: 1fr; min-height: 5; border-top: solid $rule; }
    """

    def __init__(self, environment: str, service: str) -> None:
        super().__init__()
        self.environment = environment
        self.service = service

    def body(self) -> ComposeResult:
        yield Note(id="summary")
        with Pane("PODS", id="pods-pane"):
            yield Grid(POD_COLUMNS, empty="no pods", id="pods")
        with Pane("ROLLOUTS", id="rollouts-pane"):
            yield Grid(ROLLOUT_COLUMNS, empty="none on record here: d deploys", id="rollouts")

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#pods", Grid))

    def title_text(self) -> str:
        return f"{self.service} {glyphs.current().bullet} {self.environment}"

    def selection(self) -> Selection:
        if not self.is_mounted:
            return Selection(self.environment, self.service)
        rollouts = self.query_one("#rollouts", Grid)
        return Selection(self.environment, self.service, (rollouts.selected or "") if rollouts.has_focus else "")

    def draw(self, picture: Picture) -> None:
        view, environment = picture.service(self.environment, self.service), picture.environment(self.environment)
        self.query_one("#summary", Note).show(*self._summary(view, environment))
        now = picture.now.timestamp() if picture.now else 0.0
        pods = pod_rows(self.console.pods(self.environment, self.service), now)
        reachable = environment is not None and environment.reachable
        self.query_one("#pods", Grid).apply(pods if reachable else [grey(row) for row in pods])
        cards = picture.rollouts_of(self.environment, self.service)
        self.query_one("#rollouts", Grid).apply(rollout_row(card, picture.pace) for card in cards)

    def _summary(self, view: ServiceView | None, environment: EnvironmentView | None) -> list[Line]:
        if environment is not None and not environment.reachable:
            unreachable: Line = (
                (f"{glyphs.current().unknown} {environment.name} {last_seen(environment)}: {environment.problem}", Tone.BAD),
            )
            return [unreachable, *([] if view is None else [_serving(view)])]
        if view is None:
            return [((f"{self.service} is not in {self.environment} (any more).", Tone.WARN),)]
        lines = [_serving(view)]
        if view.canary_version and view.canary_ready:
            share = f": {view.canary_ready} ready, {weight(view.canary_weight)} of the requests"
            lines.append((("canary ", Tone.CANARY), (view.canary_version, Tone.STRONG), (share, Tone.TEXT)))
        return lines

    @on(Grid.RowHighlighted)
    def selection_changed(self) -> None:
        self.draw_keys()

    @on(Grid.RowChosen, "#rollouts")
    def open_rollout(self, event: Grid.RowChosen) -> None:
        self.console.open_rollout(event.key)

    @on(Grid.RowChosen, "#pods")
    def open_newest(self) -> None:
        self.do_open()

    def do_open(self) -> None:
        card = self.situation().card
        if card is not None:
            self.console.open_rollout(card.key)


def _serving(view: ServiceView) -> Line:
    return (
        (view.name, Tone.STRONG),
        (f" {view.version}   ", Tone.TEXT),
        (f"{view.ready}/{view.desired} ready", Tone.TEXT if view.ready == view.desired else Tone.BAD),
        ("   ", Tone.TEXT),
        health_word(view.health),
        (f"   {view.detail}" if view.detail else "", Tone.MUTED),
    )
