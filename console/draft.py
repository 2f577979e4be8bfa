"""Values between the session and the screens: a deploy on its way to the confirmation, answers, and what a rollback restores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.model.errors import Forbidden, QuarterdeckError
from services.model.release import Release
from services.model.rollout import Rollout
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
    failed: bool = False
    """It was not done, or not yet."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rollback would restore, a line each, and as it would be carried out. ``warning``: why that may not be what is
    wanted. ``revision``: the one that was asked for, if one was."""

    title: str
    lines: tuple[str, ...]
    rollout: Rollout
    revision: str = ""
    warning: str = ""


def answer_to(done: Immediate) -> Answer:
    """What a rollback at once has come to, in words."""
    place = f"{done.rollout.release.service} in {done.rollout.release.target.environment}"
    if done.problem is not None:
        text = f"{place}: {_not_accepted(done.problem, told=done.joined)}"
    elif done.joined:
        text = f"{place} is being rolled back already: joined"
    elif done.seconds is None:
        text = f"{place}: a driver rolls it back"
    else:
        text = f"{place}: {done.object} restored, accepted in {done.seconds * 1000:.0f} ms; a driver verifies"
    return Answer(text, done.rollout.id, failed=done.problem is not None)


def _not_accepted(problem: QuarterdeckError, *, told: bool) -> str:
    """What became of the first patch, and what happens now. ``told``: the driver at work was, and no other was started."""
    if told:
        return f"the first patch was not accepted ({problem.title}). Your driver has been told to roll back, and goes on trying"
    if isinstance(problem, Forbidden):
        return (
            f"the cluster refused the first patch ({problem.title}). A driver asks again for a few seconds; refused still, it "
            "gives up, and the change is left to somebody who may make it"
        )
    return f"the first patch was not accepted ({problem.title}). A driver goes on trying, and it is said here if it gives up"
