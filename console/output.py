"""What a command prints. Standard output carries the result and nothing else; everything said beside it goes to standard error.

With ``-o json`` that result is exactly one JSON document (``watch``: one a line).
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec

from services.model.errors import ExitCode, QuarterdeckError
from services.model.objects import Json
from services.model.reasons import reason_of
from services.model.release import DeployRequest
from services.model.rollout import Reason
from services.redaction import Redactor

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
    sys.stdout.write(msgspec.json.encode(_plain(value)).decode("utf-8") + "\n")
    sys.stdout.flush()


def printed() -> int:
    """How many documents have been printed by this process."""
    return _documents


def text(line: str = "") -> None:
    """Print one line of a result for people. Control characters, which could act on a terminal, are shown instead."""
    sys.stdout.write(shown(line) + "\n")


def note(line: str) -> None:
    """Say something beside the result."""
    sys.stderr.write(shown(line) + "\n")
    sys.stderr.flush()


def problem(error: QuarterdeckError) -> None:
    """Say what failed, on what, and what to do next."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if coloured(sys.stderr) else ("", "")
    sys.stderr.write(f"{bold}quarterdeck: {shown(error.title)}{plain}\n")
    for part in (error.detail, error.hint):
        if part:
            # Redacted whole: the lines of a key are told from text only by the one that it begins with.
            sys.stderr.write("".join(f"  {shown(line)}\n" for line in _without_secrets(part).splitlines()))
    sys.stderr.flush()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; the last one is not padded. Without rows nothing is printed."""
    lines = [[shown(cell) for cell in row] for row in rows]
    if not lines:
        return
    widths = [max(len(row[column]) for row in [list(header), *lines]) for column in range(len(header))]
    for row in [list(header), *lines]:
        text("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
    if isinstance(value, list):
        return [_encodable(part) for part in value]
    return value
