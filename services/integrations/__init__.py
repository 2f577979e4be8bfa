"""Outside systems, one adapter a file behind one Protocol a kind."""

from services.integrations.base import TicketNotThere, TicketSystem, TicketUnavailable
from services.integrations.tickets import open_tickets

__all__ = ["TicketNotThere", "TicketSystem", "TicketUnavailable", "open_tickets"]
