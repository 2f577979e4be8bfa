"""The walk through what is unsafe: the first press of its key goes to the worst, each further one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.attention import Concern, Kind, concerns, following
from console.screens.fleet import FleetScreen
from console.view import Selection
from widgets.toast import toast

if TYPE_CHECKING:
    from textual.screen import Screen

    from console.app import ConsoleApp


class Attending:
    """Remembers how far the walk has come, and forgets it as soon as the person goes somewhere else."""

    def __init__(self) -> None:
        self._last: Concern | None = None
        self._shown_on: Screen[object] | None = None
        self._opened = False
        """Whether that screen was opened for it: then the next concern takes its place, so that one step leads back."""

    def go_on(self, app: ConsoleApp) -> None:
        """Show the place of the worst concern; where the last one is still shown, of the one after it."""
        concern = following(concerns(app.picture), self._last if self._still_there(app) else None)
        if concern is None:
            return
        if self._opened and app.screen is self._shown_on:
            app.pop_screen()
        before = app.screen
        _show(app, concern)
        self._last, self._shown_on, self._opened = concern, app.screen, app.screen is not before

    def _still_there(self, app: ConsoleApp) -> bool:
        here = app.screen
        if here is not self._shown_on or self._last is None:
            return False
        return not isinstance(here, FleetScreen) or here.environment == self._last.place.environment


def _show(app: ConsoleApp, concern: Concern) -> None:
    place = concern.place
    if concern.kind is Kind.CUT_OFF:
        toast(app.screen, f"{concern.words}. The log in the home directory has the details.", severity="error", seconds=20)
    elif concern.kind in (Kind.JOURNAL, Kind.SHIPPING):
        app.open_journal(Selection())
    elif place.rollout:
        app.open_rollout(place.rollout)
    elif place.service:
        app.open_service(place.environment, place.service)
    elif isinstance(app.screen, FleetScreen):
        app.screen.look_at(place.environment)
    else:
        app.push_screen(FleetScreen(place.environment))
