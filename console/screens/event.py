"""One event of a service's objects, whole: what a row of the list cuts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from console.screens.worn import Worn
from widgets import glyphs, ink
from widgets.format import age
from widgets.ink import Tone
from widgets.record import Field, Record

if TYPE_CHECKING:
    from services.cluster.objectevents import ObjectEvent


def event_fields(event: ObjectEvent, now: float) -> tuple[Field, ...]:
    """Everything that is known of an event. ``now`` in Unix seconds, 0 where it is not known."""
    kind, name = event.about
    return (
        Field("object", f"{kind} {name}"),
        Field("reason", event.reason, Tone.WARN if event.warning else Tone.STRONG),
        Field("kind", "Warning" if event.warning else "Normal", Tone.WARN if event.warning else Tone.TEXT),
        Field("last", _moment(event.last, now)),
        Field("first", _moment(event.first, now)),
        Field("count", str(event.count)),
        Field("message", event.message or glyphs.current().none, Tone.WARN if event.warning else Tone.TEXT),
    )


def _moment(at: float | None, now: float) -> str:
    if at is None:
        return "unknown"
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{stamp}  {age(now - at)} ago" if now else stamp


class EventScreen(Worn, ModalScreen[None]):
    """``R`` still rolls back from here: an event is where a person reads why it is needed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "close", priority=True),
        Binding("R", "app.roll_back_below", "roll back"),
    ]
    DEFAULT_CSS = """
    EventScreen { align: center middle; }
    EventScreen > VerticalScroll { width: 94%; max-width: 124; height: auto; max-height: 90%;
        border: round $primary; border-title-color: $text-primary; border-subtitle-color: $text-primary;
        padding: 1 2; background: $surface; scrollbar-size-vertical: 1; }
    """

    def __init__(self, event: ObjectEvent, now: float) -> None:
        super().__init__()
        self._event = event
        self._now = now

    def compose(self) -> ComposeResult:
        with VerticalScroll() as pane:
            pane.border_title = ink.title("event")
            pane.border_subtitle = ink.title(f"esc closes {glyphs.current().bullet} R rolls back what is below")
            yield Record()

    def on_mount(self) -> None:
        self.query_one(Record).show(*event_fields(self._event, self._now))
        self.set_focus(self.query_one(VerticalScroll))

    def action_close(self) -> None:
        # keys that came fast may have left it already
        if self.is_current:
            self.app.pop_screen()
