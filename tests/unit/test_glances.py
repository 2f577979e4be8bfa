"""Errors and latency of the services on the screen: what is told, of whom, how old it is, and how little is asked for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.fake_api import manifest

from services.analysis import PodReading, Unreadable
from services.analysis.course import Course, Group
from services.analysis.glances import BURST, RATE, Glanced, Glances
from services.analysis.histogram import Histogram
from services.cluster.picture import Picture
from services.model.errors import Forbidden
from services.redaction import Redactor
from services.settings import Metrics

PAGE = """# TYPE http_requests_total counter
http_requests_total{{code="200"}} {good}
http_requests_total{{code="500"}} {bad}
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{le="0.05"}} {good}
http_request_duration_seconds_bucket{{le="0.1"}} {total}
http_request_duration_seconds_bucket{{le="+Inf"}} {total}
"""


class Shop:
    """A cluster of services whose pods answer pages; ``asked`` names the pods in the order in which they were read."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.seen = Picture()
        self.reachable = True
        self.asked: list[str] = []
        self.rates: dict[str, tuple[float, float]] = {}
        """Requests a second and the share that fails, by workload."""
        self.refused: set[str] = set()
        self.hanging: set[str] = set()

    def service(self, name: str, pods: int, version: str = "v1", rate: float = 100.0, bad: float = 0.0) -> None:
        template = {"spec": {"containers": [{"name": "app", "image": f"registry/{name.removesuffix('-canary')}:{version}"}]}}
        self._put("Deployment", name, spec={"replicas": pods, "template": template})
        self._put("ReplicaSet", f"{name}-1", owner=name, spec={"template": template})
        for index in range(pods):
            ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
            self._put("Pod", f"{name}-1-{index}", owner=f"{name}-1", status=ready, spec={"containers": []})
        self.rates[name] = rate, bad

    def _put(self, kind: str, name: str, owner: str = "", **more: object) -> None:
        meta = {"metadata": {"ownerReferences": [{"uid": f"uid-{owner}", "controller": True}]}} if owner else {}
        self.seen.put(kind, msgspec.json.encode(manifest(kind, name, **meta, **more)))

    def picture(self, context: str) -> Picture | None:
        return self.seen if self.reachable else None

    async def connect(self, context: str) -> "Shop":
        return self

    async def proxy(self, namespace: str, kind: str, name: str, port: Any, path: str, timeout: float = 0) -> tuple[int, bytes]:
        self.asked.append(name)
        workload = name.rpartition("-")[0].rpartition("-")[0]
        if workload in self.hanging:
            await asyncio.Event().wait()
        if workload in self.refused:
            raise Forbidden("pods/proxy is forbidden", "in shop")
        rate, bad = self.rates[workload]
        total = rate * self.clock.monotonic()
        return 200, PAGE.format(good=total * (1 - bad), bad=total * bad, total=total).encode()

    async def latency(self) -> float:
        return 0.0


def glanced(service: str) -> Glanced:
    return Glanced(context="test", environment="production", namespace="shop", service=service)


@contextlib.asynccontextmanager
async def glancing(shop: Shop) -> AsyncIterator[Glances]:
    glances = Glances(Metrics(), shop, shop.clock, Redactor())
    running = asyncio.create_task(glances.run())
    try:
        yield glances
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def pass_by(shop: Shop, seconds: float) -> None:
    """So much time, in small steps: what is asked is answered in between."""
    for _ in range(round(seconds * 4)):
        await shop.clock.advance(0.25)


async def test_figures_come_with_the_second_look():
    shop = Shop(ManualClock())
    shop.service("cart", 2, bad=0.02)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 1)
        first = glances.figures["production", "cart"]
        assert (first.errors, first.p99, first.problem) == (None, None, "asking")
        await pass_by(shop, 3)
        figures = glances.figures["production", "cart"]
    assert figures.errors == pytest.approx(0.02)
    assert figures.p99 == pytest.approx(0.075)
    assert figures.problem == ""
    assert figures.trend == (figures.p99,)
    assert figures.age < 3


async def test_a_canary_counts_by_its_pods_though_more_of_them_are_read():
    shop = Shop(ManualClock())
    shop.service("cart", 8)
    shop.service("cart-canary", 2, "v2", bad=1.0)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 5)
        figures = glances.figures["production", "cart"]
    assert len(set(shop.asked)) == 3
    assert figures.errors == pytest.approx(2 / 10)


async def test_five_hundred_services_are_asked_for_no_more_than_the_budget():
    shop = Shop(ManualClock())
    names = [f"s{index:03}" for index in range(500)]
    for name in names:
        shop.service(name, 3)
    async with glancing(shop) as glances:
        glances.want([glanced(name) for name in names])
        await pass_by(shop, 60)
    assert len(shop.asked) <= BURST + RATE * 60 + 3
    assert len(shop.asked) >= RATE * 50
    assert len(set(shop.asked)) == len(shop.asked), "one was asked again while others had not been asked at all"


async def test_only_what_is_on_the_screen_is_asked():
    shop = Shop(ManualClock())
    for name in ("cart", "search"):
        shop.service(name, 1)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 15)
        assert set(shop.asked) == {"cart-1-0"}
        shop.asked.clear()
        glances.want([glanced("search")])
        await pass_by(shop, 15)
        assert set(shop.asked) == {"search-1-0"}
        glances.want([])
        shop.asked.clear()
        await pass_by(shop, 90)
        assert shop.asked == []
        assert glances.figures == {}, "figures of what nobody has looked at for a minute"


async def test_a_cluster_that_does_not_answer_is_not_asked_and_its_figures_grow_old():
    shop = Shop(ManualClock())
    shop.service("cart", 1)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 5)
        shop.reachable = False
        shop.asked.clear()
        await pass_by(shop, 120)
        assert shop.asked == []
        assert glances.figures["production", "cart"].age > 115
        shop.reachable = True
        await pass_by(shop, 11)
        assert glances.figures["production", "cart"].age < 11


async def test_pages_that_may_not_be_read_are_unknown_with_the_reason_and_seldom_asked_again():
    shop = Shop(ManualClock())
    shop.service("cart", 1)
    shop.refused.add("cart")
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 50)
        figures = glances.figures["production", "cart"]
        assert (figures.errors, figures.p99) == (None, None)
        assert "forbidden" in figures.problem
        assert len(shop.asked) == 2
        shop.refused.clear()
        await pass_by(shop, 90)
        assert glances.figures["production", "cart"].errors == 0.0


async def test_a_pod_that_hangs_keeps_no_other_service_waiting():
    shop = Shop(ManualClock())
    for name in ("a-hangs", "cart"):
        shop.service(name, 1)
    shop.hanging.add("a-hangs")
    async with glancing(shop) as glances:
        glances.want([glanced("a-hangs"), glanced("cart")])
        await pass_by(shop, 5)
        assert glances.figures["production", "cart"].errors == 0.0
        assert "a-hangs" not in {service for _, service in glances.figures}


async def test_no_requests_are_not_zero_errors():
    shop = Shop(ManualClock())
    shop.service("cart", 1, rate=0.0)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 5)
        figures = glances.figures["production", "cart"]
    assert (figures.errors, figures.p99, figures.problem) == (None, None, "no requests")


async def test_a_service_without_pods_says_so():
    shop = Shop(ManualClock())
    shop.service("cart", 0)
    async with glancing(shop) as glances:
        glances.want([glanced("cart")])
        await pass_by(shop, 5)
        assert glances.figures["production", "cart"].problem == "no pods"


ROUNDS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.one_of(st.just(None), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))),
        max_size=3,
    ),
    max_size=8,
)


@given(ROUNDS)
def test_whatever_pods_come_go_and_begin_anew_a_share_is_a_share(rounds):
    course = Course()
    for at, pages in enumerate(rounds):
        readings: dict[str, PodReading | Unreadable] = {}
        for pod, counters in pages.items():
            if counters is None:
                readings[pod] = Unreadable(float(at), "no answer")
            else:
                durations = Histogram.of({0.1: counters[1] / 2, float("inf"): float(counters[1])})
                readings[pod] = PodReading(
                    at=float(at), requests=float(sum(counters)), errors=float(counters[0]), durations=durations
                )
        course.pods([Group(pods=7, read=tuple(pages))], readings, pace=10.0 * at, monotonic=10.0 * at)
        figures = course.figures(10.0 * at, 10.0 * at)
        assert figures.errors is None or 0.0 <= figures.errors <= 1.0
        assert figures.p99 is None or 0.0 <= figures.p99 <= 0.1
        assert figures.errors is not None or figures.problem
