"""What nobody expected: into the log with its traceback, onto the screen as a toast, and never the end of the console."""

import logging
from typing import TYPE_CHECKING

from textual.app import ScreenStackError

from services.clock import Clock
from widgets.toast import toast

if TYPE_CHECKING:
    from textual.app import App

log = logging.getLogger(__name__)

REPEATED_AFTER = 30.0
"""Seconds for which the same trouble is logged, but not shown again."""


class Trouble:
    """Tells the operator of errors that no screen has an answer for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}

    def tell(self, app: "App[int]", what: str, error: BaseException) -> None:
        """Log ``error`` with its traceback; say in a toast that ``what`` failed."""
        if isinstance(error, ScreenStackError) and not app.screen_stack:
            log.info("%s was cut short: the console is being left", what)
            return
        log.error("%s failed unexpectedly", what, exc_info=error)
        key, now = f"{what} {type(error).__name__} {error}", self._clock.monotonic()
        if now - self._told.get(key, -REPEATED_AFTER) < REPEATED_AFTER:
            return
        self._told[key] = now
        if not app.screen_stack:
            return  # the console is being left: there is nobody to tell
        toast(
            app.screen,
            f"{what} failed unexpectedly ({type(error).__name__}: {error}).\n"
            "Rollouts go on in their drivers. The log in the home directory has the details.",
            title="Unexpected error",
            severity="error",
            seconds=20,
        )
