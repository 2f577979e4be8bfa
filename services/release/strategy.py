"""The words for strategies: which this version can run, and why the others are refused (R3.4)."""

import difflib

from services.model.release import Strategy

ACCEPTED = ", ".join(Strategy)

_BIG_BANG = frozenset({"recreate", "big-bang", "bigbang", "big_bang", "replace"})
_NOT_YET = frozenset({"blue-green", "ab", "shadow", "flag"})


def problem(word: str) -> str:
    """The rule that ``word`` breaks as a strategy; nothing where it is one, or empty (then the tier's default is taken)."""
    if not word or word in set(Strategy):
        return ""
    if word in _BIG_BANG:
        return "is a big-bang deploy, which is blocked"
    if word in _NOT_YET:
        return "is not available in this version"
    near = difflib.get_close_matches(word.lower(), list(Strategy), n=1)
    return f"is not a strategy; did you mean {near[0]}?" if near else "is not a strategy"
