"""Errors of a part of the screen that is being taken apart: what it still wanted to do has lost what it was about."""

from textual.css.query import NoMatches
from textual.dom import DOMNode, NoScreen
from textual.message_pump import MessagePump


def lost_by_parting(part: MessagePump | None, error: Exception) -> bool:
    """Whether ``error`` is only that the part, or one it is in, is being removed, or that the application ends. Textual (8.2.8)
    takes children away first and goes on to call what was asked for before (the callbacks of timers, after ``Unmount``); once the
    application is to end it gives a screen that is being put together no children, and tells it all the same that it has them."""
    if not isinstance(error, (NoMatches, NoScreen)) or not isinstance(part, DOMNode):
        return False
    ending = part.app._exit or not part.app.is_running
    return ending or any(node._pruning or node._closing or node._closed for node in part.ancestors_with_self)
