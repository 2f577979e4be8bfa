"""Terms about the fields of journal entries, taken out of a filter; what is left are words for the list (``widgets.grid.terms``).

::

    service:pay             the field holds this, letters' case apart
    event:rollback,paused   one of these
    !user:jane              not this; user:"jane doe" with blanks
    since:2h  until:14:30   at or after, before: an age (s m h d w), a time of today or a day (UTC), or both as 2026-11-23T14:30

``env`` is short for environment. What looks like a name and is none is a word (``kubectl:``), unless it is nearly one: then that
is told, rather than answered with nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from widgets.grid.terms import BadFilter

FIELDS = {
    "service": "service",
    "environment": "environment",
    "env": "environment",
    "user": "user",
    "event": "event",
    "outcome": "outcome",
    "version": "version",
    "ticket": "change_ticket",
    "rollout": "rollout",
    "phase": "phase",
}
TIMES = ("since", "until")
_TERM = re.compile(r'(?<!\S)(!?)([a-zA-Z_]+):("[^"]*"|\S*)(?!\S)')
_AGE = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_STAMPS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """``field`` of an entry holds one of ``values`` (case-folded), or none of them."""

    field: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, entry: Mapping[str, Any]) -> bool:
        found = str(entry.get(self.field) or "").casefold()
        return any(value in found for value in self.values) is not self.negated


@dataclass(frozen=True, slots=True)
class Query:
    """``words`` are for the list; the rest is about fields. ``since`` and ``until`` are stamps as the journal writes them: those
    sort as text."""

    words: str = ""
    terms: tuple[FieldTerm, ...] = ()
    since: str = ""
    until: str = ""

    @property
    def narrows(self) -> bool:
        return bool(self.terms or self.since or self.until)

    def wanted(self, entry: Mapping[str, Any]) -> bool:
        """Whether every term about fields holds."""
        stamp = str(entry.get("timestamp", ""))
        if (self.since and stamp < self.since) or (self.until and stamp >= self.until):
            return False
        return all(term.holds(entry) for term in self.terms)


def parse(text: str, now: datetime) -> Query:
    """What ``text`` says about fields at ``now``.

    Raises:
        BadFilter: a field without a value, a time that is none, or a name that is nearly a field's.
    """
    terms: list[FieldTerm] = []
    times: dict[str, str] = {}
    spared: list[str] = []

    def take(match: re.Match[str]) -> str:
        negated, name, value = match[1] == "!", match[2].casefold(), match[3].strip('"')
        if name in TIMES:
            if negated:
                raise BadFilter(f"!{name}: is {'until' if name == 'since' else 'since'}: without the !")
            times[name] = _stamp(_moment(name, value, now))
        elif name in FIELDS:
            values = tuple(part.casefold() for part in value.split(",") if part)
            if not values:
                raise BadFilter(f"{name}: what? for example {name}:{_EXAMPLES.get(FIELDS[name], 'x')}")
            terms.append(FieldTerm(FIELDS[name], values, negated))
        elif near := get_close_matches(name, (*FIELDS, *TIMES), 1, 0.75):
            raise BadFilter(f"no field is called {name}: did you mean {near[0]}?")
        else:
            return match[0]
        return " "

    # what stands in a quoted word or a /pattern/ is nobody's field
    for part in re.split(r'((?<!\S)!?(?:"[^"]*"|/.*?(?:/(?!\S)|$)))', text):
        spared.append(part if part.startswith(('"', "/", '!"', "!/")) else _TERM.sub(take, part))
    return Query("".join(spared).strip(), tuple(terms), times.get("since", ""), times.get("until", ""))


_EXAMPLES = {
    "service": "payment",
    "environment": "production",
    "user": "jane",
    "event": "rollback",
    "outcome": "failed",
    "version": "v2",
    "phase": "intent",
}


def _moment(name: str, value: str, now: datetime) -> datetime:
    if aged := _AGE.fullmatch(value.casefold()):
        try:
            return now - timedelta(seconds=int(aged[1]) * _UNITS[aged[2]])
        except OverflowError:
            raise BadFilter(f"{name}:{value} is longer ago than there are years") from None
    for text in (value, f"{now:%Y-%m-%d}T{value}"):
        for form in _STAMPS:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
    raise BadFilter(f"{name}: takes an age like 2h or 3d, a time like 14:30, or a day like {now:%Y-%m-%d}")


def _stamp(moment: datetime) -> str:
    # the year with its four digits: some C libraries leave the zeros out, and then it no longer sorts as text
    return f"{moment.year:04d}{moment.strftime('-%m-%dT%H:%M:%S.%fZ')}"
