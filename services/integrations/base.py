"""What the house asks of outside systems, one Protocol a kind."""

import re
from typing import Protocol

import msgspec

from services.model.errors import NotFound, Unavailable
from services.model.gates import Ticket

TICKET_KEY = "a ticket key such as CHG-4821"

_KEY = re.compile(r"[A-Z][A-Z0-9_]+-[1-9][0-9]*")
_MAX_KEY = 64


def is_ticket_key(text: str) -> bool:
    """Whether ``text`` has the form of a ticket's key, and so may become part of a URL."""
    return len(text) <= _MAX_KEY and _KEY.fullmatch(text) is not None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a ticket system. ``active`` is false for one that was closed; ``server_time`` is the system's own clock in
    Unix seconds, at the moment it answered (``None`` where it did not say)."""

    id: str
    display_name: str
    active: bool
    server_time: float | None


class TicketSystem(Protocol):
    """Where change tickets live. Asked live, every time: nothing is remembered."""

    async def account(self, id: str = "") -> Account | None:
        """The account that our credentials belong to, or the one of that id: ``None`` where there is none, or none we may see.

        Raises :class:`TicketUnavailable` where the system could not be asked, and where it refuses our credentials.
        """

    async def ticket(self, key: str) -> Ticket:
        """The ticket as it stands now.

        Raises :class:`TicketNotThere` where the system shows none of that key, :class:`TicketUnavailable` where it could not be
        asked or its answer can't be trusted, and :class:`services.model.errors.Rejected` for a key that is none.
        """

    async def close(self) -> None: ...


class TicketUnavailable(Unavailable):
    """The ticket's state is unknown: not reached, not allowed, too slow, or an answer that makes no sense."""


class TicketNotThere(NotFound):
    """No ticket of that key, or none that our account may see: the system does not tell the two apart."""
