"""The application: settings → session → screens, global actions, themes."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable
from functools import partial

from textual import work
from textual.app import App, SystemCommand
from textual.screen import Screen

from console.actions import Situation, actions_on
from console.screens.base import ConsoleScreen
from console.screens.fleet import FleetScreen
from console.session import Session
from console.view import Picture, RolloutCard, Selection
from services.model.errors import ExitCode, QuarterdeckError
from services.model.fleet import PodView
from widgets.form import Validity
from widgets.toast import toast


class ConsoleApp(App[int]):
    """The console on one configuration. The screen is a reader: it draws pictures and sends intents, and waits for nothing."""

    TITLE = "quarterdeck"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    AUTO_FOCUS = None

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.picture = Picture()
        self.session = Session(arguments, self._new_picture)
        # under NO_COLOR the monochrome filter is chosen once, in the constructor: an ANSI theme set later would be black on black
        self.theme = "textual-dark"
        self.animation_level = "none"

    def get_default_screen(self) -> Screen[None]:
        return FleetScreen()

    def on_mount(self) -> None:
        self.call_after_refresh(self.run_session)

    @work(group="session", exit_on_error=False)
    async def run_session(self) -> None:
        """Everything that talks to anything outside, for as long as the console lives."""
        try:
            await self.session.run()
        except QuarterdeckError as error:
            # bad configuration: nothing can be shown, so say it where the operator will read it, on the terminal
            self.exit(int(error.exit_code), message=str(error))
        finally:
            await self.session.close()

    def _new_picture(self, picture: Picture) -> None:
        self.picture = picture
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            screen.show(picture)

    # ---- going places

    def open_service(self, environment: str, service: str) -> None:
        from console.screens.service import ServiceScreen

        self.push_screen(ServiceScreen(environment, service))

    def open_rollout(self, key: str) -> None:
        from console.screens.rollout import RolloutScreen

        self.push_screen(RolloutScreen(key))

    def open_deploy(self, selection: Selection) -> None:
        from console.screens.deploy import DeployScreen

        self.push_screen(DeployScreen(selection))

    def open_journal(self, selection: Selection) -> None:
        from console.screens.journal import JournalScreen

        self.push_screen(JournalScreen(selection.rollout))

    def open_help(self, screen: str, situation: Situation) -> None:
        from console.screens.help import HelpScreen

        self.push_screen(HelpScreen(screen, situation))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette offers exactly the actions of the screen below it; one that can't be done now says why."""
        if not isinstance(screen, ConsoleScreen):
            return
        situation = screen.situation()
        for action in actions_on(screen.where):
            if action.id == "palette":
                continue
            reason = action.guard(situation)
            text = f"{action.help} [not now: {reason}]" if reason else action.help
            yield SystemCommand(f"{action.label}  ({action.shown_key})", text, partial(screen.action_act, action.id))

    def leave(self) -> None:
        """Quit. Rollouts go on in their drivers; say which, and who watches them."""
        live = [card for card in self.picture.rollouts if card.live and card.own]
        message = None
        if live:
            names = ", ".join(f"{card.rollout.release.service} in {card.environment}" for card in live)
            message = (
                f"Still running in their own driver processes: {names}. "
                "Their triggers are watched there; `quarterdeck watch` follows them."
            )
        self.exit(int(ExitCode.DONE), message=message)

    # ---- what screens ask of the session

    def check_field(self, name: str, value: str) -> Validity | None:
        if not value:
            return None
        problem = self.session.field_problem(name, value)
        return Validity(not problem, problem or "ok")

    def canonical_environment(self, text: str) -> str:
        return self.session.canonical_environment(text)

    def service_pods(self, environment: str, service: str) -> tuple[PodView, ...]:
        return self.session.pods(environment, service)

    def session_pods(self, card: RolloutCard) -> tuple[PodView, ...]:
        return self.session.pods(card.environment, card.rollout.release.service)

    async def pause_briefly(self) -> None:
        """Let the typing rest before anything is asked of a cluster."""
        await asyncio.sleep(0.25)

    # ---- intents

    @work(group="intents", exit_on_error=False)
    async def intend(self, situation: Situation, verb: str) -> None:
        card = situation.card
        if card is not None:
            await self._told(verb, self.session.intend(card, verb))

    @work(group="intents", exit_on_error=False)
    async def take_over(self, situation: Situation) -> None:
        card = situation.card
        if card is not None:
            await self._told("resume", self.session.take_over(card))

    def roll_back(self, situation: Situation) -> None:
        """At once where a rollout runs or its rollback window is open; elsewhere after showing what it would restore."""
        card = situation.card
        if card is not None and (card.live or card.window_left > 0):
            self._roll_back_now(card)
        else:
            self._show_rollback(situation.selection)

    @work(group="rollback", exit_on_error=False)
    async def _roll_back_now(self, card: RolloutCard) -> None:
        toast(self.screen, f"Rolling back {card.rollout.release.service} in {card.environment} …", severity="warning")
        await self._told("rollback", self.session.roll_back(card))
        if isinstance(self.screen, ConsoleScreen) and self.screen.where != "rollout":
            self.open_rollout(card.key)

    @work(group="rollback", exit_on_error=False)
    async def _show_rollback(self, selection: Selection) -> None:
        from console.screens.restore import RestoreScreen

        try:
            preview = await self.session.preview_rollback(selection.environment, selection.service)
        except QuarterdeckError as error:
            toast(self.screen, str(error), title="Nothing to roll back", severity="warning", seconds=15)
            return
        if await self.push_screen_wait(RestoreScreen(preview)):
            key = await self._told("rollback", self.session.roll_back_service(selection.environment, selection.service))
            if key:
                self.open_rollout(key)

    async def _told(self, what: str, asked: object) -> str:
        """Await an intent and tell its answer; an error is told, not raised. Returns the key the answer is about, if any."""
        try:
            answer = await asked  # type: ignore[misc]
        except QuarterdeckError as error:
            toast(self.screen, str(error), title=f"{what}: not done", severity="error", seconds=20)
            return ""
        toast(self.screen, answer.text, severity="warning" if what in ("rollback", "abort") else "information")
        return str(answer.key)


def run(arguments: argparse.Namespace) -> int:
    """Open the console and return its exit code."""
    # Textual reads these once, at import or start; an operator's own choice wins
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    app = ConsoleApp(arguments)
    result = app.run()
    return int(app.return_code or 0) if result is None else int(result)
