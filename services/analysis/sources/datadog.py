"""Datadog as a source of metrics: counts in buckets of time, by its timeseries query (v2).

API: https://docs.datadoghq.com/api/latest/metrics/#query-timeseries-data-across-multiple-products . Times are milliseconds.
Checked against recorded exchanges; it has not been run against a live account.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import httpx
import msgspec

from services.analysis.histogram import Histogram
from services.analysis.sources.asking import NoData, QueryRefused, Site, inert, secret_missing
from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, Asked, Reading
from services.analysis.sources.ledger import BRIDGED
from services.analysis.sources.subject import Subject
from services.analysis.tally import Tally
from services.analysis.windows import ArmName
from services.clock import Clock
from services.model.objects import Json
from services.settings import Metrics
from services.settings.query import tagged
from services.settings.secrets import SecretRegister, SecretUnavailable
from services.settings.sources import Datadog

BUCKET = 10
"""Seconds of the buckets that are asked for: Datadog keeps no finer ones."""
_HINTS = {401: " (the keys are not accepted)", 403: " (the keys may not ask this)", 429: " (its limit of queries is reached)"}
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,199}")


class Unaskable(ValueError):
    """A placeholder has no value that a query can hold; the text says which."""


def filled(query: str, values: Mapping[str, str]) -> str:
    """The query of one version. Raises :class:`Unaskable` for what is no value of a tag: there is no way to quote one."""
    made = []
    for part in tagged(query):
        if part.place and not _TAG.fullmatch(values[part.place]):
            what = inert(values[part.place])[:60]
            raise Unaskable(f"the {part.place} {what!r} is no value of a tag" if what else f"the {part.place} is not known")
        made.append(values[part.place] if part.place else part.text)
    return "".join(made)


class _Series(msgspec.Struct):
    query_index: int = 0


class _Attributes(msgspec.Struct):
    series: list[_Series] = []
    times: list[float] = []
    values: list[list[float | None]] = []


class _Data(msgspec.Struct):
    attributes: _Attributes


class _Body(msgspec.Struct):
    data: _Data


class _Refusal(msgspec.Struct):
    errors: list[str] = []


Points = Sequence[tuple[float, float]]
"""(Unix second that a bucket begins at, its count)."""


class DatadogAccount:
    """Asks one account. Keys are looked up for each question, so that they may be rotated meanwhile."""

    def __init__(self, config: Datadog, *, register: SecretRegister, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._config = config
        self._register = register
        self._site = Site(f"https://api.{config.site}", seconds=config.timeout, transport=transport)

    @property
    def host(self) -> str:
        return self._site.host

    async def points(self, queries: Sequence[str], since: float, until: float) -> Sequence[Points]:
        """The buckets of each query from one Unix second to another; none where it has no data.

        Raises :class:`NoData`, and :class:`QueryRefused` with Datadog's own message where a query is wrong.
        """
        names = [f"q{index}" for index in range(len(queries))]
        attributes: Json = {
            "from": round(since * 1000),
            "to": round(until * 1000),
            "interval": BUCKET * 1000,
            "formulas": [{"formula": name} for name in names],
            "queries": [
                {"data_source": "metrics", "name": name, "query": query} for name, query in zip(names, queries, strict=True)
            ],
        }
        document: Json = {"data": {"type": "timeseries_request", "attributes": attributes}}
        status, body = await self._site.ask("POST", "/api/v2/query/timeseries", headers=self._headers(), document=document)
        if status != 200:
            raise self._refused(status, body)
        try:
            answer = msgspec.json.decode(body, type=_Body).data.attributes
        except (msgspec.MsgspecError, RecursionError):
            raise NoData(f"{self.host} answered with something that is not Datadog's") from None
        return self._told(answer, len(queries))

    async def close(self) -> None:
        await self._site.close()

    def _told(self, answer: _Attributes, queries: int) -> Sequence[Points]:
        found: list[dict[float, float]] = [{} for _ in range(queries)]
        nonsense = NoData(f"{self.host} answered with series that make no sense")
        if len(answer.series) != len(answer.values):
            raise nonsense
        for one, values in zip(answer.series, answer.values, strict=True):
            if not 0 <= one.query_index < queries or len(values) != len(answer.times):
                raise nonsense
            for at, value in zip(answer.times, values, strict=True):
                if value is None:
                    continue
                if not math.isfinite(value) or value < 0:
                    raise NoData(f"{self.host} answered with {value:g} where a count belongs")
                own = found[one.query_index]
                own[at / 1000] = own.get(at / 1000, 0.0) + value
        return [sorted(points.items()) for points in found]

    def _refused(self, status: int, body: bytes) -> NoData:
        try:
            said = inert("; ".join(msgspec.json.decode(body, type=_Refusal).errors))
        except (msgspec.MsgspecError, RecursionError):
            said = ""
        if status in (400, 422) and said:
            return QueryRefused(said)
        return NoData(f"{self.host} answered {status}{_HINTS.get(status, '')}" + (f": {said}" if said else ""))

    def _headers(self) -> dict[str, str]:
        try:
            return {
                "Accept": "application/json",
                "DD-API-KEY": self._config.api_key.reveal(self._register),
                "DD-APPLICATION-KEY": self._config.application_key.reveal(self._register),
            }
        except SecretUnavailable as error:
            raise secret_missing(error) from None


class DatadogSource:
    """Looks at both versions of what ``subject`` says at the moment. ``transport`` replaces the network in tests.

    Whole buckets are counted that are at least ``datadog.delay`` old: newer ones still grow. A bucket is counted once.
    """

    def __init__(
        self,
        metrics: Metrics,
        subject: Callable[[], Subject],
        *,
        clock: Clock,
        register: SecretRegister,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        assert metrics.datadog is not None
        self._config = metrics.datadog
        self._subject = subject
        self._clock = clock
        self._account = DatadogAccount(metrics.datadog, register=register, transport=transport)
        self._pairs = pairs(metrics)
        self._asked: dict[str, Asked] = {}
        self._told_to: float | None = None
        """Unix second, the end of a bucket."""
        self._since = 0.0

    @property
    def asked(self) -> tuple[Asked, ...]:
        return tuple(self._asked.values())

    async def read(self, at: float) -> Reading:
        now = self._clock.unix()
        until = math.floor((now - self._config.delay) / BUCKET) * BUCKET
        if self._told_to is None or until - self._told_to > BRIDGED + BUCKET:
            why = "" if self._told_to is None else f"no data for {until - self._told_to:.0f} s: counting begins anew"
            self._told_to, self._since = until, at
            return Reading(at=at, since=at, problem=why)
        age = max(0.0, now - self._told_to) * self._clock.speed
        if until <= self._told_to:
            return Reading(at=at, since=self._since, age=age)
        try:
            arms, problem = await self._counted(self._subject(), self._told_to, until)
        except (NoData, Unaskable) as error:
            return Reading(at=at, since=self._since, age=age, problem=str(error))
        if not arms:
            return Reading(at=at, since=self._since, age=age, problem=problem)
        slow = await self._timed(arms, self._told_to, until)
        problem = "; ".join(filter(None, (problem, slow)))
        since, self._since, self._told_to = self._since, at, until
        return Reading(at=at, since=since, arms=arms, age=max(0.0, now - until) * self._clock.speed, problem=problem)

    async def close(self) -> None:
        await self._account.close()

    async def _counted(self, subject: Subject, since: float, until: float) -> tuple[dict[ArmName, dict[str, Tally]], str]:
        there = [arm for arm in ArmName if arm in subject.there]
        if not there:
            return {}, "neither version has pods"
        order = [(arm, name) for arm in there for name in self._pairs]
        queries: list[str] = []
        of: dict[str, list[str]] = {}
        for arm, name in order:
            values = subject.values(arm)
            pair = [filled(query, values) for query in self._pairs[name]]
            queries += pair
            of.setdefault(name, []).extend(pair)
        if len(there) > 1 and queries[0] == queries[len(queries) // 2]:
            raise Unaskable("both versions would be asked for by the same query: nothing in it tells them apart")
        for name, texts in of.items():
            self._asked[name] = Asked(of=(name,), queries=tuple(texts), since=since, at=until)
        points = await self._account.points(queries, since, until)
        sums = [[value for at, value in one if since <= at < until] for one in points]
        arms: dict[ArmName, dict[str, Tally]] = {arm: {} for arm in there}
        for (arm, name), total, bad in zip(order, sums[::2], sums[1::2], strict=True):
            # No point at all is no data; bad events without a point beside events that have some are none.
            if total:
                arms[arm][name] = Tally(total=sum(total), bad=sum(bad))
        if missing := [arm.value for arm in there if ERRORS_NAME not in arms[arm]]:
            return {}, f"no data of {' and '.join(missing)}"
        shared = set.intersection(*(set(found) for found in arms.values()))
        lost = [name for name in self._pairs if name not in shared]
        told = {arm: {name: arms[arm][name] for name in sorted(shared)} for arm in there}
        return told, f"no data of {', '.join(lost)}" if lost else ""

    async def _timed(self, arms: dict[ArmName, dict[str, Tally]], since: float, until: float) -> str:
        """Put the durations of every version into ``arms``, of all or of none; returns why they are missing. Asked apart: an
        account without percentiles on this metric refuses them, and errors are to be judged all the same."""
        subject = self._subject()
        try:
            asked = [query for arm in arms for query in below(self._config, subject.values(arm))]
            self._asked[LATENCY_NAME] = Asked(of=(LATENCY_NAME,), queries=tuple(asked), since=since, at=until)
            points = await self._account.points(asked, since, until)
        except (NoData, Unaskable) as error:
            return f"latency: {error}"
        sums = [sum(value for at, value in one if since <= at < until) for one in points]
        size = len(self._config.edges) + 1
        found = {arm: sums[index * size : (index + 1) * size] for index, arm in enumerate(arms)}
        if lost := [arm.value for arm, counts in found.items() if not counts[-1] and arms[arm][ERRORS_NAME].total]:
            return f"no data of the latency of {' and '.join(lost)}"
        for arm, counts in found.items():
            bounds = (*self._config.edges, math.inf)
            arms[arm][LATENCY_NAME] = Tally.of(Histogram.of(dict(zip(bounds, counts, strict=True))))
        return ""


def below(config: Datadog, values: Mapping[str, str]) -> list[str]:
    """The queries of a cumulative histogram: how many durations are at most each edge, and how many there are. Raises
    :class:`Unaskable`.

    Threshold queries: https://docs.datadoghq.com/metrics/distributions/#threshold-queries
    """
    metric = filled(config.latency, values)
    unit = 1000.0 if config.milliseconds else 1.0
    return [*(f"count(v: v<={edge * unit:.12g}):{metric}.as_count()" for edge in config.edges), f"count:{metric}.as_count()"]


def pairs(metrics: Metrics) -> dict[str, tuple[str, str]]:
    """The query of all events and that of the bad ones, by tally."""
    config = metrics.datadog
    assert config is not None
    return {ERRORS_NAME: (config.total, config.errors)} | {ratio.name: (ratio.total, ratio.bad) for ratio in metrics.ratios}
