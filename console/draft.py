"""Values between the session and the screens: a deploy on its way to the confirmation, answers, and what a rollback restores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.model.release import Release
from services.model.steps import Plan

if TYPE_CHECKING:
    from services.rollout.immediate import Immediate


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated release and its plan. Its digest is what the operator confirms."""

    release: Release
    plan: Plan


@dataclass(frozen=True, slots=True)
class Answer:
    """What an intent led to, for the operator; ``key`` is the rollout it is about."""

    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rollback would restore, a line each."""

    title: str
    lines: tuple[str, ...]


def answer_to(done: Immediate) -> Answer:
    """What a rollback at once has come to, in words."""
    place = f"{done.rollout.release.service} in {done.rollout.release.target.environment}"
    if done.joined:
        text = f"{place} is being rolled back already: joined"
    elif done.problem is not None:
        text = f"{place}: the first patch was not accepted ({done.problem.title}); a driver goes on trying"
    elif done.seconds is None:
        text = f"{place}: a driver rolls it back"
    else:
        text = f"{place}: {done.object} restored, accepted in {done.seconds * 1000:.0f} ms; a driver verifies"
    return Answer(text, done.rollout.id)
