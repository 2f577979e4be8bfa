"""Datadog's intake of logs (v2), and its search to read them back.

https://docs.datadoghq.com/api/latest/logs/#send-logs and …/#search-logs-post . datadog-api-client would do, but its models take a
second to import and its asynchronous half needs another HTTP stack; it checks our requests in the tests instead. It has not been
run against a live account.

A 202 is no receipt: filters and quotas come after it. Entries older than 18 hours are not taken under their own time, so they are
sent as of now; the true time is the attribute ``quarterdeck.timestamp`` of every entry.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import msgspec

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Trouble
from services.audit.sinks.oversize import fit
from services.audit.sinks.summary import headline, program, searched, severity, text
from services.audit.sinks.target import HttpTarget, Reply, probe_of, secret_missing
from services.clock import Clock
from services.model.objects import Json
from services.settings.load import SecretGuard
from services.settings.secrets import SecretUnavailable
from services.settings.sinks.datadog import DatadogLogs

INTAKE = "/api/v2/logs"
SEARCH = "/api/v2/logs/events/search"
VALIDATE = "/api/v1/validate"
SOURCE = "quarterdeck"
MOST_ENTRY = 1_000_000
"""Bytes: a longer entry is cut, and accepted all the same."""
OLDEST = 18 * 3600 - 600
"""Seconds: ten minutes before the limit, for clocks that differ and requests that wait."""
_PAGE = 1000
_MOST_PAGES = 20
_BLOCK = 1000
_AROUND = 120
"""Seconds about the entries' times that are searched."""
_KEYS = "Check the keys, and that 'site' is where their account is."


class _Attributes(msgspec.Struct, frozen=True):
    attributes: dict[str, Json] = {}


class _Found(msgspec.Struct, frozen=True):
    attributes: _Attributes = _Attributes()


class _Page(msgspec.Struct, frozen=True):
    after: str | None = None


class _Meta(msgspec.Struct, frozen=True):
    page: _Page = _Page()
    status: str = "done"


class _Search(msgspec.Struct, frozen=True):
    data: list[_Found]
    meta: _Meta = _Meta()


class DatadogSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    kind = "datadog"
    assurance = Assurance.ACCEPTED
    # Of at most 1,000 entries and 5 MB.
    limits = Limits(entries=1000, batch_bytes=4_500_000, entry_bytes=MOST_ENTRY)
    unordered = False

    def __init__(
        self, section: DatadogLogs, *, secrets: SecretGuard, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = section.label
        self._section = section
        self._clock = clock
        self._intake, self._api = (
            HttpTarget(url, secrets=secrets, clock=clock, timeout=section.timeout, ca_file=section.ca_file, transport=transport)
            for url in (section.intake, section.api)
        )

    def size(self, record: Record) -> int:
        return len(self._encoded(record)) + 1

    async def send(self, batch: Sequence[Record]) -> Delivery:
        fitting = fit(batch, self._cut)
        if not fitting.records:
            return fitting.delivery(Delivery())
        answer = await self._post(b"[%s]" % b",".join(self._encoded(record) for record in fitting.records))
        if isinstance(answer, Delivery):
            return answer
        return fitting.delivery(Delivery(answers=(Answer.DELIVERED,) * len(fitting.records)))

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        """Search all entries of this journal about the times of ``records``. ``None`` without an application key too."""
        if self._section.application_key is None or not records:
            return None if records else ()
        now = self._clock.unix()
        times = [record.timestamp for record in records]
        late = any(now - at > OLDEST - 3600 for at in times)
        since = min(times) - _AROUND
        # What was sent late stands at the time it was sent, which is after its own.
        until = now + _AROUND if late else max(times) + _AROUND
        wanted = {(record.journal, record.seq): record.seq for record in records}
        journals = " OR ".join(sorted({f"journal:{record.journal}" for record in records}))
        blocks = " OR ".join(sorted({_block(record) for record in records}))
        query = f"source:{SOURCE} ({journals}) ({blocks})"
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page: dict[str, Json] = {"limit": _PAGE}
            if cursor is not None:
                page["cursor"] = cursor
            document: Json = {
                "filter": {"query": query, "from": str(int(since * 1000)), "to": str(int(until * 1000))},
                "page": page,
                "sort": "timestamp",
            }
            found = await self._search(document)
            if found is None:
                return None
            for one in found.data:
                wanted.pop(_place(one.attributes.attributes), None)
            cursor = found.meta.page.after
            if not wanted or not cursor:
                return sorted(wanted.values())
        return None

    async def probe(self) -> Probe:
        """The keys are asked about; then one entry under a source of its own, since nothing else shows what the intake does."""
        valid = await self._ask(self._api, "GET", VALIDATE)
        if isinstance(valid, Delivery):
            return probe_of(valid)
        if valid.status != 200 or valid.json() != {"valid": True}:
            told = self._api.troubled(valid) or Delivery(detail=f"{self._api.host} answers, but not as Datadog does")
            return Probe(ok=False, detail=told.detail, hint=_KEYS)
        entry = {"ddsource": f"{SOURCE}-probe", "service": self._section.service, "message": "journal.probe", "status": "info"}
        if isinstance(posted := await self._post(msgspec.json.encode([entry])), Delivery):
            return msgspec.structs.replace(probe_of(posted), hint=_KEYS)
        if self._section.application_key is not None:
            # Not ``missing``: an answer that finds nothing is good enough here.
            query: Json = {"filter": {"query": f"source:{SOURCE}", "from": "now-1m", "to": "now"}, "page": {"limit": 1}}
            if await self._search(query) is None:
                hint = "Check the application key: it needs the scope logs_read_data."
                return Probe(ok=False, detail=f"{self._api.host} takes entries, but can't be searched", hint=hint)
        return Probe(ok=True, detail=f"{self._intake.host} takes entries")

    async def close(self) -> None:
        await self._intake.close()
        await self._api.close()

    async def _post(self, content: bytes) -> Delivery | None:
        """The trouble there was; ``None`` where the intake accepted."""
        reply = await self._ask(self._intake, "POST", INTAKE, content)
        if isinstance(reply, Delivery):
            return reply
        if (trouble := self._intake.troubled(reply)) is not None:
            return trouble
        if reply.status != 202:
            # It was not the intake that said so: whoever did may have stored nothing.
            detail = f"{self._intake.host} answered {reply.status}, which Datadog never does"
            return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
        return None

    async def _search(self, document: Json) -> _Search | None:
        reply = await self._ask(self._api, "POST", SEARCH, msgspec.json.encode(document), compress=False)
        if isinstance(reply, Delivery) or reply.status != 200:
            return None
        try:
            found = msgspec.json.decode(reply.body, type=_Search)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        # "timeout": what it lists is not all there is.
        return found if found.meta.status == "done" else None

    async def _ask(
        self, target: HttpTarget, method: str, path: str, content: bytes = b"", *, compress: bool = True
    ) -> Reply | Delivery:
        try:
            headers = {"Content-Type": "application/json", "DD-API-KEY": target.reveal(self._section.api_key)}
            if path == SEARCH and self._section.application_key is not None:
                headers["DD-APPLICATION-KEY"] = target.reveal(self._section.application_key)
        except SecretUnavailable as error:
            return secret_missing(error)
        return await target.ask(method, path, headers=headers, content=content, compress=compress)

    def _cut(self, record: Record) -> str:
        size = self.size(record)
        return f"{size} bytes, of which Datadog would keep {MOST_ENTRY}" if size > MOST_ENTRY else ""

    def _encoded(self, record: Record) -> bytes:
        late = self._clock.unix() - record.timestamp > OLDEST
        at = self._clock.unix() if late else record.timestamp
        own: dict[str, Json] = {
            "journal": record.journal,
            "seq": record.seq,
            "id": record.id,
            "hash": record.hash,
            "timestamp": text(record, "timestamp") or datetime.fromtimestamp(record.timestamp, UTC).isoformat(),
            **searched(record),
        }
        tags = [f"journal:{record.journal}", _block(record), *self._section.tags]
        if environment := text(record, "environment"):
            tags.append(f"env:{environment}")
        return msgspec.json.encode(
            {
                "ddsource": SOURCE,
                "ddtags": ",".join(tags),
                "hostname": program(record, "host"),
                "service": self._section.service,
                "status": severity(record),
                "timestamp": int(at * 1000),
                "evt": {"name": text(record, "event"), "outcome": text(record, "outcome")},
                "usr": {"id": text(record, "user")},
                SOURCE: own,
                # Words first: a message that is JSON altogether would be taken apart, and its time taken for this entry's.
                "message": f"{headline(record)} {record.body.decode('utf-8', 'replace')}",
            }
        )


def _block(record: Record) -> str:
    """A tag, since tags can be searched by without a facet: so few entries are read back, however far apart in time they are."""
    return f"seq_block:{record.seq // _BLOCK}"


def _place(attributes: dict[str, Json]) -> tuple[str, int]:
    own = attributes.get(SOURCE)
    if not isinstance(own, dict):
        return "", -1
    journal, seq = own.get("journal"), own.get("seq")
    # A substitute stands in for its entry, so it counts as it.
    return (journal, int(seq)) if isinstance(journal, str) and isinstance(seq, int | float) else ("", -1)
