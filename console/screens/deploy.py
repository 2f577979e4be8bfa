"""The guided deploy: the form, the checklist filling itself with evidence, the plan as a diff, the typed confirmation."""

from __future__ import annotations

import os
from functools import partial

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from console.draft import Draft
from console.screens.base import ConsoleScreen, bindings_of
from console.screens.foresight import SIGHT, Foreseeing, SightView
from console.screens.pane import Pane
from console.screens.sentence import sentence_of
from console.view import Picture, Selection
from services.actuator.shown import shown_plan
from services.model.errors import QuarterdeckError
from services.model.fleet import EnvironmentView
from services.model.gates import GateName, GateResult
from services.model.release import DeployRequest, Strategy
from widgets import glyphs
from widgets.confirm import TypedConfirmation
from widgets.diff import PlanDiff
from widgets.evidence.checklist import ChecklistView
from widgets.form import Field, Validity
from widgets.ink import Line, Tone
from widgets.note import Note
from widgets.toast import toast

FORM = (
    ("environment", "environment", ""),
    ("service", "service", "one that runs there"),
    ("version", "version", "v1.2.3 or v1.2.3-rc.1"),
    ("strategy", "strategy", "empty: as the policy says"),
    ("ticket", "ticket", "CHG-1234"),
)
FIELDS = tuple(name for name, _, _ in FORM)
START: Line = (("Fill in the form: each field is checked as you type, and nothing changes before you confirm.", Tone.MUTED),)

CONNECTING: Line = (
    (
        "Still connecting: fill in the form meanwhile. Plan and checklist follow by themselves once the clusters answer.",
        Tone.WARN,
    ),
)


class DeployScreen(ConsoleScreen):
    BINDINGS = [*bindings_of("deploy"), Binding("enter", "next_field", "next field", priority=True)]
    where = "deploy"
    field_keys = (("enter", "next field"),)

    DEFAULT_CSS = """
    DeployScreen #body { height: 1fr; }
    DeployScreen #panes { height: 1fr; }
    DeployScreen #left { width: 46; border-right: solid $rule; }
    DeployScreen #form-pane { height: auto; }
    DeployScreen #form { height: auto; padding: 0 1; scrollbar-size-vertical: 1; }
    DeployScreen #sight-pane { height: 1fr; border-top: solid $rule; }
    DeployScreen #sight-scroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    DeployScreen #sight-here { display: none; padding: 0 1; max-height: 7; }
    DeployScreen #right { width: 1fr; }
    DeployScreen #checks-pane { width: 1fr; }
    DeployScreen #checks { padding: 0 1; scrollbar-size-vertical: 1; }
    DeployScreen #plan-pane { width: 1fr; border-left: solid $rule; }
    DeployScreen #plan { padding: 0 1; }
    DeployScreen #sentence { padding: 0 1; border-top: solid $rule; height: auto; max-height: 5; }
    DeployScreen #confirmation { padding: 0 1; }
    DeployScreen TypedConfirmation > Input { border: none; height: 1; background: $panel; }
    DeployScreen TypedConfirmation > Input:focus { border: none; background: $primary 22%; }
    DeployScreen TypedConfirmation.-matches > Input { border: none; background: $success 30%; }
    DeployScreen Field > Horizontal > Input { background: $panel; }
    DeployScreen Field > Horizontal > Input:focus { background: $primary 22%; }
    DeployScreen.-narrow #right, DeployScreen.-normal #right { layout: vertical; }
    DeployScreen.-narrow #left { width: 32; }
    DeployScreen.-narrow #form-pane, DeployScreen.-narrow #form { height: 1fr; }
    DeployScreen.-narrow #sight-pane { display: none; }
    DeployScreen.-narrow Field > Horizontal > Note { width: 12; }
    DeployScreen.-narrow Field > Note { padding: 0 0 0 2; }
    DeployScreen.-narrow #checks-pane, DeployScreen.-normal #checks-pane { width: 100%; height: 3fr; }
    DeployScreen.-narrow #plan-pane, DeployScreen.-normal #plan-pane { width: 100%; height: 2fr; border-left: none;
        border-top: solid $rule; }
    DeployScreen.-narrow.-short #sentence { max-height: 4; }
    DeployScreen.-narrow.-short #plan-pane { height: 3; }
    DeployScreen.-narrow.-tall #sight-here, DeployScreen.-narrow.-short.-plan #sight-here { display: block; }
    DeployScreen.-narrow.-short.-plan #plan-pane { height: 1fr; }
    DeployScreen.-narrow.-short.-plan #checks-pane { display: none; }
    DeployScreen.-narrow.-plan #left { display: none; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]

    def __init__(self) -> None:
        """Its form is empty until it is aimed."""
        super().__init__()
        self._selected: Selection | None = None
        self._version = ""
        self._draft: Draft | None = None
        self._results: dict[GateName, GateResult] = {}
        self._choices: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._asked: DeployRequest | None = None
        self._foreseeing = Foreseeing(self)
        self._answering: tuple[bool, bool] = (False, False)
        """Whether the console is connected, and whether the environment in the form has ever answered."""

    def aim(self, selected: Selection, version: str = "") -> None:
        """Begin with what is selected. ``version`` is given where the whole form was asked for in words: then the environment is
        filled in too."""
        self._selected, self._version = selected, version
        if self.entered:
            self._begin(selected)
            self.focus_first()

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                with Pane("RELEASE", id="form-pane"), VerticalScroll(id="form", can_focus=False):
                    for name, label, accepted in FORM:
                        yield Field(name, label, accepted=accepted, check=partial(self._check, name), id=f"f-{name}")
                with Pane("WHAT ITS ANALYSES WILL SEE", id="sight-pane"), VerticalScroll(id="sight-scroll"):
                    yield SightView(id="sight")
            with Horizontal(id="right"):
                with Pane("CHECKLIST", id="checks-pane"), VerticalScroll(id="checks"):
                    yield ChecklistView(id="checklist")
                with Pane("PLAN", id="plan-pane"):
                    yield SightView(id="sight-here")
                    yield PlanDiff(id="plan")
        yield Note(START, id="sentence")
        yield TypedConfirmation(id="confirmation")

    def on_mount(self) -> None:
        self._name_plan()
        self.query_one(TypedConfirmation).block("the form is not complete", waits=True)
        self._field("strategy").set_choices(tuple(strategy.value for strategy in Strategy))
        if self._selected is not None:
            self._begin(self._selected)

    def _begin(self, selected: Selection) -> None:
        if self._version:
            self._field("environment").set_value(selected.environment)
            self._field("version").set_value(self._version)
        self._field("service").set_value(selected.service)
        self._field("ticket").set_value(os.environ.get("CHANGE_TICKET", ""))
        if not self._version:
            self.go_on_with_unfinished(selected.service)

    @work(group="unfinished", exit_on_error=False)
    async def go_on_with_unfinished(self, service: str) -> None:
        """Put back what was typed for this service and left. The environment is chosen anew."""
        left = await self.console.unfinished(service)
        request = self.request()
        if left is None or request.version or request.service != left.service:
            return
        for name in ("version", "strategy", "ticket"):
            if value := getattr(left, name):
                self._field(name).set_value(value)
        toast(self, f"{left.service}: what you left on {left.left:%d %b %H:%M}Z is in the form again.", title="Draft")

    def do_back(self) -> None:
        if not isinstance(self.focused, Input):
            self.console.keep_unfinished(self.request())
        super().do_back()

    def on_resize(self) -> None:
        self.after_refresh(self._name_plan)

    def _name_plan(self) -> None:
        for pane in self.query("#plan-pane").results(Pane):
            more = (
                "tab: with what it will see; z folds all"
                if self.has_class("-narrow")
                else "tab gets here; space folds a step, z all"
            )
            pane.tell((f"   {more}", Tone.MUTED))

    def focus_first(self) -> None:
        if self._selected is not None:  # a field that stands by would have its cursor blink
            self._field("environment").focus_input()

    def in_text(self) -> bool:
        return self._selected is None or super().in_text()  # one that stands by will begin in a field: its keys need more room

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#checks"))

    def _field(self, name: str) -> Field:
        return self.query_one(f"#f-{name}", Field)

    def _environment(self) -> str:
        return self.console.canonical_environment(self._field("environment").value)

    def _check(self, name: str, value: str) -> Validity:
        found = self.console.check_field(name, value)
        if not self.is_mounted or not found.ok or name not in ("environment", "service"):
            return found
        if self.console.picture.connecting:
            return Validity(None, "still connecting")
        view = self.console.picture.environment(self._environment())
        if name == "environment":
            return Validity(True, _named(view) if view else "ok")
        if view is None:
            return Validity(None, "name the environment first")
        if view.age_seconds is None:
            return Validity(None, f"{view.name} has not answered yet")
        runs = next((service for service in view.services if service.name == value), None)
        if runs is None:
            return Validity(False, f"not in {view.name}")
        return Validity(True, f"runs {runs.version}, {runs.ready}/{runs.desired} ready")

    def selection(self) -> Selection:
        if not self.is_mounted or not self.query("#f-service"):
            return self._selected or Selection()
        return Selection(self._environment(), self._field("service").value)

    def draw(self, picture: Picture) -> None:
        self.after_refresh(self.place_toasts)  # what is below the sentence may have grown
        view = picture.environment(self._environment())
        choices = (
            tuple(found.name for found in picture.fleet.environments),
            tuple(service.name for service in view.services) if view else (),
        )
        answering = (not picture.connecting, view is not None and view.age_seconds is not None)
        if (choices, answering) == (self._choices, self._answering):
            return
        heard = answering > self._answering
        self._choices, self._answering = choices, answering
        self._field("environment").set_choices(choices[0])
        self._field("service").set_choices(choices[1])
        self._field("environment").recheck()
        self._field("service").recheck()
        if heard and self._draft is None:
            self.compile()  # what could not be asked before can be now

    # ---- the draft

    @on(Field.Changed, "#f-environment")
    def environment_changed(self) -> None:
        self.draw(self.console.picture)
        self._field("service").recheck()

    @on(Field.Changed)
    def form_changed(self) -> None:
        """Anything typed voids the plan, the checklist and the confirmation at once; a new plan follows when the typing rests."""
        request = self.request()
        if request != self._asked:
            self._asked = request
            self._forget("the form is not complete")
            self.compile()

    def do_recheck(self) -> None:
        self._forget("asking again")
        self.compile()

    def _forget(self, why: str) -> None:
        self._draft = None
        self._results = {}
        self.query_one(PlanDiff).show(None)
        self._foreseeing.forget()
        self.query_one(ChecklistView).show(())
        self.query_one(TypedConfirmation).block(why, waits=True)
        self.draw_keys()

    def request(self) -> DeployRequest:
        values = {name: self._field(name).value for name in FIELDS}
        return DeployRequest(
            service=values["service"],
            version=values["version"],
            environment=values["environment"],
            strategy=values["strategy"],
            ticket=values["ticket"],
        )

    @work(exclusive=True, group="plan and checklist", exit_on_error=False)
    async def compile(self) -> None:
        """Validate, compile the plan, then ask every gate; a newer change of the form cancels this one."""
        request = self.request()
        sentence, confirmation = self.query_one("#sentence", Note), self.query_one(TypedConfirmation)
        if self.console.picture.connecting:
            sentence.show(CONNECTING)
            confirmation.block("still connecting", waits=True)
            return
        if not (request.service and request.version and request.environment):
            sentence.show(START)
            return
        await self.console.pause_briefly()
        try:
            draft = await self.console.session.deploys.draft(request)
        except QuarterdeckError as error:
            sentence.show(((f"{glyphs.current().bad} {error}", Tone.BAD),))
            confirmation.block("there is no plan")
            return
        self._draft = draft
        self.query_one(PlanDiff).show(shown_plan(draft.plan))
        sentence.show(*sentence_of(draft))
        self.after_refresh(self.place_toasts)  # it may be longer, or shorter
        confirmation.ask(draft.release.target.environment, draft.plan.digest)
        confirmation.block("the checklist is not complete", waits=True)
        self._foreseeing.ask(draft)
        asking = set(GateName)
        self.query_one(ChecklistView).show((), asking)
        try:
            async for result in self.console.session.deploys.checks(draft):
                self._results[result.name] = result
                asking.discard(result.name)
                self.query_one(ChecklistView).show(self._ordered(), asking)
        except QuarterdeckError as error:
            confirmation.block(str(error))
            return
        confirmation.block(self._blocked())

    def _ordered(self) -> tuple[GateResult, ...]:
        return tuple(self._results[name] for name in GateName if name in self._results)

    def _blocked(self) -> str:
        """Why the confirmation can't be given yet. The environment gate is the confirmation itself."""
        needed = [name for name in GateName if name is not GateName.ENVIRONMENT]
        if missing := [name.value for name in needed if name not in self._results]:
            return f"no answer from {', '.join(missing)}: ctrl+r asks again"
        unmet = [name.value for name in needed if not self._results[name].outcome.lets_through]
        return f"not passed: {', '.join(unmet)}; ctrl+r asks again" if unmet else ""

    @on(Worker.StateChanged)
    def compile_failed(self, event: Worker.StateChanged) -> None:
        if event.state is not WorkerState.ERROR:
            return
        if event.worker.group == SIGHT:
            self._foreseeing.failed()
        else:
            self.query_one(TypedConfirmation).block("an unexpected error, see the log; ctrl+r asks again")

    # ---- the confirmation

    def typed_in(self) -> Widget | None:
        # who types the name has to see what it confirms
        return self.query_one("#sentence") if self.query_one(TypedConfirmation).has_focus_within else super().typed_in()

    @on(TypedConfirmation.Confirmed)
    def confirmed(self, event: TypedConfirmation.Confirmed) -> None:
        draft = self._draft
        if draft is None or event.digest != draft.plan.digest:
            toast(self, "The plan changed meanwhile: nothing was started.", severity="warning")
            return
        self.query_one(TypedConfirmation).block("starting", waits=True)
        self.start(draft, event.typed)

    @work(exclusive=True, group="start of the rollout", exit_on_error=False)
    async def start(self, draft: Draft, typed: str) -> None:
        try:
            rollout = await self.console.session.deploys.start(draft, typed)
        except QuarterdeckError as error:
            toast(self, str(error), title="Not started", severity="error", seconds=20)
            self.do_recheck()
            return
        self.console.forget_unfinished(draft.release.service)
        self.console.replace_with_rollout(self, rollout)

    # ---- moving about

    def keys_of_field(self) -> tuple[tuple[str, str], ...]:
        confirms = self.query_one(TypedConfirmation).has_focus_within
        return (("enter", "deploy, once the name is typed"),) if confirms else super().keys_of_field()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "next_field":
            return self._focused_field() is not None
        return super().check_action(action, parameters)

    def _focused_field(self) -> int | None:
        if not self.entered:
            return None  # there are no fields yet
        return next((index for index, name in enumerate(FIELDS) if self._field(name).has_focus_within), None)

    def action_next_field(self) -> None:
        """Enter in a field; after the last one the confirmation follows, unless something in the form is missing or wrong."""
        following = (self._focused_field() or 0) + 1
        if following < len(FIELDS):
            self._field(FIELDS[following]).focus_input()
        elif self._asks_for_something():
            # at once, though plan and checklist may be to come: what is typed next is not for the last field
            self.query_one(TypedConfirmation).focus_input()

    def _asks_for_something(self) -> bool:
        """Whether the form is complete, and no field of it is rejected as it stands."""
        request = self.request()
        if not (request.service and request.version and request.environment):
            return False
        # what was typed last may be judged nowhere yet
        return all(self._check(name, self._field(name).value).ok is not False for name in FIELDS)

    def on_descendant_focus(self) -> None:
        """On a narrow terminal the plan takes the place of form and checklist while it is read."""
        plan = self.query_one(PlanDiff)
        self.set_class(plan.has_focus, "-plan")


def _named(view: EnvironmentView) -> str:
    return view.name if view.name == view.tier else f"{view.name}, tier {view.tier}"
