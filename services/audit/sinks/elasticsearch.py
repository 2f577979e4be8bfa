"""Elasticsearch and OpenSearch through ``_bulk``.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
https://docs.opensearch.org/latest/api-reference/document-apis/bulk/

Exactly once: each entry is a ``create`` with an ``_id`` of its own in an index that its own time decides, so that whatever is
sent again meets itself (409) there. A 201 is worth its name where ``index.translog.durability`` is ``request``, the default.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import httpx
import msgspec

from services.audit.sinks.base import Answer, Assurance, Delivery, Limits, Probe, Record, Trouble
from services.audit.sinks.ecs import document
from services.audit.sinks.target import HttpTarget, Reply, probe_of, secret_missing
from services.clock import Clock
from services.model.objects import Json
from services.settings.load import SecretGuard
from services.settings.secrets import SecretUnavailable
from services.settings.sinks import Elasticsearch, OpenSearch

_BULK = "/_bulk?filter_path=errors,items.*.status,items.*.error,items.*._id"
_FLOOD = "/12/"
"""The number of the block that a node sets on its indices when its disk is nearly full, and takes away by itself."""
_OF_THE_INDEX = frozenset({"invalid_index_name_exception", "index_closed_exception", "invalid_alias_name_exception"})
_NO_PLACE = ("no write index is defined for alias", "only write ops with an op_type of create are allowed in data streams")
"""Refusals with 400 that are about where entries are put, not about one of them."""


_FORBIDDEN = 403
_NO_INDEX = "index_not_found_exception"
_NOT_ALLOWED = "security_exception"


class _Error(msgspec.Struct):
    type: str = ""
    reason: str = ""
    caused_by: "_Error | None" = None

    def __str__(self) -> str:
        said = f"{self.type}: {self.reason}" if self.reason else self.type
        return f"{said} ({self.caused_by})" if self.caused_by else said


class _Item(msgspec.Struct):
    status: int
    id: str = msgspec.field(name="_id", default="")
    error: _Error | str | None = None


class _Bulk(msgspec.Struct):
    errors: bool
    items: list[dict[str, _Item]]


class _Found(msgspec.Struct):
    id: str = msgspec.field(name="_id", default="")
    found: bool | None = None
    error: _Error | None = None
    source: dict[str, Json] = msgspec.field(name="_source", default_factory=dict)

    @property
    def hash(self) -> str:
        """Of the entry that is there; empty where that is not told."""
        event = self.source.get("event")
        found = event.get("hash") if isinstance(event, dict) else None
        return found if isinstance(found, str) else ""


class _Got(msgspec.Struct):
    docs: list[_Found]


_bulk = msgspec.json.Decoder(_Bulk)
_got = msgspec.json.Decoder(_Got)


class ElasticsearchSink:
    """See :class:`services.audit.sinks.base.Sink`."""

    assurance = Assurance.DURABLE
    limits = Limits()
    unordered = True

    def __init__(
        self,
        section: Elasticsearch | OpenSearch,
        *,
        secrets: SecretGuard,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = section.label
        self.kind = str(section.kind)
        self._section = section
        self._target = HttpTarget(
            section.url, secrets=secrets, clock=clock, timeout=section.timeout, ca_file=section.ca_file, transport=transport
        )
        self._clock = clock

    def size(self, record: Record) -> int:
        return len(self._action(record)) + len(document(record)) + 2

    async def send(self, batch: Sequence[Record]) -> Delivery:
        body = b"".join(b"%s\n%s\n" % (self._action(record), document(record)) for record in batch)
        reply = await self._ask("POST", _BULK, body, "application/x-ndjson")
        if isinstance(reply, Delivery):
            return reply
        if (trouble := self._target.troubled(reply)) is not None:
            return trouble
        return await self._told_apart(batch, self._judged(batch, reply))

    async def missing(self, records: Sequence[Record]) -> Sequence[int] | None:
        docs = await self._got(records)
        if docs is None or isinstance(docs, Delivery):
            return None
        # An index that is not there is an error of its document, which has no ``found`` then: missing as well.
        there = {found.id for found in docs if found.found}
        return [record.seq for record in records if record.id not in there]

    async def holds(self, record: Record) -> bool | Delivery:
        """See :class:`services.audit.sinks.base.Knowing`. A key that may only create documents can't ask."""
        docs = await self._got([record])
        if docs is None or isinstance(docs, Delivery):
            return docs or False
        (found,) = docs
        return bool(found.found) and (self._another(record, found) or True)

    async def withdraw(self, record: Record) -> str:
        """See :class:`services.audit.sinks.base.Withdrawing`. A key that may only create documents can't: that is told."""
        there = msgspec.structs.replace(record, substitute=True)
        action = msgspec.json.encode({"delete": {"_index": self._index(record.timestamp), "_id": there.id}})
        reply = await self._ask("POST", _BULK, action + b"\n", "application/x-ndjson")
        if isinstance(reply, Delivery):
            return reply.detail
        if (trouble := self._target.troubled(reply)) is not None:
            return trouble.detail
        try:
            (item,) = _bulk.decode(reply.body).items
            (found,) = item.values()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            return f"{self._target.host} answered with something that is not the answer to a bulk request"
        # 404: somebody has taken it away before, or it was in an index that is gone.
        return "" if found.status in (200, 404) else self._said(found)

    async def _got(self, records: Sequence[Record]) -> Sequence[_Found] | Delivery | None:
        """What is stored under the ids of ``records``, or the trouble that asking met; ``None`` where we may not ask."""
        wanted = [{"_index": self._index(record.timestamp), "_id": record.id, "_source": ["event.hash"]} for record in records]
        path = "/_mget?filter_path=docs._id,docs.found,docs.error.type,docs._source.event.hash"
        reply = await self._ask("POST", path, msgspec.json.encode({"docs": wanted}), "application/json")
        if isinstance(reply, Delivery):
            return reply
        if reply.status == _FORBIDDEN:
            return None
        if (trouble := self._target.troubled(reply)) is not None:
            return trouble
        try:
            docs = _got.decode(reply.body).docs
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            docs = []
        kinds = {found.error.type for found in docs if found.error is not None}
        if _NOT_ALLOWED in kinds:
            return None
        # An index that is not there holds nothing. Any other error says nothing of what is there.
        if odd := sorted(kinds - {_NO_INDEX}):
            return Delivery(
                trouble=Trouble.UNREACHABLE, detail=self._target.inert(f"{self._target.host} can't say what it has: {odd[0]}")
            )
        if len(docs) == len(records) and all(found.found is not None or found.error is not None for found in docs):
            return docs
        return Delivery(
            trouble=Trouble.UNREACHABLE, detail=f"{self._target.host} answered with something that is not what was asked for"
        )

    async def _told_apart(self, batch: Sequence[Record], delivery: Delivery) -> Delivery:
        """``delivery``, unless what is there already under an entry's number is another entry: a journal that was restored from
        an older copy gives numbers out once more. Where that can't be looked at (a key that may only create) the number has to
        do."""
        answers = zip(batch, delivery.answers, strict=False)  # none of them, where the batch as a whole met trouble
        twice = {record.id: record for record, answer in answers if answer is Answer.DUPLICATE}
        if not twice:
            return delivery
        docs = await self._got(list(twice.values()))
        if docs is None or isinstance(docs, Delivery):
            return docs if docs and docs.trouble in (Trouble.UNREACHABLE, Trouble.BUSY) else delivery
        for found in docs:
            if found.id in twice and (another := self._another(twice[found.id], found)) is not None:
                return another
        return delivery

    def _another(self, record: Record, found: "_Found") -> Delivery | None:
        """The trouble, where what is ``found`` under the id of ``record`` is another entry."""
        if not found.hash or found.hash == record.hash:
            return None
        what = f"holds another entry under the number {record.seq} of this journal"
        why = "which was restored from an older copy, or rewritten: another 'index' takes all of it"
        return Delivery(trouble=Trouble.HOLD, detail=f"{self._target.host} {what}, {why}")

    async def probe(self) -> Probe:
        """Whether address, credentials and index are good, without storing anything: a document is sent that can't be one. It is
        refused for that (400) only after everything else was found good; a key that may only create passes too."""
        index = self._index(self._clock.unix())
        action = msgspec.json.encode({"create": {"_index": index, "_id": "quarterdeck:probe"}})
        reply = await self._ask("POST", _BULK, action + b"\n[]\n", "application/x-ndjson")
        if isinstance(reply, Delivery):
            return probe_of(reply)
        if (trouble := self._target.troubled(reply)) is not None:
            return probe_of(trouble)
        try:
            (item,) = _bulk.decode(reply.body).items
            (found,) = item.values()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            detail = f"{self._target.host} answers, but not as Elasticsearch or OpenSearch does"
            return Probe(ok=False, detail=detail, hint="Correct the address: it is the one of the cluster's HTTP interface.")
        answer = _answer(found)
        if answer in (Answer.DELIVERED, Answer.DUPLICATE, Answer.REJECTED):
            return Probe(ok=True, detail=f"{self._target.host} takes entries for {index}")
        detail = self._target.inert(f"{self._target.host} takes nothing for {index}: {found.status} {found.error or ''}")
        if answer is Answer.RETRY:
            return probe_of(Delivery(trouble=Trouble.BUSY, detail=detail))
        return Probe(ok=False, detail=detail, hint="Correct 'index', or give the credentials the privilege to create documents.")

    async def close(self) -> None:
        await self._target.close()

    def _judged(self, batch: Sequence[Record], reply: Reply) -> Delivery:
        """A 200 only says that the request was read: each item has a status of its own."""
        try:
            answer = _bulk.decode(reply.body)
            items = [next(iter(item.values())) for item in answer.items if len(item) == 1]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            items = []
        if len(items) != len(batch) or any(item.id != record.id for item, record in zip(items, batch, strict=True)):
            # Nothing can be told from it; what was stored all the same meets itself at the next attempt.
            detail = f"{self._target.host} answered {reply.status} with something that is not the answer to a bulk request"
            return Delivery(trouble=Trouble.UNREACHABLE, detail=detail)
        answers, reasons, said = [], {}, ""
        for position, item in enumerate(items):
            found = _answer(item)
            if found is None:
                return Delivery(trouble=Trouble.HOLD, detail=self._said(item))
            answers.append(found)
            if found is Answer.REJECTED:
                reasons[position] = self._said(item)
            if found in (Answer.REJECTED, Answer.RETRY):
                said = said or self._said(item)
        return Delivery(answers=tuple(answers), reasons=reasons, detail=said)

    def _said(self, item: _Item) -> str:
        return self._target.inert(f"{self._target.host}: {item.status} {item.error or ''}")

    async def _ask(self, method: str, path: str, content: bytes, kind: str) -> Reply | Delivery:
        try:
            headers = {"Content-Type": kind, "Accept": "application/json", **self._credentials()}
        except SecretUnavailable as error:
            return secret_missing(error)
        return await self._target.ask(method, path, headers=headers, content=content)

    def _credentials(self) -> Mapping[str, str]:
        section = self._section
        if isinstance(section, Elasticsearch) and section.api_key is not None:
            key = self._target.reveal(section.api_key)
            # ``id:key`` as it is shown once, or already in the form that the header wants.
            return {"Authorization": f"ApiKey {_base64(key) if ':' in key else key}"}
        if section.password is not None:
            return {"Authorization": f"Basic {_base64(f'{section.user}:{self._target.reveal(section.password)}')}"}
        if section.token is not None:
            return {"Authorization": f"Bearer {self._target.reveal(section.token)}"}
        return {}

    def _action(self, record: Record) -> bytes:
        return msgspec.json.encode({"create": {"_index": self._index(record.timestamp), "_id": record.id}})

    def _index(self, timestamp: float) -> str:
        """By the entry's own month: at any later attempt it is the same index, where the entry is found to be there."""
        return f"{self._section.index}-{datetime.fromtimestamp(timestamp, UTC):%Y.%m}"


def _answer(item: _Item) -> Answer | None:
    """What the status of one item says about it; ``None`` where it says something about the configuration."""
    status, error = item.status, item.error
    kind, text = (error.type, str(error)) if isinstance(error, _Error) else ("", str(error or ""))
    if status in (200, 201):
        return Answer.DELIVERED
    if status == 409:
        return Answer.DUPLICATE
    if status in (408, 429) or status >= 500:
        return Answer.RETRY
    if kind == "cluster_block_exception" and _FLOOD in text:
        return Answer.RETRY
    if status in (401, 403, 404) or kind in _OF_THE_INDEX or any(words in text for words in _NO_PLACE):
        return None
    return Answer.REJECTED if 400 <= status < 500 else Answer.RETRY


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
