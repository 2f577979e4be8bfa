"""What the house asks of a system that knows which alerts fire."""

from typing import Protocol

from services.model.alerts import Alert, AlertSubject
from services.model.errors import Unavailable


class AlertSource(Protocol):
    """Where alerts are. Asked live, every time: nothing is remembered."""

    host: str
    """Its name, for people."""

    async def firing(self, subject: AlertSubject) -> tuple[Alert, ...]:
        """The alerts of a severity that counts which fire for the service now, the oldest first; neither silenced nor inhibited.

        Raises :class:`AlertsUnavailable` where the system could not be asked or its answer makes no sense, and
        :class:`AlertsRefused` where it refuses the question or our credentials.
        """

    async def close(self) -> None: ...


class AlertsUnavailable(Unavailable):
    """Which alerts fire is unknown: not reached, too slow, or an answer that makes no sense."""


class AlertsRefused(AlertsUnavailable):
    """It answers, and refuses: wrong path, question or credentials."""
