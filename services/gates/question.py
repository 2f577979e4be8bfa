"""What a gate is asked, and the form of its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from services.clock import Clock
from services.integrations.base import TicketSystem
from services.model.gates import GateOutcome, Person, Ticket
from services.model.release import Release, Tier
from services.model.rollout import Record
from services.model.steps import Plan
from services.settings import Policy, Settings

FindRecords = Callable[[str], Awaitable[Sequence[Record]]]
"""The records that finished rollouts of a service left in the clusters; raises where a cluster can't be asked."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A gate's answer: see :class:`services.model.gates.GateResult`, which adds the gate's name and the time."""

    outcome: GateOutcome
    evidence: str
    detail: str = ""
    source: str = ""
    people: tuple[str, ...] = ()


class TicketOnce:
    """The release's ticket, asked for at most once however many gates want it; what went wrong is told to each of them."""

    def __init__(self, tickets: TicketSystem, key: str, clock: Clock) -> None:
        self._tickets = tickets
        self._key = key
        self._clock = clock
        self._asking: asyncio.Task[tuple[Ticket, float]] | None = None

    async def get(self) -> tuple[Ticket, float]:
        """The ticket, and the wall seconds its system took to answer."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # Shielded: one gate that gives up must not take the answer from the other.
        return await asyncio.shield(self._asking)

    async def cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> tuple[Ticket, float]:
        asked = self._clock.monotonic()
        ticket = await self._tickets.ticket(self._key)
        return ticket, self._clock.monotonic() - asked


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a gate may look at. ``ticket`` is ``None`` where no ticket system is configured or no ticket was named."""

    release: Release
    plan: Plan
    settings: Settings
    operator: Person | None
    confirmed: str | None
    ticket: TicketOnce | None
    find_records: FindRecords
    clock: Clock

    @property
    def policy(self) -> Policy:
        return self.settings.policy[self.release.target.tier]

    @property
    def production(self) -> bool:
        return self.release.target.tier is Tier.PRODUCTION
