"""The time before a deploy, where a metrics server remembers it.

Of Prometheus what each unit of the running version stood at, step by step: its pods can be compared with each other. Datadog's
queries are of all its pods together: they tell what the service serves, how much of it fails, and how long it takes.
"""

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import httpx
import msgspec

from services.analysis.histogram import Histogram
from services.analysis.parse import PodReading
from services.analysis.sources.asking import NoData
from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME
from services.analysis.sources.datadog import BUCKET, DatadogAccount, Points, Unaskable, below, filled, pairs
from services.analysis.sources.look import answered, question
from services.analysis.sources.prometheus import PrometheusServer
from services.analysis.sources.promql import Unfillable
from services.analysis.sources.promsource import groups
from services.analysis.sources.subject import Subject
from services.analysis.tally import Tally, bounded
from services.analysis.windows import ArmName, Windows
from services.clock import Clock
from services.settings import Metrics
from services.settings.secrets import SecretRegister

SECONDS = 1800.0
"""Pace seconds that are asked for: so far back the past says what is usual now."""
POINTS = 200_000
"""Values that an answer may have: some megabytes."""
SERIES = 16
"""Of one pod, about: its requests, its errors, the buckets of its latency."""
FEWEST = 12
"""Looks that are asked for however many pods there are."""
IDLE = {ERRORS_NAME: Tally(total=0.0, bad=0.0)}
"""What happened in a bucket without a point: nothing."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """``windows`` as if somebody had looked all the time; ``problem`` says why there is nothing in them."""

    windows: Windows
    problem: str = ""


async def history(
    metrics: Metrics,
    subject: Subject,
    *,
    clock: Clock,
    register: SecretRegister,
    seconds: float = SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> History:
    """The last ``seconds`` (pace) of the running version, or as many as make a bearable answer, a look an interval apart. Never
    raises for what the other side does. Pods' own pages remember nothing."""
    if metrics.source == "prometheus":
        return await _of_prometheus(metrics, subject, clock, register, seconds, transport)
    if metrics.source == "datadog":
        return await _of_datadog(metrics, subject, clock, register, seconds, transport)
    return History(windows=Windows(), problem="the pods' pages tell of now alone")


async def _of_prometheus(
    metrics: Metrics,
    subject: Subject,
    clock: Clock,
    register: SecretRegister,
    seconds: float,
    transport: httpx.AsyncBaseTransport | None,
) -> History:
    assert metrics.prometheus is not None
    pods = len(subject.versions[ArmName.STABLE].pods)
    seconds = min(seconds, metrics.interval * max(FEWEST, POINTS // (SERIES * max(1, pods))))
    windows = Windows(keep=seconds + metrics.interval)
    names, make = next(iter(groups(metrics).items()))
    queries = {arm: make(subject, arm) for arm in ArmName}
    if queries[ArmName.STABLE].windowed:
        return History(windows=windows, problem="its queries count in windows, which tell nothing of single pods")
    server = PrometheusServer(metrics.prometheus, register=register, transport=transport)
    now, pace = clock.unix(), clock.pace()
    try:
        samples = await server.between(
            question(queries, subject), now - seconds / clock.speed, now, metrics.interval / clock.speed
        )
    except (NoData, Unfillable) as error:
        return History(windows=windows, problem=str(error))
    finally:
        await server.close()

    def put() -> None:
        looks = [
            (at, answered(list(moment), names, queries[ArmName.STABLE].unit).arms[ArmName.STABLE])
            for at, moment in groupby(samples, key=lambda sample: sample.at)
        ]
        # one that is missing at a look keeps its counters until the next that has it
        there = dict.fromkeys((unit for _, units in looks for unit in units), ArmName.STABLE.value)
        for at, units in looks:
            then = pace - (now - at) * clock.speed
            windows.feed(then, there, {unit: _reading(standing.tallies, then) for unit, standing in units.items()})

    await asyncio.to_thread(put)  # a tenth of a second for twenty pods
    return History(windows=windows, problem="" if samples else "the server remembers nothing of it")


def _reading(tallies: Mapping[str, Tally], at: float) -> PodReading:
    """What a unit's own page would have said."""
    served, timed = tallies.get(ERRORS_NAME), tallies.get(LATENCY_NAME)
    return PodReading(
        at=at,
        requests=served.total if served is not None else None,
        errors=served.bad if served is not None else None,
        durations=timed.durations if timed is not None else None,
    )


async def _of_datadog(
    metrics: Metrics,
    subject: Subject,
    clock: Clock,
    register: SecretRegister,
    seconds: float,
    transport: httpx.AsyncBaseTransport | None,
) -> History:
    """Bucket by bucket, from the first on in which it served: from then on a bucket without a point had no requests, and is time
    in which it served none."""
    config = metrics.datadog
    assert config is not None
    now, pace = clock.unix(), clock.pace()
    until = math.floor((now - config.delay) / BUCKET) * BUCKET
    since = until - max(1, round(seconds / clock.speed / BUCKET)) * BUCKET
    windows = Windows(keep=pace_since(now, since, clock.speed) + metrics.interval, counts_pages=False)
    windows.feed(pace, {}, {})
    account = DatadogAccount(config, register=register, transport=transport)
    asked, values = pairs(metrics), subject.values(ArmName.STABLE)
    problem = ""
    try:
        counts = await account.points([filled(query, values) for pair in asked.values() for query in pair], since, until)
        try:
            timed = await account.points(below(config, values), since, until)
        except NoData as error:  # an account without percentiles on this metric refuses them, and tells of errors all the same
            timed, problem = [], f"latency: {error}"
    except (NoData, Unaskable) as error:
        return History(windows=windows, problem=str(error))
    finally:
        await account.close()
    bounds = (*config.edges, math.inf)
    told = {at: tallies for at, tallies in _buckets(list(asked), counts, bounds, timed).items() if since <= at < until}
    for at in _from_the_first(told, until):
        began = pace - pace_since(now, at, clock.speed)
        arms = {ArmName.STABLE: told.get(at, IDLE)}
        windows.add(began, began + BUCKET * clock.speed, arms, errors=ERRORS_NAME, latency=LATENCY_NAME)
    return History(windows=windows, problem=problem if told else "the account remembers nothing of it")


def pace_since(now: float, then: float, speed: float) -> float:
    """Pace seconds from one Unix second to a later one."""
    return (now - then) * speed


def _from_the_first(told: Collection[float], until: float) -> list[float]:
    """Where the buckets begin from the first that tells something on, those between that tell nothing among them."""
    if not told:
        return []
    first = min(told)
    return sorted({*told, *(first + BUCKET * number for number in range(math.ceil((until - first) / BUCKET)))})


def _buckets(
    names: list[str], counts: Sequence[Points], bounds: Sequence[float], timed: Sequence[Points]
) -> dict[float, dict[str, Tally]]:
    """What happened in each bucket of which the requests are known, oldest first. Bad events without a point beside events that
    have one are none."""
    found: dict[float, dict[str, Tally]] = {}
    for name, total, bad in zip(names, counts[::2], counts[1::2], strict=True):
        failed = dict(bad)
        for at, count in total:
            found.setdefault(at, {})[name] = Tally(total=count, bad=bounded(failed.get(at, 0.0), count))
    if timed:
        of = [dict(points) for points in timed]
        for at in of[-1]:
            cumulative = {bound: points.get(at, 0.0) for bound, points in zip(bounds, of, strict=True)}
            found.setdefault(at, {})[LATENCY_NAME] = Tally.of(Histogram.of(cumulative))
    return {at: found[at] for at in sorted(found) if ERRORS_NAME in found[at]}
