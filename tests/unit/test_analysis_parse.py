"""Metrics pages, histograms, counters and tails."""

import contextlib
import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client import Histogram as ExportedHistogram

from services.analysis import MetricNames, NotMetrics, PodReading, parse
from services.analysis.counters import increase
from services.analysis.histogram import Histogram
from services.analysis.tails import binomial_tail
from services.analysis.targets import quantity

PAGE = """
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",method="GET"} 95
http_requests_total{code="404",method="GET"} 2
http_requests_total{code="500",method="GET"} 2
http_requests_total{code="503",method="POST"} 1
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{method="GET",le="0.1"} 90
http_request_duration_seconds_bucket{method="GET",le="+Inf"} 99
http_request_duration_seconds_bucket{method="POST",le="0.1"} 0
http_request_duration_seconds_bucket{method="POST",le="+Inf"} 1
http_request_duration_seconds_count 100
http_request_duration_seconds_sum 4
process_cpu_seconds_total 12.5
process_resident_memory_bytes 1.048576e+06
process_start_time_seconds 1.7e9
"""


def test_a_page_is_reduced_to_its_counters():
    assert parse(PAGE, 7.0) == PodReading(
        at=7.0,
        requests=100.0,
        errors=3.0,
        durations=Histogram((0.1, math.inf), (90.0, 100.0)),
        cpu_seconds=12.5,
        memory=1048576.0,
        started=1.7e9,
    )


def test_what_a_pod_does_not_export_is_unknown_not_zero():
    assert parse("", 1.0) == PodReading(at=1.0)
    assert parse("http_requests_total 5\n", 1.0) == PodReading(at=1.0, requests=5.0)
    assert parse('http_requests_total{code="200"} 5\n', 1.0).errors == 0.0


@pytest.mark.parametrize("label", ["code", "status", "status_code"])
def test_the_status_code_goes_by_several_names(label):
    assert parse(f'http_requests_total{{{label}="502"}} 5\n', 1.0).errors == 5.0


def test_metrics_may_have_other_names():
    names = MetricNames(requests="app_latency_seconds_count", codes=("grpc_code",), duration="app_latency_seconds")
    page = 'app_latency_seconds_bucket{le="1"} 4\napp_latency_seconds_count{grpc_code="5xx"} 4\n'
    reading = parse(page, 1.0, names)
    assert (reading.requests, reading.errors, reading.durations) == (4.0, 4.0, Histogram((1.0,), (4.0,)))


@given(
    codes=st.dictionaries(st.sampled_from(["200", "201", "404", "429", "500", "503"]), st.integers(0, 10**9), min_size=1),
    durations=st.lists(st.floats(0, 20, allow_nan=False), max_size=40),
    memory=st.integers(0, 2**40),
)
def test_what_the_reference_client_exports_is_read_back(codes, durations, memory):
    registry = CollectorRegistry()
    counter = Counter("http_requests", "Requests.", ["code"], registry=registry)
    for code, count in codes.items():
        counter.labels(code).inc(count)
    exported = ExportedHistogram("http_request_duration_seconds", "Durations.", registry=registry)
    for duration in durations:
        exported.observe(duration)
    Gauge("process_resident_memory_bytes", "Memory.", registry=registry).set(memory)
    reading = parse(generate_latest(registry).decode(), 3.0)
    assert reading.requests == sum(codes.values())
    assert reading.errors == sum(count for code, count in codes.items() if code.startswith("5"))
    assert reading.memory == memory
    assert reading.durations.total == len(durations)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(NotMetrics):
        parse(text, 1.0)


@given(cut=st.integers(0, len(PAGE)), junk=st.text('{}"=,#\n 0+-eNaInf_le', max_size=12))
def test_a_page_that_was_damaged_is_read_or_refused(cut, junk):
    with contextlib.suppress(NotMetrics):
        parse(PAGE[:cut] + junk + PAGE[cut + len(junk) :], 1.0)


@pytest.mark.parametrize(
    "page",
    [
        "http_requests_total NaN\n",
        "http_requests_total -1\n",
        "http_requests_total +Inf\n",
        'http_request_duration_seconds_bucket{le="x"} 1\n',
        'http_request_duration_seconds_bucket{le="NaN"} 1\n',
        "http_request_duration_seconds_bucket 1\n",
        "<html>502 Bad Gateway</html>\n",
    ],
)
def test_numbers_without_sense_are_refused(page):
    with pytest.raises(NotMetrics):
        parse(page, 1.0)


counts = st.lists(st.integers(0, 10**6), min_size=2, max_size=12)


@st.composite
def histograms(draw):
    steps = draw(counts)
    bounds = [0.01 * 1.25**index for index in range(len(steps) - 1)] + [math.inf]
    total, cumulative = 0, []
    for step in steps:
        total += step
        cumulative.append(float(total))
    return Histogram(tuple(bounds), tuple(cumulative))


@given(histogram=histograms(), q=st.floats(0.01, 0.999))
def test_quantile_and_share_above_say_the_same(histogram, q):
    value = histogram.quantile(q)
    assume(value is not None and value < histogram.bounds[-2])
    above = histogram.above(value)
    assert above is not None
    assert above == pytest.approx((1 - q) * histogram.total, rel=1e-6, abs=1e-6)


def test_quantiles_interpolate_inside_a_bucket():
    histogram = Histogram((0.1, 0.2, math.inf), (0.0, 100.0, 100.0))
    assert histogram.quantile(0.5) == pytest.approx(0.15)
    assert histogram.quantile(0.99) == pytest.approx(0.199)
    assert histogram.above(0.15) == pytest.approx(50)
    assert histogram.above(0.3) == 0.0
    assert Histogram((0.1, math.inf), (5.0, 10.0)).quantile(0.99) == 0.1
    assert Histogram((0.1, math.inf), (5.0, 10.0)).above(0.2) is None, "beyond the last bound nobody can say"
    assert Histogram((0.1, math.inf), (0.0, 0.0)).quantile(0.5) is None


def test_pods_with_other_buckets_are_merged_where_they_agree():
    merged = Histogram.merged(
        [Histogram((0.1, 0.5, 1.0, math.inf), (1, 2, 3, 4)), Histogram((0.1, 1.0, 2.0, math.inf), (10, 20, 30, 40))]
    )
    assert merged == Histogram((0.1, 1.0, math.inf), (11, 23, 44))


def reading(at, requests=None, errors=None, **more):
    return PodReading(at=at, requests=requests, errors=errors, **more)


def test_an_increase_is_a_difference():
    step = increase(reading(0, 100, 1), reading(10, 150, 3))
    assert (step.requests, step.errors, step.reset) == (50, 2, False)


def test_a_restarted_process_counts_from_zero():
    step = increase(reading(0, 100, 1), reading(10, 30, 2))
    assert (step.requests, step.errors, step.reset) == (30, 2, True), "errors rose, but belong to the new process as a whole"
    overtaken = increase(reading(0, 100, 1, started=5.0), reading(10, 130, 2, started=900.0))
    assert (overtaken.requests, overtaken.reset) == (130, True)


def test_cpu_is_a_share_of_the_limit_and_unknown_without_one_or_across_a_restart():
    before = reading(0, cpu_seconds=10.0, cpu_limit=0.5)
    assert increase(before, reading(10, cpu_seconds=14.0, cpu_limit=0.5)).cpu == pytest.approx(0.8)
    assert increase(before, reading(10, cpu_seconds=14.0)).cpu is None
    assert increase(before, reading(10, cpu_seconds=2.0, cpu_limit=0.5)).cpu is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=2, max_size=20),
)
def test_increases_never_fall_below_zero_whatever_restarts(looks):
    readings = []
    good = bad = 0
    for index, (more, failed, restart) in enumerate(looks):
        good, bad = (0, 0) if restart else (good, bad)
        good, bad = good + more + failed, bad + failed
        readings.append(reading(index, good, bad))
    for before, after in itertools.pairwise(readings):
        step = increase(before, after)
        assert step.requests >= 0
        assert 0 <= step.errors <= step.requests or not step.reset


def exact_tail(trials, probability, successes):
    p = Fraction(probability)
    return float(sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(successes, trials + 1)))


@given(trials=st.integers(1, 120), successes=st.integers(0, 120), probability=st.sampled_from([0.01, 0.05, 0.3]))
def test_tails_match_exact_sums(trials, successes, probability):
    expected = exact_tail(trials, probability, successes)
    assert binomial_tail(trials, probability, successes) == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_tails_of_large_counts_match_the_normal_approximation():
    n, p = 1_000_000, 0.05
    for z in (-3.0, 0.0, 3.0):
        k = n * p + z * math.sqrt(n * p * (1 - p))
        assert binomial_tail(n, p, k) == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), rel=0.05)


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("2", 2.0), ("1.5", 1.5), ("256Mi", 256 * 2**20), ("1G", 1e9), ("1e3", 1000.0), ("1E", 1e18), ("100n", 1e-7)],
)
def test_quantities(text, value):
    assert quantity(text) == pytest.approx(value)


@given(st.text(max_size=8) | st.none() | st.integers(0, 64))
def test_any_quantity_is_a_number_or_unknown(value):
    found = quantity(value)
    assert found is None or math.isfinite(found)


def test_the_complaint_about_a_page_is_short_and_inert():
    """It quotes the page, and goes to screens and journals."""
    with pytest.raises(NotMetrics) as caught:
        parse("http_requests_total \x1b[2J" + "x" * 10_000, 0.0)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
