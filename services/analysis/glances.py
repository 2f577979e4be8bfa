"""A glance at every service that somebody looks at: its errors and latency, within a budget that no fleet can make larger.

What is asked is asked in the background, of what is on a screen only, the service whose figures are oldest first. API servers
are asked for :data:`RATE` pages a second at most, all of them together, after a burst of :data:`BURST`: what client-go gives one
client that has no other setting is five requests a second. A service's pods are read :data:`PODS` at a time, whatever it has.
"""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from services.analysis.course import Course, Group
from services.analysis.endpoints import Proxy
from services.analysis.scrape import DirectScrape, PodSource
from services.analysis.sources import MetricSource, Subject, Version, open_source
from services.analysis.sources.asking import inert
from services.analysis.targets import PodTarget, target_of
from services.analysis.windows import ArmName
from services.clock import Clock
from services.cluster.objects import Pod, template_version
from services.cluster.picture import Picture
from services.cluster.workloads import pods_by_version
from services.model.errors import QuarterdeckError
from services.model.fleet import ServiceFigures
from services.model.objects import ObjectRef
from services.settings import Metrics
from services.settings.secrets import SecretRegister

RATE = 5.0
BURST = 30.0
PODS = 3
EVERY = 10.0
"""Wall seconds between two looks at a service, at least."""
SECOND = 2.0
"""…and before the second one: until then there are no figures at all."""
REFUSED = 60.0
"""…and after a look that came to nothing."""
COSTS = {"pods": 1.0, "prometheus": 5.0, "datadog": 50.0}
"""Of one request, in pages. Of a server one service a second, of an account, which counts its queries by the hour, one every ten
seconds."""
KEPT = 60.0
"""Wall seconds for which a service that nobody looks at is remembered."""
AT_ONCE = 4
"""Services that are looked at at the same time: one that does not answer keeps no other waiting."""
CANARY = "-canary"

log = logging.getLogger(__name__)


class Glanced(msgspec.Struct, frozen=True, kw_only=True):
    """A service to look at."""

    context: str
    environment: str
    namespace: str
    service: str

    @property
    def key(self) -> tuple[str, str]:
        return self.environment, self.service


class Clusters(Protocol):
    """What is known of clusters, and how they are asked."""

    def picture(self, context: str) -> Picture | None:
        """The picture of a context; ``None`` where it can't be reached: then nothing is asked."""

    async def connect(self, context: str) -> Proxy: ...


class Budget:
    """``rate`` a second, and ``burst`` at once after a rest."""

    def __init__(self, clock: Clock, rate: float = RATE, burst: float = BURST) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = clock.monotonic()

    async def spend(self, cost: float) -> None:
        """Wait until there is as much. What costs more than there ever is waits for all that there can be."""
        while (short := min(cost, self._burst) - self._now()) > 0:
            await self._clock.sleep(max(0.01, short / self._rate))
        self._left -= cost

    def _now(self) -> float:
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left


class _Place:
    """A service, its course, and when it is due."""

    def __init__(self, glanced: Glanced) -> None:
        self.glanced = glanced
        self.course = Course()
        self.looked_at: float | None = None
        self.due = 0.0
        self.versions: Mapping[ArmName, Version] = {}
        self.source: MetricSource | None = None

    def subject(self) -> Subject:
        return Subject(namespace=self.glanced.namespace, service=self.glanced.service, versions=self.versions)

    async def close(self) -> None:
        if self.source is not None:
            await self.source.close()


class Glances:
    """Keeps figures of the services that are ``wanted``, while :meth:`run` runs."""

    def __init__(self, metrics: Metrics, clusters: Clusters, clock: Clock, register: SecretRegister) -> None:
        self._metrics = metrics
        self._clusters = clusters
        self._clock = clock
        self._register = register
        self._budget = Budget(clock)
        self._wanted: tuple[Glanced, ...] = ()
        self._places: dict[tuple[str, str], _Place] = {}
        self._pages: dict[str, PodSource] = {}
        self._news = asyncio.Event()

    def want(self, services: Sequence[Glanced]) -> None:
        """Look at these from now on, and at no others."""
        wanted = tuple(services)
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    @property
    def figures(self) -> Mapping[tuple[str, str], ServiceFigures]:
        """What is known, by environment and service. One that was not looked at yet is missing."""
        pace, now = self._clock.pace(), self._clock.monotonic()
        return {key: one.course.figures(pace, now) for key, one in self._places.items() if one.looked_at is not None}

    async def run(self) -> None:
        """Look at what is wanted until cancelled."""
        looks: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._forget()
                due = self._due() if len(looks) < AT_ONCE else None
                if due is None:
                    await self._rest()
                    continue
                due.due = math.inf  # until this look has ended
                looks.add(look := asyncio.create_task(self._look(due), name=f"glance at {due.glanced.service}"))
                look.add_done_callback(looks.discard)
        finally:
            ended = tuple(looks)
            for look in ended:
                look.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
            for page in self._pages.values():
                await page.close()
            for one in self._places.values():
                await one.close()

    def _due(self) -> _Place | None:
        """The wanted service that has waited longest, of those whose turn it is and whose cluster answers."""
        now = self._clock.monotonic()
        for each in self._wanted:
            self._places.setdefault(each.key, _Place(each))
        found = [
            one
            for each in self._wanted
            if (one := self._places[each.key]).due <= now and self._clusters.picture(each.context) is not None
        ]
        return min(found, key=lambda one: one.due, default=None)

    async def _rest(self) -> None:
        """Until something may be due: half a second, or until something else is wanted."""
        self._news.clear()
        resting = asyncio.ensure_future(self._clock.sleep(0.5))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((resting, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            news.cancel()

    async def _forget(self) -> None:
        wanted = {each.key for each in self._wanted}
        now = self._clock.monotonic()
        for key, one in list(self._places.items()):
            if key not in wanted and one.due != math.inf and now - (one.looked_at or 0.0) > KEPT:
                del self._places[key]
                await one.close()

    async def _look(self, one: _Place) -> None:
        first = one.looked_at is None
        try:
            await self._ask(one)
        except QuarterdeckError as error:
            one.course.missed(inert(str(error)))
        except Exception as error:
            # a figure beside many others: without it the rest is to go on
            log.exception("the figures of %s in %s failed", one.glanced.service, one.glanced.environment)
            one.course.missed(f"internal error ({type(error).__name__})")
        one.looked_at = self._clock.monotonic()
        one.due = one.looked_at + (EVERY if one.course.known else SECOND if first else REFUSED)
        self._news.set()

    async def _ask(self, one: _Place) -> None:
        picture = self._clusters.picture(one.glanced.context)
        if picture is None:
            return
        if self._metrics.source != "pods":
            await self._budget.spend(COSTS[self._metrics.source])
            one.versions = _versions(picture, one.glanced)
            if one.source is None:
                one.source = open_source(self._metrics, one.subject, clock=self._clock, register=self._register)
            one.course.told(await one.source.read(self._clock.pace()), monotonic=self._clock.monotonic())
            return
        groups, targets = _chosen(picture, one.glanced)
        await self._budget.spend(max(1, len(targets)) * COSTS["pods"])
        pages = await self._page(one.glanced.context)
        readings = await pages.scrape(targets)
        one.course.pods(groups, readings, pace=self._clock.pace(), monotonic=self._clock.monotonic())

    async def _page(self, context: str) -> PodSource:
        if context not in self._pages:
            connection = await self._clusters.connect(context)
            self._pages[context] = DirectScrape.configured(self._metrics, connection, self._clock)
        return self._pages[context]


def _workloads(picture: Picture, glanced: Glanced) -> Mapping[ArmName, ObjectRef]:
    """The workloads of a service that there are."""
    names = {ArmName.STABLE: glanced.service, ArmName.CANARY: glanced.service + CANARY}
    refs = {arm: ObjectRef("Deployment", glanced.namespace, name) for arm, name in names.items()}
    return {arm: ref for arm, ref in refs.items() if (ref.namespace, ref.name) in picture.deployments}


def _chosen(picture: Picture, glanced: Glanced) -> tuple[tuple[Group, ...], tuple[PodTarget, ...]]:
    """Which pods stand for the service: at least one of each version, ready ones first, and the same ones again and again."""
    alike = [
        sorted((pod for pod in pods if pod.metadata.deletion_timestamp is None), key=_preference)
        for ref in _workloads(picture, glanced).values()
        for pods in pods_by_version(picture, ref, glanced.service).values()
    ]
    alike = sorted((pods for pods in alike if pods), key=len, reverse=True)[:PODS]
    spare = PODS - len(alike)
    groups: list[Group] = []
    targets: list[PodTarget] = []
    for pods in alike:
        read = pods[: 1 + spare]
        spare -= len(read) - 1
        groups.append(Group(pods=len(pods), read=tuple(pod.metadata.name for pod in read)))
        targets += [target_of(pod, glanced.service) for pod in read]
    return tuple(groups), tuple(targets)


def _preference(pod: Pod) -> tuple[bool, str]:
    return not pod.ready, pod.metadata.name


def _versions(picture: Picture, glanced: Glanced) -> Mapping[ArmName, Version]:
    """Both versions as a metrics server is asked for them; without a canary's workload both are in one."""
    found: dict[ArmName, Version] = {}
    for arm, ref in _workloads(picture, glanced).items():
        deployment = picture.deployments[ref.namespace, ref.name]
        pods = [pod for owned in pods_by_version(picture, ref, glanced.service).values() for pod in owned]
        found[arm] = Version(
            workload=ref.name,
            version=template_version(deployment.spec.template, glanced.service),
            pods=tuple(pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None),
        )
    alone = Version(workload=glanced.service, version="")
    return {arm: found.get(arm, alone) for arm in ArmName}
