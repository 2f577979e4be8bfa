"""What every screen has: the status line, the key bar read from the registry, and one way from a key to its action."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.widgets._toast import ToastRack
from textual.worker import Worker, WorkerState

from console.actions import BY_ID, Action, Situation, actions_on, label_for, typed, whole_label_for
from console.parting import lost_by_parting
from console.screens.arming import LASTING, Arming
from console.screens.status import status_parts, unseen
from console.screens.tour import Said, TourStrip
from console.screens.worn import Worn
from console.view import Picture, Selection
from services.model.fleet import ServiceView
from widgets.ink import Tone
from widgets.keybar import Key, KeyBar
from widgets.note import Note
from widgets.statusbar import StatusBar
from widgets.toast import toast

if TYPE_CHECKING:
    from console.app import ConsoleApp


LEAST = (80, 24)
"""Columns and rows that every screen is made for. On fewer all keys work, and some parts can't be seen."""
_UNFIT = 15
"""By how much a key that does not work now is of less use than it would be."""


def bindings_of(screen: str) -> list[BindingType]:
    """The bindings of a screen's actions.

    They go before those of the focused widget; in a text field a key that it takes as text does nothing else.
    """
    return [
        Binding(key, f"act('{action.id}', '{key}')", action.label, priority=True)
        for action in actions_on(screen)
        for key in action.keys
    ]


def _clicked(action: Action, situation: Situation) -> tuple[str, str, Selection]:
    """What a click on an action's key is about: of anything else, it is another click."""
    return action.id, situation.card.key if situation.card is not None else "", situation.selection


class ConsoleScreen(Worn, Screen[None]):
    """A screen of the console. A subclass names itself (``where``), composes a body, draws pictures, says what is selected."""

    AUTO_FOCUS = None
    where: ClassVar[str] = ""
    field_keys: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Keys and what they do while a text field of this screen has the focus."""

    laid_out_ahead: ClassVar[bool] = True
    """Whether its parts have their places before it is known what it is about."""

    def __init__(self, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._small = Note(id="too-small")
        self._composed = False
        self._arming: Arming | None = None
        self.entered = False
        """Whether it is put together and has its focus: keys wait for that."""

    @property
    def console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        self._fit()
        yield StatusBar(id="status")
        yield self._small
        with Container(id="body"):
            yield from self.body()
        yield TourStrip()
        yield KeyBar(lines=2, id="keys")

    def _fit(self) -> None:
        """Take the classes of the terminal's size before there are widgets. Left to the first resize event, they would have
        every widget's styles worked out twice, which is a good part of the time from a key to a new screen."""
        width, height = self.app.size
        for room, steps in ((width, self.HORIZONTAL_BREAKPOINTS), (height, self.VERTICAL_BREAKPOINTS)):
            fitting = [name for least, name in sorted(steps or ()) if room >= least]
            self.add_class(*fitting[-1:], update=False)
        self._tell_size()

    def on_resize(self) -> None:
        self._tell_size()
        self.after_refresh(self.place_toasts)
        self.after_refresh(self._keys_changed)  # what is out of sight, and with it the key that shows it, may be another

    def after_refresh(self, callback: Callable[[], object]) -> None:
        """Call back once everything is drawn, if the screen is still there then. Left to Textual, a callback would find a screen
        that is being taken apart, and its failure would end the screen's message loop."""

        def call() -> None:
            if not self._composed or self not in self.app.screen_stack:
                return
            try:
                callback()
            except Exception as error:
                self.console.trouble.tell(self.console, f"The {self.where} screen", error)

        self.call_after_refresh(call)

    def _tell_size(self) -> None:
        """Say so where the terminal is smaller than the screens are made for."""
        width, height = self.app.size
        self._small.display = width < LEAST[0] or height < LEAST[1]
        if self._small.display:
            words = f"{LEAST[0]}x{LEAST[1]} is needed, this is {width}x{height}: some of it is out of sight. R works."
            self._small.show(((words, Tone.WARN),))

    @abstractmethod
    def body(self) -> ComposeResult:
        """What is between the status line and the keys."""

    def on_mount(self) -> None:
        self._composed = True
        self.show_tour(self.console.tour_step())  # though nobody sees this yet: its room is not to be made on opening
        self.show(self.console.picture)
        self.focus_first()
        self.entered = True
        self.call_later(self.console.feed_keys)

    def on_screen_resume(self) -> None:
        self.show(self.console.picture)

    def show(self, picture: Picture) -> bool:
        """Draw a new picture; whether that could be done. Parts that did not change are not painted again. A failure is told, and
        the last drawing stays."""
        if not self._composed or not self.is_mounted or not self.query("#keys"):
            return False  # not put together yet, or being taken apart
        try:
            self.draw(picture)
            left, right = status_parts(picture, self.title_text())
            self.query_one("#status", StatusBar).show(left, [*unseen(self.console.results), *right])
            self.draw_keys()
            self.console.look_for_tour()
        except Exception as error:
            self.console.trouble.tell(self.console, f"Drawing the {self.where} screen", error)
            return False
        return True

    def show_tour(self, step: Said | None) -> None:
        """Show a step of the tour, or none."""
        self.query_one(TourStrip).show(step)
        self.after_refresh(self.place_toasts)

    @abstractmethod
    def draw(self, picture: Picture) -> None:
        """Put a picture into the parts of the screen."""

    def selection(self) -> Selection:
        """What the operator has selected here; actions apply to this."""
        return Selection()

    def services_in_view(self, picture: Picture) -> Sequence[ServiceView]:
        """The services of which figures are shown."""
        return ()

    def title_text(self) -> str:
        return self.where

    def clearable(self) -> bool:
        """Whether esc has something to leave or clear here before it goes back a screen."""
        return isinstance(self.focused, Input)

    def folded(self) -> bool:
        """Whether some panes are out of sight for lack of room."""
        return False

    def only(self) -> str:
        """The one object to which what is shown was narrowed; empty where everything is shown."""
        return ""

    def unpicked(self) -> str:
        """Why what is selected is nobody's choice, where it moved there by itself; empty where somebody chose it."""
        return ""

    def situation(self) -> Situation:
        first = len(self.app.screen_stack) <= 1 and not self.clearable()
        return Situation(self.console.picture, self.selection(), self.where, first, self.folded(), self.only(), self.unpicked())

    def keys_of_field(self) -> tuple[tuple[str, str], ...]:
        """Keys and what they do in the text field that has the focus."""
        return self.field_keys

    def in_text(self) -> bool:
        """Whether what is typed goes into a text field, as far as the keys that are shown are concerned."""
        return isinstance(self.focused, Input)

    def back_label(self) -> str:
        """What esc does now, in a few words."""
        return "leave the field" if self.in_text() else BY_ID["back"].label

    def draw_keys(self) -> None:
        """The keys that work now: in a text field only those that it does not take as text."""
        situation = self.situation()
        in_text = self.in_text()
        keys = [Key(key, label, priority=3) for key, label in self.keys_of_field()] if in_text else []
        for action in actions_on(self.where):
            shown = action.text_key if in_text else action.shown_key
            reason = action.refusal(situation)
            # what can't be changed now stays, with its reason; a way that leads nowhere would only take room
            if shown is None or (reason is not None and (action.group != "Change" or self._beside(action, situation))):
                continue
            label = self.back_label() if action.id == "back" else label_for(action, situation)
            whole = whole_label_for(action, situation) if action.id == "rollback" else ""
            # where there is no room for all, what works stays before what does not
            priority = action.priority + (_UNFIT if reason is not None else 0)
            if reason is None and self._arming is not None and self._arming.armed(_clicked(action, situation)):
                label, whole, priority = f"click again: {action.label}", "", 0  # in sight, wherever it was clicked at
            key = Key(shown, label, reason is None, reason or "", priority, action.id, whole)
            if action.id == "rollback":
                keys.insert(0, key)
            else:
                keys.append(key)
        self.query_one("#keys", KeyBar).show(keys)

    @staticmethod
    def _beside(action: Action, situation: Situation) -> bool:
        """Whether an action is about a rollout, and none is selected: then it would only say so."""
        return situation.card is None and action.id not in ("rollback", "deploy", "recheck")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key that a text field takes as text does nothing else there."""
        if action == "act" and len(parameters) == 2 and typed(str(parameters[1])):
            return not isinstance(self.focused, Input)
        return True

    def action_act(self, action_id: str, key: str = "") -> None:
        """Do an action, or say why it can't be done now. What it fails with is told, and never ends the console."""
        if not self.entered and action_id not in ("rollback", "quit"):
            # on a machine that is very busy it is still being put together: there is nothing yet that a key could be for
            if action_id == "back" and len(self.app.screen_stack) > 1:
                self.app.pop_screen()
            return
        action = BY_ID[action_id]
        try:
            situation = self.situation()
            if key == "escape" and situation.first and self.console.tour is not None:
                self.console.end_tour()  # only where it has nothing else to do: a way back is never in the tour's way
                return
            reason = action.refusal(situation)
            if reason is not None:
                toast(self, f"{action.label}: {reason}", severity="warning")
                return
            getattr(self, f"do_{action_id}")()
        except Exception as error:
            self.console.trouble.tell(self.console, action.label, error)

    async def _dispatch_message(self, message: Message) -> None:
        # an exception that leaves here would end this screen's message loop, and with it the console
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if lost_by_parting(self, error) or (isinstance(error, NoMatches) and not self.display):
                return  # it is being taken away, and what the message was about has gone before the message came
            self.console.trouble.tell(self.console, f"The {self.where} screen", error)

    @on(Worker.StateChanged)
    def worker_failed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.console.trouble.tell(self.console, event.worker.group, event.worker.error)

    def on_descendant_focus(self) -> None:
        self._keys_changed()
        self.after_refresh(self.place_toasts)

    def on_descendant_blur(self) -> None:
        self._keys_changed()

    def typed_in(self) -> Widget | None:
        """What has to be seen while one types: the text field that has the focus, with what belongs to it above."""
        return self.focused if isinstance(self.focused, Input) else None

    def place_toasts(self) -> None:
        """Toasts are told above a text field in the lower half of the screen, never over what is being typed; and above what has
        to be seen with it, wherever that is."""
        field, height = self.typed_in(), self.size.height
        for rack in self.query_children(ToastRack):
            if field is not None and (field.region.y >= height // 2 or not isinstance(field, Input)):
                rack.styles.margin = (0, 0, height - field.region.y, 0)
            else:
                rack.styles.margin = None

    def _keys_changed(self) -> None:
        if self.is_mounted and self.query("#keys"):
            self.draw_keys()

    @on(KeyBar.Clicked)
    def key_clicked(self, event: KeyBar.Clicked) -> None:
        if event.key.id:
            self.click(event.key.id)

    def choose_action(self, action_id: str) -> None:
        """Do an action that was chosen from a list of them: at once where a key did it."""
        if self.console.by_mouse:
            self.click(action_id)
        else:
            self.action_act(action_id)

    def click(self, action_id: str) -> None:
        """Do an action that was clicked at. One that may change a cluster only after a second click, as its key then says."""
        action, situation = BY_ID[action_id], self.situation()
        if action.changes and action.refusal(situation) is None:
            self._arming = self._arming or Arming(self.console.clock)
            done = self._arming.click(_clicked(action, situation))
            self.draw_keys()
            if not done:
                self.set_timer(LASTING, self._keys_changed)
                return
        self.action_act(action_id)

    def focus_first(self) -> None:
        """Give the focus to the part that a person starts with."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the focus to the part of the screen that keys are for."""

    def do_back(self) -> None:
        if isinstance(self.focused, Input):
            self.focus_body()
        elif len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def do_quit(self) -> None:
        self.console.ask_to_leave()

    def do_help(self) -> None:
        self.console.open_help(self)

    def do_attention(self) -> None:
        self.console.attending.go_on(self.console)

    def do_journal(self) -> None:
        self.console.open_journal(self.selection())

    def do_story(self) -> None:
        self.console.open_story(self.situation())

    def do_logs(self) -> None:
        from console.tailing import LogsOf

        selection, card = self.selection(), self.situation().card
        if selection.service:
            self.console.open_logs(LogsOf(selection.environment, selection.service))
        elif card is not None:
            self.console.open_logs(LogsOf(card.environment, card.rollout.release.service))

    def do_prompt(self) -> None:
        self.console.open_prompt(self)

    def do_jump(self) -> None:
        self.console.open_jump(self.selection())

    def do_calls(self) -> None:
        self.console.open_calls()

    def do_results(self) -> None:
        self.console.open_results()

    def do_palette(self) -> None:
        self.app.action_command_palette()

    def do_theme(self) -> None:
        self.console.switch_theme()

    def do_deploy(self) -> None:
        self.console.open_deploy(self.selection())

    def do_rollback(self) -> None:
        self.console.roll_back(self.situation())

    def do_pause(self) -> None:
        self.console.intend(self.situation(), "pause")

    def do_resume(self) -> None:
        self.console.intend(self.situation(), "resume")

    def do_promote(self) -> None:
        self.console.intend(self.situation(), "promote")

    def do_abort(self) -> None:
        self.console.intend(self.situation(), "abort")

    def do_take_over(self) -> None:
        self.console.take_over(self.situation())
