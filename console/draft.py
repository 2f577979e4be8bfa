"""Values between the session and the screens: a deploy on its way to the confirmation, answers, and what a rollback restores."""

from dataclasses import dataclass

from services.model.release import Release
from services.model.steps import Plan


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
