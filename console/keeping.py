"""The screens that are there at once: some are kept when they are left, of others a fresh one stands by.

They are put together ahead, one after the other, while nobody presses a key: the styles of widgets have to be worked out then,
and of a new kind of screen its code has to be read, which is felt. A screen that says much of what it is about is not used twice.
Whoever opens it gets the one that stands by, and another is put together as soon as there is quiet.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from textual import work
from textual._styles_cache import StylesCache
from textual.screen import Screen

from console.intents import Intents
from console.screens.base import ConsoleScreen
from console.trouble import Trouble
from services.clock import Clock

if TYPE_CHECKING:
    from console.prompt import Act, Go
    from console.screens.calls import CallsScreen
    from console.screens.deploy import DeployScreen
    from console.screens.help import HelpScreen
    from console.screens.journal import JournalScreen
    from console.screens.jump import JumpScreen
    from console.screens.logs import LogsScreen
    from console.screens.prompt import PromptScreen
    from console.screens.results import ResultsScreen
    from console.screens.rollout import RolloutScreen
    from console.screens.service import ServiceScreen

QUIET = 0.3
"""Wall seconds without a key after which a screen is put together."""
LONGER_QUIET = 0.5
"""…and after which one is put together that stood by and was taken: who moves on from screen to screen is not to feel it."""
STANDING_BY = {"rollout": "RolloutScreen", "deploy": "DeployScreen", "logs": "LogsScreen"}
"""Of which screens one stands by: the class by its module."""
Kept = TypeVar("Kept", bound=Screen[None])
Fresh = TypeVar("Fresh", bound="ConsoleScreen")


def _give_up_left() -> None:
    """Textual (8.2.8) remembers two colours for each part of a screen that it ever drew, up to a thousand parts, and with them
    every line of theirs: let it forget those of screens that were left."""
    StylesCache.get_inner_outer.cache_clear()


def _collect() -> None:
    _give_up_left()  # else all of it would be looked through
    gc.collect()


class Keeping(Intents):
    """An application that keeps screens, and has others stand by."""

    trouble: Trouble

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._standing_by: dict[str, Screen[None]] = {}
        """By the name of their class."""
        self._unfit: set[str] = set()
        """Of which classes one could not be put together ahead."""
        self._taken = asyncio.Event()
        """One that stood by has been taken."""

    @work(group="ahead", exclusive=True, exit_on_error=False)
    async def put_together_ahead(self) -> None:
        """Put together every screen that is kept, while nobody presses a key; then, for as long as the console lives, whatever is
        to stand by and does not."""
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
            await self._quiet()
            await asyncio.to_thread(importlib.import_module, f"console.screens.{name}")
            await self._put_together(find())
        for name in ("story", "entry", "restore", "leaving"):
            # these are small, and made anew each time: of them only the code is there ahead
            await asyncio.to_thread(importlib.import_module, f"console.screens.{name}")
        _collect()
        gc.freeze()  # they stay: looking through them again and again would stop the screen for a tenth of a second
        while True:
            self._taken.clear()
            for name, kind in STANDING_BY.items():
                if kind not in self._standing_by and kind not in self._unfit:
                    await self._quiet(LONGER_QUIET)
                    module = await asyncio.to_thread(importlib.import_module, f"console.screens.{name}")
                    self._standing_by[kind] = screen = getattr(module, kind)()
                    await self._put_together(screen)
            _collect()  # now, while nobody presses a key, rather than when a screen is opened
            await self._taken.wait()

    async def _quiet(self, seconds: float = QUIET) -> None:
        """Return once no key was pressed for so long."""
        pressed = -1
        while pressed != self.pressed:
            pressed = self.pressed
            await asyncio.sleep(seconds)

    async def _put_together(self, screen: Screen[None]) -> None:
        """Compose and style it, then lay it out and draw it once where nobody sees it: what that leaves behind (places, lines,
        colours) is there when it is shown. One that fails is told of and dropped: who opens it gets a fresh one."""
        if screen.is_running:
            return
        await self._get_screen(screen)[1]
        if not screen.display:
            return  # it was taken away meanwhile
        try:
            if not isinstance(screen, ConsoleScreen) or screen.entered:
                if getattr(screen, "laid_out_ahead", True) and screen not in self.screen_stack:
                    screen._refresh_layout(self.size)
                    screen._compositor.render_full_update()
                # Textual (8.2.8) has a screen's first drawing, and no other, wait for a whole frame: let that be over
                screen._update_timer.resume()
                return
        except Exception as error:
            self.trouble.tell(self, f"Drawing the {type(screen).__name__} ahead", error)
        await self._drop(screen)  # where it is not entered it has told why

    async def _drop(self, screen: Screen[None]) -> None:
        """Take a screen away that nobody sees. None of its kind stands by from now on: what failed once would fail again and
        again, while the operator does nothing."""
        self._unfit.add(type(screen).__name__)
        self._standing_by.pop(type(screen).__name__, None)
        if screen not in self.screen_stack:
            self.uninstall_screen(screen)
            await screen.remove()

    def _fresh(self, kind: type[Fresh]) -> Fresh:
        """A screen of this kind that has not been shown yet: the one that stands by, where it is ready."""
        _give_up_left()  # here too: who opens one after the other leaves no quiet to do it in
        found = self._standing_by.get(kind.__name__)
        if not isinstance(found, kind) or not found.entered:
            return kind()
        del self._standing_by[kind.__name__]
        self._taken.set()
        return found

    def dismissed(self) -> tuple[Screen[None], ...]:
        """The screens that stood by, which do so no more."""
        found = tuple(self._standing_by.values())
        self._standing_by.clear()
        self._taken.set()
        return found

    @abstractmethod
    def run_command(self, below: ConsoleScreen, asked: Act | Go) -> None:
        """Do what was typed at the prompt over the screen ``below``."""

    @abstractmethod
    def keep_commands(self, lines: tuple[str, ...]) -> None:
        """Remember what was typed at the prompt."""

    @abstractmethod
    def open_service(self, environment: str, service: str) -> None:
        """Show a service."""

    def _kept(self, kind: type[Kept], make: Callable[[], Kept] | None = None) -> Kept:
        """The one screen of this kind that is kept when it is left; ``make`` makes it where it takes arguments."""
        name = kind.__name__
        if not self.is_screen_installed(name):
            self.install_screen((make or kind)(), name)
        return cast("Kept", self.get_screen(name))

    def _rollout(self) -> RolloutScreen:
        from console.screens.rollout import RolloutScreen

        return self._fresh(RolloutScreen)

    def _deploy(self) -> DeployScreen:
        from console.screens.deploy import DeployScreen

        return self._fresh(DeployScreen)

    def _logs(self) -> LogsScreen:
        from console.screens.logs import LogsScreen

        return self._fresh(LogsScreen)

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
