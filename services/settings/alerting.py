"""Where alerts are asked for that fire for a service (R5.5)."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import FilePath, Line, Section, Url, broken, is_loopback, ranged
from services.settings.sources import LabelName

PLACES = ("service", "workload", "namespace", "environment")
"""What a template may hold, in braces. ``workload`` is the name of any Deployment that runs the service."""
_PLACE = re.compile(r"\{([^{}]*)\}")


def _template(text: str) -> str:
    accepted = "text with " + ", ".join(f"{{{place}}}" for place in PLACES)
    if not text:
        raise broken("is empty", accepted)
    if unknown := set(_PLACE.findall(text)) - set(PLACES):
        raise broken(f"holds a placeholder that is not known: {{{min(unknown)}}}", accepted)
    if "{" in _PLACE.sub("", text) or "}" in _PLACE.sub("", text):
        raise broken("has a brace of no placeholder", accepted)
    return text


Template = Annotated[Line, AfterValidator(_template)]
Labels = Annotated[dict[LabelName, Template], Field(max_length=20)]


class AlertMatch(Section):
    """The labels that say which service an alert is about. An alert is the service's where one of the labels ``service`` has the
    value of its template, and so has one of the labels ``namespace`` (without any: whatever its namespace)."""

    service: Labels = Field(
        default={"service": "{service}", "app": "{service}", "deployment": "{workload}"},
        min_length=1,
        description="templates by label, e.g. {service: '{service}'}",
    )
    namespace: Labels = Field(
        default={"namespace": "{namespace}"}, description="templates by label, e.g. {namespace: '{namespace}'}; {}: any"
    )


class Alerts(Section):
    """The system whose alerts roll a deploy back. ``timeout`` is the total per question, retries included, in wall seconds."""

    kind: Literal["alertmanager"] = Field(default="alertmanager", description="alertmanager")
    url: Url = Field(description="the address of the Alertmanager, with the path before /api/v2 if it has one")
    token: SecretRef | None = Field(default=None, description=ACCEPTED)
    user: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f:]*$")] = Field(
        default="", description="the user of basic authentication, with password"
    )
    password: SecretRef | None = Field(default=None, description=ACCEPTED)
    ca_file: FilePath | None = Field(default=None, description="a PEM file with the authority that signed its certificate")
    severity_label: LabelName = Field(default="severity", description="the label that holds the severity")
    severities: tuple[Line, ...] = Field(
        default=("critical",), min_length=1, max_length=20, description="severities that roll back, e.g. [critical]"
    )
    match: AlertMatch = AlertMatch()
    timeout: float = ranged(0.1, 60, "seconds", default=5.0)

    @model_validator(mode="after")
    def _fits_together(self) -> "Alerts":
        if bool(self.user) != (self.password is not None):
            raise broken("basic authentication needs both 'user' and 'password'", "user: NAME and password: env:NAME")
        if self.token is not None and self.password is not None:
            raise broken("has both 'token' and 'password'", "one of them")
        secret = self.token is not None or self.password is not None
        if secret and self.url.startswith("http:") and not is_loopback(self.url):
            raise broken("the secret would travel in the clear", "an https:// address (http:// on loopback only)")
        return self
