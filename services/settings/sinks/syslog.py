"""Receivers of syslog: over TLS, and by RELP."""

from ipaddress import IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from services.settings.section import FilePath, Port, broken, is_loopback, ranged
from services.settings.sinks.base import SinkSection


def _host(text: str) -> str:
    if ":" in text and not _is_ipv6(text):
        raise broken("has a port, or is no address", "HOST, without a port, which is 'port'")
    if any(not char.isprintable() or char.isspace() or char in "/@?#" for char in text):
        raise broken("is not the name or address of a host", "HOST, without a port")
    return text


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


Host = Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(_host)]
Printable = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,48}$")]


class _Receiver(SinkSection):
    """``max_bytes``: the longest message that the receiver takes whole (rsyslog: ``maxMessageSize``, 8k unless set); longer
    entries are never sent. ``enterprise``: the private enterprise number under which the structured data is named."""

    host: Host = Field(description="the name or address of the receiver")
    certificate: FilePath | None = Field(default=None, description="a PEM file with our own certificate, where it is asked for")
    key: FilePath | None = Field(default=None, description="a PEM file with its key; absent: it is in 'certificate'")
    max_bytes: int = ranged(2048, 1_000_000, "bytes", default=8192)
    facility: int = ranged(0, 23, "(13 is audit)", default=13)
    enterprise: int = ranged(1, 4_294_967_295, "(a private enterprise number)", default=32473)
    app_name: Printable = Field(default="quarterdeck", description="1 to 48 printable ASCII characters without spaces")

    def _check_key(self) -> None:
        if self.key is not None and self.certificate is None:
            raise broken("has a 'key' but no 'certificate'", "both, or neither")


class Syslog(_Receiver):
    """A receiver of RFC 5424 messages over TLS (RFC 5425). The protocol has no receipt: what it took may be lost all the same."""

    kind: Literal["syslog"]
    port: Port = 6514

    @model_validator(mode="after")
    def _fits_together(self) -> "Syslog":
        self._check_key()
        return self


class Relp(_Receiver):
    """A receiver of RELP, which answers for each message. ``queues_on_disk``: its queue is on a disk (rsyslog: ``queue.type``,
    ``queue.filename`` and ``queue.saveOnShutdown``), so that an answer is worth keeping."""

    kind: Literal["relp"]
    port: Port = 2514
    tls: bool = Field(default=True, description="true or false; false on loopback only")
    queues_on_disk: bool = Field(default=False, description="true or false: the receiver's queue is on a disk")

    @model_validator(mode="after")
    def _fits_together(self) -> "Relp":
        self._check_key()
        host = f"[{self.host}]" if ":" in self.host else self.host
        if not self.tls and not is_loopback(f"http://{host}"):
            raise broken("entries would travel in the clear", "tls: true (false on loopback only)")
        return self
