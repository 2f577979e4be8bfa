"""The application: settings → session → screens, global actions, themes, and the ways it ends."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import logging
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import events, on, work
from textual._context import active_message_pump
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from console import announcing, terminal, theme
from console.announcing import Announcer
from console.arguments import command_for
from console.attending import Attending
from console.attention import concerns
from console.finding import Finding
from console.guards import Situation
from console.mending import Mending, begin_anew
from console.palette import Actions, Palette
from console.parting import lost_by_parting
from console.screens.base import ConsoleScreen
from console.screens.fleet import FleetScreen
from console.session import Session
from console.trouble import Trouble
from console.view import DrawnBeside, Picture, Selection
from services.clock import SystemClock
from services.model.errors import ExitCode, QuarterdeckError
from services.model.fleet import PodView
from widgets import ascii_only, glyphs
from widgets.form import Validity
from widgets.toast import toast

if TYPE_CHECKING:
    from console.tailing import LogsOf

log = logging.getLogger(__name__)

ROOMY = (110, 34)
"""Columns and rows from which on there is room for several toasts beside what they are about."""
CLOSING = 0.3
"""Wall seconds that connections get to close when the console is left; the operator doesn't wait for a dead cluster."""
HUNG_UP = 0.5
"""Wall seconds after the terminal's end in which the console has to be gone, one way or the other."""


class ConsoleApp(Finding):
    """The console on one configuration. The screen is a reader: it draws pictures and sends intents, and waits for nothing."""

    TITLE = "quarterdeck"
    COMMANDS = {Actions}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    AUTO_FOCUS = None
    CSS = """
    Screen { background: $background; }
    Toast { background: $panel; }
    ToastRack { margin-bottom: 2; }
    RolloutScreen.-narrow ToastRack { dock: top; margin: 7 0 0 0; }
    PromptScreen ToastRack { dock: top; margin: 1 0 0 0; }
    ConfirmingScreen ToastRack { margin-bottom: 0; }
    .-small ToastRack, ConfirmingScreen ToastRack { scrollbar-size-vertical: 0; }
    .-small ToastHolder, ConfirmingScreen ToastHolder { display: none; }
    .-small ToastHolder:last-child, ConfirmingScreen ToastHolder:last-child { display: block; }
    .-small Toast, ConfirmingScreen Toast { width: 100%; max-width: 100%; max-height: 4; margin: 0; padding: 0 1; }
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(SystemClock())
        self.picture = Picture()
        self.trouble = Trouble(self.clock)
        self.filters: dict[str, tuple[str, bool]] = {}
        """What lists are filtered to, and whether to faults only, by list: who comes back finds it as it was left."""
        self.session = Session(arguments, self.new_picture)
        self._watch = command_for(arguments, "watch")
        self.attending = Attending()
        self.announcer: Announcer | None = None
        self.mending = Mending(self.clock)
        self._recalling = False
        self._stopped = False
        self._last_filters: tuple[LineFilter, ...] = (ascii_only.AsciiOnly(),) if glyphs.current() is glyphs.ASCII else ()
        for ours in theme.THEMES:
            self.register_theme(ours)
        # Textual takes TEXTUAL_THEME for the theme in use, registered or not: first away from that, then to ours, so that both
        # are changes. Never an ANSI theme: under NO_COLOR it would be black on black
        self.theme = "textual-dark"
        self.theme = theme.chosen(os.environ, self.color_system)
        self.animation_level = "none"

    @property
    def color_system(self) -> str | None:
        """What colours the terminal has, as far as they are wanted (NO_COLOR): ``None`` for none."""
        return None if self.no_color else self.console.color_system

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Where the terminal has ASCII only, everything is written in it: whoever drew it, borders and names of others too."""
        return [*super().get_line_filters(), *self._last_filters]

    def get_default_screen(self) -> Screen[None]:
        return FleetScreen()

    def on_resize(self, event: events.Resize) -> None:
        """On a small terminal only the newest toast is seen, in the lines above the keys (on a narrow rollout over its figures,
        as steps and what comes next are above the keys): several would hide half of what the operator steers by. The others
        are among the results."""
        self.set_class(event.size.width < ROOMY[0] or event.size.height < ROOMY[1], "-small")

    def on_mount(self) -> None:
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self.hang_up)
            loop.add_signal_handler(signal.SIGTERM, self.leave)
            # between two callbacks: in the middle of a write, giving the terminal back would wait for that write for ever
            loop.add_signal_handler(signal.SIGTSTP, self.stop)
            loop.add_signal_handler(signal.SIGCONT, self.go_on)
            self.set_interval(1.0, self._look_after_terminal)
            self.app_resume_signal.subscribe(self, self.draw_all)
            if announcing.wanted(os.environ) and self._driver is not None:
                self.announcer = Announcer(self._driver.write, self.clock)
        self.call_after_refresh(self.run_session)

    @work(group="session", exit_on_error=False)
    async def run_session(self) -> None:
        """Everything that talks to anything outside, for as long as the console lives."""
        try:
            await self.session.run()
        except QuarterdeckError as error:
            # bad configuration: nothing can be shown, so say it where the operator will read it, on the terminal
            self.exit(int(error.exit_code), message=str(error))
        except Exception as error:
            self.trouble.tell(self, "The session with the clusters", error)
            self.new_picture(replace(self.picture, failure=f"{type(error).__name__}; start the console again", connecting=False))
        finally:
            await self.session.close(CLOSING)

    def new_picture(self, picture: Picture) -> None:
        """Draw it, on the screen that is seen; the others draw when they are seen again."""
        if self.picture.connecting and not picture.connecting:
            # what is loaded now stays: looking through it again and again would stop the screen for a tenth of a second
            gc.freeze()
            self.put_together_ahead()
        if not self._recalling:
            self._recalling = True  # early: the theme that was chosen last is to be there before anything is read
            self.recall()
        self.picture = picture
        if not self.screen_stack:
            return  # the console is being left
        try:
            self._show(picture)
        except Exception as error:  # what can't be shown must not end the session, which sees to everything else
            self.trouble.tell(self, "Showing what is new", error)

    def _show(self, picture: Picture) -> None:
        self.tell_replaced(picture)
        self.tell_ended(picture)
        if self.announcer is not None:
            self.announcer.tell(concerns(picture))
        shown = self.in_sight()
        if shown is not None and shown.show(picture):
            self.session.look_at(shown.services_in_view(picture))
        if isinstance(self.screen, DrawnBeside):
            self.screen.draw_beside(picture)

    def in_sight(self) -> ConsoleScreen | None:
        """The screen that is seen, also below a prompt or dialog that hides only a part of it: what is in sight must not seem to
        be of now, and be of when that was opened."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                return screen
            if screen.styles.background.a == 1:
                return None
        return None

    # ---- going places

    def open_service(self, environment: str, service: str) -> None:
        from console.screens.service import ServiceScreen

        screen = self._service()
        if screen in self.screen_stack:
            screen = ServiceScreen(environment, service)  # the one below stays what it is
        else:
            screen.aim(environment, service)
        self.push_screen(screen)

    def open_logs(self, wanted: LogsOf) -> None:
        screen = self._logs()
        screen.aim(wanted)
        self.push_screen(screen)

    def open_rollout(self, key: str) -> None:
        from console.screens.rollout import RolloutScreen

        if not (isinstance(self.screen, RolloutScreen) and self.screen.key == key):
            screen = self._rollout()
            screen.aim(key)
            self.push_screen(screen)

    def replace_with_rollout(self, screen: ConsoleScreen, key: str) -> None:
        """Leave ``screen``, whether it is the one that is seen or not, and show the rollout that came of it."""
        screen.dismiss()
        self.open_rollout(key)

    def open_deploy(self, selection: Selection, version: str = "") -> None:
        screen = self._deploy()
        screen.aim(selection, version)
        self.push_screen(screen)

    def open_journal(self, selection: Selection) -> None:
        from console.screens.journal import JournalScreen

        journal = self._journal()
        if journal in self.screen_stack:
            journal = JournalScreen()  # a journal on the way to a rollout stays what it is
        journal.open_at(selection.rollout)
        self.push_screen(journal)

    def open_health(self) -> None:
        from console.screens.health import HealthScreen

        self._go_to(self._kept(HealthScreen))

    def open_story(self, situation: Situation) -> None:
        from console.screens.story import StoryScreen

        rollout = situation.selection.recorded or (situation.card.key if situation.card is not None else "")
        if rollout:
            self.push_screen(StoryScreen(rollout))

    def open_help(self, below: ConsoleScreen) -> None:
        shown = self._help()
        shown.explain(below)
        self.push_screen(shown)

    def switch_theme(self) -> None:
        self.keep_theme(theme.following(self.theme, self.color_system))

    def wear(self, remembered: str) -> None:
        self.theme = theme.chosen(os.environ, self.color_system, remembered=remembered)

    def ask_to_leave(self) -> None:
        """Quit at once where no rollout runs; else first say that they go on, and who watches them."""
        from console.screens.leaving import LeavingScreen

        live = [card for card in self.picture.rollouts if card.live]
        if not live or isinstance(self.screen, LeavingScreen):
            self.leave()
            return
        drivers = {card.key: self.session.driver_process(card) for card in live}
        self.push_screen(LeavingScreen(live, drivers, self._watch), lambda wanted: self.leave() if wanted else None)

    def leave(self) -> None:
        """Quit. Rollouts go on in their drivers; say which, and who watches them."""
        if self.announcer is not None:
            self.announcer.leave()
        live = [card for card in self.picture.rollouts if card.live and card.own and not card.orphaned]
        message = None
        if live:
            names = ", ".join(f"{card.rollout.release.service} in {card.environment}" for card in live)
            message = (
                f"Still running in their own driver processes: {names}. "
                f"Their triggers are watched there; `{self._watch}` follows them."
            )
        self.exit(int(ExitCode.DONE), message=message)

    async def action_quit(self) -> None:
        self.ask_to_leave()

    def action_help_quit(self) -> None:
        """ctrl+c, which elsewhere ends a program."""
        toast(self.screen, "ctrl+q quits. Rollouts go on in their drivers.", seconds=4)

    # ---- the ways it ends

    def hang_up(self) -> None:
        """The terminal is gone. Nothing can be drawn or asked any more; rollouts live on in their drivers."""
        log.info("the terminal is gone: the console ends")
        # with the terminal gone, writing to it may block for good
        backstop = threading.Timer(HUNG_UP, os._exit, (int(ExitCode.INTERRUPTED),))
        backstop.daemon = True
        backstop.start()
        self.exit(int(ExitCode.INTERRUPTED))

    def panic(self, *renderables: Any) -> None:
        """The library's last word: the thread that reads keys could not. Where the terminal is gone there is no more to it: in
        the moment in which it goes, reading from it is an error."""
        if not self.is_headless and self._terminal_is_gone():
            self.hang_up()
        else:
            super().panic(*renderables)

    def stop(self) -> None:
        """Give the terminal back to the shell as it was, and stand still until the shell lets the console go on."""
        with self.suspend():
            self._stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    def go_on(self) -> None:
        """Somebody let the console go on. Where it had no chance to give the terminal back first (SIGSTOP), it does so now:
        what the shell did to the terminal meanwhile is undone by taking it anew."""
        if self._stopped:
            self._stopped = False
        else:
            with self.suspend():
                pass

    def draw_all(self, _app: object) -> None:
        """Write the whole screen: the shell has written on it while the console was stopped."""
        self.refresh(layout=True)
        for shown in self.screen.walk_children(with_self=True):
            shown.refresh()

    def _look_after_terminal(self) -> None:
        if self._terminal_is_gone():
            self.hang_up()

    def _terminal_is_gone(self) -> bool:
        return terminal.is_gone(terminal.of_keys())

    @on(Worker.StateChanged)
    def worker_failed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.trouble.tell(self, event.worker.group, event.worker.error)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def key_failed(self, error: Exception) -> None:
        self.trouble.tell(self, "A key", error)

    def _handle_exception(self, error: Exception) -> None:
        """The last net: what gets here has ended the message loop of a widget, of a screen, or of the application."""
        failed = active_message_pump.get(None)
        if failed is not self and lost_by_parting(failed, error):
            log.info("%s is being taken apart, and what it still wanted has gone: %s", type(failed).__name__, error)
            return
        log.critical("a part of the console ended on an unexpected error", exc_info=error)
        if self.is_headless:
            super()._handle_exception(error)
        elif failed is self or not self.mend(error):
            self.exit(
                int(ExitCode.FAILED),
                return_code=int(ExitCode.FAILED),
                message=f"quarterdeck: unexpected error ({type(error).__name__}); the log in the home directory has the details. "
                "Rollouts go on in their drivers: start the console again to see them.",
            )

    def mend(self, error: Exception) -> bool:
        """Begin anew at the fleet. False where that was done too often lately to be of any help."""
        if not self.mending.try_again():
            return False
        self.call_later(self._begin_anew, error)
        return True

    async def _begin_anew(self, error: Exception) -> None:
        await begin_anew(self)
        self.trouble.tell(self, "A part of the screen", error)

    # ---- what screens ask of the session

    def check_field(self, name: str, value: str) -> Validity:
        if not value:
            return Validity(True, "")
        problem = self.session.field_problem(name, value)
        return Validity(not problem, problem or "ok")

    def canonical_environment(self, text: str) -> str:
        return self.session.canonical_environment(text)

    def pods(self, environment: str, service: str) -> tuple[PodView, ...]:
        return self.session.pods(environment, service)

    async def pause_briefly(self) -> None:
        """Let the typing rest before anything is asked of a cluster."""
        await asyncio.sleep(0.25)


def run(arguments: argparse.Namespace) -> int:
    """Open the console and return its exit code."""
    # Textual reads these once, at import or start; an operator's own choice wins
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    # a size that somebody exported is not the terminal's, and would go before it, and before every resize
    for stale in ("COLUMNS", "LINES"):
        os.environ.pop(stale, None)
    glyphs.use(terminal.signs_for(os.environ, terminal.encoding_of_locale()))
    app = ConsoleApp(arguments)
    result = app.run()
    code = int(app.return_code or 0) if result is None else int(result)
    atexit.register(terminal.leave_at_once, code)
    return code
