"""What one can type into a filter. All terms must hold; letters' case never matters.

::

    pay v2          both words occur
    !canary         the word does not occur
    "not ready"     these words, in this order; also "!x" and "/x", which would mean something else bare
    /^pay.*v2/      the regular expression is found in a cell: ^ and $ are its ends. The last slash may be left out at the end
    !/rc\\.\\d/       it is found in none
"""

import re
import warnings
from dataclasses import dataclass

LONGEST = 200
"""Characters of a filter."""


class BadFilter(ValueError):
    """It can't be used; its text says why, for the person who types."""


@dataclass(frozen=True, slots=True)
class Term:
    """``word`` (case-folded) or, where it is there, ``pattern``."""

    word: str
    pattern: re.Pattern[str] | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """``text`` as it was typed, and what it means."""

    text: str = ""
    words: tuple[Term, ...] = ()
    patterns: tuple[Term, ...] = ()

    def has_words(self, folded: str) -> bool:
        """Whether the terms that are words hold for a case-folded text."""
        return all((term.word in folded) is not term.negated for term in self.words)

    def finds(self, text: str) -> bool:
        """Whether the terms that are patterns hold for a text; may take its time."""
        return all(
            (term.pattern.search(text) is not None) is not term.negated for term in self.patterns if term.pattern is not None
        )


def parse(text: str) -> Filter:
    """What ``text`` means.

    Raises:
        BadFilter: it is too long, or one of its patterns is none.
    """
    if len(text) > LONGEST:
        raise BadFilter(f"longer than {LONGEST} characters")
    words: list[Term] = []
    patterns: list[Term] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        negated = text[place] == "!"
        place += negated
        rest = text[place:]
        if rest.startswith("/"):
            inner, taken = _until(rest, "/")
            if inner:
                patterns.append(Term("", _compiled(inner), negated))
        elif rest.startswith('"'):
            inner, taken = _until(rest, '"')
            if inner:
                words.append(Term(inner.casefold(), None, negated))
        else:
            inner = rest.split(maxsplit=1)[0] if rest and not rest[0].isspace() else ""
            taken = len(inner)
            if inner:
                words.append(Term(inner.casefold(), None, negated))
        place += taken
    return Filter(text, tuple(words), tuple(patterns))


def meant(text: str) -> str:
    """``text``, or nothing where it is only the beginning of a term (``/``, ``!``, a quote): that is no filter yet."""
    try:
        found = parse(text)
    except BadFilter:
        return text
    return text if found.words or found.patterns else ""


def _until(rest: str, end: str) -> tuple[str, int]:
    """What stands between two ``end`` signs, of which the second ends a word, or up to the end of the text; and its length."""
    for place in range(1, len(rest)):
        if rest[place] == end and (place + 1 == len(rest) or rest[place + 1].isspace()) and rest[place - 1] != "\\":
            return rest[1:place], place + 1
    return rest[1:], len(rest)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise: nobody can see it here
            return re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    except re.error as error:
        raise BadFilter(f"no regular expression: {error.msg}{_where(error)}") from error
    except (OverflowError, RecursionError) as error:
        raise BadFilter(f"no regular expression: {error}") from error


def _where(error: re.error) -> str:
    return f" at {error.pos + 1}" if error.pos is not None else ""
