"""What is wrong in a configuration: every problem at once, each with its place, its rule and what would be accepted."""

from collections.abc import Sequence

import msgspec

from services.model.errors import ExitCode, QuarterdeckError


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule. ``line`` counts from 1; 0 where the file as a whole is meant. Values of secrets never get in here."""

    file: str
    line: int
    key: str
    problem: str
    accepted: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.key}: {self.problem}" if self.key else f"{place}: {self.problem}"
        parts = [text.rstrip(".")]
        if self.accepted:
            parts.append(f"Accepted: {self.accepted}")
        if self.suggestion:
            return f"{'. '.join(parts)}. Did you mean {self.suggestion!r}?"
        return f"{'. '.join(parts)}."


class ConfigurationError(QuarterdeckError):
    """The configuration can't be used as it stands; nothing was attempted. ``problems`` are in the order of the file."""

    exit_code = ExitCode.REJECTED
    word = "configuration"

    def __init__(self, title: str, problems: Sequence[Problem] = (), hint: str = "") -> None:
        super().__init__(title, "\n".join(str(problem) for problem in problems), hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(part for part in (self.title, self.detail, self.hint) if part)
