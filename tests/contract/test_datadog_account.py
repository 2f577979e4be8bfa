"""Datadog's timeseries query against exchanges recorded with the real service, and a double that answers in their form."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.clock import ManualClock
from support.prometheus import metrics, subject

from services.analysis.baseline import measure, splits
from services.analysis.sources import MetricSource, open_source
from services.analysis.sources.asking import NoData, QueryRefused
from services.analysis.sources.checking import check, example
from services.analysis.sources.datadog import DatadogAccount, Unaskable, filled
from services.analysis.sources.history import History, history
from services.analysis.windows import ArmName
from services.redaction import Redactor
from services.settings.sources import Datadog

CASSETTES = (Path(__file__).parents[2] / "../shared/specs/datadog-cassettes").resolve()
KEYS = {"api_key": "env:DD_API", "application_key": "env:DD_APP"}
recorded = pytest.mark.skipif(not CASSETTES.exists(), reason="the recorded exchanges are not here")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API", "api-secret")
    monkeypatch.setenv("DD_APP", "app-secret")


def cassette(name: str) -> tuple[dict[str, Any], httpx.Response]:
    """The request that was recorded, and its answer."""
    document = yaml.safe_load((CASSETTES / name).read_text())
    exchange = document["interactions"][0]
    answer = exchange["response"]
    return exchange["request"], httpx.Response(answer["status"]["code"], text=answer["body"]["string"])


def account(answer: Callable[[httpx.Request], httpx.Response]) -> DatadogAccount:
    return DatadogAccount(
        metrics(datadog=KEYS).datadog or pytest.fail("none"), register=Redactor(), transport=httpx.MockTransport(answer)
    )


def shape(value: Any) -> Any:
    """The keys and types of a document."""
    if isinstance(value, dict):
        return {key: shape(found) for key, found in sorted(value.items())}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


@recorded
async def test_our_question_has_the_form_of_the_recorded_one_and_its_answer_is_read() -> None:
    request, answer = cassette("v2_test_timeseries_cross_product_query_returns_ok_response.yaml")
    asked: list[httpx.Request] = []

    def answering(sent: httpx.Request) -> httpx.Response:
        asked.append(sent)
        return answer

    under_test = account(answering)
    (points,) = await under_test.points(["avg:datadog.estimated_usage.metrics.custom{*}"], 1711977601, 1711981201)
    await under_test.close()
    assert points == [(1711977645.0, 1.0), (1711977705.0, 1.0), (1711980225.0, 87.0)]
    (sent,) = asked
    assert (sent.method, str(sent.url)) == (request["method"], request["uri"])
    theirs, ours = json.loads(request["body"]), json.loads(sent.content)
    del theirs["data"]["attributes"]["formulas"][0]["limit"]
    assert shape(ours) == shape(theirs)
    assert ours["data"]["type"] == theirs["data"]["type"]
    for key in ("from", "to"):
        assert ours["data"]["attributes"][key] == theirs["data"]["attributes"][key]
    assert (sent.headers["DD-API-KEY"], sent.headers["DD-APPLICATION-KEY"]) == ("api-secret", "app-secret")


@recorded
async def test_a_recorded_refusal_is_told_in_its_words() -> None:
    _, answer = cassette("v2_test_timeseries_cross_product_query_returns_bad_request_response.yaml")
    under_test = account(lambda _: answer)
    with pytest.raises(QueryRefused, match=r'API input validation failed: Invalid type. Expected "timeseries_request".'):
        await under_test.points(["x"], 0, 10)
    await under_test.close()


@recorded
async def test_an_answer_of_another_kind_is_no_data() -> None:
    _, answer = cassette("v2_test_scalar_cross_product_query_returns_ok_response.yaml")
    under_test = account(lambda _: answer)
    assert await under_test.points(["x"], 0, 10) == [[]]
    await under_test.close()


class Double:
    """Answers as the service does: buckets of ten seconds, of counts by query."""

    def __init__(self, counts: Callable[[str, int], float | None]) -> None:
        self._counts = counts
        self.refuses: Callable[[str], bool] = lambda query: False
        self.instead: httpx.Response | None = None
        self.asked: list[tuple[int, int]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.instead is not None:
            return self.instead
        asked = json.loads(request.content)["data"]["attributes"]
        self.asked.append((asked["from"], asked["to"]))
        for query in asked["queries"]:
            if self.refuses(query["query"]):
                return httpx.Response(400, json={"errors": [f"Error parsing query: {query['query']}"]})
        times = list(range(asked["from"] // 10_000 * 10_000, asked["to"] + 10_000, 10_000))
        found = [
            (index, [self._counts(query["query"], time // 1000) for time in times])
            for index, query in enumerate(asked["queries"])
        ]
        told = [(index, values) for index, values in found if any(value is not None for value in values)]
        series = [{"group_tags": [], "query_index": index, "unit": None} for index, _ in told]
        attributes = {"series": series, "times": times, "values": [values for _, values in told]}
        return httpx.Response(200, json={"data": {"id": "0", "type": "timeseries_response", "attributes": attributes}})


def told(series: list[Any], times: list[int], values: list[list[float]]) -> httpx.Response:
    return httpx.Response(200, json={"data": {"attributes": {"series": series, "times": times, "values": values}}})


def traffic(query: str, _: int) -> float | None:
    canary = "version:v2" in query
    if (edge := re.match(r"count\(v: v<=([0-9.]+)\):", query)) is not None:
        # Evenly spread over 100 ms; those of the canary over 200.
        return (100.0 if canary else 900.0) * min(1.0, float(edge[1]) / (0.2 if canary else 0.1))
    if "errors" in query:
        return 7.0 if canary else None
    return 100.0 if canary else 900.0


def source(double: Double, clock: ManualClock, **keys: Any) -> MetricSource:
    config = metrics(source="datadog", datadog=KEYS, **keys)
    return open_source(config, subject, clock=clock, register=Redactor(), transport=httpx.MockTransport(double))


async def test_whole_settled_buckets_are_counted_once() -> None:
    clock, double = ManualClock(), Double(traffic)
    under_test = source(double, clock)
    assert not (await under_test.read(0.0)).arms
    total = {"n": 0.0, "s": 0.0, "m": 0.0, "f": 0.0}
    for step in range(1, 31):
        await clock.advance(7.0)
        found = await under_test.read(7.0 * step)
        assert found.problem == ""
        if (interval := found.interval("errors")) is not None:
            for name in total:
                total[name] += getattr(interval, name)
            assert 60.0 <= found.age < 70.0
    # 210 s are 21 buckets; no errors of stable are none, beside requests that are there.
    assert total == {"n": 2100.0, "s": 147.0, "m": 18900.0, "f": 0.0}
    told = {one.of: one for one in under_test.asked}
    assert set(told) == {("errors",), ("latency",)}
    total_of, errors_of = told[("errors",)].queries[:2]
    assert ("hits{" in total_of, "errors{" in errors_of) == (True, True)
    assert "{{" not in str(told), "a verdict's query can be asked again as it is"
    began, ended = told[("errors",)].since, told[("errors",)].at
    assert began is not None
    assert ended is not None
    assert ended - began == 10.0
    await under_test.close()


async def test_no_points_are_no_data_and_are_bridged() -> None:
    silent = True
    clock = ManualClock()
    double = Double(lambda query, at: None if silent and "version:v2" in query else traffic(query, at))
    under_test = source(double, clock)
    await under_test.read(0.0)
    await clock.advance(20.0)
    found = await under_test.read(20.0)
    assert (dict(found.arms), found.problem) == ({}, "no data of canary")
    silent = False
    await clock.advance(10.0)
    found = await under_test.read(30.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (found.since, interval.n, interval.m) == (0.0, 300.0, 2700.0)
    await under_test.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(403, json={"errors": ["Forbidden"]}), "may not ask this): Forbidden"),
        (httpx.Response(429, json={"errors": ["Too many requests"]}), "limit of queries is reached"),
        (httpx.Response(500, text="<html>"), "answered 500"),
        (httpx.Response(200, text="<html>"), "not Datadog's"),
        (httpx.Response(302, headers={"Location": "https://evil.test"}), "redirect"),
        (told([{"query_index": 9}], [1], [[1]]), "no sense"),
        (told([{}], [1, 2], [[1]]), "no sense"),
        (told([{}], [1], [[-4]]), "-4 where a count"),
    ],
)
async def test_a_bad_answer_is_no_data_with_its_reason(answer: httpx.Response, reason: str) -> None:
    clock, double = ManualClock(), Double(traffic)
    under_test = source(double, clock)
    await under_test.read(0.0)
    double.instead = answer
    await clock.advance(10.0)
    found = await under_test.read(10.0)
    assert not found.arms
    assert reason in found.problem
    assert "secret" not in found.problem
    double.instead = None
    await clock.advance(10.0)
    interval = (await under_test.read(20.0)).interval("errors")
    assert interval is not None
    assert interval.n == 200.0
    await under_test.close()


async def test_a_missing_key_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DD_APP")
    under_test = account(lambda _: pytest.fail("asked without keys"))
    with pytest.raises(NoData, match="env:DD_APP"):
        await under_test.points(["x"], 0, 10)
    await under_test.close()


@pytest.mark.parametrize("value", ["v1} or sum:x{*", "a,b", "", "v1 v2", "{*}", "*", "v1\n"])
def test_what_is_no_value_of_a_tag_is_never_put_into_a_query(value: str) -> None:
    with pytest.raises(Unaskable):
        filled("sum:x{version:{{version}}}", {"version": value})


async def test_each_wrong_query_is_named_by_its_key() -> None:
    double = Double(traffic)
    double.refuses = lambda query: "wrong" in query
    config = metrics(
        source="datadog",
        datadog={**KEYS, "errors": "wrong{version:{{version}}}"},
        ratios=[{"name": "orders", "total": "sum:orders{version:{{version}}}", "bad": "wrong{arm:{{arm}}}"}],
    )
    transport = httpx.MockTransport(double)
    found = await check(config, example("shop"), clock=ManualClock(), register=Redactor(), transport=transport)
    assert dict(found.refused) == {
        "metrics.datadog.errors": "Error parsing query: wrong{version:v2}",
        "metrics.ratios[0].bad": "Error parsing query: wrong{arm:canary}",
    }
    assert found.unasked == ""


def test_the_site_is_one_of_datadogs() -> None:
    with pytest.raises(ValueError, match="site"):
        Datadog.model_validate_json(json.dumps({**KEYS, "site": "evil.test"}))


async def test_durations_are_a_histogram_of_counts_at_or_below_each_edge() -> None:
    clock, double = ManualClock(), Double(traffic)
    under_test = source(double, clock)
    await under_test.read(0.0)
    await clock.advance(20.0)
    found = await under_test.read(20.0)
    assert found.problem == ""
    latency = {arm.value: tallies["latency"] for arm, tallies in found.arms.items()}
    assert {arm: tally.total for arm, tally in latency.items()} == {"canary": 200.0, "stable": 1800.0}
    canary, stable = latency["canary"].durations, latency["stable"].durations
    assert canary is not None
    assert stable is not None
    assert canary.quantile(0.99) == pytest.approx(0.2, rel=0.4)
    assert stable.quantile(0.99) == pytest.approx(0.1, rel=0.4)
    edge = stable.bounds[7]
    interval = found.interval("latency", edge)
    assert interval is not None
    assert (interval.s, interval.f) == (pytest.approx(200 * (1 - edge / 0.2)), pytest.approx(1800 * (1 - edge / 0.1)))
    await under_test.close()


async def test_milliseconds_are_told_as_seconds() -> None:
    def counts(query: str, at: int) -> float | None:
        thousandth = re.sub(r"v<=([0-9.]+)", lambda edge: f"v<={float(edge[1]) / 1000:.6f}", query)
        return traffic(thousandth, at)

    clock = ManualClock()
    keys = {**KEYS, "latency": "app.took_ms{version:{{version}}}", "milliseconds": True, "edges": [0.05, 0.1, 0.2]}
    config = metrics(source="datadog", datadog=keys)
    under_test = open_source(config, subject, clock=clock, register=Redactor(), transport=httpx.MockTransport(Double(counts)))
    await under_test.read(0.0)
    await clock.advance(10.0)
    canary = (await under_test.read(10.0)).arms[ArmName.CANARY]["latency"].durations
    assert canary is not None
    assert (canary.bounds, canary.counts) == ((0.05, 0.1, 0.2, math.inf), (25.0, 50.0, 100.0, 100.0))
    await under_test.close()


@pytest.mark.parametrize("how", ["refused", "absent", "absent of one"])
async def test_errors_are_judged_without_durations_too(how: str) -> None:
    def counts(query: str, at: int) -> float | None:
        gone = how == "absent" or "version:v2" in query
        return None if query.startswith("count") and gone else traffic(query, at)

    clock, double = ManualClock(), Double(traffic if how == "refused" else counts)
    if how == "refused":
        double.refuses = lambda query: query.startswith("count(v:")
    under_test = source(double, clock)
    await under_test.read(0.0)
    await clock.advance(10.0)
    found = await under_test.read(10.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (interval.n, interval.s) == (100.0, 7.0)
    assert found.interval("latency", 0.1) is None
    assert "latency" in found.problem
    await under_test.close()


async def test_a_refused_distribution_is_named_by_its_key() -> None:
    double = Double(traffic)
    double.refuses = lambda query: query.startswith("count(v:")
    config = metrics(source="datadog", datadog=KEYS)
    found = await check(config, example("shop"), clock=ManualClock(), register=Redactor(), transport=httpx.MockTransport(double))
    assert list(found.refused) == ["metrics.datadog.latency"]
    assert (
        "count(v: v<=0.005):trace.http.request{service:example,version:v2}.as_count()" in found.refused["metrics.datadog.latency"]
    )


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"latency": "p99:trace.http.request{version:{{version}}}"}, "no distribution"),
        ({"latency": "trace.http.request{*}"}, "same of both versions"),
        ({"latency": "trace.http.request{version:{{version}}}.as_count()"}, "no distribution"),
        ({"latency": "a{version:{{version}}} + b{*}"}, "no distribution"),
        ({"edges": [0.1, 0.1, 0.2]}, "rise"),
        ({"edges": [0.0, 0.1, 0.2]}, "rise"),
        ({"edges": [0.1]}, "at least 3"),
    ],
)
def test_what_is_no_distribution_is_refused(keys: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Datadog.model_validate_json(json.dumps({**KEYS, **keys}))


async def remembered(double: Double, **keys: Any) -> History:
    return await history(
        metrics(source="datadog", datadog=KEYS, **keys),
        subject(canary=()),
        clock=ManualClock(),
        register=Redactor(),
        transport=httpx.MockTransport(double),
    )


async def test_half_an_hour_before_a_deploy_is_what_its_buckets_say() -> None:
    double = Double(lambda query, at: 3.0 if "errors" in query else traffic(query, at))
    past = await remembered(double)
    assert past.problem == ""
    since, until = double.asked[0]
    assert until - since == 1_800_000
    baseline = measure(past.windows, 3600.0)
    assert (baseline.requests, baseline.error_rate) == (180 * 900.0, pytest.approx(3 / 900))
    assert baseline.p99 == pytest.approx(0.1, rel=0.3)  # as fine as the edges that are asked for
    assert past.windows.covered(ArmName.STABLE, -math.inf, 0.0) == pytest.approx(1800.0)
    # all of its pods together: none can be compared with another
    assert splits(past.windows, 3600.0, 0.1, baseline.edges) == ()


async def test_a_service_that_is_young_is_known_for_as_long_as_it_served() -> None:
    double = Double(lambda query, at: None)
    assert "remembers nothing" in (await remembered(double)).problem
    last = double.asked[0][1] // 1000
    past = await remembered(Double(lambda query, at: traffic(query, at) if at >= last - 300 else None))
    assert past.windows.covered(ArmName.STABLE, -math.inf, 0.0) == pytest.approx(300.0)
    assert measure(past.windows, 3600.0).requests == 30 * 900.0


async def test_buckets_in_which_nobody_asked_anything_count_as_time() -> None:
    """A request every minute: five buckets of six have no point."""
    last = [0]

    def sparse(query: str, at: int) -> float | None:
        return traffic(query, at) if at % 60 == 0 and at >= last[0] - 900 else None

    double = Double(sparse)
    await remembered(double)
    last[0] = double.asked[0][1] // 1000 // 60 * 60
    past = await remembered(double)
    seconds = double.asked[0][1] / 1000 - (last[0] - 900)
    assert past.windows.covered(ArmName.STABLE, -math.inf, 0.0) == pytest.approx(seconds)
    baseline = measure(past.windows, 3600.0)
    assert baseline.requests / seconds == pytest.approx(900 / 60, rel=0.1)
    assert baseline.error_rate == 0.0


async def test_percentiles_that_an_account_does_not_have_take_no_traffic_with_them() -> None:
    double = Double(traffic)
    double.refuses = lambda query: query.startswith("count")
    past = await remembered(double)
    assert "latency: " in past.problem
    baseline = measure(past.windows, 3600.0)
    assert (baseline.requests, baseline.p99, baseline.edges) == (180 * 900.0, None, {})


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_an_account_that_does_not_answer_remembers_nothing_and_says_why(status: int) -> None:
    double = Double(traffic)
    double.instead = httpx.Response(status, json={"errors": ["no"]})
    past = await remembered(double)
    assert f"answered {status}" in past.problem
    assert measure(past.windows, 3600.0).requests == 0.0
