"""Alerts that fire for a service: one adapter a file behind one Protocol."""

from services.integrations.alerts.base import AlertSource, AlertsRefused, AlertsUnavailable
from services.integrations.alerts.opening import open_alerts

__all__ = ["AlertSource", "AlertsRefused", "AlertsUnavailable", "open_alerts"]
