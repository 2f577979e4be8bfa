"""Rollouts that this home drove and another took, and taking one over from here: who has it now, and what became of the wish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.draft import Answer
from console.view import Replaced, RolloutCard, phase_word
from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    import subprocess
    from datetime import datetime
    from pathlib import Path

    from console.context import Context
    from console.watching import Watching
    from services.cluster.watched import RolloutWatch


class Takeovers:
    """Knows which rollouts the drivers of ``home`` had, for as long as the console lives; of those before it, what they left."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ours: set[str] = set()
        self._replaced: dict[str, Replaced] = {}
        self._asked: set[str] = set()

    def look(self, watch: RolloutWatch, mine: str, now: datetime) -> Replaced | None:
        """Who replaced this home's driver of a rollout, if anybody but another of this home did. The lease tells it before the
        checkpoint does."""
        from services.rollout.home import has_sign

        rollout, driver = watch.rollout, watch.rollout.driver
        own = driver is not None and driver.home == mine
        holder = watch.lease_holder
        if own and driver is not None and (holder in ("", driver.identity) or has_sign(self._home, rollout.id, holder)):
            self._ours.add(rollout.id)
            self._replaced.pop(rollout.id, None)
            return None
        if driver is None or (rollout.id not in self._ours and not self._was_ours(watch)):
            return None
        # until the new driver has written its first checkpoint only the lease names it
        known = self._replaced.get(rollout.id)
        if not own:
            self._replaced[rollout.id] = Replaced(f"{driver.operator}@{driver.host}", driver.since)
        elif known is None:
            self._replaced[rollout.id] = Replaced(watch.who, now)
        return self._replaced[rollout.id]

    def _was_ours(self, watch: RolloutWatch) -> bool:
        """Whether a driver of this home left word that it was replaced, before this console was opened. Looked for once."""
        from services.rollout.home import read_ended

        rollout = watch.rollout
        if rollout.id in self._asked or rollout.phase.final:
            return False
        self._asked.add(rollout.id)
        ended = read_ended(self._home, rollout.id)
        if ended is None or ended.code != ExitCode.HELD_BY_ANOTHER:
            return False
        self._ours.add(rollout.id)
        return True


async def take_over(
    context: Context, watching: Watching, card: RolloutCard, started: Callable[[subprocess.Popen[bytes]], None]
) -> Answer:
    """Start a driver of this home for the rollout and wait until it has it. Whoever drove before is refused by the API server.

    Raises what the driver ended with, e.g. :class:`Rejected` where the rollout was over by then."""
    from services.rollout.follow import taken_over
    from services.rollout.start import start_driver

    inventory = watching.inventory_of(card.rollout.release.target.context)
    process = start_driver(context, card.key, take_over=True)
    started(process)
    await taken_over(context, inventory, card.rollout, process)
    before = f"; {card.driver} drove it, and is told" if card.watched and not card.own and card.driver else ""
    return Answer(f"this home drives {card.rollout.release.service} in {card.environment} now{before}", card.key)


def must_be_live(card: RolloutCard, newest: RolloutCard | None) -> None:
    """Raise :class:`Rejected` where the rollout ended between what the operator saw and the key."""
    if newest is not None and not newest.live and card.live:
        raise Rejected("rollout", card.key, f"is over: {ending_of(newest)}. Nothing was done", "R, where it is to be taken back")


def ending_of(card: RolloutCard) -> str:
    """How and when a rollout ended, and who drove it."""
    when = f" at {card.rollout.written:%H:%M:%S}Z" if card.rollout.written is not None else ""
    by = f", driven by {card.driver}" if card.driver else ""
    return f"{phase_word(card.rollout.phase)}{when}{by}"
