"""What a rollback outside any window would restore, and the one key that does it."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.draft import Preview
from console.screens.confirming import ConfirmingScreen
from services.clock import Clock
from widgets.ink import Line, Tone


class RollBackScreen(ConfirmingScreen):
    """The question whether to roll back; the key that asks for it everywhere is its yes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("R,alt+R,alt+shift+r", "confirm", "roll back", priority=True)]
    key = "R"
    deed = "rolls back now"


class RestoreScreen(RollBackScreen):
    def __init__(self, clock: Clock, preview: Preview, overtaken: Callable[[], str] = str) -> None:
        """``overtaken`` says why it is no longer to be done, if somebody else was quicker."""
        warning: tuple[Line | str, ...] = (((preview.warning, Tone.WARN),), "") if preview.warning else ()
        super().__init__(clock, preview.title, (*warning, *preview.lines))
        self._overtaken = overtaken

    def objection(self) -> str:
        return self._overtaken()
