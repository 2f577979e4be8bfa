"""What a command prints. Standard output carries the result and nothing else; everything said beside it goes to standard error.

With ``-o json`` that result is exactly one JSON document (``watch``: one a line).
"""

import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec

from services.model.errors import ExitCode, QuarterdeckError, Unavailable
from services.model.objects import Json
from services.model.reasons import reason_of
from services.model.release import DeployRequest
from services.model.rollout import Reason
from services.redaction import Redactor

_GAP = 2
"""Spaces between the columns of a table."""
_FOLDED = 24
"""The least room in which a column is folded beside the others."""

_documents = 0
_redactor: Redactor | None = None


def redact_with(redactor: Redactor) -> None:
    """From now on nothing that ``redactor`` knows is printed."""
    global _redactor
    _redactor = redactor


def _without_secrets(line: str) -> str:
    """``line`` without secrets; before a redactor was given, known shapes of tokens are taken out all the same."""
    global _redactor
    if _redactor is None:
        _redactor = Redactor()
    return _redactor.shapes(line)


def document(value: Any) -> None:
    """Print one JSON document on a line of its own. Structs, enums, dates and dataclasses are written by their fields."""
    global _documents
    _documents += 1
    # Hostile text stays JSON: control characters are escaped, a lone surrogate would have no UTF-8 form.
    words = msgspec.json.encode(_plain(value)).decode("utf-8") + "\n"
    with result():
        sys.stdout.write(words)
        sys.stdout.flush()


def printed() -> int:
    """How many documents have been printed by this process."""
    return _documents


def text(line: str = "") -> None:
    """Print one line of a result for people. Control characters, which could act on a terminal, are shown instead."""
    with result():
        sys.stdout.write(shown(line) + "\n")


@contextmanager
def result() -> Iterator[None]:
    """Around writing to standard output: raises :class:`Unavailable` where it takes nothing, as a file on a full disk does."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still held back would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        why = error.strerror or str(error)
        raise Unavailable("The result can't be written", f"Standard output: {why}.", "Give it a place with room.") from error


def note(line: str) -> None:
    """Say something beside the result."""
    _say(shown(line) + "\n")


def problem(error: QuarterdeckError) -> None:
    """Say what failed, on what, and what to do next."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if coloured(sys.stderr) else ("", "")
    said = [f"{bold}quarterdeck: {shown(error.title)}{plain}\n"]
    for part in (error.detail, error.hint):
        # Redacted whole: the lines of a key are told from text only by the one that it begins with.
        said += [f"  {shown(line)}\n" for line in _without_secrets(part).splitlines()]
    _say("".join(said))


def _say(words: str) -> None:
    """What is said beside the result is no reason to stop where nobody can be told: a driver's log may be on a full disk."""
    try:
        sys.stderr.write(words)
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        logging.getLogger("quarterdeck.output").warning("standard error takes nothing: %s", error)


def folded(line: str) -> None:
    """The same for a sentence: on a terminal it is folded between words. A command to copy is none, and stays whole."""
    width = _columns(sys.stdout)
    lines = textwrap.wrap(shown(line), width, subsequent_indent="    ") if width else [shown(line)]
    with result():
        sys.stdout.write("".join(f"{part}\n" for part in lines or [""]))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; the last one is not padded. Without rows nothing is printed.

    On a terminal that is too narrow the last column is folded, and where that leaves too little the columns that don't fit
    follow on lines of their own. A file or a program gets one line a row.
    """
    # A tab would move what follows it out of its column.
    cells = [[shown(cell).replace("\t", "\\t") for cell in row] for row in rows]
    if not cells:
        return
    cells.insert(0, list(header))
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    width = _columns(sys.stdout) or sum(widths) + _GAP * len(widths)
    beside, used = 0, 0
    while beside < len(widths) and used + widths[beside] <= width:
        used += widths[beside] + _GAP
        beside += 1
    if beside == len(widths) - 1 and width - used >= _FOLDED:
        beside += 1
    for row in cells:
        words = "".join(f"{line}\n" for line in _row(row, widths, beside, width))
        with result():
            sys.stdout.write(words)


def _row(row: Sequence[str], widths: Sequence[int], beside: int, width: int) -> list[str]:
    """A row of which the first ``beside`` columns stand beside each other."""
    first = (" " * _GAP).join(cell.ljust(wide) for cell, wide in zip(row[: beside - 1], widths, strict=False))
    lead = f"{first}{' ' * _GAP}" if beside > 1 else ""
    column = textwrap.wrap(row[beside - 1], max(width - len(lead), 1)) or [""]
    lines = [f"{lead}{column[0]}".rstrip(), *(" " * len(lead) + part for part in column[1:])]
    rest = (" " * _GAP).join(cell for cell in row[beside:] if cell)
    indent = " " * (_GAP * 2)
    return lines + textwrap.wrap(rest, width, initial_indent=indent, subsequent_indent=indent)


def _columns(stream: TextIO) -> int | None:
    """The width of the terminal; ``None`` for a file or a program, which get whole lines."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def shown(line: str) -> str:
    """``line`` without secrets, and with everything that could move a cursor or hide text made visible."""
    return "".join(
        character if character.isprintable() or character == "\t" else character.encode("unicode_escape").decode("ascii")
        for character in _without_secrets(line)
    )


def coloured(stream: TextIO) -> bool:
    """Whether colour is welcome: a terminal, and NO_COLOR unset or empty (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def rejected_rollout(
    request: DeployRequest, reason: Reason, *, outcome: str = "rejected", journal: Sequence[int] = ()
) -> dict[str, Json]:
    """The result of a deploy or a rollback of which nothing was attempted. ``journal``: the numbers of the entries it left."""
    return {
        "rollout": None,
        "service": request.service,
        "environment": request.environment,
        "version": request.version or None,
        "previous_version": None,
        "strategy": request.strategy or None,
        "outcome": outcome,
        "reason": msgspec.to_builtins(reason),
        "gates": [],
        "steps": [],
        "rollback": None,
        "duration_seconds": 0.0,
        "journal": {"first": journal[0] if journal else None, "last": journal[-1] if journal else None},
    }


def rejected(error: QuarterdeckError) -> dict[str, Json]:
    """The result of any other command that was refused (exit 2) or failed before it had one."""
    outcome = "rejected" if error.exit_code == ExitCode.REJECTED else "failed"
    return {"outcome": outcome, "reason": msgspec.to_builtins(reason_of(error))}


def _plain(value: Any) -> Any:
    built = msgspec.to_builtins(value, str_keys=True)
    return _encodable(built)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        value = _without_secrets(value)
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(part) for part in value]
    return value
