"""Alerts as an Alertmanager tells them, the adapter that reads them, and a source that tests fill by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from services.clock import Clock, SystemClock
from services.integrations.alerts import AlertsUnavailable
from services.integrations.alerts.alertmanager import Alertmanager
from services.model.alerts import Alert, AlertSubject
from services.redaction import Redactor
from services.settings.alerting import Alerts
from support.configuration import redactor

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT = AlertSubject(
    service="payment-service",
    namespace="production",
    environment="production",
    workloads=("payment-service", "payment-service-canary"),
)
OURS = {"alertname": "Burns", "severity": "critical", "service": "payment-service", "namespace": "production"}


def gettable(labels: dict[str, str], *, fingerprint: str = "6f1d2c3b4a596877", **status: Any) -> dict[str, Any]:
    return {
        "labels": labels,
        "annotations": {},
        "receivers": [{"name": "on-call"}],
        "fingerprint": fingerprint,
        "startsAt": "2026-03-01T12:00:00.000Z",
        "updatedAt": "2026-03-01T12:00:00.000Z",
        "endsAt": "2026-03-01T12:05:00.000Z",
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [], **status},
    }


def section(**keys: Any) -> Alerts:
    """The section ``alerts`` of a configuration, validated as a file's is."""
    return Alerts.model_validate_json(msgspec.json.encode({"url": "https://alerts.example", **keys}))


def adapter(
    answering: Callable[[httpx.Request], httpx.Response] | None = None,
    *,
    guard: Redactor | None = None,
    clock: Clock | None = None,
    **keys: Any,
) -> Alertmanager:
    transport = httpx.MockTransport(answering) if answering is not None else None
    return Alertmanager(section(**keys), redactor=guard or redactor(), clock=clock or SystemClock(), transport=transport)


def alert(name: str, *, since: datetime = NOON, minutes: float = 0.0) -> Alert:
    return Alert(name=name, severity="critical", labels={}, since=since + timedelta(minutes=minutes), fingerprint=name.lower())


class Source:
    """A source of alerts that says what it is given; ``problem``: it can't be asked."""

    host = "alerts.example"

    def __init__(self, *alerts: Alert) -> None:
        self.alerts = alerts
        self.problem = ""
        self.defect: Exception | None = None
        self.asked: list[AlertSubject] = []

    async def firing(self, subject: AlertSubject) -> tuple[Alert, ...]:
        self.asked.append(subject)
        if self.defect is not None:
            raise self.defect
        if self.problem:
            raise AlertsUnavailable("The alerts can't be read", self.problem)
        return self.alerts

    async def close(self) -> None: ...
