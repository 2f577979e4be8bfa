"""What the operator asks for, carried to the session and its answer told. A rollback goes before everything that is open."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from console.actions import ACTIONS, Situation
from console.draft import Answer
from console.guards import too_old
from console.screens.base import ConsoleScreen
from console.screens.confirming import ConfirmingScreen
from console.screens.questions import OldPictureScreen, PromoteScreen, TakeOverScreen, asks_to_promote, asks_to_take_over
from console.screens.restore import RestoreScreen, RollBackScreen
from console.screens.words import replaced_words
from console.typeahead import InOrder
from console.view import Picture, RolloutCard, Selection
from services.clock import Clock
from services.model.errors import QuarterdeckError, Unavailable
from widgets import glyphs
from widgets.toast import Severity, toast

if TYPE_CHECKING:
    from console.session import Session

_CHANGING = frozenset(key for action in ACTIONS if action.changes for key in action.keys)


class Intents(InOrder):
    """An application that can ask ``session`` for a change. An error is told, and never ends it."""

    # before anything else, also before a dialog or the palette: the key that makes it safe
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+R,alt+shift+r", "roll_back_below", "roll back", priority=True, show=False),
    ]
    session: Session
    picture: Picture

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self._looking: tuple[str, str, str] | None = None
        """Environment, service and revision of which is being looked up what a rollback would restore."""
        self._ended: set[tuple[str, datetime]] = set()
        """The ends of drivers that the operator was told of."""
        self._replaced: dict[str, str] = {}
        """Of the rollouts that somebody took over from this home: who, as the operator was told."""

    def may_change(self, key: events.Key) -> bool:
        return key.key in _CHANGING or key.character in _CHANGING

    def keys_refused(self) -> None:
        toast(
            self.screen,
            "They came faster than any hand, as a paste does. If you pressed one of them, press it again.",
            title="Keys were not answered",
            severity="warning",
            seconds=8,
        )

    @abstractmethod
    def open_rollout(self, key: str) -> None:
        """Show a rollout, if it is not shown already."""

    def _ask(self, question: ConfirmingScreen, then: Callable[[], object]) -> None:
        """Show a question, at once: a key that is behind it already is for the question. ``then`` where the answer is yes."""

        def answered(wanted: bool | None) -> None:
            if wanted:
                then()

        self.push_screen(question, answered)

    def intend(self, situation: Situation, verb: str) -> None:
        """At once; to go on without a proof of health where customers are, after a question."""
        card = situation.card
        if card is not None and verb == "promote" and asks_to_promote(card):
            question = PromoteScreen(self.clock, card, lambda: self.picture.rollout(card.key))
            self._ask(question, lambda: self._intend(card, verb))
        elif card is not None:
            self._intend(card, verb)

    @work(group="intents", exit_on_error=False)
    async def _intend(self, card: RolloutCard, verb: str) -> None:
        await self._told(verb, self.session.intend(card, verb))

    def take_over(self, situation: Situation) -> None:
        """At once where nobody is at work on it; else after a question that says who is."""
        card = situation.card
        if card is not None and asks_to_take_over(card):
            question = TakeOverScreen(self.clock, card, lambda: self.picture.rollout(card.key))
            self._ask(question, lambda: self._take_over(card))
        elif card is not None:
            self._take_over(card)

    @work(group="intents", exit_on_error=False)
    async def _take_over(self, card: RolloutCard) -> None:
        await self._told("take over", self.session.take_over(card))

    def action_roll_back_below(self) -> None:
        """Roll back what the topmost screen of ours has selected, whatever lies over it. Where that is the question whether to
        roll back, the key is its answer."""
        while not isinstance(self.screen, ConsoleScreen | RollBackScreen) and len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, RollBackScreen):
            self.screen.action_confirm()
        elif isinstance(self.screen, ConsoleScreen):
            self.screen.action_act("rollback")

    def roll_back(self, situation: Situation) -> None:
        """At once where a rollout runs or its rollback window is open; elsewhere after showing what it would restore. Of one that
        is over, on an old picture, after a question: what runs by now may be another."""
        card = situation.card
        if card is not None and (card.live or card.window_left > 0):
            here = self.screen
            old = None if card.live else too_old(situation.environment)
            if old is None:
                self._roll_back_now(card, here)
            else:
                question = OldPictureScreen(self.clock, card, old, lambda: self.picture)
                self._ask(question, lambda: self._roll_back_now(card, here))
            return
        self._look(_rolled_back_at(situation))

    @work(group="rollback", exit_on_error=False)
    async def _roll_back_now(self, card: RolloutCard, asked_on: Screen[Any]) -> None:
        arrow = glyphs.current().arrow
        words = f"{card.rollout.release.service} in {card.environment} {arrow} {card.rollout.plan.previous_version}"
        if card.live and not card.own and not card.orphaned and card.driver:
            words += f"\n{card.driver} drives it: that driver loses it, and its console is told who took it."
        toast(self.screen, words, title="Rolling back", severity="warning")
        await self._told("rollback", self.session.rollbacks.of_rollout(card))
        if getattr(asked_on, "where", "") != "rollout":
            self._show_what_came(card.key, asked_on)

    def _show_what_came(self, key: str, asked_on: Screen[Any]) -> None:
        """Open the rollout that came of a key, where the operator still is where it was pressed, and does not type: an answer may
        take seconds, and a screen that comes up under somebody's hands takes the next letters for commands."""
        if self.screen is asked_on and not isinstance(self.screen.focused, Input):
            self.open_rollout(key)

    def roll_back_to(self, environment: str, service: str, revision: str) -> None:
        """To one revision of a service, after showing what that restores."""
        self._look(Selection(environment, service), revision)

    def _look(self, selection: Selection, revision: str = "") -> None:
        """One look at a time: R pressed again before its answer is there asks once. Pressed on another service, it is about that
        one: the look before asks nothing any more."""
        asked = (selection.environment, selection.service, revision)
        if asked != self._looking:
            self._looking = asked
            self._show_rollback(asked, self.screen.focused)

    @work(group="rollback", exit_on_error=False)
    async def _show_rollback(self, asked: tuple[str, str, str], focused: Widget | None) -> None:
        environment, service, revision = asked
        try:
            preview = await self.session.rollbacks.preview(environment, service, revision)
        except QuarterdeckError as error:
            # what is not known is not said to be nothing
            unknown = isinstance(error, Unavailable)
            title = f"What {service} would go back to is not known" if unknown else f"{service} can't be rolled back"
            toast(self.screen, str(error), title=title, severity="error" if unknown else "warning", seconds=15)
            return
        finally:
            current = self._looking is asked
            if current:
                self._looking = None
        if not current:
            return
        asked_on = self.screen
        if not self._still_at(asked, focused):
            toast(
                asked_on,
                "You went on before the cluster had answered. R, pressed there again, shows what it would go back to.",
                title=f"{service} in {environment}: nothing was rolled back",
                severity="warning",
                seconds=15,
            )
            return
        question = RestoreScreen(self.clock, preview, lambda: self.session.rollbacks.overtaken(environment, service, preview))
        if await self.push_screen_wait(question):
            key = await self._told("rollback", self.session.rollbacks.of_service(environment, service, preview))
            if key:
                self._show_what_came(key, asked_on)

    def _still_at(self, asked: tuple[str, str, str], focused: Widget | None) -> bool:
        """Whether R would ask the same where the operator is now. A question that came up elsewhere would get the R that is meant
        for what is selected there, or the one in a word that is typed."""
        here = self.screen
        if not isinstance(here, ConsoleScreen) or not here.entered:
            return False
        if isinstance(here.focused, Input) and here.focused is not focused:
            return False
        about = _rolled_back_at(here.situation())
        return asked == (about.environment, about.service, here.selection().revision)

    def tell_replaced(self, picture: Picture) -> None:
        """Say, once and wherever the operator is, that a driver of this home was replaced by somebody else's."""
        for card in picture.rollouts:
            if card.replaced is not None and self._replaced.get(card.key) != card.replaced.by:
                self._replaced[card.key] = card.replaced.by
                place = f"{card.rollout.release.service} in {card.environment}"
                toast(
                    self.screen,
                    f"{replaced_words(card.replaced)}",
                    title=f"{place} was taken over",
                    severity="warning",
                    seconds=30,
                )
            elif card.replaced is None and card.own:
                self._replaced.pop(card.key, None)

    def tell_ended(self, picture: Picture) -> None:
        """Say, once and wherever the operator is, that a driver of this home ended without having done what it was to do."""
        for end in picture.ends:
            if not end.before and (end.key, end.at) not in self._ended:
                self._ended.add((end.key, end.at))
                toast(self.screen, end.words, title=f"{end.place}: its driver gave up", severity="error", seconds=30)

    async def _told(self, what: str, asked: Awaitable[Answer]) -> str:
        """Await an intent and tell its answer; an error is told, not raised. Returns the key the answer is about, if any."""
        try:
            answer = await asked
        except QuarterdeckError as error:
            toast(self.screen, str(error), title=f"{what}: not done", severity="error", seconds=20)
            return ""
        severity: Severity = "error" if answer.failed else "warning" if what in ("rollback", "abort") else "information"
        toast(self.screen, answer.text, title=what, severity=severity, seconds=20 if answer.failed else 8)
        return answer.key


def _rolled_back_at(situation: Situation) -> Selection:
    """Environment and service of what a rollback is about."""
    if (card := situation.card) is not None:
        return Selection(card.environment, card.rollout.release.service)
    return Selection(situation.selection.environment, situation.selection.service)
