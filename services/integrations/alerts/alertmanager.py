"""Alerts in Prometheus's Alertmanager, by its API v2: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.

Only the fields that decide are read; an answer that lacks one is no answer, never "no alert".
"""

import asyncio
import base64
import re
import ssl
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import msgspec

from services.clock import Clock
from services.integrations.alerts.base import AlertsRefused, AlertsUnavailable
from services.integrations.http import NoAnswer, get_json
from services.model.alerts import Alert, AlertSubject
from services.settings import SecretUnavailable
from services.settings.alerting import Alerts
from services.settings.secrets import SecretRegister
from services.settings.section import is_loopback

MOST = 500
"""Alerts that may fire for one service: what is remembered of them has to fit into a checkpoint."""
_LONGEST_NAME = 120
_HINT = "Check 'alerts' of the configuration and that it can be reached from here."


class _Status(msgspec.Struct, frozen=True):
    state: str
    silencedBy: list[str] = []
    inhibitedBy: list[str] = []
    mutedBy: list[str] = []

    @property
    def held_back(self) -> bool:
        return self.state == "suppressed" or bool(self.silencedBy or self.inhibitedBy or self.mutedBy)


class _Firing(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    fingerprint: str
    startsAt: datetime
    status: _Status


class Alertmanager:
    """One Alertmanager as a :class:`services.integrations.alerts.base.AlertSource`.

    ``transport`` replaces the network in tests. Secrets are looked up for each question, so they may be rotated meanwhile.
    """

    def __init__(
        self, config: Alerts, *, redactor: SecretRegister, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.host = urlsplit(config.url).netloc
        self._config = config
        self._redactor = redactor
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def firing(self, subject: AlertSubject) -> tuple[Alert, ...]:
        config = self._config
        found = [
            Alert(
                name=_inert(one.labels.get("alertname", "")) or one.fingerprint,
                severity=_inert(one.labels[config.severity_label]),
                labels=one.labels,
                since=one.startsAt,
                fingerprint=one.fingerprint,
            )
            for one in await self._active()
            if not one.status.held_back and self._counts(one.labels) and self._is_about(one.labels, subject)
        ]
        if len(found) > MOST:
            raise self._unavailable(f"lists {len(found)} alerts for {subject.service}, more than {MOST}")
        return tuple(sorted(found, key=lambda alert: (alert.since, alert.name, alert.fingerprint)))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _counts(self, labels: Mapping[str, str]) -> bool:
        return labels.get(self._config.severity_label, "") in self._config.severities

    def _is_about(self, labels: Mapping[str, str], subject: AlertSubject) -> bool:
        match = self._config.match

        def says(templates: Mapping[str, str]) -> bool:
            return any(labels.get(label) in subject.values(text) for label, text in templates.items())

        return says(match.service) and (not match.namespace or says(match.namespace))

    async def _active(self) -> list[_Firing]:
        params = {"active": "true", "silenced": "false", "inhibited": "false", "filter": self._filter()}
        headers = await self._headers()
        try:
            answer = await get_json(
                self._connected(),
                self._config.url.rstrip("/") + "/api/v2/alerts",
                params=params,
                headers=headers,
                seconds=self._config.timeout,
                clock=self._clock,
            )
        except NoAnswer as error:
            raise self._unavailable(str(error)) from None
        if answer.status != 200:
            raise self._refused(answer.status)
        try:
            found = msgspec.convert(answer.document, list[_Firing])
        except msgspec.ValidationError as error:
            raise self._unavailable(f"answered with something that is no list of alerts ({error})") from None
        # A time without its zone can't be compared with any other.
        if any(one.startsAt.tzinfo is None or not 0 < len(one.fingerprint) <= 64 for one in found):
            raise self._unavailable("answered with an alert without a time zone or a fingerprint")
        return found

    def _filter(self) -> str:
        """A matcher for the severities that count; what comes is looked through here all the same."""
        label, severities = self._config.severity_label, self._config.severities
        if len(severities) == 1:
            return f"{label}={_quoted(severities[0])}"
        return f"{label}=~{_quoted('|'.join(re.escape(severity) for severity in severities))}"

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # Environment proxies are for the world outside; a loopback address behind one would never be found.
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=self._config.timeout,
                trust_env=not is_loopback(self._config.url),
                verify=self._verified(),
            )
        return self._client

    def _verified(self) -> ssl.SSLContext | bool:
        file = self._config.ca_file
        if file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(file))
        except (OSError, ssl.SSLError) as error:
            raise self._unavailable(f"has no authority: {file} can't be used ({error})") from None

    async def _headers(self) -> dict[str, str]:
        config = self._config
        headers = {"Accept": "application/json"}
        try:
            # A file may be on a disk that takes its time.
            if config.token is not None:
                token = await asyncio.to_thread(config.token.reveal, self._redactor)
                headers["Authorization"] = f"Bearer {token}"
            elif config.password is not None:
                password = await asyncio.to_thread(config.password.reveal, self._redactor)
                pair = base64.b64encode(f"{config.user}:{password}".encode()).decode()
                self._redactor.register(pair)
                headers["Authorization"] = f"Basic {pair}"
        except SecretUnavailable as error:
            raise AlertsUnavailable(error.title, error.detail, error.hint) from error
        return headers

    def _refused(self, status: int) -> AlertsRefused:
        reasons = {
            400: "does not understand the question (400): is 'severity_label' a label",
            401: "refuses our credentials (401)",
            403: "refuses our credentials (403)",
            404: "has no alerts at this address (404)",
        }
        detail = f"{self.host} {reasons.get(status, f'answered {status}')}."
        return AlertsRefused("The alerts can't be read", detail, _HINT)

    def _unavailable(self, detail: str) -> AlertsUnavailable:
        return AlertsUnavailable("The alerts can't be read", f"{self.host} {_inert(detail)}.", _HINT)


def _quoted(text: str) -> str:
    """A value in a matcher: https://prometheus.io/docs/alerting/latest/configuration/#matcher."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _inert(text: str) -> str:
    """What others wrote as one line that can do nothing, cut."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST_NAME]).split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"
