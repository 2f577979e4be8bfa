"""Since when a sink owes what it has not taken: ``cursors/NAME.since`` in the journal's directory, Unix seconds.

The entries themselves do not tell: a journal is older than a sink that was configured today, and than one to which everything is
sent again. Both are behind from that day on, and not by the age of what they get.
"""

import contextlib
import os
import secrets
from pathlib import Path

ALWAYS = 0.0
"""From its first entry on: what is known of a sink of which nothing was kept."""


def since(directory: Path, sink: str) -> float:
    """``ALWAYS`` where nothing was kept, or what was kept can't be read."""
    try:
        return float(_path(directory, sink).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return ALWAYS


def first_seen(directory: Path, sink: str, now: float) -> float:
    """Since when a sink owes that has taken nothing yet: since somebody asked first. ``OSError`` where that can't be kept."""
    path = _path(directory, sink)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
        try:
            draft.write_text(f"{now}\n", encoding="ascii")
            with contextlib.suppress(FileExistsError):  # another process asked at the same moment
                os.link(draft, path)  # whole or not at all, and only once
        finally:
            draft.unlink(missing_ok=True)
    return since(directory, sink)


def begin_anew(directory: Path, sink: str, now: float) -> None:
    """Everything is sent to this sink again from now on."""
    _path(directory, sink).unlink(missing_ok=True)
    first_seen(directory, sink, now)


def _path(directory: Path, sink: str) -> Path:
    return directory / "cursors" / f"{sink}.since"
