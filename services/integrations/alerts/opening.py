"""The configured source of alerts, whichever it is."""

from services.clock import Clock
from services.integrations.alerts.base import AlertSource
from services.settings import Settings
from services.settings.secrets import SecretRegister


def open_alerts(settings: Settings, *, redactor: SecretRegister, clock: Clock) -> AlertSource | None:
    """An adapter for ``alerts:`` of the configuration, or ``None`` where there is none. Opens no connection yet."""
    if settings.alerts is None:
        return None
    # Imported here: the HTTP client costs a tenth of a second that a start without alerts need not pay.
    from services.integrations.alerts.alertmanager import Alertmanager

    return Alertmanager(settings.alerts, redactor=redactor, clock=clock)
