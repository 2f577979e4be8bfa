"""Scraping, probing and smoke testing over real sockets, and through an API server's proxy."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from support.clock import ManualClock

from services.analysis import DirectScrape, HealthProbe, PodReading, PodTarget, SmokeRunner, Unreadable, target_of
from services.analysis.endpoints import Proxied, Templated
from services.cluster.objects import Container, Meta, Pod, PodSpec, Resources
from services.model.errors import Forbidden, Invalid, NotFound, Unavailable
from services.model.steps import SmokeCheck
from services.settings import Metrics, Probes, Smoke
from services.settings.schema import Series

METRICS = b'http_requests_total{code="200"} 7\nprocess_cpu_seconds_total 1.5\n'


class Web:
    """A small HTTP server on loopback; ``answer`` maps a path to (status, body), or to ``None`` for silence."""

    def __init__(self, answer: Callable[[str], tuple[int, bytes] | None]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.open = self.most_open = 0

    async def serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.append(path)
                answer = self.answer(path)
                if answer is None:
                    await reader.read()
                    return
                await asyncio.sleep(0)
                status, body = answer
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        finally:
            self.open -= 1
            writer.close()


@contextlib.asynccontextmanager
async def web(answer):
    site = Web(answer)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    try:
        yield site, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class ApiServer:
    """A connection's proxy: answers, or raises, by pod name."""

    def __init__(self, answers, alive=True):
        self.answers, self.alive, self.asked = answers, alive, []

    async def proxy(self, namespace, kind, name, port, path, timeout=5.0):
        self.asked.append((namespace, kind, name, port, path))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def latency(self):
        if not self.alive:
            raise Unavailable("the API server is away")
        return 0.01


def target(name, **more):
    return PodTarget(name=name, namespace="production", **more)


async def test_pods_are_scraped_side_by_side_and_failures_are_values():
    def answer(path):
        pod = path.split("/")[3]
        return {"good": (200, METRICS), "sick": (500, b"oops"), "odd": (200, b"<html>")}.get(pod, (200, METRICS))

    async with web(answer) as (site, url):
        scrape = DirectScrape(Templated(url + "/pods/{namespace}/{pod}/metrics", appends_path=False), ManualClock())
        pods = [target("good", cpu_limit=0.5, memory_limit=100.0), target("sick"), target("odd")]
        pods += [target(f"more-{number}") for number in range(40)]
        readings = await scrape.scrape(pods)
        await scrape.close()
    assert readings["good"] == PodReading(at=0.0, requests=7.0, errors=0.0, cpu_seconds=1.5, cpu_limit=0.5, memory_limit=100.0)
    assert isinstance(readings["sick"], Unreadable)
    assert "500" in readings["sick"].why
    assert "Prometheus" in readings["odd"].why
    assert len(readings) == 43
    assert site.most_open <= 16
    assert site.asked.count("/pods/production/good/metrics") == 1


async def test_a_silent_pod_costs_its_timeout_and_no_more():
    async with web(lambda path: None if "silent" in path else (200, METRICS)) as (_, url):
        scrape = DirectScrape(Templated(url + "/{namespace}/{pod}", appends_path=False), ManualClock(), timeout=1.5)
        readings = await scrape.scrape([target("silent"), target("good")])
        await scrape.close()
    assert isinstance(readings["silent"], Unreadable)
    assert isinstance(readings["good"], PodReading)


async def test_a_page_without_end_is_cut_off():
    async with web(lambda path: (200, b"# " + b"x" * (5 * 1024 * 1024))) as (_, url):
        scrape = DirectScrape(Templated(url + "/{namespace}/{pod}", appends_path=False), ManualClock())
        readings = await scrape.scrape([target("endless")])
        await scrape.close()
    assert "4 MiB" in readings["endless"].why


async def test_nobody_listening_is_unreadable():
    async with web(lambda path: None) as (_, url):
        pass
    scrape = DirectScrape(Templated(url + "/{namespace}/{pod}", appends_path=False), ManualClock(), timeout=2.0)
    assert isinstance((await scrape.scrape([target("gone")]))["gone"], Unreadable)
    await scrape.close()


async def test_large_pages_are_read_too():
    page = METRICS + b"".join(b'other_total{n="%d"} 1\n' % number for number in range(5000))
    scrape = DirectScrape(Proxied(ApiServer({"big": (200, page)}), "pods", 8080), ManualClock())
    assert (await scrape.scrape([target("big")]))["big"].requests == 7.0


async def test_through_the_proxy_of_the_api_server():
    server = ApiServer({"new": (200, METRICS), "gone": NotFound("no such pod"), "cut": Unavailable("reset")})
    scrape = DirectScrape.configured(Metrics(port=9102, path="/stats"), server, ManualClock())
    readings = await scrape.scrape([target("new"), target("gone"), target("cut")])
    assert readings["new"].requests == 7.0
    assert isinstance(readings["gone"], Unreadable)
    assert isinstance(readings["cut"], Unreadable)
    assert ("production", "pods", "new", 9102, "/stats") in server.asked


@pytest.mark.parametrize(
    ("answer", "alive", "failures"),
    [
        ((200, b""), True, 0),
        ((503, b""), True, 3),
        ((301, b""), True, 3),
        (Unavailable("the pod does not answer"), True, 3),
        (Unavailable("the API server is away"), False, 0),
        (Forbidden("no right to proxy"), True, 0),
        (Invalid("no such port"), True, 0),
        (NotFound("the pod is gone"), True, 0),
    ],
)
async def test_probes_tell_a_sick_pod_from_a_broken_way_to_it(answer, alive, failures):
    server = ApiServer({"new": answer}, alive=alive)
    probe = HealthProbe.configured(Probes(), server)
    for _ in range(3):
        histories = await probe.probe([target("new")])
    assert histories[0].failures == failures
    assert server.asked[0] == ("production", "pods", "new", 8080, "/healthz")


async def test_probes_by_template_count_silence_as_failure():
    async with web(lambda path: (200, b"") if "well" in path else None) as (_, url):
        probe = HealthProbe(Templated(url + "/{namespace}/{pod}/healthz", appends_path=False), timeout=2.0)
        for _ in range(3):
            histories = await probe.probe([target("well"), target("hung"), target("starting", ready=False)])
        await probe.close()
    assert {history.pod: history.failures for history in histories} == {"well": 0, "hung": 3, "starting": 0}


async def test_an_unready_pod_that_is_known_to_have_started_counts_from_its_first_probe():
    probe = HealthProbe(Proxied(ApiServer({"old": (503, b""), "starting": (503, b"")}), "pods", 8080))
    pods = [target("old", ready=False), target("starting", ready=False)]
    await probe.probe(pods, started={"old"})
    for _ in range(2):
        histories = await probe.probe(pods)
    assert {history.pod: history.failures for history in histories} == {"old": 3, "starting": 0}


async def test_pods_that_are_gone_leave_no_history():
    probe = HealthProbe(Proxied(ApiServer({"a": (500, b""), "b": (200, b"")}), "pods", 8080))
    await probe.probe([target("a"), target("b")])
    assert [history.pod for history in await probe.probe([target("b")])] == ["b"]


async def test_smoke_tests_all_run_and_say_what_they_found():
    answers = {
        "/services/production/pay/healthz": (200, b"ok"),
        "/services/production/pay/missing": (404, b""),
        "/services/production/pay/text": (200, b"other words"),
        "/services/production/pay/teapot": (418, b""),
    }
    async with web(lambda path: answers.get(path)) as (_, url):
        runner = SmokeRunner.configured(Smoke(url=url + "/services/{namespace}/{service}"), ApiServer({}), ManualClock())
        results = await runner.run(
            (
                SmokeCheck(name="health", path="/healthz", contains="ok"),
                SmokeCheck(name="missing", path="/missing"),
                SmokeCheck(name="text", path="/text", contains="hello"),
                SmokeCheck(name="teapot", path="/teapot", status=418),
                SmokeCheck(name="silent", path="/silent", timeout=0.1),
            ),
            "pay",
            "production",
        )
        await runner.close()
    assert [bool(result.passed) for result in results] == [True, False, False, True, False]
    assert "answered 404, expected 200" in results[1].detail
    assert "without 'hello'" in results[2].detail
    assert results[4].detail


async def test_smoke_tests_through_the_service_proxy():
    server = ApiServer({"pay": (200, b"fine")})
    runner = SmokeRunner.configured(Smoke(port=8443), server, ManualClock())
    assert (await runner.run((SmokeCheck(name="a", path="/a"),), "pay", "production"))[0].passed
    assert server.asked == [("production", "services", "pay", 8443, "/a")]
    lost = SmokeRunner.configured(Smoke(), ApiServer({"pay": Unavailable("away")}), ManualClock())
    assert (await lost.run((SmokeCheck(name="a", path="/a"),), "pay", "production"))[0].passed is None


class Hanging(ApiServer):
    async def proxy(self, namespace, kind, name, port, path, timeout=5.0):
        await asyncio.sleep(60)


@pytest.mark.parametrize(("alive", "passed"), [(True, False), (False, None)])
async def test_a_smoke_test_that_the_api_server_never_passed_on_says_nothing_of_the_service(alive, passed):
    runner = SmokeRunner.configured(Smoke(), Hanging({}, alive=alive), ManualClock())
    result = (await runner.run((SmokeCheck(name="a", path="/a", timeout=0.05),), "pay", "production"))[0]
    assert result.passed is passed
    assert ("API server" in result.detail) is not alive


def test_limits_are_those_of_the_services_container():
    def container(name, image, **limits):
        return Container(name=name, image=image, resources=Resources(limits=limits))

    pod = Pod(
        metadata=Meta(name="pay-1", namespace="production"),
        spec=PodSpec(
            containers=(
                container("proxy", "istio/proxyv2:1.20", cpu="2", memory="1Gi"),
                container("app", "registry:5000/shop/pay:v1", cpu="500m", memory="256Mi"),
            )
        ),
    )
    assert target_of(pod, "pay") == PodTarget(
        name="pay-1", namespace="production", cpu_limit=0.5, memory_limit=256 * 2**20, ready=False
    )
    assert target_of(pod, "other").cpu_limit == 2.0
    bare = Pod(metadata=Meta(name="x", namespace="y"), spec=PodSpec(containers=(container("app", "pay:v1"),)))
    assert (target_of(bare, "pay").cpu_limit, target_of(bare, "pay").memory_limit) == (None, None)


async def test_metrics_are_found_by_the_names_of_the_configuration():
    page = b'app_requests_total{code="200"} 5\nused_cpu 3\nhttp_requests_total 99\n'
    async with web(lambda path: (200, page)) as (_, url):
        names = Series(requests="app_requests_total", cpu="used_cpu")
        metrics = Metrics(scrape_url=url + "/{namespace}/{pod}", names=names)
        scrape = DirectScrape.configured(metrics, None, ManualClock())
        readings = await scrape.scrape([target("good")])
        await scrape.close()
    assert (readings["good"].requests, readings["good"].cpu_seconds, readings["good"].memory) == (5.0, 3.0, None)
