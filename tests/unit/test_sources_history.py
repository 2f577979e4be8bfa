"""The time before a deploy as a Prometheus remembers it: pod by pod, and why it is not known where it is not."""

import urllib.parse
from collections.abc import Mapping, Sequence

import httpx
import pytest
from support.clock import ManualClock
from support.prometheus import metrics, subject

from services.analysis.baseline import splits
from services.analysis.sources.history import History, history
from services.analysis.windows import ArmName
from services.redaction import Redactor

START = 1_767_225_600.0 - 60.0
"""A minute before the clock's first moment."""
Counters = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By pod: requests and errors as they stood, a look after the other."""


def matrix(pods: Counters) -> httpx.Response:
    series = []
    for pod, (total, errors) in pods.items():
        for what, values in (("total", total), ("errors", errors)):
            metric = {"quarterdeck_arm": "stable", "quarterdeck_what": what, "job": "pods", "instance": pod, "pod": pod}
            series.append({"metric": metric, "values": [[START + 10 * at, str(value)] for at, value in enumerate(values)]})
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": series}})


class Remembering:
    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, urllib.parse.parse_qs(request.content.decode())))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def remembered(server: Remembering, stable: tuple[str, ...] = ("a", "b"), seconds: float = 1800.0) -> History:
    return await history(
        metrics(source="prometheus", prometheus={"url": "https://prometheus.test"}),
        subject(canary=(), stable=stable),
        clock=ManualClock(),
        register=Redactor(),
        seconds=seconds,
        transport=httpx.MockTransport(server),
    )


async def test_each_pod_is_told_apart_look_by_look() -> None:
    server = Remembering(matrix({"a": ((0, 100, 200, 300), (0, 1, 2, 3)), "b": ((50, 150, 250, 350), (0, 0, 0, 4))}))
    found = await remembered(server)
    assert found.problem == ""
    counted = found.windows.count(ArmName.STABLE, -60.0, 0.0)
    assert (counted.requests, counted.errors) == (600.0, 7.0)
    one, other = splits(found.windows, 1800.0, 0.5, {})
    assert [row["errors"].s for row in one] == [1.0, 1.0, 1.0]
    assert [row["errors"].f for row in one] == [0.0, 0.0, 4.0]
    assert [row["errors"].s for row in other] == [0.0, 0.0, 4.0]
    path, form = server.asked[0]
    assert path == "/api/v1/query_range"
    assert form["step"] == ["10.000"]
    assert float(form["end"][0]) - float(form["start"][0]) == pytest.approx(1800.0)


async def test_a_pod_that_began_anew_adds_what_it_counted_since() -> None:
    server = Remembering(matrix({"a": ((1000, 1100, 20, 120), (5, 6, 0, 1)), "b": ((0, 100, 200, 300), (0, 0, 0, 0))}))
    counted = (await remembered(server)).windows.count(ArmName.STABLE, -60.0, 0.0)
    assert counted.requests == pytest.approx(100 + 20 + 100 + 300)


async def test_many_pods_are_asked_for_less_time() -> None:
    server = Remembering(matrix({}))
    await remembered(server, tuple(f"pod-{number}" for number in range(500)))
    form = server.asked[0][1]
    assert float(form["end"][0]) - float(form["start"][0]) == pytest.approx(250.0)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (matrix({}), "the server remembers nothing of it"),
        (httpx.Response(503, text="busy"), "answered 503"),
        (httpx.Response(200, text="<html>"), "something that is not Prometheus's"),
        (httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": []}}), "an instant vector"),
        (httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": [7]}}), "makes no sense"),
        (
            httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "x"]]}]}}),
            "makes no sense",
        ),
        (httpx.Response(422, json={"status": "error", "errorType": "execution", "error": "too many points"}), "too many points"),
        (httpx.ConnectError("refused"), "can't be reached"),
    ],
)
async def test_what_is_not_remembered_has_a_reason(answer: httpx.Response | Exception, told: str) -> None:
    found = await remembered(Remembering(answer))
    assert told in found.problem
    assert found.windows.count(ArmName.STABLE, -1800.0, 0.0).requests == 0.0


async def test_without_pods_nobody_is_asked() -> None:
    server = Remembering(matrix({}))
    assert "neither version has pods" in (await remembered(server, ())).problem
    assert server.asked == []


async def test_what_is_no_number_is_not_counted() -> None:
    server = Remembering(matrix({"a": ((0, float("nan"), 200), (0, 1, 2)), "b": ((0, 100, 200), (0, -1, 2))}))
    counted = (await remembered(server)).windows.count(ArmName.STABLE, -60.0, 0.0)
    assert counted.requests == pytest.approx(400.0)  # bridged from the looks beside it
    assert counted.errors == pytest.approx(4.0)
