"""The configured ticket system, whichever it is."""

from services.clock import Clock
from services.integrations.base import TicketSystem
from services.settings import Settings
from services.settings.secrets import SecretRegister


def open_tickets(settings: Settings, *, redactor: SecretRegister, clock: Clock) -> TicketSystem | None:
    """An adapter for ``tickets:`` of the configuration, or ``None`` where there is none. Opens no connection yet."""
    if settings.tickets is None:
        return None
    # Imported here: the HTTP client costs a tenth of a second that a start without tickets need not pay.
    from services.integrations.jira import Jira

    return Jira(settings.tickets, redactor=redactor, clock=clock)
