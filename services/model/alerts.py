"""Alerts that fire, whoever keeps them."""

from datetime import datetime
from typing import Any

import msgspec


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One that fires. ``since`` is wall time by the clock of whoever raised it; ``fingerprint`` stays the same for as long as its
    labels do, however often it fires."""

    name: str
    severity: str
    labels: dict[str, str]
    since: datetime
    fingerprint: str


class AlertsLook(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now: the alerts ``firing`` for a service as they were told at pace second ``at`` (``None``: never), and why
    there is no newer answer (``problem``, empty where there is one)."""

    firing: tuple[Alert, ...] = ()
    at: float | None = None
    problem: str = ""

    @property
    def known(self) -> bool:
        return self.at is not None and not self.problem


class AlertSubject(msgspec.Struct, frozen=True, kw_only=True):
    """Whose alerts are meant: ``workloads`` are the names of all Deployments that run the service."""

    service: str
    namespace: str
    environment: str
    workloads: tuple[str, ...]

    def values(self, template: str) -> frozenset[str]:
        """What a label may say by ``template``: text with {service}, {workload}, {namespace} and {environment}."""
        known: dict[str, Any] = {"service": self.service, "namespace": self.namespace, "environment": self.environment}
        return frozenset(template.format(**known, workload=workload) for workload in (self.workloads or (self.service,)))
