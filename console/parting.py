"""Whether a part of the screen is being taken apart: what it still wants to do then has lost what it was about."""

from textual.dom import DOMNode
from textual.message_pump import MessagePump


def is_being_taken_apart(part: MessagePump | None) -> bool:
    """Whether the part, or one it is in, is being removed, or the application ends. Textual takes children away first and goes on
    to call what was asked for before (textual 8.2.8: the callbacks of its timers, after ``Unmount``)."""
    return isinstance(part, DOMNode) and any(node._pruning or node._closing or node._closed for node in part.ancestors_with_self)
