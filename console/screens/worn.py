"""Screens that know whether they wear the theme that is on."""

from __future__ import annotations

from textual import events, on
from textual.message_pump import MessagePump


class Worn(MessagePump):
    """Beside a ``Screen``: its styles are worked out when it is put together and when another theme is on, not each time that it
    is shown. Textual does so whenever a screen is pushed, which is a good part of the time from a key to a screen that was there.
    """

    _worn: str | None = None
    """The theme in which its styles were worked out."""

    @on(events.Mount)
    def put_together(self) -> None:
        self._worn = self.app.theme

    @on(events.ScreenResume)
    def shown_again(self, event: events.ScreenResume) -> None:
        event.refresh_styles = self._worn != self.app.theme
        self._worn = self.app.theme
