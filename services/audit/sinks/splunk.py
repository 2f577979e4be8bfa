"""Splunk's HTTP Event Collector, with and without indexer acknowledgement.

https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector and …/Data/AboutHECIDXAck . Splunk's
own Python SDK does not speak to the collector at all, so it is a POST of ours. Written from the documentation; it has not been
run against a Splunk.

Without acknowledgement a 200 means only that the events look valid. With it, each request gets an ``ackId`` that is asked
about until the collector says, once, that it is indexed. Entries that wait for that are not sent again for
``acknowledge_seconds`` (five minutes, as Splunk advises): a slow indexer must not be fed everything twice.
"""

import uuid
from collections.abc import Sequence, Set

import httpx
import msgspec

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Trouble
from services.audit.sinks.hec import Verdict, judged, said
from services.audit.sinks.oversize import fit
from services.audit.sinks.summary import program
from services.audit.sinks.target import HttpTarget, Reply, probe_of, secret_missing
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.secrets import SecretUnavailable
from services.settings.sinks.splunk import Splunk

EVENT = "/services/collector/event"
ACK = "/services/collector/ack"
HEALTH = "/services/collector/health"
_ACKS_OFF = 14
_ENVELOPE = 1024
"""More than what stands around an event."""
_FIRST_LOOK = 0.1
_LOOK_EVERY = 1.0
_PATIENCE = 8.0
"""Wall seconds that one ``send`` looks for an acknowledgement."""


class _Acks(msgspec.Struct):
    acks: dict[str, bool]


class _Waiting(msgspec.Struct, frozen=True):
    """``since``: when it was sent, on the monotonic clock. ``indexed``: that was told, and not asked for yet."""

    ack: int
    since: float
    indexed: bool = False


class SplunkSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    kind = "splunk"
    unordered = False

    def __init__(
        self, section: Splunk, *, secrets: SecretGuard, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = section.label
        self.assurance = Assurance.DURABLE if section.acknowledge else Assurance.ACCEPTED
        # Splunk Cloud's guidance is 1 MB a request.
        self.limits = Limits(batch_bytes=1_000_000, entry_bytes=section.event_bytes + _ENVELOPE)
        self._section = section
        self._clock = clock
        self._target = HttpTarget(
            section.url, secrets=secrets, clock=clock, timeout=section.timeout, ca_file=section.ca_file, transport=transport
        )
        self._channel = str(uuid.uuid4())
        """Acknowledgements are counted by channel; another process has another."""
        self._waiting: dict[str, _Waiting] = {}
        """By entry: what was sent and was not answered for yet."""
        self._without_acks = False

    def size(self, record: Record) -> int:
        return len(self._encoded(record))

    async def send(self, batch: Sequence[Record]) -> Delivery:
        fitting = fit(batch, self._cut)
        if not fitting.records:
            return fitting.delivery(Delivery())
        if self._section.acknowledge:
            return fitting.delivery(await self._send_and_wait(fitting.records))
        reply = await self._post(fitting.records)
        if isinstance(reply, Delivery):
            return reply
        return fitting.delivery(judged(self._target, reply).parted(len(fitting.records)))

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """The collector can't be asked for events, only Splunk's search could."""
        return None

    async def probe(self) -> Probe:
        """Health, then a request without events, which tells a good token by code 5. Only an event shows whether an index takes
        any, so one goes to a configured index, under a source type of its own."""
        health = await self._ask(HEALTH, method="GET")
        if isinstance(health, Delivery):
            return probe_of(health)
        if said(health).code is None:
            detail = f"{self._target.host} answered {health.status}: there is no event collector"
            return Probe(ok=False, detail=detail, hint="Check 'url' and its port.")
        if health.status != 200:
            return _refused(judged(self._target, health))
        empty = await self._ask(EVENT)
        if isinstance(empty, Delivery):
            return probe_of(empty)
        if said(empty).code != 5:
            return _refused(judged(self._target, empty))
        if self._section.acknowledge:
            acks = await self._ask(ACK, b'{"acks":[]}')
            if isinstance(acks, Delivery):
                return probe_of(acks)
            if said(acks).code in (10, 11, _ACKS_OFF):
                return _refused(judged(self._target, acks))
        if self._section.index is not None:
            kind = f"{self._section.sourcetype}:probe"
            tried = await self._ask(EVENT, self._envelope(b'{"event":"journal.probe"}', self._clock.unix(), sourcetype=kind))
            if isinstance(tried, Delivery):
                return probe_of(tried)
            if not (found := judged(self._target, tried)).taken:
                return _refused(found)
        return Probe(ok=True, detail=f"the event collector at {self._target.host} takes entries")

    async def close(self) -> None:
        await self._target.close()

    async def _send_and_wait(self, records: Sequence[Record]) -> Delivery:
        now = self._clock.monotonic()
        kept = self._section.acknowledge_seconds
        self._waiting = {id_: one for id_, one in self._waiting.items() if now - one.since < kept}
        if self._without_acks and (off := await self._still_without_acks()) is not None:
            return off
        fresh = [record for record in records if record.id not in self._waiting]
        verdict = Verdict()
        if fresh:
            reply = await self._post(fresh)
            if isinstance(reply, Delivery):
                return reply
            verdict = judged(self._target, reply)
            # What was taken before a bad event got no ackId, so it is sent again with the rest. A batch can only be bisected
            # whole: while others in it wait, those are told first.
            if not verdict.taken and (verdict.trouble is not Trouble.SUSPECT or len(fresh) == len(records)):
                return verdict.whole(len(records))
            if verdict.taken:
                if (ack := said(reply).ackId) is None:
                    self._without_acks = True
                    detail = f"{self._target.host} gave no ackId: the token has indexer acknowledgement off"
                    return Delivery(trouble=Trouble.HOLD, detail=detail)
                self._waiting |= {record.id: _Waiting(ack, now) for record in fresh}
        trouble = await self._acknowledged({record.id for record in records} & self._waiting.keys())
        indexed = {record.id for record in records if (one := self._waiting.get(record.id)) and one.indexed}
        if trouble is not None and not indexed:
            return trouble
        for id_ in indexed:
            del self._waiting[id_]
        answers = tuple(Answer.DELIVERED if record.id in indexed else Answer.RETRY for record in records)
        left = answers.count(Answer.RETRY)
        detail = f"{left} of {len(answers)} entries are not acknowledged by the indexers yet" if left else ""
        return Delivery(answers=answers, detail=verdict.detail or detail, retry_after=_LOOK_EVERY if left else None)

    async def _still_without_acks(self) -> Delivery | None:
        """Asked before anything is sent again to a token that gave no ackId: it would be indexed once more at each attempt."""
        acks = await self._ask(ACK, b'{"acks":[]}')
        if isinstance(acks, Delivery):
            return acks
        if said(acks).code == _ACKS_OFF:
            return judged(self._target, acks).whole(0)
        self._without_acks = False
        return None

    async def _acknowledged(self, wanted: Set[str]) -> Delivery | None:
        """Look until all of ``wanted`` are indexed or patience ends. The trouble that asking met, if any.

        A "true" is told once, so each is noted, whomever it is about.
        """
        end = self._clock.monotonic() + _PATIENCE
        pause = _FIRST_LOOK
        while asked := sorted({one.ack for id_, one in self._waiting.items() if id_ in wanted and not one.indexed}):
            told = await self._look(asked)
            if isinstance(told, Delivery):
                return told
            self._waiting = {
                id_: msgspec.structs.replace(one, indexed=True) if one.ack in told else one for id_, one in self._waiting.items()
            }
            if told.issuperset(asked) or self._clock.monotonic() + pause > end:
                break
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY)
        return None

    async def _look(self, acks: Sequence[int]) -> set[int] | Delivery:
        reply = await self._ask(ACK, msgspec.json.encode({"acks": acks}))
        if isinstance(reply, Delivery):
            return reply
        if reply.status != 200:
            return judged(self._target, reply).whole(0)
        try:
            told = msgspec.json.decode(reply.body, type=_Acks).acks
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            detail = f"{self._target.host} answered about acknowledgements with something that is not Splunk's"
            return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
        return {ack for ack in acks if told.get(str(ack)) is True}

    async def _post(self, records: Sequence[Record]) -> Reply | Delivery:
        return await self._ask(EVENT, b"".join(self._encoded(record) for record in records))

    async def _ask(self, path: str, content: bytes = b"", *, method: str = "POST") -> Reply | Delivery:
        try:
            token = self._target.reveal(self._section.token)
        except SecretUnavailable as error:
            return secret_missing(error)
        headers = {
            "Authorization": f"Splunk {token}",
            "Content-Type": "application/json",
            # A token with acknowledgement refuses everything without it; one without does not mind.
            "X-Splunk-Request-Channel": self._channel,
        }
        return await self._target.ask(method, path, headers=headers, content=content)

    def _cut(self, record: Record) -> str:
        limit = self._section.event_bytes
        if len(record.body) <= limit:
            return ""
        return f"of {len(record.body)} bytes Splunk would keep {limit}: raise TRUNCATE of the source type, then 'event_bytes'"

    def _encoded(self, record: Record) -> bytes:
        known = {"journal": record.journal, "seq": str(record.seq), "id": record.id, "hash": record.hash}
        return self._envelope(record.body, record.timestamp, host=program(record, "host"), fields=known)

    def _envelope(
        self, event: bytes, at: float, *, host: str = "", sourcetype: str = "", fields: dict[str, str] | None = None
    ) -> bytes:
        around: dict[str, object] = {"source": self._section.source, "sourcetype": sourcetype or self._section.sourcetype}
        if host:
            around["host"] = host
        if self._section.index is not None:
            around["index"] = self._section.index
        if fields:
            around["fields"] = fields
        # The event is the entry exactly as stored, so that its hash can be computed again from what Splunk shows.
        return b'{"time":%s,"event":%s,%s' % (f"{at:.6f}".encode("ascii"), event, msgspec.json.encode(around)[1:])


def _refused(verdict: Verdict) -> Probe:
    return Probe(ok=False, detail=verdict.detail, hint=verdict.hint or "Look at the health of Splunk itself.")
