"""What is said of a home whose journal can't be read: which rule it breaks, and what is accepted."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from services.model.errors import Rejected, Unavailable


@contextlib.contextmanager
def told(args: argparse.Namespace) -> Iterator[None]:
    """Raise for a home that is none, or that is not this user's, :class:`Rejected`, and :class:`Unavailable` for any other
    ``OSError`` about a file."""
    from console.context import home_of

    home = home_of(args)
    if home.exists() and not home.is_dir():
        raise Rejected("home", str(home), "is no directory", "a directory of your own (--home DIR)")
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise _refusal(home, error) from error


def _refusal(home: Path, error: OSError) -> Rejected | Unavailable:
    place = Path(os.fsdecode(error.filename))
    why = error.strerror or str(error)
    if isinstance(error, NotADirectoryError):
        return Rejected("home", str(home), f"is no home: {place} is below what is no directory", "a directory (--home DIR)")
    if isinstance(error, PermissionError):
        rule = f"holds a journal that uid {os.geteuid()} may not use ({place}: {why})"
        return Rejected("home", str(home), rule, f"a directory that belongs, with all that is in it, to uid {os.geteuid()}")
    return Unavailable("The journal can't be read", f"{place}: {why}.", "Mend that, or name another home (--home DIR).")
