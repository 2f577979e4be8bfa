"""Every pack against a real Prometheus: the counts of both versions, exactly, by the labels of each convention."""

from collections.abc import Iterator

import pytest
from support.prometheus import Page, Server, metrics, needs_prometheus, serving, subject

from services.analysis.sources import MetricSource, open_source
from services.analysis.windows import ArmName
from services.clock import SystemClock
from services.redaction import Redactor

pytestmark = [needs_prometheus, pytest.mark.counterpart]
ISTIO = 'reporter="destination",destination_workload_namespace="shop",destination_workload='
ENVOY = 'envoy_cluster_name="shop_checkout'
OTEL = 'job="shop/checkout",service_version='


def histogram(name: str, labels: str, edges: dict[str, int]) -> str:
    return "".join(f'{name}_bucket{{{labels},le="{edge}"}} {count}\n' for edge, count in edges.items())


def pods(step: int) -> str:
    text = ""
    for pod, rate, bad in (("checkout-canary-1", 100, 7), ("checkout-1", 400, 2), ("checkout-2", 500, 1)):
        labels = f'namespace="shop",pod="{pod}"'
        text += f'http_requests_total{{{labels},code="200"}} {step * (rate - bad)}\n'
        text += f'http_requests_total{{{labels},code="503"}} {step * bad}\n'
        buckets = {"0.1": step * (rate - 2 * bad), "0.2": step * (rate - bad), "+Inf": step * rate}
        text += histogram("http_request_duration_seconds", labels, buckets)
    # Another service whose pods begin with the same name, and one of another namespace.
    text += f'http_requests_total{{namespace="shop",pod="checkout-12",code="500"}} {step * 9999}\n'
    return text + f'http_requests_total{{namespace="other",pod="checkout-1",code="500"}} {step * 9999}\n'


def istio(step: int) -> str:
    text = ""
    for workload, rate, bad in (("checkout-canary", 100, 7), ("checkout", 900, 3)):
        labels = f'{ISTIO}"{workload}"'
        text += f'istio_requests_total{{{labels},response_code="200",grpc_response_status=""}} {step * (rate - bad)}\n'
        # A failed RPC comes with HTTP's 200.
        text += f'istio_requests_total{{{labels},response_code="503",grpc_response_status=""}} {step * (bad - 1)}\n'
        text += f'istio_requests_total{{{labels},response_code="200",grpc_response_status="14"}} {step}\n'
        buckets = {"100": step * (rate - 2 * bad), "200": step * (rate - bad), "+Inf": step * rate}
        text += histogram("istio_request_duration_milliseconds", labels, buckets)
    return (
        text + f'istio_requests_total{{{ISTIO.replace("destination", "source", 1)}"checkout",response_code="500"}} {step * 999}\n'
    )


def nginx(step: int) -> str:
    text = ""
    for canary, rate, bad in (("shop-checkout-canary-80", 100, 7), ("", 900, 3)):
        labels = f'exported_namespace="shop",ingress="checkout",canary="{canary}"'
        text += f'nginx_ingress_controller_requests{{{labels},status="200"}} {step * (rate - bad)}\n'
        text += f'nginx_ingress_controller_requests{{{labels},status="502"}} {step * bad}\n'
        buckets = {"0.1": step * (rate - 2 * bad), "0.2": step * (rate - bad), "+Inf": step * rate}
        text += histogram("nginx_ingress_controller_request_duration_seconds", labels, buckets)
    return text


def nginx_with_honoured_labels(step: int) -> str:
    return nginx(step).replace("exported_namespace", "namespace")


def envoy(step: int) -> str:
    text = ""
    for cluster, rate, bad in (("-canary_8080", 100, 7), ("_8080", 900, 3)):
        labels = f'{ENVOY}{cluster}"'
        text += f"envoy_cluster_upstream_rq_completed{{{labels}}} {step * rate}\n"
        text += f'envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="2"}} {step * (rate - bad)}\n'
        text += f'envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="5"}} {step * bad}\n'
        buckets = {"100": step * (rate - 2 * bad), "200": step * (rate - bad), "+Inf": step * rate}
        text += histogram("envoy_cluster_upstream_rq_time", labels, buckets)
    return text


def opentelemetry(step: int) -> str:
    text = ""
    for version, rate, bad in (("v2", 100, 7), ("v1", 900, 3)):
        labels = f'{OTEL}"{version}"'
        name = "http_server_request_duration_seconds"
        text += f'{name}_count{{{labels},http_response_status_code="200"}} {step * (rate - bad)}\n'
        text += f'{name}_count{{{labels},http_response_status_code="500"}} {step * bad}\n'
        buckets = {"0.1": step * (rate - 2 * bad), "0.2": step * (rate - bad), "+Inf": step * rate}
        text += histogram(name, f'{labels},http_response_status_code="200"', buckets)
    return text


PAGES = {
    "pods": pods,
    "istio": istio,
    "nginx": nginx,
    "nginx honoured": nginx_with_honoured_labels,
    "envoy": envoy,
    "opentelemetry": opentelemetry,
}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    found = Page()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("prometheus"), page.address) as found:
        yield found


def source(server: Server, pack: str) -> MetricSource:
    return open_source(
        metrics(source="prometheus", prometheus={"url": server.url, "pack": pack}),
        subject,
        clock=SystemClock(),
        register=Redactor(),
    )


@pytest.mark.parametrize("name", PAGES)
async def test_a_pack_counts_both_versions(name: str, page: Page, server: Server) -> None:
    write, under_test = PAGES[name], source(server, name.split()[0])
    page.text = f"generation 1\n{write(1)}"
    server.scraped("generation", 1)
    first = await under_test.read(0.0)
    assert not first.arms
    page.text = f"generation 2\n{write(3)}"
    server.scraped("generation", 2)
    found = await under_test.read(10.0)
    await under_test.close()
    assert (found.problem, found.since, found.at) == ("", 0.0, 10.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (interval.n, interval.s, interval.m, interval.f) == (200, 14, 1800, 6)
    slow = found.interval("latency", 0.1)
    assert slow is not None, found.arms[ArmName.CANARY]["latency"]
    assert (slow.n, slow.s, slow.m, slow.f) == (200, 28, 1800, 12)
    assert found.age < 5.0


async def test_an_endpoint_and_a_ratio_are_judged_by_themselves(page: Page, server: Server) -> None:
    def write(step: int) -> str:
        text = pods(step)
        for pod, paid, failed in (("checkout-canary-1", 10, 4), ("checkout-1", 40, 1)):
            labels = f'namespace="shop",pod="{pod}",path="/api/\\"pay\\""'
            text += f'http_requests_total{{{labels},code="200"}} {step * (paid - failed)}\n'
            text += f'http_requests_total{{{labels},code="500"}} {step * failed}\n'
            text += f'orders_total{{pod="{pod}"}} {step * paid}\n'
            text += f'orders_failed_total{{pod="{pod}"}} {step * failed}\n' if pod == "checkout-canary-1" else ""
        return text

    under_test = open_source(
        metrics(
            source="prometheus",
            prometheus={"url": server.url},
            weights={"errors": 0.4, "latency": 0.3},
            endpoints=[{"name": "pay", "value": '/api/"pay"', "weight": 0.2}],
            ratios=[
                {
                    "name": "orders",
                    "total": 'orders_total{pod=~"{{pods}}"} # all of them',
                    "bad": 'orders_failed_total{pod=~"{{pods}}"}',
                }
            ],
        ),
        subject,
        clock=SystemClock(),
        register=Redactor(),
    )
    page.text = f"generation 11\n{write(1)}"
    server.scraped("generation", 11)
    await under_test.read(0.0)
    page.text = f"generation 12\n{write(3)}"
    server.scraped("generation", 12)
    found = await under_test.read(10.0)
    await under_test.close()
    told = {name: found.interval(name) for name in ("errors", "pay", "orders")}
    assert {name: (one.n, one.s, one.m, one.f) for name, one in told.items() if one is not None} == {
        "errors": (220, 22, 1880, 8),
        "pay": (20, 8, 80, 2),
        "orders": (20, 8, 80, 0),
    }
