"""What the analyses of a plan will see, measured on simulated pods; and what is not known, with its reason."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import WHOLE, configured
from support.judged import Service, analysis
from support.rollouts import rollout

from console.commands import foreseeing
from services.analysis import ArmName, PodTarget
from services.analysis import Reading as PageReading
from services.analysis.parse import PodReading
from services.analysis.sources import ERRORS_NAME, Tally
from services.analysis.sources import Reading as Counted
from services.model.objects import ObjectRef
from services.model.rollout import Baseline, Replayed, Rollout
from services.model.steps import Plan, SetTraffic
from services.redaction import Redactor
from services.rollout import foresight as room
from services.rollout.foresight import Foresight, foreseen, recalled
from services.sandbox.behaviour import Behaviour

BASE = rollout()


def plan_of(*shares: int) -> Plan:
    steps = []
    for weight in shares:
        route = ObjectRef("VirtualService", "production", "payment-service")
        steps += [
            SetTraffic(name=f"{weight} %", router="istio", route=route, weight=weight, expected_seconds=1.0),
            analysis(120.0),
        ]
    return msgspec.structs.replace(BASE.plan, steps=tuple(steps))


def before(**changes: Any) -> Rollout:
    baseline = Baseline(**{"seconds": 60.0, "requests": 60_000.0, "error_rate": 0.002, "p99": 0.05, **changes})
    return msgspec.structs.replace(BASE, id="earlier", baseline=baseline)


SERVER = """\
metrics: {source: datadog, datadog: {site: datadoghq.com, api_key: "env:DD_API_KEY", application_key: "env:DD_APP_KEY"}}
"""


class Server:
    """A metrics server: so many requests in every ten seconds, two in a thousand failed; or why there are none."""

    def __init__(self, requests: float, problem: str = "") -> None:
        self.requests, self.problem, self._since = requests, problem, 0.0

    async def read(self, at: float) -> Counted:
        since, self._since = self._since, at
        told = {ERRORS_NAME: Tally(total=self.requests, bad=0.002 * self.requests)}
        there = {ArmName.STABLE: told} if at > since and not self.problem else {}
        return Counted(at=at, since=since, arms=there, problem=self.problem)

    async def close(self) -> None: ...


class Looking:
    """A person who reads the plan; ``seen`` is what was told so far."""

    def __init__(self, clock: ManualClock, looks: AsyncIterator[Foresight], service: Service) -> None:
        self.clock, self.service = clock, service
        self.seen: list[Foresight] = []
        self._task = asyncio.create_task(self._read(looks))

    async def _read(self, looks: AsyncIterator[Foresight]) -> None:
        async for look in looks:
            self.seen.append(look)

    async def until(self, looks: int) -> Foresight:
        """So many were told; the clock goes on by an interval as soon as the latest was."""
        for _ in range(20_000):
            if len(self.seen) >= looks:
                return self.seen[looks - 1]
            if self._task.done():
                self._task.result()
                raise AssertionError(f"it ended after {len(self.seen)} looks")
            known = len(self.seen)
            await asyncio.sleep(0.002)  # a thread does the sums
            if known == len(self.seen) and self.clock._sleepers:
                await self.clock.advance(10.0)
        raise AssertionError("it never came")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def looking(
    monkeypatch: pytest.MonkeyPatch,
    *,
    plan: Plan | None = None,
    earlier: Rollout | None = None,
    rate: float = 20_000.0,
    change: Callable[[Service], None] = lambda service: None,
    server: "Server | None" = None,
) -> AsyncIterator[Looking]:
    clock = ManualClock()
    service = Service(clock, 1, rate=rate, errors=0.0005, share=0.1)
    change(service)
    monkeypatch.setattr(room, "arms", service.arms)
    monkeypatch.setattr(room.DirectScrape, "configured", lambda *args: service)
    monkeypatch.setattr(room, "open_source", lambda *args, **more: server or service)
    settings = configured(WHOLE + SERVER) if server is not None else configured()
    station = SimpleNamespace(settings=settings, clock=clock, redactor=Redactor())
    looks = foreseen(station, None, None, BASE.release, plan or plan_of(10), earlier)  # type: ignore[arg-type]
    found = Looking(clock, looks, service)
    try:
        yield found
    finally:
        await found.stop()
        await looks.aclose()


async def test_what_is_measured_is_what_the_service_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch, plan=plan_of(10, 50)) as person:
        assert (await person.until(1)).problem == "no rollout here has measured the service before"
        first, second = (await person.until(5)).outlook
        assert first.rate == pytest.approx(2000.0, rel=0.05)
        assert second.rate == pytest.approx(10_000.0, rel=0.05)
        assert first.errors.now == pytest.approx(0.0005, rel=0.2)
        assert first.errors.surely is not None
        assert second.errors.surely is not None
        assert second.errors.surely < first.errors.surely


async def test_a_form_that_stays_open_asks_an_api_server_for_few_pages_however_many_pods_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[float, int]] = []

    def large(service: Service) -> None:
        service.pods |= {f"old-{number}": copy.deepcopy(service.pods["old-1"]) for number in range(4, 300)}
        scrape = service.scrape

        async def counted(pods: Sequence[PodTarget]) -> Any:
            asked.append((service.clock.pace(), len(pods)))
            return await scrape(pods)

        monkeypatch.setattr(service, "scrape", counted)

    async with looking(monkeypatch, change=large) as person:
        seen = (await person.until(6)).outlook
        assert seen[0].rate == pytest.approx(2000.0, rel=0.05)  # of all of them
    (began, _), *_, (ended, last) = asked
    pages = sum(count for _, count in asked) - last
    assert pages / (ended - began) <= room.PAGES


async def test_the_judge_is_replayed_on_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch) as person:
        await person.until(9)
        baseline = person.seen[-1].baseline
        assert baseline is not None
        assert baseline.replay is not None
        assert baseline.replay.splits == 3  # the pods of the running version
        assert baseline.replay.aborted == 0
        assert baseline.replay.rows >= 6


async def test_what_an_earlier_rollout_measured_is_told_until_something_newer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch, earlier=before()) as person:
        remembered = await person.until(1)
        assert remembered.measured == BASE.created
        assert remembered.outlook[0].rate == pytest.approx(100.0)
        now = await person.until(5)
        assert now.measured is None
        assert now.outlook[0].rate == pytest.approx(2000.0, rel=0.05)


async def test_pods_that_can_not_be_read_are_unknown_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(service: Service) -> None:
        service.unreadable = True

    async with looking(monkeypatch, change=silent) as person:
        found = await person.until(4)
        assert found.outlook == ()
        assert found.problem == "its metrics can't be read: no answer"
    async with looking(monkeypatch, change=silent, earlier=before()) as person:
        found = await person.until(4)
        assert found.outlook, "what is remembered is better than nothing"
        assert "can't be read" in found.problem
    async with looking(monkeypatch) as person:
        assert (await person.until(4)).problem == ""
        person.service.unreadable = True
        later = await person.until(7)
        assert later.outlook
        assert "can't be read" in later.problem


async def test_a_service_without_requests_or_pods_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch, rate=0.0) as person:
        found = await person.until(5)
        assert found.outlook == ()
        assert "no requests in" in found.problem

    def gone(service: Service) -> None:
        service.old_serves = False

    async with looking(monkeypatch, change=gone) as person:
        assert (await person.until(3)).problem == "no pod runs v2.14.1"


async def test_a_metrics_server_tells_the_traffic_and_why_there_is_no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch, server=Server(10_000.0)) as person:
        found = await person.until(9)
        assert found.outlook[0].rate == pytest.approx(100.0)
        assert found.outlook[0].errors.now == pytest.approx(0.002)
        assert found.unreplayed == "datadog is asked for all pods together"
    async with looking(monkeypatch, server=Server(0.0, "datadog answered 503")) as person:
        assert (await person.until(3)).problem == "datadog answered 503"


def _limited(reading: PageReading) -> PageReading:
    """With the limits of its container."""
    if not isinstance(reading, PodReading):
        return reading
    return msgspec.structs.replace(reading, cpu_limit=1.0, memory_limit=256.0 * 2**20)


async def test_what_the_pods_use_is_of_now_where_a_server_counts_their_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []

    def counted(service: Service) -> None:
        service.pods |= {f"old-{number}": copy.deepcopy(service.pods["old-1"]) for number in range(4, 60)}
        scrape = service.scrape

        async def pages(pods: Sequence[PodTarget]) -> Any:
            asked.append((service.clock.pace(), len(pods)))
            return {name: _limited(reading) for name, reading in (await scrape(pods)).items()}

        monkeypatch.setattr(service, "scrape", pages)

    async with looking(monkeypatch, server=Server(10_000.0), change=counted) as person:
        first = (await person.until(4)).saturation
        assert first is not None
        assert first.cpu is not None
        person.service.rate *= 50
        person.service.stable = Behaviour(leak=True)
        later = (await person.until(24)).saturation
        assert later is not None
        assert later.cpu is not None
        assert later.memory is not None
        assert first.memory is not None
        assert later.cpu > first.cpu + 0.1
        assert later.memory > first.memory
        person.service.unreadable = True
        assert (await person.until(70)).saturation is None, "nobody knows any more"
    assert {pods for _, pods in asked} == {20}
    assert len([at for at, _ in asked if at < 200]) == 4, "two looks, and two again a while later"


async def test_one_pod_alone_can_not_be_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(service: Service) -> None:
        for name in ("old-2", "old-3"):
            del service.pods[name]

    async with looking(monkeypatch, change=alone) as person:
        assert "one pod has no other" in (await person.until(9)).unreplayed


def test_a_dry_run_tells_what_an_earlier_rollout_measured() -> None:
    known = recalled(plan_of(10, 50), before(replay=Replayed(rows=6, splits=3, aborted=0)), configured())
    told = foreseeing.document(known)
    assert isinstance(told, dict)
    assert told["problem"] is None
    assert told["requests_per_second"] == pytest.approx(1000.0)
    assert told["replay"] == {"aborted": 0, "splits": 3, "rows": 6}
    first, second = told["analyses"]
    assert (first["weight"], second["weight"]) == (10, 50)
    assert 0.002 < first["error_rate_seen_at_even_odds"] < first["error_rate_seen"] < 1.0
    assert second["error_rate_seen"] < first["error_rate_seen"]
    assert json.loads(json.dumps(told)) == told
    text = " ".join(foreseeing.lines(known))
    assert first["detail"] in text
    assert "a rollout measured that began at 2026-01-01 00:00:00Z" in text
    assert "0 of 3 groups of its pods" in text


def test_a_dry_run_says_why_it_knows_nothing() -> None:
    nothing = recalled(plan_of(10), None, configured())
    assert foreseeing.document(nothing)["analyses"] == []  # type: ignore[index, call-overload]
    assert "no rollout here has measured the service before" in " ".join(foreseeing.lines(nothing))


async def test_a_plan_that_compares_nothing_says_so_and_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch, plan=msgspec.structs.replace(BASE.plan, steps=(analysis(60.0),))) as person:
        assert "compares no share of the requests" in (await person.until(1)).problem
        await asyncio.sleep(0.01)
        assert person._task.done()
