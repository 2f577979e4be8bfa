"""What the console told in toasts: kept with its time and its full text, since a toast is gone when one looks for it."""

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

MOST = 500


@dataclass(frozen=True, slots=True)
class Result:
    """``severity``: information, warning or error. ``number`` names it for good."""

    number: int
    at: datetime
    title: str
    text: str
    severity: str
    seen: bool = False


class Results:
    """The newest results, oldest first. Of too many the oldest go, but an error that nobody saw goes last."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._told = 0
        self._results: deque[Result] = deque()

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(self._results)

    @property
    def unseen_errors(self) -> int:
        """How many errors were told that nobody has looked up here."""
        return sum(result.severity == "error" and not result.seen for result in self._results)

    def add(self, at: datetime, title: str, text: str, severity: str) -> None:
        self._told += 1
        self._results.append(Result(self._told, at, title, text, severity))
        if len(self._results) > self._most:
            oldest = next((each for each in self._results if each.severity != "error" or each.seen), self._results[0])
            self._results.remove(oldest)

    def see(self) -> None:
        """They are on the screen: none is new any more."""
        self._results = deque(replace(result, seen=True) for result in self._results)
