"""What doctor finds on the pods' pages of what is judged by name."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import WHOLE, configured

from console.doctor import measurements
from console.doctor.finding import Finding, Outcome
from console.doctor.site import Place

PAGE = """\
{requests}{{code="200"}} 100
{requests}{{code="500"}} 1
http_request_duration_seconds_bucket{{le="0.1"}} 90
http_request_duration_seconds_bucket{{le="+Inf"}} 101
process_cpu_seconds_total 1
process_resident_memory_bytes 1
orders_total 7
"""
POD = {
    "metadata": {
        "name": "shop-1",
        "namespace": "shop",
        "labels": {"app": "shop"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": "1", "controller": True}],
    },
    "spec": {"containers": [{"name": "a", "image": "shop:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


class _Connection:
    """One namespace with one pod, whose page is ``page``."""

    def __init__(self, page: str) -> None:
        self.page = page

    async def pages(self, kind: str, namespace: str, limit: int) -> AsyncIterator[Any]:
        yield SimpleNamespace(items=[msgspec.json.encode(POD)])

    async def proxy(self, *where: object, **how: object) -> tuple[int, bytes]:
        return 200, self.page.encode()

    async def latency(self) -> float:
        return 0.0


async def examined(requests: str = "http_requests_total", **metrics: Any) -> list[Finding]:
    async def reached() -> _Connection:
        return _Connection(PAGE.format(requests=requests))

    site = SimpleNamespace(places=[Place(environment="production", namespace="shop")], reached=reached)
    settings = configured(f"{WHOLE}metrics: {msgspec.json.encode(metrics).decode()}\n")
    check = measurements.checks(site, settings, ManualClock(), 5.0)[0]  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        return list(await check.run())


def ratio(**keys: Any) -> dict[str, Any]:
    return {"name": "orders", "total": "orders_total", "bad": 'http_requests_total{code="500"}', "weight": 0.1, **keys}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"ratios": [ratio(total="ordrs_total")]}, "orders: none of 1 pod shows its events"),
        ({"endpoints": [{"name": "pay", "value": "/pay"}]}, "pay: none of 1 pod shows its events"),
        ({"ratios": [ratio(bad="ordrs_failed_total")]}, "orders: 1 pod with its events, none with a series of bad ones"),
    ],
)
async def test_what_is_judged_by_name_and_is_not_there_is_found_before_a_deploy(asked: dict[str, Any], found: str) -> None:
    well, *lacking = await examined(**asked)
    assert well.outcome is Outcome.OK
    assert [(finding.outcome, finding.found) for finding in lacking] == [(Outcome.WARNING, found)]
    assert "config.yaml:" in lacking[0].action


async def test_what_is_there_is_in_order() -> None:
    assert [finding.outcome for finding in await examined(ratios=[ratio()])] == [Outcome.OK]


async def test_a_series_that_is_missing_is_named_as_the_settings_have_it() -> None:
    (finding,) = await examined(names={"requests": "shop_requests_total"})
    assert finding.outcome is Outcome.PROBLEM
    assert finding.found == "shop-1: no shop_requests_total"
    assert [each.outcome for each in await examined("shop_requests_total", names={"requests": "shop_requests_total"})] == [
        Outcome.OK
    ]
