"""An error that ended a part of the screen: the screens are put together anew, so that nothing that has ended stays on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.screens.fleet import FleetScreen
from services.clock import Clock

if TYPE_CHECKING:
    from console.keeping import Keeping

MENDINGS, MENDING = 3, 60.0
"""So often in so many seconds it is tried; more often it does not help."""


class Mending:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: list[float] = []

    def try_again(self) -> bool:
        """Whether it may be tried once more now; that counts as done."""
        now = self._clock.monotonic()
        self._done = [at for at in self._done if now - at < MENDING]
        if len(self._done) >= MENDINGS:
            return False
        self._done.append(now)
        return True


async def begin_anew(app: Keeping) -> None:
    """One new fleet screen in place of all there are, those that are kept or stand by included."""
    while len(app.screen_stack) > 1:
        await app.pop_screen()
    kept = [app.get_screen(name) for name in app._installed_screens]
    for screen in kept:
        app.uninstall_screen(screen)
    for screen in (*kept, *app.dismissed()):
        await screen.remove()
    # the first screen was never pushed, and switch_screen (textual 8.2.8) takes a callback off each screen that it replaces
    app.screen._push_result_callback(app.screen, None)
    await app.switch_screen(FleetScreen())
