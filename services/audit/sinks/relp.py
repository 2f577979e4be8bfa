"""RELP, rsyslog's protocol with an answer for each message, over TLS or on loopback. No client for Python is kept up.

https://www.rsyslog.com/doc/tutorials/reliable_forwarding.html . Each batch has a connection of its own: opened, its messages sent
with a window of them unanswered, closed. What got no answer before the connection broke is sent again.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Trouble
from services.audit.sinks.oversize import fit
from services.audit.sinks.relpframe import Frame, NotRelp, after, encode, read
from services.audit.sinks.syslog import encoded, too_long
from services.audit.sinks.target import CONNECT_SECONDS, probe_of
from services.audit.sinks.tls import context, refusal, trouble
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.sinks.syslog import Relp

_OFFERS = b"relp_version=0\nrelp_software=quarterdeck\ncommands=syslog"
_WINDOW = 128
"""Messages without an answer at most, as librelp has it."""
_TAKEN = 200
_CLOSE_SECONDS = 1.0


class _Refused(ConnectionError):
    """The receiver answers, and won't have us."""


class RelpSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    kind = "relp"
    unordered = False

    def __init__(self, section: Relp, *, secrets: SecretGuard, clock: Clock) -> None:
        self.name = section.label
        self.assurance = Assurance.DURABLE if section.queues_on_disk else Assurance.ACCEPTED
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
        codes: list[int] = [0] * len(fitting.records)
        failed = await self._talk([messages[record.id] for record in fitting.records], codes)
        return fitting.delivery(_judged(codes, failed, self._host))

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """The protocol has no way to ask."""
        return None

    async def probe(self) -> Probe:
        """A session without a message."""
        failed = await self._talk([], [])
        if failed is not None:
            return probe_of(failed)
        return Probe(ok=True, detail=f"{self._host} takes messages by RELP")

    async def close(self) -> None:
        """Nothing is open between batches."""

    async def _talk(self, messages: Sequence[bytes], codes: list[int]) -> Delivery | None:
        """Send ``messages`` and note the code of each answer in ``codes``. The trouble that was met, if any."""
        section = self._section
        tls = await asyncio.to_thread(context, section.ca_file, section.certificate, section.key) if section.tls else None
        if isinstance(tls, Delivery):
            return tls
        writer = None
        try:
            async with asyncio.timeout(section.timeout):
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        section.host, section.port, ssl=tls, server_hostname=section.host if tls else None
                    )
                await self._exchange(reader, writer, messages, codes)
        except _Refused as error:
            return Delivery(trouble=Trouble.HOLD, detail=self._secrets.text(str(error)))
        except NotRelp:
            return Delivery(trouble=Trouble.HOLD, detail=f"{self._host} does not speak RELP")
        except ConnectionError as error:
            # A refusal of our certificate looks like any reset to whoever writes; without a message it can be heard.
            heard = await refusal(tls, section.host, section.port, section.timeout) if tls else None
            return trouble(self._host, heard or error, self._secrets.text)
        except (OSError, TimeoutError) as error:
            return trouble(self._host, error, self._secrets.text)
        finally:
            if writer is not None:
                writer.transport.abort()
        return None

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: Sequence[bytes], codes: list[int]
    ) -> None:
        writer.write(encode(Frame(1, "open", _OFFERS)))
        opened = await _answer(reader)
        if opened.number != 1 or opened.code != _TAKEN or b"syslog" not in opened.data:
            raise _Refused(f"{self._host} refuses to open: code {opened.code}")
        number, places = 1, {}
        for place, message in enumerate(messages):
            number = after(number)
            places[number] = place
            writer.write(encode(Frame(number, "syslog", message)))
            await writer.drain()
            if len(places) >= _WINDOW:
                await _note(reader, places, codes)
        while places:
            await _note(reader, places, codes)
        # All is answered already: an end that goes wrong costs nothing.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                writer.write(encode(Frame(after(number), "close")))
                await _answer(reader)


async def _answer(reader: asyncio.StreamReader) -> Frame:
    frame = await read(reader)
    if frame.command == "serverclose":
        raise ConnectionResetError("the receiver is ending")
    if frame.command != "rsp":
        raise NotRelp(frame.command)
    return frame


async def _note(reader: asyncio.StreamReader, places: dict[int, int], codes: list[int]) -> None:
    frame = await _answer(reader)
    if frame.number not in places:
        raise NotRelp("an answer to nothing")
    codes[places.pop(frame.number)] = frame.code or 500


def _judged(codes: Sequence[int], failed: Delivery | None, host: str) -> Delivery:
    taken = codes.count(_TAKEN)
    if failed is not None and (not taken or failed.trouble is Trouble.HOLD):
        return failed
    detail = failed.detail if failed else ""
    if not taken and len(codes) > 1:
        # Perhaps it is about one of them, perhaps about none: who sends them one by one will see.
        return Delivery(trouble=Trouble.SUSPECT, detail=f"{host} answers every message with {codes[0]}")
    answers = []
    reasons = {}
    for place, code in enumerate(codes):
        if code == _TAKEN:
            answers.append(Answer.DELIVERED)
        elif code == 0:
            answers.append(Answer.RETRY)
        else:
            answers.append(Answer.REJECTED)
            reasons[place] = f"{host} answered {code}"
    return Delivery(answers=tuple(answers), reasons=reasons, detail=detail or next(iter(reasons.values()), ""))
