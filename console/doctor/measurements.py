"""What a rollout will measure, measured once: the metrics and the health page of a few pods, and one smoke test.

All of it is asked the way the configuration says, so that a wrong port or URL template shows here and not during a deploy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from console.doctor.examination import SHARE
from console.doctor.finding import Check, Finding, Group, Outcome, Topic
from console.doctor.site import Place, Site, first_page
from services.analysis.parse import PodReading, Unreadable
from services.analysis.probes import HealthProbe
from services.analysis.scrape import DirectScrape
from services.analysis.smoke import SmokeRunner
from services.analysis.targets import PodTarget, target_of
from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.objects import Pod
from services.cluster.objects import Service as ClusterService
from services.settings import Settings
from services.settings.schema import Series
from services.settings.sources import Endpoint, Ratio

PODS = 8
"""Pods asked in each namespace, of a service each."""
_LOOKED_AT = 200
_METRICS_ACTION = "Check 'metrics' of the configuration (port, path or scrape_url) and what the pod exports."


def checks(site: Site, settings: Settings, clock: Clock, seconds: float) -> list[Check]:
    found = []
    for place in site.places:
        ways = {"metrics": _metrics, "probes": _probes, "smoke tests": _smoke}
        for name, way in ways.items():
            topic = Topic(Group.MEASUREMENTS, name, str(place))
            found.append(Check(topic, _bound(way, topic, site, place, settings, clock, seconds * SHARE)))
    return found


_Way = Callable[[Topic, Site, Place, Settings, Clock, float], Awaitable[list[Finding]]]


def _bound(
    way: _Way, topic: Topic, site: Site, place: Place, settings: Settings, clock: Clock, seconds: float
) -> Callable[[], Awaitable[Sequence[Finding]]]:
    return lambda: way(topic, site, place, settings, clock, seconds)


async def _metrics(topic: Topic, site: Site, place: Place, settings: Settings, clock: Clock, seconds: float) -> list[Finding]:
    connection = await site.reached()
    pods = await _pods(connection, place)
    if not pods:
        return [topic.skipped("no pod is ready here to be asked")]
    source = DirectScrape.configured(settings.metrics, connection, clock)
    try:
        async with asyncio.timeout(seconds):
            readings = await source.scrape(pods)
    except TimeoutError:
        return [topic.problem(f"no answer within {seconds:g} s from {_named(pods)}", "the pods' metrics", _METRICS_ACTION)]
    finally:
        await source.close()
    return _of_readings(topic, pods, readings, settings)


def _of_readings(
    topic: Topic, pods: Sequence[PodTarget], readings: Mapping[str, PodReading | Unreadable], settings: Settings
) -> list[Finding]:
    """What the pods show together. One that has had no request yet has no series of requests: it proves nothing either way."""
    names = settings.metrics.names
    silent = {pod.name: found.why for pod in pods if isinstance(found := readings[pod.name], Unreadable)}
    read = {pod.name: found for pod in pods if isinstance(found := readings[pod.name], PodReading)}
    asked = {name: found for name, found in read.items() if found.requests is not None or _timed(found)}
    needed = "the pods' metrics: without data nothing is promoted"
    blame = topic.problem if not read else topic.warning
    told = [blame(f"{name}: {why}", needed, _METRICS_ACTION) for name, why in silent.items()]
    if read and not asked:
        needed = f"{names.requests} and {names.latency}_bucket, which pods may not show before their first request"
        told.append(topic.unknown(f"{_count(len(read))} read, none had a request yet", needed, "Look again when some have."))
    lacking = [finding for name in asked if (finding := _of_series(topic, name, asked[name], names)).outcome is not Outcome.OK]
    if well := len(asked) - len(lacking):
        idle = f"; {_count(len(read) - len(asked))} had no request yet" if len(read) > len(asked) else ""
        told.append(topic.ok(f"{_count(well)} with requests, errors, latency, CPU and memory{idle}"))
    return [*told, *lacking, *(_of_own(topic, asked, settings) if asked else ())]


def _of_own(topic: Topic, asked: Mapping[str, PodReading], settings: Settings) -> list[Finding]:
    """What is judged by name has to be on the pages of some service: which one has it, the pods of one look don't tell."""
    if settings.metrics.source != "pods":
        return []
    told = []
    needed = "each ratio and endpoint: without its data nothing is proven"
    judged: dict[str, Sequence[Ratio | Endpoint]] = {"ratios": settings.metrics.ratios, "endpoints": settings.metrics.endpoints}
    for kind, several in judged.items():
        for index, one in enumerate(several):
            having = [pod for pod, reading in asked.items() if one.name in reading.tallies]
            key = f"metrics.{kind}[{index}]"
            action = f"Correct it ({settings.where(key)}), or name the services that have it in its 'services'."
            if not having:
                told.append(topic.warning(f"{one.name}: none of {_count(len(asked))} shows its events", needed, action))
            elif all(one.name in asked[pod].never_bad for pod in having):
                found = f"{one.name}: {_count(len(having))} with its events, none with a series of bad ones"
                told.append(
                    topic.warning(found, "none happened yet, or 'bad' has a slip", f"Look at it ({settings.where(key)}).")
                )
    return told


def _timed(reading: PodReading) -> bool:
    return reading.durations is not None and any(reading.durations.counts)


def _count(pods: int) -> str:
    return f"{pods} pod" if pods == 1 else f"{pods} pods"


def _of_series(topic: Topic, pod: str, reading: PodReading, names: Series) -> Finding:
    deciding = {names.requests: reading.requests, f"{names.latency}_bucket": reading.durations}
    guarding = {names.cpu: reading.cpu_seconds, names.memory: reading.memory}
    limits = {"CPU limit": reading.cpu_limit, "memory limit": reading.memory_limit}
    if missing := _absent(deciding):
        return topic.problem(f"{pod}: no {missing}", "both: errors and latency decide", "Export them in the Prometheus format.")
    if missing := _absent(guarding | limits):
        return topic.warning(f"{pod}: no {missing}", "for the triggers cpu and memory", "Export, or set, what is missing.")
    return topic.ok(f"{pod}: all there")


async def _probes(topic: Topic, site: Site, place: Place, settings: Settings, _: Clock, seconds: float) -> list[Finding]:
    connection = await site.reached()
    pods = await _pods(connection, place)
    if not pods:
        return [topic.skipped("no pod is ready here to be asked")]
    needed = "200: three other answers in a row roll a deploy back"
    action = "Check 'probes' of the configuration (port, path or url)."
    probe = HealthProbe.configured(settings.probes, connection)
    try:
        async with asyncio.timeout(seconds):
            histories = await probe.probe(pods)
    except TimeoutError:
        return [topic.problem(f"no answer within {seconds:g} s from {_named(pods)}", needed, action)]
    finally:
        await probe.close()
    failed = [topic.problem(f"{one.pod}: {one.detail}", needed, action) for one in histories if one.failures]
    unsaid = [topic.unknown(f"{one.pod}: {one.detail}", needed, action) for one in histories if not one.probes]
    well = len(histories) - len(failed) - len(unsaid)
    return [*failed, *unsaid, *([topic.ok(f"{well} of {len(histories)} pods answered 200")] if well else [])]


async def _smoke(topic: Topic, site: Site, place: Place, settings: Settings, clock: Clock, seconds: float) -> list[Finding]:
    if not settings.smoke_tests:
        return [topic.skipped("none are configured: the gate smoke-tests is unmet where it is required")]
    connection = await site.reached()
    services = await first_page(connection, "Service", place.namespace, _LOOKED_AT)
    there = {msgspec.json.decode(item, type=ClusterService).metadata.name for item in services.items or ()}
    service = next((name for name, tests in settings.smoke_tests.items() if tests and name in there), None)
    if service is None:
        return [topic.skipped("no service with smoke tests is here")]
    runner = SmokeRunner.configured(settings.smoke, connection, clock)
    check = msgspec.structs.replace(settings.checks(service)[0], timeout=min(settings.checks(service)[0].timeout, seconds))
    try:
        (result,) = await runner.run([check], service, place.namespace)
    finally:
        await runner.close()
    told, needed = f"{service}: {result.detail}", "the answer that the test expects"
    action = "Check 'smoke' (port or url) and the test of the configuration."
    if result.passed:
        return [topic.ok(told)]
    return [topic.problem(told, needed, action) if result.passed is False else topic.unknown(told, needed, action)]


async def _pods(connection: Connection, place: Place) -> list[PodTarget]:
    """A few ready pods, no two of one owner."""
    page = await first_page(connection, "Pod", place.namespace, _LOOKED_AT)
    found: dict[str, PodTarget] = {}
    for item in page.items or ():
        pod = msgspec.json.decode(item, type=Pod)
        if pod.ready and pod.metadata.controller and pod.metadata.deletion_timestamp is None:
            service = pod.metadata.labels.get("app", "")
            found.setdefault(pod.metadata.controller, target_of(pod, service))
    return list(found.values())[:PODS]


def _named(pods: Sequence[PodTarget]) -> str:
    return ", ".join(pod.name for pod in pods)


def _absent(series: Mapping[str, object]) -> str:
    return ", ".join(name for name, value in series.items() if value is None)
