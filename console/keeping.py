"""The screens that are kept when they are left: the next time they are there at once.

They are put together ahead, one after the other, while nobody presses a key. So the first opening takes no longer than any other:
the styles of a new kind of widget have to be read then, and its module, which is felt.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from textual import work
from textual.screen import Screen

from console.intents import Intents

if TYPE_CHECKING:
    from console.prompt import Act, Go
    from console.screens.base import ConsoleScreen
    from console.screens.calls import CallsScreen
    from console.screens.help import HelpScreen
    from console.screens.journal import JournalScreen
    from console.screens.jump import JumpScreen
    from console.screens.prompt import PromptScreen
    from console.screens.results import ResultsScreen
    from console.screens.service import ServiceScreen

QUIET = 0.3
"""Wall seconds without a key after which a screen is put together."""
Kept = TypeVar("Kept", bound=Screen[None])


class Keeping(Intents):
    """An application that keeps screens."""

    @work(group="ahead", exit_on_error=False)
    async def put_together_ahead(self) -> None:
        """Put together every screen that is kept, while nobody presses a key."""
        makers: dict[str, Callable[[], Screen[None]]] = {
            "service": self._service,
            "journal": self._journal,
            "help": self._help,
            "prompt": self._prompt,
            "jump": self._jump,
            "calls": self._calls,
            "results": self._results,
        }
        for name, find in makers.items():
            pressed = -1
            while pressed != self.pressed:
                pressed = self.pressed
                await asyncio.sleep(QUIET)
            await asyncio.to_thread(importlib.import_module, f"console.screens.{name}")
            screen = find()
            if not screen.is_running:
                self._get_screen(screen)
        for name in ("logs", "rollout", "deploy", "story", "entry", "restore", "leaving"):
            # these are made anew each time: of them only the code is there ahead
            await asyncio.to_thread(importlib.import_module, f"console.screens.{name}")

    def run_command(self, below: ConsoleScreen, asked: Act | Go) -> None:
        """Do what was typed at the prompt over the screen ``below``."""
        raise NotImplementedError

    def keep_commands(self, lines: tuple[str, ...]) -> None:
        """Remember what was typed at the prompt."""
        raise NotImplementedError

    def open_service(self, environment: str, service: str) -> None:
        """Show a service."""
        raise NotImplementedError

    def _kept(self, kind: type[Kept], make: Callable[[], Kept] | None = None) -> Kept:
        """The one screen of this kind that is kept when it is left; ``make`` makes it where it takes arguments."""
        name = kind.__name__
        if not self.is_screen_installed(name):
            self.install_screen((make or kind)(), name)
        return cast("Kept", self.get_screen(name))

    def _service(self) -> ServiceScreen:
        from console.screens.service import ServiceScreen

        return self._kept(ServiceScreen)

    def _journal(self) -> JournalScreen:
        from console.screens.journal import JournalScreen

        return self._kept(JournalScreen)

    def _help(self) -> HelpScreen:
        from console.screens.help import HelpScreen

        return self._kept(HelpScreen)

    def _prompt(self) -> PromptScreen:
        from console.screens.prompt import PromptScreen

        return self._kept(PromptScreen, lambda: PromptScreen(self.run_command, self.keep_commands))

    def _jump(self) -> JumpScreen:
        from console.screens.jump import JumpScreen

        return self._kept(JumpScreen, lambda: JumpScreen(self.open_service))

    def _calls(self) -> CallsScreen:
        from console.screens.calls import CallsScreen

        return self._kept(CallsScreen)

    def _results(self) -> ResultsScreen:
        from console.screens.results import ResultsScreen

        return self._kept(ResultsScreen)
