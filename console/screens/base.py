"""What every screen has: the status line, the key bar read from the registry, and one way from a key to its action."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Input

from console.actions import BY_ID, Situation, actions_on
from console.view import Picture, Selection
from services.model.fleet import EnvironmentView
from widgets.format import age
from widgets.keybar import Key, KeyBar
from widgets.statusbar import Part, StatusBar
from widgets.toast import toast

if TYPE_CHECKING:
    from console.app import ConsoleApp


def bindings_of(screen: str) -> list[BindingType]:
    """The bindings of a screen's actions. A chord of an action that works inside text fields goes before the field."""
    return [
        Binding(key, f"act('{action.id}')", action.label, priority=action.in_text and len(key) > 1)
        for action in actions_on(screen)
        for key in action.keys
    ]


class ConsoleScreen(Screen[None]):
    """A screen of the console. A subclass names itself (``where``), composes a body, draws pictures, says what is selected."""

    AUTO_FOCUS = None
    where: ClassVar[str] = ""

    @property
    def console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        with Container(id="body"):
            yield from self.body()
        yield KeyBar(lines=2, id="keys")

    def body(self) -> ComposeResult:
        raise NotImplementedError

    def on_mount(self) -> None:
        self.show(self.console.picture)

    def on_screen_resume(self) -> None:
        self.show(self.console.picture)

    def show(self, picture: Picture) -> None:
        """Draw a new picture. Parts that did not change are not painted again."""
        if not self.is_mounted:
            return
        self.draw(picture)
        self._draw_status(picture)
        self.draw_keys()

    def draw(self, picture: Picture) -> None:
        raise NotImplementedError

    def selection(self) -> Selection:
        """What the operator has selected here; actions apply to this."""
        return Selection()

    def title_text(self) -> str:
        return self.where

    def situation(self) -> Situation:
        return Situation(picture=self.console.picture, selection=self.selection(), screen=self.where)

    def draw_keys(self) -> None:
        situation = self.situation()
        keys = []
        for action in actions_on(self.where):
            reason = action.guard(situation)
            keys.append(Key(action.shown_key, action.label, reason is None, reason or "", action.priority, action.id))
        self.query_one("#keys", KeyBar).show(keys)

    def _draw_status(self, picture: Picture) -> None:
        left = [Part("quarterdeck", "strong"), Part(self.title_text(), "accent")]
        right: list[Part] = []
        for unsafe in attention(picture):
            left.append(Part(unsafe, "bad", 1))
        if picture.journal_ok:
            right.append(Part("● journal ok", "good", 3))
        else:
            right.append(Part(f"✖ journal: {picture.journal_detail}", "alarm"))
        if picture.read_only:
            right.append(Part("READ ONLY", "warn"))
        if picture.speed != 1:
            right.append(Part(f"sandbox ×{picture.speed:g}", "warn", 2))
        right.append(Part(picture.operator, "muted", 4))
        if picture.now is not None:
            right.append(Part(picture.now.strftime("%H:%M:%SZ"), "text", 2))
        self.query_one("#status", StatusBar).show(left, right)

    def action_act(self, action_id: str) -> None:
        """Do an action, or say why it can't be done now."""
        action = BY_ID[action_id]
        reason = action.guard(self.situation())
        if reason is not None:
            toast(self, f"{action.label}: {reason}", severity="warning")
            return
        getattr(self, f"do_{action_id}")()

    @on(KeyBar.Clicked)
    def _key_clicked(self, event: KeyBar.Clicked) -> None:
        if event.key.id:
            self.action_act(event.key.id)

    def do_back(self) -> None:
        if isinstance(self.focused, Input):
            self.set_focus(None)
            self.focus_body()
        elif len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def focus_body(self) -> None:
        """Give the focus to the part of the screen that keys are for."""

    def do_quit(self) -> None:
        self.console.leave()

    def do_help(self) -> None:
        self.console.open_help(self.where, self.situation())

    def do_journal(self) -> None:
        self.console.open_journal(self.selection())

    def do_palette(self) -> None:
        self.app.action_command_palette()

    def do_deploy(self) -> None:
        self.console.open_deploy(self.selection())

    def do_rollback(self) -> None:
        self.console.roll_back(self.situation())

    def do_pause(self) -> None:
        self.console.intend(self.situation(), "pause")

    def do_promote(self) -> None:
        self.console.intend(self.situation(), "promote")

    def do_abort(self) -> None:
        self.console.intend(self.situation(), "abort")

    def do_take_over(self) -> None:
        self.console.take_over(self.situation())


def attention(picture: Picture) -> list[str]:
    """What is unsafe now, most urgent first, in a few words each."""
    found: list[str] = []
    if picture.failure:
        found.append(f"✖ {picture.failure}")
    orphans = [card for card in picture.rollouts if card.orphaned]
    if orphans:
        found.append(f"✖ nobody watches {', '.join(sorted({card.rollout.release.service for card in orphans}))}")
    asking = [card for card in picture.rollouts if card.rollout.phase.value == "needs_attention"]
    if asking:
        found.append(f"! {', '.join(sorted({card.rollout.release.service for card in asking}))} needs a person")
    found += [f"? {view.name} {last_seen(view)}" for view in picture.fleet.environments if not view.reachable]
    return [] if picture.connecting else found


def last_seen(view: EnvironmentView) -> str:
    """How old the picture of an environment is that can't be reached."""
    return f"unreachable, last seen {age(view.age_seconds)} ago" if view.age_seconds is not None else "not reached yet"
