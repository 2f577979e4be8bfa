"""Syslog over TLS (RFC 5424 messages, RFC 5425 transport). The standard library's ``SysLogHandler`` has neither.

The protocol has no receipt. The most that can be had is a connection ended in order (see ``tls``), so each batch has one of its
own, and counts as sent once the receiver has ended it too. After that the receiver may still lose all of it.
"""

import asyncio
from collections.abc import Sequence

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record
from services.audit.sinks.oversize import fit
from services.audit.sinks.rfc5424 import counted, message
from services.audit.sinks.target import CONNECT_SECONDS, probe_of
from services.audit.sinks.tls import TlsConnection, context, refusal, trouble
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.sinks.syslog import Relp, Syslog


class SyslogSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    kind = "syslog"
    assurance = Assurance.NONE
    unordered = False

    def __init__(self, section: Syslog, *, secrets: SecretGuard, clock: Clock) -> None:
        self.name = section.label
        self.limits = Limits(entry_bytes=section.max_bytes)
        self._section = section
        self._secrets = secrets
        self._host = f"{section.host}:{section.port}"

    def size(self, record: Record) -> int:
        return len(encoded(self._section, record))

    async def send(self, batch: Sequence[Record]) -> Delivery:
        messages = {record.id: encoded(self._section, record) for record in batch}
        fitting = fit(batch, lambda record: too_long(self._section, messages[record.id]))
        if not fitting.records:
            return fitting.delivery(Delivery())
        failed = await self._carry(b"".join(counted(messages[record.id]) for record in fitting.records))
        return failed or fitting.delivery(Delivery(answers=(Answer.DELIVERED,) * len(fitting.records)))

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """The protocol has no way to ask."""
        return None

    async def probe(self) -> Probe:
        """A connection without a message."""
        failed = await self._carry(b"", listening=True)
        if failed is not None:
            return probe_of(failed)
        return Probe(ok=True, detail=f"{self._host} takes connections; whether it keeps what it is sent, syslog can't say")

    async def close(self) -> None:
        """Nothing is open between batches."""

    async def _carry(self, data: bytes, *, listening: bool = False) -> Delivery | None:
        """The trouble that sending ``data`` met; ``None`` where the receiver read it to its end.

        ``listening``: first hear what it says to our certificate.
        """
        section = self._section
        connection = None
        tls = await asyncio.to_thread(context, section.ca_file, section.certificate, section.key)
        if isinstance(tls, Delivery):
            return tls
        try:
            async with asyncio.timeout(section.timeout):
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await TlsConnection.open(tls, section.host, section.port)
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.handshake()
                if listening:
                    await connection.listen()
                await connection.write(data)
                await connection.end()
        except ConnectionError as error:
            # A refusal of our certificate looks like any reset to whoever writes; without a message it can be heard.
            heard = None if listening else await refusal(tls, section.host, section.port, section.timeout)
            return trouble(self._host, heard or error, self._secrets.text)
        except (OSError, TimeoutError) as error:
            return trouble(self._host, error, self._secrets.text)
        finally:
            if connection is not None:
                connection.abandon()
        return None


def encoded(section: Syslog | Relp, record: Record) -> bytes:
    return message(record, facility=section.facility, enterprise=section.enterprise, app_name=section.app_name)


def too_long(section: Syslog | Relp, message_: bytes) -> str:
    """Why a message can't be sent; empty: it can."""
    size = len(message_)
    if size <= section.max_bytes:
        return ""
    return f"{size} bytes, of which the receiver would keep {section.max_bytes}: raise its longest message, then 'max_bytes'"
