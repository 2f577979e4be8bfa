"""What one can type after ``:``: the names of actions and of places, what completes them, and what is said where it is neither.

An action that is named here is done by the very same way as by its key: its guard is asked, its confirmation is needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from console import theme
from console.actions import ACTIONS, BY_ID, Action, Situation, label_for
from console.view import Picture
from services.model.fleet import EnvironmentView

MOST_OFFERED = 200


class NotUnderstood(ValueError):
    """What was typed is no command; the text says why, and what comes nearest."""


@dataclass(frozen=True, slots=True)
class Act:
    """Do the action, as its key would."""

    action: str


@dataclass(frozen=True, slots=True)
class Go:
    """Go to a place; ``words`` are complete and name what there is."""

    place: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to go on: the whole line as it would be, and what it does or why it can't be done now."""

    line: str
    help: str
    ready: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """What commands can name. ``canonical`` makes an environment's own name of an alias."""

    situation: Situation
    canonical: Callable[[str], str]

    @property
    def picture(self) -> Picture:
        return self.situation.picture

    @property
    def environments(self) -> tuple[EnvironmentView, ...]:
        return self.picture.fleet.environments

    def having(self, service: str) -> list[str]:
        """The environments in which a service runs."""
        return [view.name for view in self.environments if any(each.name == service for each in view.services)]

    def services(self) -> list[str]:
        return sorted({each.name for view in self.environments for each in view.services})


Choices = Callable[[World, Sequence[str]], Sequence[str]]
"""What the next word can be, given the words before it."""


def _none(_world: World, _before: Sequence[str]) -> Sequence[str]:
    return ()


def _services(world: World, _before: Sequence[str]) -> Sequence[str]:
    return world.services()


def _environments(world: World, _before: Sequence[str]) -> Sequence[str]:
    return [view.name for view in world.environments]


def _where_it_runs(world: World, before: Sequence[str]) -> Sequence[str]:
    return world.having(before[0]) if before else ()


def _rollouts(world: World, _before: Sequence[str]) -> Sequence[str]:
    return [card.key for card in world.picture.rollouts]


def _themes(_world: World, _before: Sequence[str]) -> Sequence[str]:
    return [each.name for each in theme.THEMES]


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere to go. ``least`` words have to follow; ``choices`` has one entry for each that can.
    ``action``: it is one, and its guard holds."""

    name: str
    usage: str
    help: str
    choices: tuple[Choices, ...] = ()
    least: int = 0
    action: str = ""


PLACES: tuple[Place, ...] = (
    Place("fleet", "", "the first screen: environments, services, rollouts"),
    Place("env", "NAME", "the fleet, at one environment", (_environments,), 1),
    Place("service", "NAME [ENV]", "one service, in this environment or another", (_services, _where_it_runs), 1),
    Place("rollout", "ID", "one rollout; the beginning of its id is enough", (_rollouts,), 1),
    Place(
        "deploy",
        "SERVICE VERSION [ENV]",
        "the deploy form, filled; nothing changes before its confirmation",
        (_services, _none, _where_it_runs),
        0,
        "deploy",
    ),
    Place(
        "logs",
        "NAME [ENV]",
        "the logs of a service's pods; without a name, of what is selected",
        (_services, _where_it_runs),
        0,
        "logs",
    ),
    Place("theme", "[NAME]", "how it looks; without a name, the next", (_themes,), 0, "theme"),
    Place("tour", "", "the first-run tour again, on a sandbox"),
    Place("quit", "", "leave the console; rollouts go on in their drivers", action="quit"),
    Place("q", "", "quit", action="quit"),
)
BY_NAME = {place.name: place for place in PLACES}


def name_of(action: Action) -> str:
    """An action as it is typed."""
    return action.id.replace("_", "-")


def _typeable(action: Action) -> bool:
    """Whether an action has a name of its own here: places go first, and the prompt itself is open already."""
    return name_of(action) not in BY_NAME and action.id not in ("prompt", "open", "quit")


NAMES = {name_of(action): action for action in ACTIONS if _typeable(action)}


def understood(line: str, world: World) -> Act | Go:
    """What ``line`` asks for.

    Raises:
        NotUnderstood: nothing, or something that there is not.
    """
    name, *words = line.split() or [""]
    if name in NAMES:
        action = NAMES[name]
        if words:
            raise NotUnderstood(f"{name} takes no words: it applies to what is selected")
        if action.screens and world.situation.screen not in action.screens:
            raise NotUnderstood(f"{name} does nothing on the {world.situation.screen} screen")
        return Act(action.id)
    place = BY_NAME.get(name)
    if place is None:
        raise NotUnderstood(f"no command {name}{_nearest(name, [*NAMES, *BY_NAME])}" if name else "type a command")
    if place.action and (reason := _in_the_way(place, words, world)):
        raise NotUnderstood(f"{name}: {reason}")
    if not place.least <= len(words) <= len(place.choices):
        raise NotUnderstood(f"{name} {place.usage}".strip() if place.usage else f"{name} takes no words")
    return _there(place, words, world)


def _in_the_way(place: Place, words: Sequence[str], world: World) -> str | None:
    """Why the place's action can't be done. Of one that only looks the guard is about what is selected: a name goes past it."""
    action = BY_ID[place.action]
    if words and action.group != "Change":
        return None
    if action.screens and not words and world.situation.screen not in action.screens:
        return f"it does nothing on the {world.situation.screen} screen"
    return action.refusal(world.situation)


def _there(place: Place, words: list[str], world: World) -> Act | Go:
    if place.action and not words:
        return Act(place.action)
    if place.name == "env":
        return Go("env", (_environment(words[0], world),))
    if place.name in ("service", "logs"):
        service = _one_of(words[0], world.services(), "service")
        return Go(place.name, (service, _its_environment(service, words[1:], world)))
    if place.name == "deploy":
        service = _one_of(words[0], world.services(), "service")
        where = _environment(words[2], world) if len(words) > 2 else world.situation.selection.environment
        return Go(place.name, (service, words[1] if len(words) > 1 else "", where))
    if place.name == "rollout":
        return Go(place.name, (_rollout(words[0], world),))
    if place.name == "theme":
        return Go(place.name, (_one_of(words[0], _themes(world, ()), "theme"),))
    return Go(place.name)


def _environment(word: str, world: World) -> str:
    return _one_of(world.canonical(word), _environments(world, ()), "environment")


def _its_environment(service: str, words: Sequence[str], world: World) -> str:
    """Where a service is looked at: as told, else where one is, else where alone it runs."""
    having = world.having(service)
    if words:
        return _one_of(world.canonical(words[0]), having, f"environment with {service}")
    here = world.situation.selection.environment
    if here in having or len(having) == 1:
        return here if here in having else having[0]
    raise NotUnderstood(f"{service} runs in {', '.join(having)}: say in which")


def _rollout(word: str, world: World) -> str:
    ids = _rollouts(world, ())
    found = [each for each in ids if each.startswith(word)]
    if word in ids or len(found) == 1:
        return word if word in ids else found[0]
    if found:
        raise NotUnderstood(f"{len(found)} rollouts begin with {word}")
    return _one_of(word, ids, "rollout")


def _one_of(word: str, known: Sequence[str], what: str) -> str:
    if word in known:
        return word
    raise NotUnderstood(f"no {what} {word}{_nearest(word, known)}")


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5) or [each for each in known if word and each.startswith(word)]
    return f"; did you mean {near[0]}?" if near else ""


def offers(line: str, world: World) -> tuple[Offer, ...]:
    """How ``line`` can go on, best first: names that begin with it, then names in which it occurs."""
    words = line.split(" ")
    if len(words) == 1:
        return _commands(words[0], world)
    place = BY_NAME.get(words[0])
    before = [word for word in words[1:-1] if word]
    if place is None or len(before) >= len(place.choices):
        return ()
    found = _matching(words[-1], place.choices[len(before)](world, before))
    return tuple(Offer(" ".join([words[0], *before, each]), f"{place.name} {place.usage}") for each in found[:MOST_OFFERED])


def _commands(typed: str, world: World) -> tuple[Offer, ...]:
    screen = world.situation.screen
    found: list[Offer] = []
    for name in _matching(typed, [*NAMES, *(place.name for place in PLACES if place.name != "q")]):
        action = NAMES.get(name)
        if action is None:
            place = BY_NAME[name]
            reason = BY_ID[place.action].refusal(world.situation) if place.action else None
            usage = f"{place.usage}: " if place.usage else ""
            found.append(Offer(name, f"not now: {reason}" if reason else f"{usage}{place.help}", reason is None))
        elif not action.screens or screen in action.screens:
            reason = action.refusal(world.situation)
            now = label_for(action, world.situation)
            says = f"{now}. {action.help}" if now != action.label else action.help
            found.append(Offer(name, f"not now: {reason}" if reason else says, reason is None))
    return tuple(found)


def _matching(typed: str, names: Sequence[str]) -> list[str]:
    folded = typed.casefold()
    first = sorted(name for name in names if name.casefold().startswith(folded))
    return [*first, *sorted(name for name in names if folded in name.casefold() and name not in first)]


def completed(line: str, found: Sequence[Offer]) -> str:
    """``line`` as far as tab takes it: what all that begin with it have in common, and the first of them where it is that."""
    lines = [offer.line for offer in found]
    lines = [each for each in lines if each.startswith(line)] or lines
    if not lines:
        return line
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*lines, strict=False))
    common = "".join(letters[0] for letters in alike)
    chosen = common if len(common) > len(line) and common.startswith(line) else lines[0]
    place = BY_NAME.get(chosen.split(" ")[0])
    more = place is not None and len(chosen.split()) - 1 < len(place.choices) and chosen in lines and len(lines) == 1
    return f"{chosen} " if more else chosen


class History:
    """The lines that were typed before; up and down go through them."""

    def __init__(self, lines: Sequence[str] = (), *, most: int = 100) -> None:
        self._most = most
        self._lines = list(lines)[-most:]
        self._place = len(self._lines)
        self._draft = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)

    def begin(self) -> None:
        """Stand behind the newest."""
        self._place, self._draft = len(self._lines), ""

    def add(self, line: str) -> None:
        """Keep a line, once, as the newest."""
        if line:
            self._lines = [*(each for each in self._lines if each != line), line][-self._most :]
        self.begin()

    def move(self, by: int, now: str) -> str:
        """The line ``by`` places from here; behind the newest stands what was being typed (``now``)."""
        if self._place == len(self._lines):
            self._draft = now
        self._place = max(0, min(len(self._lines), self._place + by))
        return self._lines[self._place] if self._place < len(self._lines) else self._draft
