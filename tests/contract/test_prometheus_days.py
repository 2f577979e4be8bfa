"""Bad days of a real Prometheus and of what it scrapes: no data, with its reason and age, and never counts made of nothing."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.configuration import WHOLE, configured
from support.prometheus import Page, Server, metrics, needs_prometheus, serving, subject

from console.cli import main
from console.doctor import metricsource
from console.doctor.finding import Outcome
from services.analysis.sources import MetricSource, Subject, open_source
from services.analysis.sources.checking import check, example
from services.analysis.sources.prometheus import PrometheusServer
from services.analysis.sources.promql import filled, pattern
from services.analysis.windows import ArmName
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.schema import Metrics

pytestmark = [needs_prometheus, pytest.mark.counterpart]
_generations = itertools.count(1)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    found = Page()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("prometheus"), page.address) as found:
        yield found


def opened(config: Metrics, whom: Subject | None = None) -> MetricSource:
    return open_source(config, lambda: whom or subject(), clock=SystemClock(), register=Redactor())


def pod(name: str, well: int, failed: int | None) -> str:
    labels = f'namespace="shop",pod="{name}"'
    text = f'http_requests_total{{{labels},code="200"}} {well}\n'
    return text if failed is None else text + f'http_requests_total{{{labels},code="500"}} {failed}\n'


def show(page: Page, server: Server, *pods: str) -> None:
    generation = next(_generations)
    page.text = f"generation {generation}\n" + "".join(pods)
    server.scraped("generation", generation)


def by_pods(server: Server) -> Metrics:
    return metrics(source="prometheus", prometheus={"url": server.url})


async def test_no_series_is_no_data_and_not_no_errors(page: Page, server: Server) -> None:
    source = opened(by_pods(server))
    show(page, server, pod("checkout-1", 100, 1))
    await source.read(0.0)
    show(page, server, pod("checkout-1", 200, 2))
    found = await source.read(10.0)
    assert not found.arms
    assert found.problem == "no data of canary"
    assert found.since == 0.0
    # Its pod comes: what it did before it was first seen is not known, so counting begins with it, for both.
    show(page, server, pod("checkout-1", 300, 3), pod("checkout-canary-1", 1000, 500))
    found = await source.read(20.0)
    assert not found.arms
    assert "is new" in found.problem
    # An error's first series, of a pod that was known before, counts from nothing.
    show(page, server, pod("checkout-1", 400, 4), pod("checkout-canary-1", 1010, 520))
    found = await source.read(30.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (found.since, interval.n, interval.s, interval.m, interval.f) == (20.0, 30, 20, 101, 1)
    await source.close()


async def test_nobody_asked_for_is_not_everybody(page: Page, server: Server) -> None:
    source = opened(by_pods(server), subject(canary=()))
    show(page, server, pod("checkout-1", 100, 1), 'http_requests_total{namespace="shop",code="500"} 7\n')
    await source.read(0.0)
    show(page, server, pod("checkout-1", 200, 1), 'http_requests_total{namespace="shop",code="500"} 9\n')
    found = await source.read(10.0)
    # Before a canary has pods, stable alone is measured.
    assert {arm: tallies["errors"].total for arm, tallies in found.arms.items()} == {ArmName.STABLE: 100}
    assert (found.problem, found.interval("errors")) == ("", None)
    await source.close()


async def test_a_restart_a_new_pod_and_one_that_goes(page: Page, server: Server) -> None:
    source = opened(by_pods(server))
    show(page, server, pod("checkout-canary-1", 5000, 10), pod("checkout-1", 100, 0), pod("checkout-2", 100, 0))
    await source.read(0.0)
    # The canary's process began anew; one of stable's pods went.
    show(page, server, pod("checkout-canary-1", 40, 2), pod("checkout-1", 200, 0))
    found = await source.read(10.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (interval.n, interval.s, interval.m, interval.f) == (42, 2, 100, 0)
    # Another comes, with a past.
    show(page, server, pod("checkout-canary-1", 50, 2), pod("checkout-1", 300, 0), pod("checkout-2", 9000, 90))
    interval = (await source.read(20.0)).interval("errors")
    assert interval is not None
    assert (interval.n, interval.s, interval.m, interval.f) == (10, 0, 100, 0)
    await source.close()


async def test_a_target_that_is_down_is_bridged(page: Page, server: Server) -> None:
    source = opened(by_pods(server))
    both = pod("checkout-canary-1", 100, 0), pod("checkout-1", 100, 0)
    show(page, server, *both)
    await source.read(0.0)
    page.text = ""
    server.gone("http_requests_total")
    found = await source.read(10.0)
    assert not found.arms
    assert found.problem == "no series match"
    assert found.age >= 10.0
    show(page, server, pod("checkout-canary-1", 150, 5), pod("checkout-1", 190, 0))
    found = await source.read(20.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (found.since, found.seconds, interval.n, interval.s, interval.m) == (0.0, 20.0, 55, 5, 90)
    await source.close()


async def test_a_look_before_the_next_scrape_waits_for_it(page: Page, server: Server) -> None:
    show(page, server, pod("checkout-canary-1", 100, 0), pod("checkout-1", 100, 0))
    for _ in range(100):
        source, scraped = opened(by_pods(server)), server.value("timestamp(generation)")
        await source.read(0.0)
        found = await source.read(0.001)
        await source.close()
        if server.value("timestamp(generation)") == scraped:
            break  # else a scrape came between the two looks
    assert (dict(found.arms), found.problem, found.since) == ({}, "", 0.0)


async def test_without_status_codes_failures_are_not_known(page: Page, server: Server) -> None:
    source = opened(by_pods(server))
    for step in (1, 2):
        requests = "".join(
            f'http_requests_total{{namespace="shop",pod="{name}"}} {step}\n' for name in ("checkout-canary-1", "checkout-1")
        )
        show(page, server, requests)
        found = await source.read(10.0 * step)
    assert not found.arms
    assert found.problem == "no metric is known of both versions"
    await source.close()


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-5"])
async def test_what_can_be_no_count_is_no_data(value: str, page: Page, server: Server) -> None:
    source = opened(by_pods(server))
    show(page, server, pod("checkout-canary-1", 100, 0), pod("checkout-1", 100, 0))
    await source.read(0.0)
    broken = f'http_requests_total{{namespace="shop",pod="checkout-canary-1",code="200"}} {value}\n'
    show(page, server, broken, pod("checkout-1", 200, 0))
    found = await source.read(10.0)
    assert (dict(found.arms), found.problem) == ({}, "no data of canary")
    await source.close()


async def test_a_query_that_finds_nothing_is_told_before_a_deploy_needs_it(page: Page, server: Server, tmp_path: Path) -> None:
    """Right queries with a slip in them: asked for anybody, since no version of the example is there."""
    show(page, server, pod("checkout-1", 200, 0))
    ratios = [
        {
            "name": "all",
            "total": 'http_requests_total{pod="{{workload}}"}',
            "bad": 'http_requests_total{pod="{{workload}}",code="500"}',
        },
        {"name": "bad", "total": 'http_requests_total{pod=~"{{pods}}"}', "bad": 'htp_requests_total{pod=~"{{pods}}"}'},
        {
            "name": "total",
            "total": 'htp_requests_total{pod=~"{{pods}}"}',
            "bad": 'htp_requests_total{pod=~"{{pods}}",code="500"}',
        },
    ]
    section = {
        "source": "prometheus",
        "prometheus": {"url": server.url},
        "weights": {"errors": 0.3, "latency": 0.3},
        "ratios": ratios,
        "endpoints": [{"name": "pay", "label": "path", "value": "/nowhere"}],
    }
    found = await check(metrics(**section), example("shop"), clock=SystemClock(), register=Redactor())
    assert (found.refused, found.unasked) == ({}, "")
    assert found.unmatched == {
        "metrics.ratios[1].bad": "finds nothing while the other query of its metric does: no such event happened yet, or it has "
        "a slip",
        "metrics.ratios[2].total": "finds nothing, whatever service it asks for: nothing can be proven without it",
        "metrics.endpoints[0]": "finds nothing, whatever service it asks for: nothing can be proven without it",
    }
    (one,) = metricsource.checks(configured(f"{WHOLE}metrics: {json.dumps(section)}\n"), SystemClock(), Redactor())
    assert [finding.outcome for finding in await one.run()] == [Outcome.WARNING] * 3


async def test_windows_of_own_queries_are_counted_once(page: Page, server: Server) -> None:
    query = 'increase(http_requests_total{{pod=~"{{{{pods}}}}"{}}}[{{{{window}}}}])'
    own = {"total": query.format(""), "errors": query.format(',code="500"')}
    source = opened(metrics(source="prometheus", prometheus={"url": server.url, "queries": own}))
    show(page, server, pod("checkout-canary-1", 0, 0), pod("checkout-1", 0, 0))
    assert not (await source.read(0.0)).arms
    counted = {"n": 0.0, "s": 0.0, "m": 0.0}
    for step in range(1, 9):
        show(page, server, pod("checkout-canary-1", 90 * step, 10 * step), pod("checkout-1", 1000 * step, 0))
        if interval := (await source.read(10.0 * step)).interval("errors"):
            counted = {"n": counted["n"] + interval.n, "s": counted["s"] + interval.s, "m": counted["m"] + interval.m}
    await source.close()
    # What increase() extrapolates is not exact; shares are.
    assert 400 <= counted["n"] <= 1200
    assert counted["s"] / counted["n"] == pytest.approx(0.1, rel=0.05)
    assert counted["m"] / counted["n"] == pytest.approx(10, rel=0.05)


async def test_a_wrong_query_is_refused_in_the_servers_words(server: Server) -> None:
    config = metrics(
        source="prometheus",
        prometheus={
            "url": server.url,
            "queries": {
                "total": 'sum(x{v="{{version}}"}',
                "errors": 'sum(x{v="{{version}}"})',
                "latency": 'x{v="{{arm}}"}[5m]',
            },
        },
        ratios=[{"name": "orders", "total": 'orders{v="{{version}}"}', "bad": 'ordres(x{v="{{version}}"})'}],
    )
    found = await check(config, example("shop"), clock=SystemClock(), register=Redactor())
    assert found.unasked == ""
    assert set(found.refused) == {
        "metrics.prometheus.queries.total",
        "metrics.prometheus.queries.latency",
        "metrics.ratios[0].bad",
    }
    assert "parse error: unclosed left parenthesis" in found.refused["metrics.prometheus.queries.total"]
    assert "range vector" in found.refused["metrics.prometheus.queries.latency"]
    assert 'unknown function with name "ordres"' in found.refused["metrics.ratios[0].bad"]


@pytest.mark.parametrize("pack", ["pods", "istio", "nginx", "envoy", "opentelemetry"])
async def test_every_pack_is_taken(pack: str, server: Server) -> None:
    config = metrics(
        source="prometheus",
        prometheus={"url": server.url, "pack": pack},
        endpoints=[{"name": "pay", "value": '/pay"} or vector(1) #'}],
    )
    found = await check(config, example("shop"), clock=SystemClock(), register=Redactor())
    assert (dict(found.refused), found.unasked) == ({}, "")


async def test_a_wrong_query_of_ones_own_blinds_nothing_else(page: Page, server: Server) -> None:
    config = metrics(
        source="prometheus",
        prometheus={"url": server.url},
        ratios=[{"name": "orders", "total": 'orders{v="{{version}}"}', "bad": 'ordres(x{v="{{version}}"})'}],
    )
    source = opened(config)
    show(page, server, pod("checkout-canary-1", 100, 0), pod("checkout-1", 100, 0))
    await source.read(0.0)
    show(page, server, pod("checkout-canary-1", 200, 1), pod("checkout-1", 200, 0))
    found = await source.read(10.0)
    assert found.interval("errors") is not None
    assert "orders" in found.problem
    assert "unknown function" in found.problem
    await source.close()


HOSTILE = (
    'v2"} or vector(1) or x{a="',
    "v2' or vector(1) or '",
    "v2\\",
    "v2\n} or vector(1)",
    "`v2`",
    "{{namespace}}",
    "v1.2|.*",
    "Ünïcode ☃",
    "(v1)[a-z]+$^{2}",
    "\x00\x7f",
)


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_value_stays_a_value(value: str, server: Server) -> None:
    asked = PrometheusServer(by_pods(server).prometheus or pytest.fail("no server"), register=Redactor())
    whom = subject(versions=(value, "v1"))
    for quote in "\"'":
        query = filled(f"absent(nobody{{x={quote}{{{{version}}}}{quote}}})", whom, ArmName.CANARY)
        (found,) = await asked.query(query)
        # absent() gives back what its matchers ask for.
        assert found.labels == {"x": value}
        (found,) = await asked.query(f'label_replace({query}, "same", "yes", "x", "{pattern(value)}")')
        assert found.labels.get("same") == "yes"
        (found,) = await asked.query(f'label_replace(absent(nobody{{x="v1x2zz"}}), "same", "yes", "x", "{pattern(value)}")')
        assert "same" not in found.labels
    await asked.close()


def test_config_check_names_the_line_of_a_wrong_query(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"""\
version: 1
environments:
  production: {{context: production, namespaces: [shop]}}
metrics:
  source: prometheus
  prometheus:
    url: {server.url}
    queries:
      total: 'sum by (pod) (x{{v="{{{{version}}}}"}})'
      errors: 'summ by (pod) (x{{v="{{{{version}}}}"}})'
""")
    assert main(["config", "check", str(file), "-o", "json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["key"], problem["line"]) == ("metrics.prometheus.queries.errors", 10)
    assert "parse error" in problem["problem"]
    assert main(["config", "check", str(file), "--offline"]) == 0


async def test_doctor_asks_the_server_too(server: Server) -> None:
    text = (
        WHOLE
        + "metrics: "
        + json.dumps(
            {
                "source": "prometheus",
                "prometheus": {"url": server.url},
                "ratios": [{"name": "orders", "total": 'x{v="{{arm}}"}', "bad": 'y{v="{{arm}}"}[5m]'}],
            }
        )
    )
    (one,) = metricsource.checks(configured(text + "\n"), SystemClock(), Redactor())
    (found,) = await one.run()
    assert found.outcome is Outcome.PROBLEM
    assert found.found == "metrics.ratios[0].bad is refused: the query gives a range vector, not an instant vector"
    text = WHOLE + "metrics: " + json.dumps({"source": "prometheus", "prometheus": {"url": "http://127.0.0.1:9"}})
    (one,) = metricsource.checks(configured(text + "\n"), SystemClock(), Redactor())
    (found,) = await one.run()
    assert "127.0.0.1:9 can't be reached" in found.found
