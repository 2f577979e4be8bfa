"""Counters of both versions, look after look: what happened is counted once, whatever restarts, comes, goes and falls silent."""

from hypothesis import given
from hypothesis import strategies as st

from services.analysis import PodReading, Unreadable
from services.analysis.histogram import Histogram
from services.analysis.parse import MetricNames, PageEndpoint, PageRatio, parse
from services.analysis.sources import Direct, Tally
from services.analysis.sources.ledger import BRIDGED, Counted, Ledger, Standing
from services.analysis.windows import ArmName
from services.settings import Metrics
from services.settings.query import series

CANARY, STABLE = ArmName.CANARY, ArmName.STABLE


def standing(at: float, total: float, bad: float | None = 0.0, **more: float) -> Standing:
    return Standing(at=at, tallies={"errors": Tally(total=total, bad=bad)}, **more)


def both(at: float, canary: float, stable: float) -> dict[ArmName, dict[str, Standing]]:
    return {CANARY: {"c": standing(at, canary)}, STABLE: {"s": standing(at, stable)}}


def totals(counted: Counted) -> tuple[float, float] | None:
    if not counted.arms:
        return None
    return counted.arms[CANARY]["errors"].total, counted.arms[STABLE]["errors"].total


def test_the_first_look_counts_nothing() -> None:
    ledger = Ledger()
    assert totals(ledger.take(5.0, 5.0, both(5.0, 1000, 9000))) is None
    counted = ledger.take(15.0, 15.0, both(15.0, 1100, 9900))
    assert (counted.since, totals(counted)) == (5.0, (100, 900))


def test_a_version_that_falls_silent_holds_the_other_one_back() -> None:
    ledger = Ledger()
    ledger.take(0.0, 0.0, both(0.0, 100, 900))
    silent = ledger.take(10.0, 10.0, {CANARY: {}, STABLE: {"s": standing(10.0, 1000)}})
    assert (silent.since, totals(silent), silent.problem) == (0.0, None, "no data of canary")
    counted = ledger.take(20.0, 20.0, both(20.0, 150, 1100))
    assert (counted.since, totals(counted)) == (0.0, (50, 200))


def test_what_is_sampled_less_often_than_looked_at_is_told_together() -> None:
    ledger = Ledger()
    ledger.take(0.0, 0.0, both(-5.0, 100, 900))
    stable_first = {CANARY: {"c": standing(-5.0, 100)}, STABLE: {"s": standing(8.0, 1000)}}
    assert totals(ledger.take(10.0, 10.0, stable_first)) is None
    counted = ledger.take(20.0, 20.0, {CANARY: {"c": standing(14.0, 110)}, STABLE: {"s": standing(8.0, 1000)}})
    assert (counted.since, totals(counted)) == (0.0, (10, 100))


def test_a_sample_whose_scrape_was_under_way_at_the_last_look_is_newer_all_the_same() -> None:
    ledger = Ledger()
    ledger.take(0.0, 0.0, both(-5.0, 100, 900))
    counted = ledger.take(10.0, 10.0, both(-0.1, 110, 1000))
    assert (counted.since, totals(counted)) == (0.0, (10, 100))
    assert totals(ledger.take(20.0, 20.0, both(-0.1, 110, 1000))) is None


def test_one_dead_target_does_not_hold_the_others_for_ever() -> None:
    ledger = Ledger()
    ledger.take(0.0, 0.0, {CANARY: {"c": standing(-1.0, 100)}, STABLE: {"s": standing(-1.0, 900), "dead": standing(-1.0, 7)}})
    at, counted = 0.0, Counted(since=0.0)
    while not counted.arms:
        at += 10.0
        arms = {CANARY: {"c": standing(at, 100 + at)}, STABLE: {"s": standing(at, 900 + at), "dead": standing(-1.0, 7)}}
        counted = ledger.take(at, at, arms)
        assert at < 200.0
    assert totals(counted) == (at, at)


def test_a_fall_in_a_process_that_did_not_start_anew_is_not_known() -> None:
    ledger = Ledger()
    ledger.take(0.0, 0.0, {CANARY: {"c": standing(0.0, 100, started=5.0)}, STABLE: {"s": standing(0.0, 900, started=5.0)}})
    counted = ledger.take(
        10.0, 10.0, {CANARY: {"c": standing(10.0, 90, started=5.0)}, STABLE: {"s": standing(10.0, 950, started=5.0)}}
    )
    assert (totals(counted), counted.problem) == (None, "no metric is known of both versions")


def test_durations_with_other_bounds_are_not_compared() -> None:
    def timed(at: float, bounds: tuple[float, ...], count: float) -> dict[ArmName, dict[str, Standing]]:
        tally = Tally.of(Histogram(bounds, tuple(count for _ in bounds)))
        return {arm: {"x": Standing(at=at, tallies={"latency": tally})} for arm in ArmName}

    ledger = Ledger()
    ledger.take(0.0, 0.0, timed(0.0, (0.1, 1.0), 5))
    assert not ledger.take(10.0, 10.0, timed(10.0, (0.2, 1.0), 9)).arms


events = st.lists(
    st.tuples(
        st.integers(0, 1000),  # served by the canary since the look before
        st.integers(0, 1000),  # by stable
        st.booleans(),  # the canary's process restarts before it serves them
        st.sampled_from(["both", "both", "both", "canary", "stable", "neither"]),  # who can be read
    ),
    max_size=30,
)


@given(events)
def test_what_is_told_is_never_more_than_happened(steps: list[tuple[int, int, bool, str]]) -> None:
    """And all of it, where everybody could be read and nobody restarted."""
    ledger, at = Ledger(), 0.0
    canary, stable, served = 50.0, 70.0, [0.0, 0.0]
    ledger.take(at, at, both(at, canary, stable))
    told = [0.0, 0.0]
    for more_canary, more_stable, restarts, readable in steps:
        at += 10.0
        canary = (0.0 if restarts else canary) + more_canary
        stable += more_stable
        served = [served[0] + more_canary, served[1] + more_stable]
        arms = both(at, canary, stable)
        if readable in ("canary", "neither"):
            arms[STABLE] = {}
        if readable in ("stable", "neither"):
            arms[CANARY] = {}
        before = ledger.since
        counted = ledger.take(at, at, arms)
        assert counted.since in (before, at)
        if (found := totals(counted)) is not None:
            told = [told[0] + found[0], told[1] + found[1]]
            assert at - counted.since <= BRIDGED
    assert told[0] <= served[0]
    assert told[1] <= served[1]
    if all(not restarts and readable == "both" for _, _, restarts, readable in steps):
        assert told == served


async def test_pages_that_were_read_are_counted_with_ratios_and_endpoints() -> None:
    names = MetricNames(
        ratios=(PageRatio(name="orders", total=series("orders_total"), bad=series('orders_total{result="failed"}')),),
        endpoints=(PageEndpoint(name="pay", label="path", value="/pay"),),
    )

    def page(step: int, bad: int) -> str:
        return (
            f'http_requests_total{{code="200",path="/pay"}} {step * 60}\nhttp_requests_total{{code="500",path="/pay"}} {bad}\n'
            f'http_requests_total{{code="200",path="/other"}} {step * 40}\n'
            f'orders_total{{result="well"}} {step * 10}\norders_total{{result="failed"}} {bad}\n'
        )

    source = Direct(
        Metrics.model_validate(
            {
                "ratios": ({"name": "orders", "weight": 0.05, "total": "orders_total", "bad": 'orders_total{result="failed"}'},),
                "endpoints": ({"name": "pay", "weight": 0.05, "value": "/pay"},),
            }
        )
    )
    assert {one.of: one.queries for one in source.asked} == {
        ("errors",): ("GET :8080/metrics of each pod: http_requests_total, by status",),
        ("latency",): ("GET :8080/metrics of each pod: http_request_duration_seconds_bucket",),
        ("pay",): ('GET :8080/metrics of each pod: http_requests_total{path="/pay"}, by status',),
        ("orders",): (
            "GET :8080/metrics of each pod: orders_total",
            'GET :8080/metrics of each pod: orders_total{result="failed"}',
        ),
    }
    arm_of = {"new": "canary", "old": "stable"}
    assert (await source.read(0.0)).problem == "the pods were not read"
    for step in (1, 2):
        at = 10.0 * step
        readings = {"new": parse(page(step, 3 * step), at, names), "old": parse(page(step, 0), at, names)}
        source.feed(at, arm_of, readings)
        found = await source.read(at)
    told = {name: found.interval(name) for name in ("errors", "orders", "pay")}
    assert {name: (one.n, one.s, one.m, one.f) for name, one in told.items() if one is not None} == {
        "errors": (103, 3, 100, 0),
        "orders": (13, 3, 10, 0),
        "pay": (63, 3, 60, 0),
    }
    assert found.age == 0.0
    source.feed(30.0, arm_of, {"new": Unreadable(30.0, "answered 503"), "old": PodReading(at=30.0, requests=500, errors=0)})
    found = await source.read(30.0)
    assert (dict(found.arms), found.age) == ({}, 10.0)
    assert found.problem == "no data of canary; new: answered 503"
    await source.close()
