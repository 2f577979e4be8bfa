"""Metrics straight from the pods' own pages, where there is no metrics system in between."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from services.analysis.endpoints import Endpoint, Proxied, Proxy, Templated
from services.analysis.parse import DEFAULT_NAMES, MetricNames, NotMetrics, PageEndpoint, PageRatio, Reading, Unreadable, parse
from services.analysis.targets import PodTarget
from services.clock import Clock
from services.model.errors import QuarterdeckError
from services.settings import Metrics
from services.settings.query import series

CONCURRENCY = 16
TIMEOUT = 5.0
LARGE = 64 * 1024
"""Pages from this size on are parsed in a thread: parsing takes about 1 ms for every 10 KiB."""


class PodSource(Protocol):
    async def scrape(self, pods: Sequence[PodTarget]) -> dict[str, Reading]:
        """Read every pod once: name → reading. A pod that can't be read is a value (:class:`Unreadable`), not an error."""

    async def close(self) -> None: ...


class DirectScrape:
    """``GET`` each pod's metrics page, at most :data:`CONCURRENCY` at a time, each within ``timeout`` wall seconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        path: str = "/metrics",
        names: MetricNames = DEFAULT_NAMES,
        timeout: float = TIMEOUT,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._path = path
        self._names = names
        self._timeout = timeout
        self._slots = asyncio.Semaphore(CONCURRENCY)

    @classmethod
    def configured(cls, metrics: Metrics, connection: Proxy, clock: Clock) -> "DirectScrape":
        """As the settings say: at ``metrics.scrape_url``, else through the API server's proxy."""
        endpoint: Endpoint = (
            Templated(metrics.scrape_url, appends_path=False) if metrics.scrape_url else Proxied(connection, "pods", metrics.port)
        )
        series = metrics.names
        names = MetricNames(
            requests=series.requests,
            duration=series.latency,
            cpu=series.cpu,
            memory=series.memory,
            ratios=_ratios(metrics),
            endpoints=_endpoints(metrics),
        )
        return cls(endpoint, clock, path=metrics.path, names=names)

    async def scrape(self, pods: Sequence[PodTarget]) -> dict[str, Reading]:
        readings = await asyncio.gather(*(self._read(pod) for pod in pods))
        return {pod.name: reading for pod, reading in zip(pods, readings, strict=True)}

    async def close(self) -> None:
        await self._endpoint.close()

    async def _read(self, pod: PodTarget) -> Reading:
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):
                    status, body = await self._endpoint.get(pod.namespace, pod.name, self._path, timeout=self._timeout)
            except TimeoutError:
                return Unreadable(self._clock.pace(), f"no answer within {self._timeout:g} s")
            except QuarterdeckError as error:
                return Unreadable(self._clock.pace(), str(error))
            at = self._clock.pace()
        if status != 200:
            return Unreadable(at, f"answered {status}")
        text = body.decode("utf-8", "replace")
        try:
            reading = parse(text, at, self._names) if len(body) < LARGE else await asyncio.to_thread(parse, text, at, self._names)
        except NotMetrics as error:
            return Unreadable(at, str(error))
        return msgspec.structs.replace(reading, cpu_limit=pod.cpu_limit, memory_limit=pod.memory_limit)


def _ratios(metrics: Metrics) -> tuple[PageRatio, ...]:
    """Those that are in the pages' language."""
    if metrics.source != "pods":
        return ()
    return tuple(PageRatio(name=one.name, total=series(one.total), bad=series(one.bad)) for one in metrics.ratios)


def _endpoints(metrics: Metrics) -> tuple[PageEndpoint, ...]:
    if metrics.source != "pods":
        return ()
    return tuple(PageEndpoint(name=one.name, label=one.label, value=one.value) for one in metrics.endpoints)
