"""The log of calls as a person reads it: what this console asked of clusters, and what drivers changed, by time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.cluster.calls import GIVEN_UP, Call


@dataclass(frozen=True, slots=True)
class Logged:
    """``by``: which process. ``answer``: of HTTP where it is known, else the outcome's word. ``seconds``: ``None`` where nobody
    knows; ``problem``: why it is not what was wanted."""

    key: str
    at: float
    by: str
    answer: str
    seconds: float | None
    command: str
    problem: str = ""
    changes: bool = True
    times: int = 1

    @property
    def failed(self) -> bool:
        """Whether it went wrong. That something is not there is an answer, where it was only looked for."""
        return bool(self.problem) and (self.changes or self.answer != "404")


def merged(calls: Iterable[Call], entries: Iterable[dict[str, Any]], *, process: tuple[str, int]) -> list[Logged]:
    """Calls of this process (``process``: machine and id) and the changes that the journal has of others, oldest first. What this
    process changed is in the journal too, and is told once."""
    found = [_own(call) for call in calls]
    found += [
        _told(entry)
        for entry in entries
        if entry.get("event") == "deployment.executed" and entry.get("phase") == "outcome" and _process(entry) != process
    ]
    return sorted(found, key=lambda each: each.at)


def _own(call: Call) -> Logged:
    given_up = call.problem == GIVEN_UP
    return Logged(
        key=f"call {call.number}",
        at=call.at,
        by="console",
        answer=GIVEN_UP if given_up else str(call.status) if call.status is not None else "no answer",
        seconds=call.seconds,
        command=call.command,
        problem="" if given_up and not call.changes else call.problem,  # of a change nobody knows whether it took effect
        changes=call.changes,
        times=call.times,
    )


def _told(entry: dict[str, Any]) -> Logged:
    data = entry.get("data") or {}
    took, outcome = data.get("milliseconds"), str(entry.get("outcome") or "")
    return Logged(
        key=f"entry {entry.get('seq')}",
        at=_unix(str(entry.get("timestamp", ""))),
        by=_who(entry),
        answer=str(data.get("status") or outcome),
        seconds=took / 1000 if isinstance(took, int | float) else None,
        command=str(entry.get("command") or ""),
        problem=str(data.get("error") or outcome) if outcome not in ("ok", "unchanged") else "",
    )


def _who(entry: dict[str, Any]) -> str:
    """The process that made an entry: a driver, another console, or a command by its verb; with its id."""
    name, process = str((entry.get("prog") or {}).get("name") or "quarterdeck drive"), _process(entry)[1]
    verb = {"quarterdeck": "console", "quarterdeck drive": "driver"}.get(name, name.removeprefix("quarterdeck "))
    return f"{verb} {process}" if process else verb


def _process(entry: dict[str, Any]) -> tuple[str, int]:
    program = entry.get("prog") or {}
    return str(program.get("host", "")), int(program.get("pid") or 0)


def _unix(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
    except ValueError:
        return 0.0
