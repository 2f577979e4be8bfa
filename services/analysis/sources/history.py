"""The time before a deploy, where a Prometheus remembers it: what each unit of the running version stood at, step by step."""

import asyncio
from collections.abc import Mapping
from itertools import groupby

import httpx
import msgspec

from services.analysis.parse import PodReading
from services.analysis.sources.asking import NoData
from services.analysis.sources.base import ERRORS_NAME, LATENCY_NAME
from services.analysis.sources.look import answered, question
from services.analysis.sources.prometheus import PrometheusServer
from services.analysis.sources.promql import Unfillable
from services.analysis.sources.promsource import groups
from services.analysis.sources.subject import Subject
from services.analysis.tally import Tally
from services.analysis.windows import ArmName, Windows
from services.clock import Clock
from services.settings import Metrics
from services.settings.secrets import SecretRegister

POINTS = 200_000
"""Values that an answer may have: some megabytes."""
SERIES = 16
"""Of one pod, about: its requests, its errors, the buckets of its latency."""
FEWEST = 12
"""Looks that are asked for however many pods there are."""


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
    seconds: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> History:
    """The last ``seconds`` (pace) of the running version, or as many as make a bearable answer, a look an interval apart. Never
    raises for what the other side does."""
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
