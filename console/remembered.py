"""What the console remembers of this operator from one time to the next, in a file of the home that only they can read."""

import contextlib
import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

FILE = "console.json"
MOST_BYTES = 256 * 1024


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """``commands``: typed at the prompt, oldest first. ``tour_seen``: the first-run tour was walked or ended. ``theme``: by its
    name; empty for what the terminal is given."""

    commands: tuple[str, ...] = ()
    tour_seen: bool = False
    theme: str = ""


def read(home: Path) -> Remembered:
    """What is remembered; nothing where there is no file, or one that is none of ours: it is a convenience, never in the way."""
    try:
        with (home / FILE).open("rb") as file:
            return msgspec.json.decode(file.read(MOST_BYTES), type=Remembered)
    except FileNotFoundError:
        return Remembered()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s can't be read: %s", home / FILE, error)
        return Remembered()


def write(home: Path, remembered: Remembered) -> None:
    """Keep it, all of it or nothing. Raises OSError."""
    draft = home / f".{FILE}.{os.getpid()}"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(remembered)))
        draft.replace(home / FILE)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
