"""Prometheus as a source of metrics: errors and latency by a pack or by own queries, endpoints and ratios, each by its own."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import httpx
import msgspec

from services.analysis.sources.asking import NoData
from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME, Asked, Reading
from services.analysis.sources.ledger import BRIDGED, Counted, Ledger
from services.analysis.sources.look import Look, Names, answered, question
from services.analysis.sources.prometheus import PrometheusServer
from services.analysis.sources.promql import Queries, Unfillable, own, packed, string
from services.analysis.sources.subject import Subject
from services.analysis.tally import Tally
from services.analysis.windows import ArmName
from services.clock import Clock
from services.settings import Metrics
from services.settings.secrets import SecretRegister
from services.settings.sources import Ratio

STALE = 90.0
"""Seconds after which the newest sample is old enough to be said: a scrape a minute, missed."""

Making = Callable[[Subject, ArmName], Queries]


class _Group:
    """Metrics that are asked for together, and what is remembered between two looks."""

    def __init__(self, names: Names, make: Making) -> None:
        self.names = names
        self.make = make
        self.ledger = Ledger()
        self.told_at: float | None = None
        """Wall second (monotonic) up to which windows are told."""
        self.asked: Asked | None = None


class PrometheusSource:
    """Looks at both versions of what ``subject`` says at the moment. ``transport`` replaces the network in tests."""

    def __init__(
        self,
        metrics: Metrics,
        subject: Callable[[], Subject],
        *,
        clock: Clock,
        register: SecretRegister,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        assert metrics.prometheus is not None
        self._subject = subject
        self._clock = clock
        self._server = PrometheusServer(metrics.prometheus, register=register, transport=transport)
        self._main, *self._others = (_Group(names, make) for names, make in groups(metrics).items())
        self._first: float | None = None
        self._newest: float | None = None
        """Pace second of the newest sample that was ever seen of both versions."""

    @property
    def asked(self) -> tuple[Asked, ...]:
        return tuple(group.asked for group in (self._main, *self._others) if group.asked is not None)

    async def read(self, at: float) -> Reading:
        """One look. Endpoints and ratios are looked at when errors and latency are told, so that all begin at the same time."""
        if self._first is None:
            self._first = at
        subject = self._subject()
        told = await self._look(self._main, subject, at)
        arms = {arm: dict(tallies) for arm, tallies in told.arms.items()}
        problems = [told.problem]
        if told.arms or told.since == at:
            for group, other in zip(
                self._others, await asyncio.gather(*(self._look(one, subject, at) for one in self._others)), strict=True
            ):
                for arm in arms:
                    arms[arm].update(other.arms.get(arm, {}))
                if other.problem:
                    problems.append(f"{group.names.errors}: {other.problem}")
        age = at - (self._newest if self._newest is not None else self._first)
        if age > STALE * self._clock.speed and not told.problem:
            problems.append(f"the newest sample is {age / self._clock.speed:.0f} s old")
        return Reading(at=at, since=told.since, arms=arms, age=max(0.0, age), problem="; ".join(filter(None, problems)))

    async def close(self) -> None:
        await self._server.close()

    async def _look(self, group: _Group, subject: Subject, at: float) -> Counted:
        queries = {arm: group.make(subject, arm) for arm in ArmName}
        windowed = queries[ArmName.CANARY].windowed
        now = self._clock.monotonic()
        window = None
        if windowed:
            if group.told_at is None or now - group.told_at > BRIDGED:
                group.told_at = now
                group.ledger = Ledger()
                group.ledger.take(at, now, {})
                return Counted(since=at)
            window = now - group.told_at
        try:
            whole = question(queries, subject, window)
            group.asked = self._told(group, question(queries, subject, window, told=True), subject, window)
            samples = await self._server.query(whole)
        except Unfillable as error:
            return group.ledger.missed(at, str(error))
        except NoData as error:
            return group.ledger.missed(at, str(error))
        look = answered(samples, group.names, queries[ArmName.CANARY].unit)
        if group is self._main and look.newest is not None and all(look.arms[arm] for arm in subject.there):
            self._newest = at - max(0.0, look.now - look.newest) * self._clock.speed
        if windowed:
            return self._windowed(group, look, at, now, subject.there)
        if not samples:
            return group.ledger.missed(at, "no series match")
        return group.ledger.take(at, look.now, look.arms, subject.there)

    def _told(self, group: _Group, query: str, subject: Subject, window: float | None) -> Asked:
        now = round(self._clock.unix(), 3)
        pods = {arm.value: subject.versions[arm].pods for arm in ArmName} if "{{pods}}" in query else {}
        return Asked(of=group.names.told, queries=(query,), since=None if window is None else now - window, at=now, pods=pods)

    def _windowed(self, group: _Group, look: Look, at: float, now: float, there: Collection[ArmName]) -> Counted:
        """Counts of a window that began where the last told one ended. One without data goes on in the next look's."""
        if missing := [arm.value for arm in ArmName if arm in there and not look.arms.get(arm)]:
            return group.ledger.missed(at, f"no data of {' and '.join(missing)}")
        arms = {arm: _summed(look, arm) for arm in ArmName if arm in there}
        shared = set.intersection(*(set(found) for found in arms.values()))
        if not shared:
            return group.ledger.missed(at, "no metric is known of every version")
        since = group.ledger.since
        group.told_at = now
        group.ledger = Ledger()
        group.ledger.take(at, now, {})
        return Counted(
            since=at if since is None else since,
            arms={arm: {name: found[name] for name in sorted(shared)} for arm, found in arms.items()},
        )


def _summed(look: Look, arm: ArmName) -> dict[str, Tally]:
    parts: dict[str, list[Tally]] = {}
    for standing in look.arms[arm].values():
        for name, tally in standing.tallies.items():
            parts.setdefault(name, []).append(tally)
    sums = {name: Tally.summed(found) for name, found in parts.items()}
    return {name: tally for name, tally in sums.items() if tally is not None}


def groups(metrics: Metrics) -> Mapping[Names, Making]:
    """What is asked for: errors and latency first, then endpoints, then ratios."""
    config = metrics.prometheus
    assert config is not None
    asked: dict[Names, Making] = {}
    if config.queries is not None:
        written = own(config.queries)
        asked[Names(ERRORS_NAME, LATENCY_NAME)] = lambda _subject, _arm: written
    else:
        asked[Names(ERRORS_NAME, LATENCY_NAME)] = _by_pack(metrics, config.pack, "")
    for endpoint in metrics.endpoints:
        where = f',{endpoint.label}="{string(endpoint.value)}"'
        asked[Names(endpoint.name, "")] = _by_pack(metrics, config.pack, where, timed=False)
    for ratio in metrics.ratios:
        asked[Names(ratio.name, "")] = _of_ratio(ratio)
    return asked


def _by_pack(metrics: Metrics, pack: str, where: str, *, timed: bool = True) -> Making:
    def make(subject: Subject, arm: ArmName) -> Queries:
        queries = packed(pack, metrics.names, subject, arm, where)
        return queries if timed else msgspec.structs.replace(queries, latency=None)

    return make


def _of_ratio(ratio: Ratio) -> Making:
    queries = Queries(total=ratio.total, errors=ratio.bad, known=ratio.total, sampled=(ratio.total,))
    return lambda _subject, _arm: queries
