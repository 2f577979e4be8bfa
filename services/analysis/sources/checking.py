"""Whether a source's queries are right, asked of the source itself: before a deploy needs them."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import httpx
import msgspec

from services.analysis.sources.asking import NoData, QueryRefused
from services.analysis.sources.datadog import BUCKET, DatadogAccount, Unaskable, below, pairs
from services.analysis.sources.datadog import filled as filled_tags
from services.analysis.sources.prometheus import PrometheusServer
from services.analysis.sources.promql import Queries, Unfillable, filled, of_anybody
from services.analysis.sources.promsource import groups
from services.analysis.sources.subject import Subject, Version
from services.analysis.windows import ArmName
from services.clock import Clock
from services.settings import Metrics
from services.settings.query import tagged
from services.settings.secrets import SecretRegister
from services.settings.sources import RATIO_KEYS

HOUR = 3600.0
WINDOW = 300.0
"""Seconds that ``{{window}}`` and Datadog's queries are tried with."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """``refused``: the source's own words on each query that is wrong, by its key in the settings. ``unasked``: why not all could
    be asked; empty where all were."""

    refused: Mapping[str, str] = {}
    unasked: str = ""
    unmatched: Mapping[str, str] = {}
    """Why a query is probably not what was meant, though it is right, by its key: it finds nothing, whatever service is asked
    for. Right after an installation there may be nothing yet."""


def example(namespace: str, service: str = "example") -> Subject:
    """Somebody to ask for who need not be there: a right query then finds nothing."""
    return Subject(
        namespace=namespace,
        service=service,
        versions={
            ArmName.CANARY: Version(workload=f"{service}-canary", version="v2", pods=(f"{service}-canary-1",)),
            ArmName.STABLE: Version(workload=service, version="v1", pods=(f"{service}-1",)),
        },
    )


async def check(
    metrics: Metrics,
    subject: Subject,
    *,
    clock: Clock,
    register: SecretRegister,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Checked:
    """Try every query of the configured source by itself. Never raises for what the other side does."""
    if metrics.source == "prometheus":
        return await _prometheus(metrics, subject, register, transport)
    if metrics.source == "datadog":
        return await _datadog(metrics, subject, clock, register, transport)
    return Checked()


async def _prometheus(
    metrics: Metrics, subject: Subject, register: SecretRegister, transport: httpx.AsyncBaseTransport | None
) -> Checked:
    assert metrics.prometheus is not None
    server = PrometheusServer(metrics.prometheus, register=register, transport=transport)
    asked: dict[str, str] = {}
    refused: dict[str, str] = {}
    for names, make in groups(metrics).items():
        for key, query in _written(metrics, names.errors, make(subject, ArmName.CANARY)).items():
            try:
                asked[key] = filled(query, subject, ArmName.CANARY, WINDOW)
            except Unfillable as error:
                refused[key] = str(error)
    try:
        answers = await asyncio.gather(*(_tried(server, query) for query in asked.values()))
        unmatched = {} if any(answers) else await _unmatched(metrics, subject, server)
    finally:
        await server.close()
    refused |= {key: str(said) for key, said in zip(asked, answers, strict=True) if isinstance(said, QueryRefused)}
    unasked = [str(said) for said in answers if said is not None and not isinstance(said, QueryRefused)]
    return Checked(refused=refused, unasked=unasked[0] if unasked else "", unmatched=unmatched)


async def _unmatched(metrics: Metrics, subject: Subject, server: PrometheusServer) -> dict[str, str]:
    """Of what a person wrote, what finds no series at all."""
    found: dict[str, str] = {}
    for names, make in groups(metrics).items():
        written = _written(metrics, names.errors, make(subject, ArmName.STABLE))
        packed = metrics.prometheus is not None and metrics.prometheus.pack == "nginx"
        if "metrics.prometheus.pack" in written or (packed and any("endpoints" in key for key in written)):
            continue  # a pack names its own; that of an Ingress asks for one by its name
        there: dict[str, bool] = {}
        for key, query in written.items():
            if (anybody := of_anybody(query)) is not None:
                try:
                    there[key] = bool(await server.query(f"count(\n{anybody}\n)"))
                except NoData:
                    continue
        found |= _silent(there)
    return found


def _silent(there: Mapping[str, bool]) -> dict[str, str]:
    """Words for the queries of one metric that find nothing; ``there``: which do."""
    if not any(there.values()):
        return dict.fromkeys(list(there)[:1], "finds nothing, whatever service it asks for: nothing can be proven without it")
    words = "finds nothing while the other query of its metric does: no such event happened yet, or it has a slip"
    return {key: words for key, one in there.items() if not one}


def _written(metrics: Metrics, name: str, queries: Queries) -> dict[str, str]:
    """The queries of a group by the keys that they are written at. A pack's are known to be right; one of them shows that the
    server takes an endpoint's label."""
    for index, ratio in enumerate(metrics.ratios):
        if ratio.name == name:
            return {
                f"metrics.ratios[{index}].{key}": query for key, query in zip(RATIO_KEYS, (ratio.total, ratio.bad), strict=True)
            }
    for index, endpoint in enumerate(metrics.endpoints):
        if endpoint.name == name:
            return {f"metrics.endpoints[{index}]": queries.total}
    if metrics.prometheus is None or metrics.prometheus.queries is None:
        return {"metrics.prometheus.pack": queries.total}
    own = {"total": queries.total, "errors": queries.errors, "latency": queries.latency}
    return {f"metrics.prometheus.queries.{key}": query for key, query in own.items() if query is not None}


async def _tried(server: PrometheusServer, query: str) -> NoData | None:
    try:
        await server.query(query)
    except NoData as error:
        return error
    return None


async def _datadog(
    metrics: Metrics, subject: Subject, clock: Clock, register: SecretRegister, transport: httpx.AsyncBaseTransport | None
) -> Checked:
    assert metrics.datadog is not None
    account = DatadogAccount(metrics.datadog, register=register, transport=transport)
    refused: dict[str, str] = {}
    unasked = ""
    until = clock.unix() // BUCKET * BUCKET
    values = subject.values(ArmName.CANARY)
    # The metric of the durations is right or wrong with its first edge.
    config = metrics.datadog
    asked: dict[str, Callable[[], str]] = {"metrics.datadog.latency": lambda: below(config, values)[0]}
    for name, (total, bad) in pairs(metrics).items():
        index = next((index for index, ratio in enumerate(metrics.ratios) if ratio.name == name), None)
        where = "metrics.datadog" if index is None else f"metrics.ratios[{index}]"
        for key, query in zip(("total", "errors") if index is None else RATIO_KEYS, (total, bad), strict=True):
            asked[f"{where}.{key}"] = partial(filled_tags, query, values)
    unmatched: dict[str, str] = {}
    try:
        for key, written in asked.items():
            try:
                await account.points([written()], until - WINDOW, until)
            except (QueryRefused, Unaskable) as error:
                refused[key] = str(error)
            except NoData as error:
                unasked = unasked or str(error)
        if not refused and not unasked:
            unmatched = await _pointless(metrics, account, until)
    finally:
        await account.close()
    return Checked(refused=refused, unasked=unasked, unmatched=unmatched)


async def _pointless(metrics: Metrics, account: DatadogAccount, until: float) -> dict[str, str]:
    """Of the ratios, which queries have no point in the last hour, of any service and version."""
    found: dict[str, str] = {}
    for index, ratio in enumerate(metrics.ratios):
        there: dict[str, bool] = {}
        for key, query in zip(RATIO_KEYS, (ratio.total, ratio.bad), strict=True):
            anybody = "".join("*" if part.place else part.text for part in tagged(query))
            try:
                (points,) = await account.points([anybody], until - HOUR, until)
            except NoData:
                continue
            there[f"metrics.ratios[{index}].{key}"] = bool(points)
        found |= _silent(there)
    return found
