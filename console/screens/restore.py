"""What a rollback outside any window would restore, and the one key that does it."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.draft import Preview
from console.screens.confirming import ConfirmingScreen
from services.clock import Clock


class RestoreScreen(ConfirmingScreen):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("R,alt+R,alt+shift+r", "confirm", "roll back", priority=True)]
    key = "R"
    deed = "rolls back now"

    def __init__(self, clock: Clock, preview: Preview) -> None:
        super().__init__(clock, preview.title, preview.lines)
