"""What may be typed next in a filter of entries: the names of fields, and what stands in them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.fieldterms import FIELDS, TIMES

MOST = 8
"""Suggestions at a time."""
_AGES = ("15m", "1h", "24h", "7d")
_NAMES = (*(name for name in FIELDS if name != "env"), *TIMES)
_TOLD = ("service", "environment", "user", "event", "outcome", "version", "change_ticket", "phase")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``text`` is the whole filter with it; ``shown`` what it adds, ``count`` in how many entries that is."""

    text: str
    shown: str
    count: int = 0


Values = Mapping[str, Counter[str]]


def values_of(entries: Iterable[Mapping[str, Any]]) -> Values:
    """What stands in the fields of ``entries``, and how often."""
    found: dict[str, Counter[str]] = {name: Counter() for name in _TOLD}
    for entry in entries:
        for name, counter in found.items():
            value = entry.get(name)
            if isinstance(value, str) and value:
                counter[value] += 1
    return found


def suggestions(text: str, values: Values) -> Sequence[Suggestion]:
    """For the last word of ``text``: values, where it names a field, the most frequent first; else names of fields."""
    start = _last_word(text)
    before, word = text[:start], text[start:]
    sign = "!" if word.startswith("!") else ""
    name, colon, begun = word[len(sign) :].partition(":")
    if not colon:
        names = [each for each in _NAMES if each.startswith(name.casefold())]
        return [Suggestion(f"{before}{sign}{each}:", f"{sign}{each}:") for each in names][:MOST] if name or not word else []
    if name.casefold() in TIMES:
        return [Suggestion(f"{before}{name}:{each} ", each) for each in _AGES if each.startswith(begun) and each != begun]
    counter = values.get(FIELDS.get(name.casefold(), ""), Counter())
    # of several values after commas the last one is being typed
    head, comma, part = begun.strip('"').rpartition(",")
    wanted = part.casefold()
    near = [(value, count) for value, count in counter.most_common() if wanted in value.casefold() and value.casefold() != wanted]
    return [Suggestion(f"{before}{sign}{name}:{_quoted(head + comma + value)} ", value, count) for value, count in near[:MOST]]


def _last_word(text: str) -> int:
    """Where the word that is being typed begins: blanks within quotes are part of it."""
    quoted, start = False, 0
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter.isspace() and not quoted:
            start = place + 1
    return start


def _quoted(value: str) -> str:
    return f'"{value}"' if any(letter.isspace() for letter in value) else value
