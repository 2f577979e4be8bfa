"""The guided deploy: the form, the checklist filling itself with evidence, the plan as a diff, the typed confirmation."""

from __future__ import annotations

from functools import partial

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from console.draft import Draft
from console.screens.base import ConsoleScreen, bindings_of
from console.view import Picture, Selection
from services.model.errors import QuarterdeckError
from services.model.gates import GateName, GateResult
from services.model.release import DeployRequest, Strategy
from widgets.confirm import TypedConfirmation
from widgets.diff import PlanDiff
from widgets.evidence.checklist import ChecklistView
from widgets.form import Field, Validity
from widgets.format import seconds
from widgets.text import sanitize
from widgets.toast import toast

FORM = (
    ("environment", "environment", "name it: no default"),
    ("service", "service", "one of that environment"),
    ("version", "version", "v1.2.3 or 1.2.3-rc.1"),
    ("strategy", "strategy", "canary, rolling; empty: policy"),
    ("ticket", "ticket", "CHG-1234"),
)
FIELDS = tuple(name for name, _, _ in FORM)


class DeployScreen(ConsoleScreen):
    BINDINGS = bindings_of("deploy")
    where = "deploy"

    DEFAULT_CSS = """
    DeployScreen #body { height: 1fr; }
    DeployScreen #panes { height: 1fr; }
    DeployScreen #form { width: 36; border-right: solid $panel-lighten-1; padding: 0 1; }
    DeployScreen #checks { width: 1fr; padding: 0 1; }
    DeployScreen #plan-pane { width: 1fr; border-left: solid $panel-lighten-1; }
    DeployScreen .title { height: 1; color: $text-muted; text-style: bold; }
    DeployScreen #sentence { height: auto; padding: 0 1; border-top: solid $panel-lighten-1; }
    DeployScreen #confirmation { height: auto; padding: 0 1; }
    DeployScreen.-narrow #right { layout: vertical; }
    DeployScreen.-narrow #checks { width: 100%; height: auto; max-height: 60%; }
    DeployScreen.-narrow #plan-pane { width: 100%; height: 1fr; border-left: none; border-top: solid $panel-lighten-1; }
    DeployScreen.-narrow #form { width: 30; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-normal")]

    def __init__(self, selected: Selection) -> None:
        super().__init__()
        self._selected = selected
        self._draft: Draft | None = None
        self._results: dict[GateName, GateResult] = {}
        self._choices: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._asked: DeployRequest | None = None

    def body(self) -> ComposeResult:
        check = self.console.check_field
        with Horizontal(id="panes"):
            with VerticalScroll(id="form"):
                for name, label, accepted in FORM:
                    yield Field(name, label, accepted=accepted, check=partial(check, name), id=f"f-{name}")
            with Horizontal(id="right"):
                with VerticalScroll(id="checks"):
                    yield Static("CHECKLIST", classes="title", markup=False)
                    yield ChecklistView(id="checklist")
                with Vertical(id="plan-pane"):
                    yield Static("PLAN   space folds, z folds all", classes="title", markup=False)
                    yield PlanDiff(id="plan")
        yield Static("Fill in the form: everything is checked as you type.", id="sentence", markup=False)
        yield TypedConfirmation(id="confirmation")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(TypedConfirmation).block("the form is not complete")
        self._field("strategy").set_choices(tuple(strategy.value for strategy in Strategy))
        self._field("service").set_value(self._selected.service)
        self._field("environment").focus_input()

    def focus_body(self) -> None:
        self.query_one(PlanDiff).focus()

    def _field(self, name: str) -> Field:
        return self.query_one(f"#f-{name}", Field)

    def selection(self) -> Selection:
        if not self.is_mounted or not self.query("#f-service"):
            return self._selected
        name = self.console.canonical_environment(self._field("environment").value)
        return Selection(name, self._field("service").value)

    def draw(self, picture: Picture) -> None:
        environment = self.console.canonical_environment(self._field("environment").value)
        view = picture.environment(environment)
        choices = (
            tuple(found.name for found in picture.fleet.environments),
            tuple(service.name for service in view.services) if view else (),
        )
        if choices != self._choices:
            self._choices = choices
            self._field("environment").set_choices(choices[0])
            self._field("service").set_choices(choices[1])

    @on(Field.Changed)
    def form_changed(self) -> None:
        """Anything typed voids the plan, the checklist and the confirmation at once; a new plan follows when the typing rests."""
        request = self.request()
        if request == self._asked:
            return
        self._asked = request
        self._draft = None
        self._results = {}
        self.query_one(PlanDiff).show(None)
        self.query_one(ChecklistView).show(())
        self.query_one(TypedConfirmation).block("the form is not complete")
        self.draw_keys()
        self.compile()

    def request(self) -> DeployRequest:
        values = {name: self._field(name).value for name in FIELDS}
        return DeployRequest(
            service=values["service"],
            version=values["version"],
            environment=values["environment"],
            strategy=values["strategy"],
            ticket=values["ticket"],
        )

    @work(exclusive=True, group="draft", exit_on_error=False)
    async def compile(self) -> None:
        """Validate, compile the plan, then ask every gate; a newer change of the form cancels this one."""
        request = self.request()
        sentence = self.query_one("#sentence", Static)
        if not (request.service and request.version and request.environment):
            sentence.update("Fill in the form: everything is checked as you type.")
            return
        await self.console.pause_briefly()
        try:
            draft = await self.console.session.draft(request)
        except QuarterdeckError as error:
            sentence.update(sanitize(str(error)))
            self.query_one(TypedConfirmation).block(sanitize(error.title))
            return
        self._draft = draft
        self.query_one(PlanDiff).show(draft.plan)
        sentence.update(sanitize(sentence_of(draft)))
        confirmation = self.query_one(TypedConfirmation)
        confirmation.ask(draft.release.target.environment, draft.plan.digest)
        confirmation.block("the checklist is not complete")
        asking = set(GateName)
        self.query_one(ChecklistView).show((), asking)
        async for result in self.console.session.checks(draft):
            self._results[result.name] = result
            asking.discard(result.name)
            self.query_one(ChecklistView).show(self._ordered(), asking)
        confirmation.block(self._blocked())
        if not self._blocked() and not isinstance(self.focused, TypedConfirmation):
            self.draw_keys()

    def _ordered(self) -> tuple[GateResult, ...]:
        return tuple(self._results[name] for name in GateName if name in self._results)

    def _blocked(self) -> str:
        """Why the confirmation can't be given yet. The environment gate is the confirmation itself."""
        unmet = [
            result.name.value
            for result in self._ordered()
            if not result.outcome.lets_through and result.name is not GateName.ENVIRONMENT
        ]
        return f"not passed: {', '.join(unmet)}" if unmet else ""

    @on(TypedConfirmation.Confirmed)
    def confirmed(self, event: TypedConfirmation.Confirmed) -> None:
        draft = self._draft
        if draft is None or event.digest != draft.plan.digest:
            toast(self, "The plan changed meanwhile: nothing was started.", severity="warning")
            return
        self.query_one(TypedConfirmation).block("starting …")
        self.start(draft, event.typed)

    @work(exclusive=True, group="start", exit_on_error=False)
    async def start(self, draft: Draft, typed: str) -> None:
        try:
            rollout = await self.console.session.start(draft, typed)
        except QuarterdeckError as error:
            toast(self, str(error), title="Not started", severity="error", seconds=20)
            self.compile()
            return
        self.app.pop_screen()
        self.console.open_rollout(rollout)

    @on(Field.Submitted)
    def next_field(self, event: Field.Submitted) -> None:
        names = [*FIELDS]
        following = names.index(event.field.name or names[-1]) + 1
        if following < len(names):
            self._field(names[following]).focus_input()
        else:
            self.query_one(TypedConfirmation).focus_input()

    @on(Field.Changed, "#f-service")
    def service_known(self, event: Field.Changed) -> None:
        environment = self.console.picture.environment(self.console.canonical_environment(self._field("environment").value))
        if event.value and environment and event.value not in {service.name for service in environment.services}:
            self._field("service").set_validity(Validity(False, f"not in {environment.name}"), of=event.value)


def sentence_of(draft: Draft) -> str:
    """What the plan does to users, in a sentence, and how long a rollback takes."""
    release, plan = draft.release, draft.plan
    total = sum(step.expected_seconds for step in plan.steps)
    text = (
        f"{release.service} {plan.previous_version} → {release.version} in {release.target.environment}, "
        f"{release.strategy.value}: "
        f"{len(plan.steps)} steps, about {seconds(total)}. A rollback takes about {seconds(plan.rollback_seconds)}."
    )
    return " ".join((text, *plan.notes))
