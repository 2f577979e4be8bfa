"""A collector of OpenTelemetry."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import Url, broken
from services.settings.sinks.base import SinkSection, check_clear

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]
_OURS = frozenset({"content-type", "content-encoding", "content-length", "host", "accept", "transfer-encoding"})


class Otlp(SinkSection):
    """A receiver of OTLP over HTTP, in JSON."""

    kind: Literal["otlp"]
    url: Url = Field(description="the address of the receiver, e.g. https://collector.example.com:4318; /v1/logs is added")
    headers: dict[HeaderName, SecretRef] = Field(
        default={}, max_length=20, description="headers by name, their values by reference: {Authorization: env:NAME}"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Otlp":
        check_clear(self.url, secret=bool(self.headers))
        if taken := sorted(name for name in self.headers if name.lower() in _OURS):
            raise broken(f"sets the header {taken[0]}, which the protocol decides", f"headers of credentials ({ACCEPTED})")
        return self

    @property
    def endpoint(self) -> str:
        """With the path that a base address is completed by; an address that ends with it already is left as it is
        (https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp)."""
        base = self.url.rstrip("/")
        return base if base.endswith("/v1/logs") else f"{base}/v1/logs"
