"""Splunk's HTTP Event Collector."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import Line, Url, ranged
from services.settings.sinks.base import SinkSection, check_clear

SplunkIndex = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_][a-z0-9_-]{0,199}$")]


class Splunk(SinkSection):
    """An HTTP Event Collector. ``acknowledge``: the token has indexer acknowledgement on, and an entry counts as delivered once
    it is indexed. ``event_bytes``: what Splunk cuts an event to (``TRUNCATE`` of the source type); longer ones are never sent."""

    kind: Literal["splunk"]
    url: Url = Field(description="the address of the collector, e.g. https://splunk.example.com:8088")
    token: SecretRef = Field(description=ACCEPTED)
    index: SplunkIndex | None = Field(default=None, description="the name of an index; absent: the default of the token")
    source: Line = Field(default="quarterdeck", description="one line of text, the source of the events")
    sourcetype: Line = Field(default="quarterdeck:audit", description="one line of text, the source type of the events")
    acknowledge: bool = Field(default=False, description="true or false: the token has indexer acknowledgement on")
    acknowledge_seconds: float = ranged(1, 3600, "seconds", default=300.0)
    event_bytes: int = ranged(1000, 1_000_000, "bytes", default=10_000)

    @model_validator(mode="after")
    def _fits_together(self) -> "Splunk":
        check_clear(self.url, secret=True)
        return self
