"""What the terminal can show, whether it is still there, and getting out of its way."""

import locale
import logging
import os
import select
import sys
from collections.abc import Mapping

from widgets.glyphs import Mode


def signs_for(environment: Mapping[str, str], encoding: str) -> Mode:
    """ASCII where the locale is not UTF-8, and on terminals whose font has little else; else Unicode."""
    if environment.get("TERM", "") in ("linux", "dumb", "vt100", "vt220", "ansi"):
        return "ascii"
    return "unicode" if encoding.lower().replace("-", "") == "utf8" else "ascii"


def encoding_of_locale() -> str:
    """The encoding of the locale, whatever Python itself uses."""
    return locale.getencoding()


def is_gone(descriptor: int) -> bool:
    """Whether the terminal behind ``descriptor`` has hung up."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def of_keys() -> int:
    """The descriptor of the terminal that keys come from."""
    return sys.__stdin__.fileno() if sys.__stdin__ else 0


def leave_at_once(code: int) -> None:
    """Everything is closed and written: the interpreter's own tidying up would keep the operator waiting for half a second."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
