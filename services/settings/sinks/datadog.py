"""Datadog's intake of logs."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import Line, Url
from services.settings.sinks.base import SinkSection, check_clear

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_./-]{0,99}:[a-z0-9_./:-]{1,99}$")]

Site = Literal[
    "datadoghq.com",
    "datadoghq.eu",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
]


class DatadogLogs(SinkSection):
    """An account of Datadog. With ``application_key`` (scope ``logs_read_data``) entries are read back; without it Datadog's
    acceptance is all that is known. ``intake_url`` and ``api_url`` are for a proxy of your own, instead of the site's."""

    kind: Literal["datadog"]
    site: Site = Field(
        default="datadoghq.com",
        description="datadoghq.com, datadoghq.eu, us3., us5., ap1. or ap2.datadoghq.com, ddog-gov.com",
    )
    intake_url: Url | None = Field(default=None, description="absent: https://http-intake.logs.SITE")
    api_url: Url | None = Field(default=None, description="absent: https://api.SITE")
    api_key: SecretRef = Field(description=ACCEPTED)
    application_key: SecretRef | None = Field(default=None, description=ACCEPTED)
    service: Line = Field(default="quarterdeck", description="one line of text, the service that the entries are shown under")
    tags: tuple[Tag, ...] = Field(default=(), max_length=20, description="a list of key:value, e.g. [team:release]")

    @model_validator(mode="after")
    def _fits_together(self) -> "DatadogLogs":
        for url in (self.intake, self.api):
            check_clear(url, secret=True)
        return self

    @property
    def intake(self) -> str:
        return self.intake_url or f"https://http-intake.logs.{self.site}"

    @property
    def api(self) -> str:
        return self.api_url or f"https://api.{self.site}"
