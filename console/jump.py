"""Which service is meant by a few letters: those in whose name they occur in this order, best first.

Words after the first narrow by environment or version, as they occur: ``pay prod``.
"""

import heapq
import re
from dataclasses import dataclass

from services.model.fleet import FleetView, ServiceView

MOST = 200
"""Services that are offered at once: nobody reads more, another letter is quicker."""
_STARTS = "-_./ "


@dataclass(frozen=True, slots=True)
class Target:
    """A service of an environment; ``reachable`` is its environment's."""

    environment: str
    service: ServiceView
    reachable: bool

    @property
    def key(self) -> str:
        return f"{self.environment}/{self.service.name}"


def targets(fleet: FleetView) -> tuple[Target, ...]:
    """Every service of every environment."""
    return tuple(Target(view.name, service, view.reachable) for view in fleet.environments for service in view.services)


def unanswered(fleet: FleetView) -> tuple[str, ...]:
    """The environments of which no service is known yet."""
    return tuple(view.name for view in fleet.environments if view.age_seconds is None)


def matching(typed: str, among: tuple[Target, ...], *, here: str = "", most: int = MOST) -> tuple[list[Target], int]:
    """The best ``most`` targets for what was typed, best first, and how many match at all. Of equal ones those of the
    environment ``here`` go first, then by name."""
    letters, *words = typed.casefold().split() or [""]
    found = among
    for word in words:
        found = tuple(each for each in found if word in each.environment.casefold() or word in each.service.version.casefold())
    if letters:
        # one pass in C tells who has the letters at all; only those are looked at closely
        has = re.compile(".*?".join(map(re.escape, letters)), re.IGNORECASE | re.DOTALL).search
        found = tuple(each for each in found if has(each.service.name))
    known: dict[str, float] = {}

    def rank(target: Target) -> tuple[float, bool, str, str]:
        name = target.service.name
        if name not in known:
            known[name] = -score(letters, name.casefold())
        return known[name], target.environment != here, name, target.environment

    return heapq.nsmallest(most, found, key=rank), len(found)


def score(letters: str, name: str) -> float:
    """How well letters that occur in a name in this order name it, above 0: at the start of the name or of a part of it is better
    than inside, in a row better than apart, a short name better than a long one; 0 where they do not occur."""
    if not letters:
        return 1.0
    best = 0.0
    start = name.find(letters[0])
    while start >= 0:
        best = max(best, _score_from(letters, name, start, parts=True), _score_from(letters, name, start, parts=False))
        start = name.find(letters[0], start + 1)
    return best


def _score_from(letters: str, name: str, start: int, *, parts: bool) -> float:
    """The score where the first letter is taken at ``start`` and each after it where it comes next, or, with ``parts``, where it
    begins a part; 0 where that leaves a letter without a place."""
    place, total = start, _worth(name, start)
    for letter in letters[1:]:
        following = name.find(letter, place + 1)
        if following < 0:
            return 0.0
        if following == place + 1:
            total += 6.0
        else:
            begun = _part_with(letter, name, place + 1) if parts else -1
            following = begun if begun >= 0 else following
            total += _worth(name, following) if begun >= 0 else 0.5
        place = following
    return max(total + 3.0 * (len(letters) == len(name)) - 0.05 * (len(name) - len(letters)), 0.001)


def _worth(name: str, place: int) -> float:
    if place == 0:
        return 8.0
    return 5.0 if name[place - 1] in _STARTS else 1.0


def _part_with(letter: str, name: str, start: int) -> int:
    """Where, from ``start``, a part of the name begins with this letter; -1 where none does."""
    place = name.find(letter, start)
    while place >= 0 and name[place - 1] not in _STARTS:
        place = name.find(letter, place + 1)
    return place
