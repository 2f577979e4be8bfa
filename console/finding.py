"""Finding one's way: the prompt, the jump to a service, the logs of calls and results, the tour."""

from __future__ import annotations

import asyncio
import os
import platform
from abc import abstractmethod
from typing import TYPE_CHECKING, Literal, cast

import msgspec
from textual import work
from textual.screen import Screen

from console.calls import Logged, merged
from console.guards import READ_ONLY
from console.keeping import Keeping
from console.remembered import Remembered, read, write
from console.results import Results
from console.screens.base import ConsoleScreen
from console.screens.tour import Said, said
from console.tour import Sight, Tour
from console.unfinished import Unfinished, draft_of, find, forget, keep
from console.view import Picture, Selection
from services.clock import Clock
from services.model.errors import QuarterdeckError
from services.model.release import DeployRequest
from widgets.text import cut
from widgets.toast import toast

if TYPE_CHECKING:
    from console.prompt import Act, Go
    from console.screens.fleet import FleetScreen
    from console.tailing import LogsOf

_SHOWN_LINE = 400
"""Characters of a line in a toast; its whole text is among the results."""


class Finding(Keeping):
    """An application in which one finds things. ``picture`` is what is known."""

    picture: Picture

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.results = Results()
        self.tour: Tour | None = None
        self.remembered = Remembered()
        self._known = Remembered()
        """What the file held when it was read or written last: only what differs is written."""
        self._writing = asyncio.Lock()

    def ready_for_keys(self) -> bool:
        # a screen that is still being put together would lose them
        return getattr(self.screen, "entered", True) is True

    # ---- places

    def open_prompt(self, below: ConsoleScreen) -> None:
        prompt = self._prompt()
        if not prompt.history.lines:
            prompt.remember(self.remembered.commands)
        self.push_screen(prompt)
        prompt.ask(below)

    def open_jump(self, selection: Selection) -> None:
        jump = self._jump()
        self.push_screen(jump)
        jump.begin(self.picture, selection.environment)

    def open_calls(self) -> None:
        self._go_to(self._calls())

    def open_results(self) -> None:
        self._go_to(self._results())

    def _go_to(self, kept: Screen[None]) -> None:
        """To a screen that is kept: back to it, where it lies below already."""
        if kept in self.screen_stack:
            while self.screen is not kept:
                self.pop_screen()
        else:
            self.push_screen(kept)

    def run_command(self, below: ConsoleScreen, asked: Act | Go) -> None:
        """Do what was typed at the prompt over the screen ``below``."""
        from console.prompt import Act

        if isinstance(asked, Act):
            below.action_act(asked.action)
            return
        match asked.place, asked.words:
            case "service", (service, environment):
                self.open_service(environment, service)
            case "rollout", (key,):
                self.open_rollout(key)
            case "deploy", (service, version, environment):
                self.open_deploy(Selection(environment, service), version)
            case "theme", (name,):
                self.keep_theme(name)
            case "logs", (service, environment):
                from console.tailing import LogsOf

                self.open_logs(LogsOf(environment, service))
            case "tour", ():
                if self.session.read_only:
                    toast(self.screen, f"the tour deploys and rolls back, and this is {READ_ONLY}", severity="warning")
                elif self.session.sandboxed:
                    self.begin_tour()
                else:
                    toast(self.screen, "the tour is for a sandbox: `quarterdeck demo` starts one", severity="warning")
            case "env", (environment,):
                self._to_fleet().choose(environment)
            case _:
                self._to_fleet()

    @abstractmethod
    def open_logs(self, wanted: LogsOf) -> None:
        """Show logs."""

    @abstractmethod
    def open_deploy(self, selection: Selection, version: str = "") -> None:
        """Show the deploy form."""

    def _to_fleet(self) -> FleetScreen:
        while len(self.screen_stack) > 1:
            self.pop_screen()
        return cast("FleetScreen", self.screen)

    # ---- logs

    def logged_calls(self) -> list[Logged]:
        """The calls of this console and the changes of others, oldest first."""
        return merged(self.session.calls, self.picture.entries, process=(platform.node(), os.getpid()))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: Literal["information", "warning", "error"] = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Every toast comes through here: without secrets, kept in full, and shown cut."""
        message, title = self.session.redacted(message), self.session.redacted(title)
        self.results.add(self.clock.now(), title, message, severity)
        if severity == "error":
            self.call_later(self._draw_again)  # it is counted at the top
        short = "\n".join(cut(line, _SHOWN_LINE) for line in message.splitlines())
        super().notify(short, title=title, severity=severity, timeout=timeout, markup=markup)

    def _draw_again(self) -> None:
        if isinstance(self.screen, ConsoleScreen):
            self.screen.show(self.picture)

    # ---- what is remembered, and the tour

    @work(group="remember", exit_on_error=False)
    async def recall(self) -> None:
        """Read what was remembered, once there is a home; begin the tour where it is due."""
        home = self.session.home
        if home is None:
            return
        try:
            self.remembered = self._known = await asyncio.to_thread(read, home)
        except QuarterdeckError as error:
            toast(self.screen, str(error), title="Preferences", severity="warning", seconds=20)
        self.wear(self.remembered.theme)
        # its steps deploy and roll back: it waits for a console that may
        if self.session.sandboxed and not self.session.read_only and not self.remembered.tour_seen:
            self.begin_tour()

    @abstractmethod
    def wear(self, theme: str) -> None:
        """Look as the operator had it look last, where this terminal can."""

    def keep_theme(self, name: str) -> None:
        """Look so now, and the next time."""
        self.theme = name
        self.remembered = msgspec.structs.replace(self.remembered, theme=name)
        self._remember()

    def keep_commands(self, lines: tuple[str, ...]) -> None:
        self.remembered = msgspec.structs.replace(self.remembered, commands=lines)
        self._remember()

    @work(group="remember", exit_on_error=False)
    async def _remember(self) -> None:
        if (home := self.session.home) is not None:
            async with self._writing:  # one after the other: each writes what is remembered by then
                now = self.remembered
                try:
                    await asyncio.to_thread(write, home, self._clean(now), self._known)
                except QuarterdeckError as error:
                    toast(self.screen, str(error), title="Not remembered", severity="warning")
                else:
                    self._known = now

    def _clean(self, remembered: Remembered) -> Remembered:
        """Without what somebody should not have typed at the prompt."""
        return msgspec.structs.replace(remembered, commands=tuple(map(self.session.redacted, remembered.commands)))

    # ---- a deploy that was begun and left

    async def unfinished(self, service: str) -> Unfinished | None:
        """What was typed for a deploy of ``service`` and left."""
        if (home := self.session.home) is None or not service:
            return None
        try:
            return await asyncio.to_thread(find, home, service, self.clock.now())
        except QuarterdeckError as error:
            toast(self.screen, str(error), title="Drafts", severity="warning", seconds=20)
            return None

    @work(group="remember", exit_on_error=False)
    async def keep_unfinished(self, request: DeployRequest) -> None:
        """The form with ``request`` is left."""
        draft = draft_of(request, self.clock.now(), self.session.redacted)
        if (home := self.session.home) is not None and draft is not None:
            try:
                await asyncio.to_thread(keep, home, draft)
            except QuarterdeckError as error:
                toast(self.screen, str(error), title="The draft was not kept", severity="warning")

    @work(group="remember", exit_on_error=False)
    async def forget_unfinished(self, service: str) -> None:
        """It was started."""
        if (home := self.session.home) is not None:
            try:
                await asyncio.to_thread(forget, home, service)
            except QuarterdeckError as error:
                toast(self.screen, str(error), title="The draft was not removed", severity="warning")

    def begin_tour(self) -> None:
        """Say in a strip what to try first."""
        self.tour = Tour()
        self.look_for_tour()

    def end_tour(self) -> None:
        """For good: it does not come again by itself."""
        self.tour = None
        self.look_for_tour()
        self._tour_was_seen()

    def _tour_was_seen(self) -> None:
        self.remembered = msgspec.structs.replace(self.remembered, tour_seen=True)
        self._remember()

    def look_for_tour(self) -> None:
        """Take the tour's next step where the last is done, and show it on the screen that is seen."""
        if isinstance(self.screen, ConsoleScreen) and self.screen.is_mounted:
            if self.tour is not None and self.tour.look(Sight(self.screen.where, self.picture)) and self.tour.step is None:
                self._tour_was_seen()
            self.screen.show_tour(self.tour_step())

    def tour_step(self) -> Said | None:
        """What the tour says now."""
        return said(self.tour) if self.tour is not None else None
