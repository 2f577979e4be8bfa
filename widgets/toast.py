"""Short notices that pop up: their text is never parsed as markup, whoever wrote it."""

from typing import Literal

from textual.widget import Widget

from widgets.text import cut

Severity = Literal["information", "warning", "error"]
_LONGEST = 4000
"""Characters of a line: the application keeps what it is told, and shows less of it."""


def toast(widget: Widget, message: str, *, title: str = "", severity: Severity = "information", seconds: float = 8) -> None:
    """Show ``message`` for ``seconds``; lines are kept, each made safe and cut."""
    lines = (cut(line, _LONGEST) for line in message.splitlines())
    widget.notify("\n".join(lines), title=cut(title, 80), severity=severity, timeout=seconds, markup=False)
