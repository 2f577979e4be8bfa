"""The calls that this process made to API servers, for a person to read: the newest are kept, each told as a command line.

Reads repeat themselves all day, so equal ones with the same answer are one line that counts, and so are those of one page of
several pods; every change is a line of its own.
Nothing of a request's body is kept but what the command line tells, and that is made by who knows what must not be told.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from services.clock import Clock

if TYPE_CHECKING:
    from services.cluster.transport import Request

MOST = 1000
"""Calls that are kept."""
LONGEST = 4000
"""Characters of a command line that are kept."""
GIVEN_UP = "given up"
"""The problem of a call that its caller did not wait for: what it was for is not wanted any more."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """``number`` names it for good. ``at``: Unix seconds when the answer came or was given up. ``status``: of HTTP, ``None``
    where no answer came. ``seconds``: wall time to the whole answer, of a watch to its acceptance. ``problem``: why it is not
    what was wanted. ``times``: how often it was made, in a row or not, with this answer; the rest is of the last time."""

    number: int
    at: float
    context: str
    command: str
    status: int | None
    seconds: float
    problem: str = ""
    changes: bool = False
    times: int = 1


def _same(request: "Request") -> str:
    """What pages of pods and services have in common: they are read all day of one pod after the other, and told as one."""
    if not request.passes:
        return ""
    place, _, page = request.path.partition("/proxy/")
    return f"{place.rpartition('/')[0]}/{page}"


class CallLog:
    """At most ``most`` calls. ``command`` says a request to a context as a command line, ``safe`` takes secrets out of words."""

    def __init__(
        self, clock: Clock, command: "Callable[[str, Request], str]", safe: Callable[[str], str], *, most: int = MOST
    ) -> None:
        self._clock = clock
        self._command = command
        self._safe = safe
        self._most = most
        self._made = 0
        self._calls: OrderedDict[object, Call] = OrderedDict()

    @property
    def calls(self) -> tuple[Call, ...]:
        """Oldest first."""
        return tuple(self._calls.values())

    @property
    def made(self) -> int:
        """How many were made so far; another number means that there is something new to show."""
        return self._made

    def note(self, context: str, request: "Request", *, status: int | None, seconds: float, problem: str = "") -> None:
        """A call has come to its end."""
        self._made += 1
        call = Call(
            number=self._made,
            at=self._clock.unix(),
            context=context,
            command=self._command(context, request)[:LONGEST],
            status=status,
            seconds=seconds,
            problem=self._safe(problem),
            changes=request.writes and not request.asks,
        )
        key: object = self._made if call.changes else (context, _same(request) or call.command, status, call.problem)
        before = self._calls.pop(key, None)
        self._calls[key] = call if before is None else msgspec.structs.replace(call, number=before.number, times=before.times + 1)
        while len(self._calls) > self._most:
            # what was changed stays longer than what was read, of either the oldest goes
            self._calls.pop(next((key for key, call in self._calls.items() if not call.changes), next(iter(self._calls))))
