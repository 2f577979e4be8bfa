"""OpenTelemetry's protocol over HTTP, in its JSON encoding.

https://opentelemetry.io/docs/specs/otlp/#otlphttp and https://opentelemetry.io/docs/specs/otel/logs/data-model/ . The SDK's own
exporter batches and retries in a thread and drops what it can't send, without telling which; so it is a POST of ours.

A success is of one hop: the specification says that it "does not span intermediary nodes". What a partial success rejects must
never be sent again, and is not named: all of such a batch goes to the dead letters, where it is kept.
"""

from collections.abc import Mapping, Sequence

import httpx
import msgspec

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Trouble
from services.audit.sinks.summary import Severity, program, searched, severity, text
from services.audit.sinks.target import HttpTarget, Reply, probe_of, secret_missing
from services.clock import Clock
from services.model.objects import Json
from services.settings.load import SecretGuard
from services.settings.secrets import SecretUnavailable
from services.settings.sinks.otlp import Otlp

_AGAIN = frozenset({429, 502, 503, 504})
"""The only statuses that the specification lets a client repeat."""
_SEVERITY = {Severity.INFO: (9, "INFO"), Severity.WARNING: (13, "WARN"), Severity.ERROR: (17, "ERROR")}


class _Partial(msgspec.Struct, frozen=True):
    # Protobuf's JSON writes 64-bit integers as text.
    rejectedLogRecords: int | str | None = None
    errorMessage: str | None = None


class _Success(msgspec.Struct, frozen=True):
    partialSuccess: _Partial | None = None


class OtlpSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    kind = "otlp"
    assurance = Assurance.ACCEPTED
    # Far from any limit of the protocol's: what is rejected in part is lost to the receiver as a whole.
    limits = Limits(entries=100)
    unordered = False

    def __init__(
        self, section: Otlp, *, secrets: SecretGuard, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = section.label
        self._section = section
        self._clock = clock
        self._target = HttpTarget(
            section.endpoint, secrets=secrets, clock=clock, timeout=section.timeout, ca_file=section.ca_file, transport=transport
        )

    def size(self, record: Record) -> int:
        return len(msgspec.json.encode(self._encoded(record))) + 1

    async def send(self, batch: Sequence[Record]) -> Delivery:
        reply = await self._post([self._encoded(record) for record in batch])
        if isinstance(reply, Delivery):
            return reply
        if reply.status != 200:
            return self._troubled(reply)
        success = _success(reply)
        if success is None:
            detail = f"{self._target.host} answered 200 with something that is not OTLP's"
            return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
        rejected, said = success
        said = self._target.inert(said)
        if rejected == 0:
            return Delivery(answers=(Answer.DELIVERED,) * len(batch), detail=said)
        why = f"{rejected} of {len(batch)} rejected{f': {said}' if said else ''}"
        why = why if rejected == len(batch) else f"{why}; the protocol does not say which, and forbids to ask again"
        reasons = dict.fromkeys(range(len(batch)), why)
        return Delivery(answers=(Answer.REJECTED,) * len(batch), reasons=reasons, detail=why)

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """The protocol has no way to ask."""
        return None

    async def probe(self) -> Probe:
        """A request without records, which stores nothing."""
        reply = await self._post([])
        if isinstance(reply, Delivery):
            return probe_of(reply)
        if reply.status != 200:
            return probe_of(self._troubled(reply))
        if _success(reply) is None:
            detail = f"{self._target.host} answers, but not as a receiver of OTLP does"
            return Probe(ok=False, detail=detail, hint="Check 'url': it is the one of OTLP over HTTP, commonly port 4318.")
        return Probe(ok=True, detail=f"{self._target.host} takes entries")

    async def close(self) -> None:
        await self._target.close()

    def _troubled(self, reply: Reply) -> Delivery:
        told = self._target.troubled(reply)
        if told is None:
            detail = f"{self._target.host} answered {reply.status}, which is no answer of OTLP"
            return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
        if told.trouble is Trouble.BUSY and reply.status not in _AGAIN:
            # Not to be repeated, nor to be dropped: kept until the receiver's probe is good.
            return Delivery(trouble=Trouble.HOLD, detail=told.detail)
        return told

    async def _post(self, records: Sequence[Json]) -> Reply | Delivery:
        try:
            headers = {name: self._target.reveal(secret) for name, secret in self._section.headers.items()}
        except SecretUnavailable as error:
            return secret_missing(error)
        scope: Json = {"scope": {"name": "quarterdeck.audit"}, "logRecords": list(records)}
        resource: Json = {"attributes": _attributes({"service.name": "quarterdeck"})}
        document: Json = {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}] if records else []}
        headers["Content-Type"] = "application/json"
        return await self._target.ask("POST", "", headers=headers, content=msgspec.json.encode(document))

    def _encoded(self, record: Record) -> Json:
        number, name = _SEVERITY[severity(record)]
        known = {"log.record.uid": record.id, "quarterdeck.journal": record.journal, "quarterdeck.hash": record.hash}
        known |= {"host.name": program(record, "host")}
        known |= {f"quarterdeck.{key}": value for key, value in searched(record).items()}
        attributes = _attributes({key: value for key, value in known.items() if value})
        attributes.append({"key": "quarterdeck.seq", "value": {"intValue": str(record.seq)}})
        return {
            # Receivers reject what is too old for them; of that the substitute tells now. Its own time is in its body.
            "timeUnixNano": _nanoseconds(self._clock.unix() if record.substitute else record.timestamp),
            "observedTimeUnixNano": _nanoseconds(self._clock.unix()),
            "severityNumber": number,
            "severityText": name,
            "eventName": text(record, "event"),
            "body": {"stringValue": record.body.decode("utf-8", "replace")},
            "attributes": attributes,
        }


def _attributes(values: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _nanoseconds(at: float) -> str:
    """Through microseconds: a float of today's seconds holds no more."""
    return str(round(at * 1_000_000) * 1000)


def _success(reply: Reply) -> tuple[int, str] | None:
    """How many records a 200 rejects, and its words; ``None`` where it is no answer of OTLP."""
    if not reply.body:
        return 0, ""  # a success whose every field has its default
    try:
        partial = msgspec.json.decode(reply.body, type=_Success).partialSuccess or _Partial()
        return max(0, int(partial.rejectedLogRecords or 0)), partial.errorMessage or ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None
