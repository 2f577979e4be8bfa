"""What became of this home's drivers, beside what the clusters show: rollbacks that nobody else knows of, and those given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from console.view import DriverEnd, RollbackAsked, RolloutCard
from services.model.rollout import Phase, Rollout

if TYPE_CHECKING:
    from console.context import Context
    from services.rollout.ends import Kept

LOOK_SECONDS = 1.0
_SHARE, _LONGEST = 20, 5.0
"""A look that takes long is not repeated before that many times as long has passed, up to so many wall seconds: it is to cost a
twentieth of a core at most, and on a machine that is busy with something else it only seems to take long."""

log = logging.getLogger(__name__)


class Ended:
    """Looks into the home directory off the loop; ``on_change`` is called where it has something new."""

    def __init__(self, context: Context, on_change: Callable[[], None]) -> None:
        self._context = context
        self._on_change = on_change
        self._since = context.clock.now()
        self._kept: tuple[Kept, ...] = ()

    async def run(self) -> None:
        """Look until cancelled. A home that can't be read says nothing new."""
        from services.rollout.ends import Ends

        clock, ends, told = self._context.clock, Ends(self._context.home, self._context.clock), False
        while True:
            began = clock.monotonic()
            try:
                found = await asyncio.to_thread(ends.look)
            except OSError:
                if not told:
                    log.exception("how drivers of this home ended can't be read")
                told, found = True, self._kept
            if found != self._kept:
                self._kept = found
                self._on_change()
            await clock.sleep(max(LOOK_SECONDS, min(_LONGEST, _SHARE * (clock.monotonic() - began))))

    @property
    def ends(self) -> tuple[DriverEnd, ...]:
        """The drivers that failed."""
        return tuple(
            DriverEnd(kept.rollout.id, _place(kept.rollout), self._words(kept), kept.at, before=kept.at < self._since)
            for kept in self._kept
            if kept.failed
        )

    def moment_of(self, rollout_id: str) -> datetime | None:
        """When the driver of a rollout ended, if it did. One that lost it to another, as a driver at work does to a rollback from
        here, says nothing of what became of that."""
        return next((kept.at for kept in self._kept if kept.rollout.id == rollout_id and kept.over and not kept.lost), None)

    def beside(self, cards: Iterable[RolloutCard]) -> list[RolloutCard]:
        """The ``cards`` that the clusters show, with what this home knows of them and they don't; and cards for what they don't
        show at all."""
        shown = list(cards)
        kept_of = {kept.rollout.id: kept for kept in self._kept}
        known = {card.key for card in shown}
        found = [self._with(card, kept_of.get(card.key), shown) for card in shown]
        return found + [
            self._card(kept)
            for key, kept in kept_of.items()
            if key not in known and (_under_way(kept) or kept.unsafe) and not _overtaken(kept, shown)
        ]

    def _with(self, card: RolloutCard, kept: Kept | None, shown: Iterable[RolloutCard]) -> RolloutCard:
        if kept is None or not kept.unsafe or _overtaken(kept, shown):
            return card
        rollout = card.rollout
        wordless = kept.ended is None or not kept.ended.title
        told = rollout.phase is Phase.ROLLED_BACK or (rollout.phase is Phase.NEEDS_ATTENTION and wordless)
        newer = rollout.written is not None and rollout.written > kept.at
        return card if told or newer else replace(card, gave_up=self._words(kept))

    def _card(self, kept: Kept) -> RolloutCard:
        """Of a rollback that has no checkpoint: under way, or ended as only this home knows."""
        rollout = kept.rollout
        if kept.over:
            rollout = msgspec.structs.replace(rollout, phase=Phase.NEEDS_ATTENTION)
        return RolloutCard(
            rollout=rollout,
            environment=rollout.release.target.environment,
            watched=True,
            driver="",
            own=True,
            asked=None if kept.over else RollbackAsked(rollout.created),
            gave_up=self._words(kept),
            unstored=True,
        )

    def _words(self, kept: Kept) -> str:
        return self._context.redactor.text(kept.words)


def _place(rollout: Rollout) -> str:
    return f"{rollout.release.service} in {rollout.release.target.environment}"


def _under_way(kept: Kept) -> bool:
    return kept.ended is None and kept.rollout.phase is Phase.ROLLING_BACK


def _overtaken(kept: Kept, shown: Iterable[RolloutCard]) -> bool:
    """Whether something else was begun with the service since: what runs there is its business."""
    return any(
        card.rollout.created > kept.at and card.key != kept.rollout.id and _place(card.rollout) == _place(kept.rollout)
        for card in shown
    )
