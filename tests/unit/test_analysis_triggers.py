"""The hard triggers: when they fire, when a healthy service must not set them off, and what is unknown."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import WHOLE, configured

from services.analysis import (
    ArmName,
    HealthHistory,
    Limits,
    PodReading,
    Unreadable,
    Unserved,
    Windows,
    WorkloadFacts,
    evaluate,
    exceeds,
    measure,
    reasons,
)
from services.analysis.histogram import Histogram
from services.analysis.incident import SHARED_INCIDENT, is_shared_incident
from services.analysis.probes import ProbeResult, rates
from services.model.rollout import Baseline, TriggerName, TriggerReading
from services.settings import ConfigurationError

LIMITS = Limits()
BASELINE = Baseline(seconds=60, requests=100_000, error_rate=0.001, p99=0.1)
BOUNDS = (*(0.01 * 1.25**index for index in range(20)), math.inf)


def durations(fast, slow, at=0.3):
    """``fast`` requests below 10 ms and ``slow`` ones about ``at`` seconds, cumulative."""
    return Histogram(BOUNDS, tuple(float(fast + (slow if bound >= at else 0)) for bound in BOUNDS))


def fed(rounds, *, interval=10.0, arm="canary", start=0.0, windows=None):
    """Windows fed with one pod whose counters grow by (requests, errors, slow) each round, from zero at ``start``."""
    windows = windows or Windows()
    requests = errors = slow = 0.0
    pod = f"{arm}-1"
    windows.feed(start, {pod: arm}, {pod: PodReading(at=start, requests=0.0, errors=0.0, durations=durations(0, 0))})
    for index, (more, failed, slower) in enumerate(rounds, 1):
        requests, errors, slow = requests + more, errors + failed, slow + slower
        at = start + index * interval
        counters = PodReading(at=at, requests=requests, errors=errors, durations=durations(requests - slow, slow))
        windows.feed(at, {pod: arm}, {pod: counters})
    return windows


def look(windows, name, *, exposed_at=0.0, now=None, baseline=BASELINE, limits=LIMITS, health=(), workload=None):
    now = windows.now if now is None else now
    readings = evaluate(limits, windows, baseline=baseline, exposed_at=exposed_at, now=now, health=health, workload=workload)
    assert [reading.name for reading in readings] == [
        TriggerName.ERROR_RATE,
        TriggerName.LATENCY_P99,
        TriggerName.HEALTH,
        TriggerName.CRASH_LOOP,
        TriggerName.PROGRESS_DEADLINE,
        TriggerName.CPU,
        TriggerName.MEMORY,
    ]
    return next(reading for reading in readings if reading.name is name)


def first_fired(rounds, name=TriggerName.ERROR_RATE, **how):
    """Pace second of the first look at which the trigger fires, looking after each round."""
    for count in range(1, len(rounds) + 1):
        if look(fed(rounds[:count]), name, **how).fired:
            return count * 10.0
    return None


# Error rate ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "errors", "fired"),
    [
        (50, 3, False),  # 6 %, but fewer than 5 errors
        (50, 5, True),  # 10 % of 50
        (100, 5, False),  # exactly the limit is not over it
        (100, 6, True),
        (49, 5, False),  # 10 % of fewer than 50: chance gives that in 1 of 10 looks
        (20, 5, False),  # tail 0.0026
        (16, 5, True),  # tail 0.0009
        (30, 8, True),  # tail 0.0001
        (10, 4, False),  # 40 %, unlikely, but fewer than 5 errors
        (5, 5, True),  # all fail
    ],
)
def test_error_rate_asks_for_a_minimum_of_data(requests, errors, fired):
    reading = look(fed([(requests, errors, 0)]), TriggerName.ERROR_RATE)
    assert reading.fired is fired
    assert reading.value == pytest.approx(errors / requests)
    assert (reading.limit, reading.unit) == (0.05, "share")
    if not fired and errors / requests > 0.05:
        assert "too few to tell" in reading.detail


@pytest.mark.parametrize(
    ("per_scrape", "errors", "seconds"),
    [
        ((50, 5), 5, 10.0),  # 5 requests a second, 10 % errors
        ((5, 2.5), 2.5, 20.0),  # half a request a second, 50 %: two scrapes
        ((1000, 500), 500, 10.0),  # 100 a second, 50 %: one scrape
        ((50, 0.5), 0.5, None),  # 5 a second, 1 %: never
        ((50, 1.5), 1.5, None),  # 5 a second, 3 %: never, where the counts are what is expected
    ],
)
def test_error_rate_delays(per_scrape, errors, seconds):
    assert first_fired([(per_scrape[0], errors, 0)] * 12) == seconds


def test_the_strict_form_where_the_service_failed_before():
    rounds = [(100, 8, 0)]
    before = msgspec.structs.replace(BASELINE, error_rate=0.03)
    assert look(fed(rounds), TriggerName.ERROR_RATE).fired
    strict = look(fed(rounds), TriggerName.ERROR_RATE, baseline=before)
    assert not strict.fired, "8 of 100 is chance in 1 of 8 looks at a service at the limit"
    assert "strict" in strict.detail
    assert look(fed([(100, 15, 0)]), TriggerName.ERROR_RATE, baseline=before).fired
    assert look(fed([(60_000, 3_400, 0)]), TriggerName.ERROR_RATE, baseline=before).fired


def test_error_rate_is_watched_for_five_minutes_after_exposure():
    windows = fed([(1000, 0, 0)] * 30 + [(1000, 200, 0)] * 3)
    assert look(windows, TriggerName.ERROR_RATE, exposed_at=30.0).fired
    late = look(windows, TriggerName.ERROR_RATE, exposed_at=29.0)
    assert not late.fired
    assert late.value == pytest.approx(0.1)
    assert "are over" in late.detail


def test_the_five_minutes_count_anew_from_a_rise_of_the_share():
    windows = fed([(1000, 0, 0)] * 30 + [(1000, 200, 0)] * 10)
    assert windows.now == 400.0

    def fired(raised_at):
        found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, raised_at=raised_at, now=windows.now)
        return next(reading.fired for reading in found if reading.name is TriggerName.ERROR_RATE)

    assert [fired(raised_at) for raised_at in (None, 0.0, 99.0, 100.0, 390.0)] == [False, False, False, True, True]


@given(requests=st.integers(1, 5000), share=st.floats(0, 1), strict=st.booleans())
def test_counts_exceed_the_limit_exactly_where_the_trigger_fires(requests, share, strict):
    errors = round(requests * share)
    baseline = msgspec.structs.replace(BASELINE, error_rate=0.03) if strict else BASELINE
    reading = look(fed([(requests, errors, 0)]), TriggerName.ERROR_RATE, baseline=baseline)
    assert reading.fired is exceeds(LIMITS, requests=requests, errors=errors, baseline=baseline)


def test_requests_to_a_version_without_ready_pods_are_a_matter_of_health():
    def health(seconds):
        found = evaluate(
            LIMITS,
            Windows(),
            baseline=None,
            exposed_at=0.0,
            now=60.0,
            health=(history(True),),
            unserved=Unserved(seconds=seconds, limit=15.0, weight=50),
        )
        return next(reading for reading in found if reading.name is TriggerName.HEALTH)

    assert not health(14.0).fired
    fired = health(16.0)
    assert (fired.fired, fired.value, fired.limit, fired.unit) == (True, 16.0, 15.0, "s")
    assert fired.detail == "no pod of the new version has been ready for 16 s, and it gets 50 % of the requests"


def test_error_rate_looks_back_sixty_seconds_and_never_before_exposure():
    windows = fed([(1000, 500, 0)] * 2 + [(1000, 0, 0)] * 6)
    assert look(windows, TriggerName.ERROR_RATE).value == 0.0
    windows = fed([(1000, 500, 0)] * 2 + [(1000, 0, 0)])
    assert look(windows, TriggerName.ERROR_RATE, exposed_at=20.0).value == 0.0


def test_an_incident_of_both_versions_still_fires_and_says_so():
    windows = Windows()
    for at, good, bad in ((0, 0, 0), (10, 900, 100)):
        windows.feed(
            at,
            {"new": "canary", "old": "stable"},
            {name: PodReading(at=at, requests=good + bad, errors=bad) for name in ("new", "old")},
        )
    reading = look(windows, TriggerName.ERROR_RATE)
    assert reading.fired
    assert SHARED_INCIDENT in reading.detail
    assert is_shared_incident((reading,), LIMITS, windows, 0.0, 10.0, baseline=BASELINE)
    health = TriggerReading(name=TriggerName.HEALTH, value=3.0, limit=3.0, unit="probes", fired=True)
    assert not is_shared_incident((reading, health), LIMITS, windows, 0.0, 10.0, baseline=BASELINE), (
        "the new version's own health failed too"
    )
    assert not is_shared_incident((), LIMITS, windows, 0.0, 10.0, baseline=BASELINE)


# Latency ------------------------------------------------------------------------------------------------------------------


def slow_rounds(requests, slow, rounds=9):
    return [(requests, 0, slow)] * rounds


@pytest.mark.parametrize(
    ("requests", "slow", "fired"),
    [
        (1000, 20, True),  # 2 % slower than 1.5 × baseline, far more than 1,000 requests
        (1000, 5, False),  # 0.5 %
        (20, 0.4, False),  # 120 requests, 2.4 slow: tail 0.12
        (20, 2, True),  # 120 requests, 12 slow
        (100, 1.2, False),  # 600 requests, 7.2 slow: tail > 0.001
    ],
)
def test_p99_over_the_baseline(requests, slow, fired):
    reading = look(fed(slow_rounds(requests, slow)), TriggerName.LATENCY_P99)
    assert reading.fired is fired
    assert reading.limit == pytest.approx(0.15)
    assert (reading.value > reading.limit) is (slow / requests > 0.01)


def test_a_doubled_p99_at_a_hundred_a_second_fires_within_forty_seconds_of_exposure():
    assert first_fired(slow_rounds(1000, 20), TriggerName.LATENCY_P99) == 40.0


def test_latency_is_not_judged_during_warm_up():
    windows = fed([(1000, 0, 1000)] * 3 + [(1000, 0, 0)] * 3)
    assert look(fed([(1000, 0, 1000)] * 3), TriggerName.LATENCY_P99).value is None
    assert look(windows, TriggerName.LATENCY_P99).value == pytest.approx(0.0099)
    exposed_later = look(windows, TriggerName.LATENCY_P99, exposed_at=30.0)
    assert exposed_later.value is None
    assert "no durations" in exposed_later.detail or "warming" in exposed_later.detail


def test_a_pod_added_later_warms_up_on_its_own():
    windows = fed([(100, 0, 0)] * 6)
    for index in range(3):
        at = 70.0 + 10 * index
        windows.feed(
            at,
            {"canary-1": "canary", "canary-2": "canary"},
            {
                "canary-1": PodReading(at=at, requests=700.0 + 100 * index, durations=durations(700 + 100 * index, 0)),
                "canary-2": PodReading(at=at, requests=100.0 * index, durations=durations(0, 100 * index)),
            },
        )
    assert look(windows, TriggerName.LATENCY_P99).value < 0.02


def test_without_a_baseline_latency_never_fires():
    nothing = Baseline(seconds=60, requests=0, error_rate=None, p99=None)
    for baseline in (None, nothing, msgspec.structs.replace(nothing, p99=0.0)):
        reading = look(fed(slow_rounds(1000, 900)), TriggerName.LATENCY_P99, baseline=baseline)
        assert (reading.value, reading.limit, reading.fired) == (None, None, False)
        assert "no baseline" in reading.detail


def test_a_histogram_that_ends_below_the_limit_is_unknown():
    baseline = msgspec.structs.replace(BASELINE, p99=5.0)
    windows = Windows()
    for at in (0.0, 40.0):
        counts = Histogram((0.5, math.inf), (0.0, at * 100))
        windows.feed(at, {"new": "canary"}, {"new": PodReading(at=at, requests=at * 100, durations=counts)})
    reading = look(windows, TriggerName.LATENCY_P99, baseline=baseline)
    assert (reading.value, reading.fired) == (None, False)
    assert "histogram ends at 0.5 s, below the limit of 7.5 s" in reading.detail


# Health, workload ---------------------------------------------------------------------------------------------------------


def history(*answers, ready=True):
    found = HealthHistory(pod="new-1")
    for answer in answers:
        found = found.after(ProbeResult(answer, "answered 500" if answer is False else ""), ready=ready)
    return found


@pytest.mark.parametrize(
    ("answers", "failures"),
    [
        ((False, False), 2),
        ((False, False, False), 3),
        ((True, False, True, True, False), 1),
        ((False, None, False, None, False), 3),
        ((None, None, None), 0),
        ((True,), 0),
    ],
)
def test_health_counts_failures_in_a_row(answers, failures):
    probed = history(*answers)
    assert probed.failures == failures
    reading = look(fed([]), TriggerName.HEALTH, health=(probed,))
    assert reading.fired is (failures >= 3)
    assert reading.value == (None if not any(answer is not None for answer in answers) else failures)


def test_what_was_true_of_health_once_is_not_told_as_true_now():
    silent = history(True).after(ProbeResult(None, "the API server is away"), ready=True)
    reading = look(fed([]), TriggerName.HEALTH, health=(silent,))
    assert (reading.value, reading.fired) == (None, False)
    assert "the API server is away" in reading.detail
    forbidden = history().after(ProbeResult(None, "pods/proxy is forbidden"), ready=True)
    assert "pods/proxy is forbidden" in look(fed([]), TriggerName.HEALTH, health=(forbidden,)).detail
    some = look(fed([]), TriggerName.HEALTH, health=(history(True), silent))
    assert (some.value, some.detail) == (0.0, "1 of 2 pods answer")
    starting = history(False, ready=False)
    assert look(fed([]), TriggerName.HEALTH, health=(starting,)).value is None
    assert look(fed([]), TriggerName.HEALTH, health=(starting, history(True))).detail == "1 of 2 pods answer"


def test_a_pod_that_was_never_ready_is_not_unhealthy_yet():
    assert history(False, False, False, False, ready=False).failures == 0
    assert history(True, False, False, False, ready=False).failures == 3


def test_what_the_cluster_says_of_the_workload():
    facts = WorkloadFacts(crash_looping=("new-1",), waited=12.0, deadline=300.0, detail="container pay exited 1")
    assert look(fed([]), TriggerName.CRASH_LOOP, workload=facts).fired
    assert not look(fed([]), TriggerName.PROGRESS_DEADLINE, workload=facts).fired
    late = WorkloadFacts(waited=301.0, deadline=300.0, deadline_passed=True)
    reading = look(fed([]), TriggerName.PROGRESS_DEADLINE, workload=late)
    assert (reading.fired, reading.value, reading.limit) == (True, 301.0, 300.0)
    assert look(fed([]), TriggerName.CRASH_LOOP).value is None


# CPU and memory -----------------------------------------------------------------------------------------------------------


def resources(shares, *, limit=1.0, memory=True, pods=("new-1",)):
    """Windows fed so that each pod's share of its limit is as given, a round each 10 s; CPU needs one round more."""
    windows, used = Windows(), 0.0
    for index, share in enumerate([0.0, *shares] if not memory else shares):
        at = 10.0 * index
        used += share * 10.0
        readings = {
            pod: PodReading(at=at, memory=share * 100, memory_limit=limit and 100.0)
            if memory
            else PodReading(at=at, cpu_seconds=used, cpu_limit=limit)
            for pod in pods
        }
        windows.feed(at, dict.fromkeys(pods, "canary"), readings)
    return windows


@pytest.mark.parametrize(
    ("shares", "fired"),
    [
        ([0.95, 0.95], False),
        ([0.95, 0.95, 0.95], True),
        ([0.95, 0.95, 0.89, 0.95], False),
        ([0.95, 0.9, 0.95, 0.95], False),
        ([0.5, 0.91, 0.92, 0.93], True),
    ],
)
def test_memory_fires_after_three_samples_running(shares, fired):
    reading = look(resources(shares), TriggerName.MEMORY)
    assert reading.fired is fired
    assert reading.value == pytest.approx(shares[-1])


def test_memory_says_how_fast_it_climbs():
    assert "+30.0% of the limit a minute" in look(resources([0.5, 0.55, 0.6]), TriggerName.MEMORY).detail


@pytest.mark.parametrize(
    ("every", "seconds", "fired"),
    [
        (1.0, 4.0, False),
        (1.0, 17.0, False),
        (1.0, 19.0, True),
        (5.0, 15.0, False),
        (5.0, 20.0, True),
        (9.8, 19.6, True),
        (30.0, 60.0, True),
    ],
)
def test_samples_in_quick_succession_are_one_spike(every, seconds, fired):
    """Three samples are three of ten seconds, however often one looks."""
    windows = Windows()
    for index in range(int(seconds / every + 1.5)):
        at = every * index
        windows.feed(at, {"new-1": "canary"}, {"new-1": PodReading(at=at, memory=95.0, memory_limit=100.0)})
    assert look(windows, TriggerName.MEMORY).fired is fired


def test_so_many_samples_as_may_be_asked_for_are_kept_however_often_one_looks():
    windows = Windows()
    most = Limits.of(configured(WHOLE + "triggers: {samples: 6}\n"))
    for at in range(60):
        windows.feed(float(at), {"new-1": "canary"}, {"new-1": PodReading(at=float(at), memory=95.0, memory_limit=100.0)})
        assert look(windows, TriggerName.MEMORY, limits=most).fired is (at >= 45)


def test_cpu_counts_after_warm_up_only():
    assert look(resources([0.95] * 4, memory=False), TriggerName.CPU).fired is False
    reading = look(resources([0.95] * 5, memory=False), TriggerName.CPU)
    assert reading.fired
    assert "new-1: 3 samples running above 90%" in reading.detail
    assert not look(resources([0.95] * 5, memory=False), TriggerName.CPU, exposed_at=20.0).fired


@pytest.mark.parametrize("name", [TriggerName.CPU, TriggerName.MEMORY])
def test_without_a_limit_a_resource_is_unknown(name):
    reading = look(resources([9.0] * 8, limit=None, memory=name is TriggerName.MEMORY), name)
    assert (reading.value, reading.fired) == (None, False)
    assert "limit" in reading.detail


def test_samples_of_different_pods_do_not_add_up():
    windows = Windows()
    for index in range(6):
        high = f"new-{index % 2}"
        readings = {
            pod: PodReading(at=10.0 * index, memory=95.0 if pod == high else 10.0, memory_limit=100.0)
            for pod in ("new-0", "new-1")
        }
        windows.feed(10.0 * index, dict.fromkeys(readings, "canary"), readings)
    assert not look(windows, TriggerName.MEMORY).fired


def test_a_pod_that_is_gone_fires_no_more():
    windows = resources([0.95] * 4)
    assert look(windows, TriggerName.MEMORY).fired
    windows.feed(50.0, {"new-2": "canary"}, {"new-2": PodReading(at=50.0, memory=10.0, memory_limit=100.0)})
    assert not look(windows, TriggerName.MEMORY).fired


def test_the_old_version_sets_nothing_off():
    windows = fed([(1000, 900, 900)] * 9, arm="stable")
    assert not any(reading.fired for reading in evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now))


# Nothing known ------------------------------------------------------------------------------------------------------------


@given(
    exposed_at=st.none() | st.floats(0, 100),
    now=st.floats(0, 1000),
    readings=st.lists(st.sampled_from([Unreadable(1.0, "refused"), None, PodReading(at=1.0)]), max_size=4),
)
def test_no_data_is_unknown_and_never_fires(exposed_at, now, readings):
    windows = Windows()
    for index, reading in enumerate(readings):
        windows.feed(float(index), {"new": "canary"}, {"new": reading} if reading else {})
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=exposed_at, now=now)
    assert all(reading.value is None and not reading.fired and reading.detail for reading in found)
    assert windows.served(ArmName.CANARY) == 0, "and nothing was served that could pass an analysis"
    assert not reasons(found)


def test_data_that_stopped_coming_is_unknown_after_the_window():
    windows = fed([(1000, 500, 0)] * 3)
    assert look(windows, TriggerName.ERROR_RATE, now=80.0).fired
    assert look(windows, TriggerName.ERROR_RATE, now=100.0).value is None


@pytest.mark.parametrize("name", [TriggerName.CPU, TriggerName.MEMORY])
def test_a_resource_that_was_not_measured_lately_is_unknown(name):
    windows = resources([0.5] * 8, memory=name is TriggerName.MEMORY)
    assert look(windows, name).value == pytest.approx(0.5)
    for at in range(80, 150, 10):
        windows.feed(windows.now + 10.0, {"new-1": "canary"}, {"new-1": Unreadable(float(at), "refused")})
    reading = look(windows, name)
    assert (reading.value, reading.fired) == (None, False)
    assert "in the last 60 s" in reading.detail
    assert (windows.sample().canary.cpu, windows.sample().canary.memory) == (None, None)
    assert look(resources([0.5] * 8, memory=name is TriggerName.MEMORY), name, now=500.0).value is None


def test_errors_without_status_codes_are_unknown():
    windows = Windows()
    for at in (0.0, 10.0):
        windows.feed(at, {"new": "canary"}, {"new": PodReading(at=at, requests=at * 100)})
    assert "no status codes" in look(windows, TriggerName.ERROR_RATE).detail


def test_the_plainest_reason_comes_first_and_the_others_are_kept():
    windows = fed([(1000, 500, 900)] * 9)
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=90.0, health=(history(False, False, False),))
    assert [reason.name for reason in reasons(found)] == ["health", "error-rate", "latency-p99"]
    first = reasons(found)[0]
    assert (first.kind, first.value, first.limit) == ("trigger", 3.0, 3.0)
    assert "3 probes in a row" in first.detail


def test_readings_survive_the_checkpoint():
    found = evaluate(LIMITS, fed([(10, 1, 0)]), baseline=None, exposed_at=None, now=10.0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=tuple[TriggerReading, ...]) == found


def test_a_baseline_of_too_few_requests_has_no_p99():
    assert measure(fed([(20, 1, 0)] * 4, arm="stable"), 60.0).p99 is None
    baseline = measure(fed([(1000, 10, 0)] * 6, arm="stable"), 60.0)
    assert (baseline.requests, baseline.error_rate) == (pytest.approx(6000), pytest.approx(0.01))
    assert 0 < baseline.p99 <= 0.01
    assert measure(Windows(), 60.0) == Baseline(seconds=60.0, requests=0.0, error_rate=None, p99=None)


# Guards ---------------------------------------------------------------------------------------------------------------------


def test_the_data_that_a_limit_asks_for_is_configuration():
    few = msgspec.structs.replace(LIMITS, min_errors=2, min_requests=10)
    assert not exceeds(LIMITS, requests=20, errors=2, baseline=BASELINE)
    assert exceeds(few, requests=20, errors=2, baseline=BASELINE)
    assert exceeds(LIMITS, requests=100, errors=8, baseline=BASELINE)
    assert not exceeds(msgspec.structs.replace(LIMITS, min_requests=1000), requests=100, errors=8, baseline=BASELINE)
    assert not exceeds(msgspec.structs.replace(LIMITS, strict_above=0.0005), requests=100, errors=8, baseline=BASELINE)


def side_by_side(canary, stable):
    """Both versions, each with (requests, errors, slow) for every round."""
    windows = Windows()
    totals = {"canary": [0.0, 0.0, 0.0], "stable": [0.0, 0.0, 0.0]}
    for index in range(len(canary) + 1):
        readings = {}
        for arm, rounds in (("canary", canary), ("stable", stable)):
            if index:
                totals[arm] = [total + one for total, one in zip(totals[arm], rounds[index - 1], strict=True)]
            requests, errors, slow = totals[arm]
            readings[f"{arm}-1"] = PodReading(
                at=10.0 * index, requests=requests, errors=errors, durations=durations(requests - slow, slow)
            )
        windows.feed(10.0 * index, {"canary-1": "canary", "stable-1": "stable"}, readings)
    return windows


def together(canary, stable, rounds=9):
    """Both versions side by side, each with the same (requests, errors, slow) in every round."""
    return side_by_side([canary] * rounds, [stable] * rounds)


@pytest.mark.parametrize(
    ("canary", "stable", "shared"),
    [
        ((1000, 200, 0), (9000, 1800, 0), True),
        ((1000, 200, 0), (9000, 9, 0), False),
        # Stable is below the limit, and yet fails as often as far as anybody can tell.
        ((20, 2, 0), (200, 9, 0), True),
        ((1000, 0, 300), (9000, 0, 2700), True),
        ((1000, 0, 300), (9000, 0, 9), False),
        ((1000, 200, 300), (9000, 1800, 9), False),
    ],
)
def test_an_incident_of_both_versions_is_one_in_all_that_fired(canary, stable, shared):
    windows = together(canary, stable)
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert any(reading.fired for reading in found)
    assert is_shared_incident(found, LIMITS, windows, 0.0, windows.now, baseline=BASELINE) is shared


@pytest.mark.parametrize(
    ("stable", "shared"),
    [
        ((1000, 20, 0), True),  # 2 %, twenty times as often as before
        ((60, 3, 0), False),  # three failures are no incident
        ((40, 3, 0), False),  # over the limit, by too few requests to say so
        ((100, 6, 0), True),
    ],
)
def test_an_incident_takes_as_much_data_of_the_old_version_as_a_fault_of_the_new_one(stable, shared):
    windows = together((50, 5, 0), stable, rounds=1)
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert found[0].fired
    assert is_shared_incident(found, LIMITS, windows, 0.0, windows.now, baseline=BASELINE) is shared


@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        # The new version's cold start is no fault that would tell it from the old one...
        ([(1000, 0, 500)] * 3 + [(1000, 0, 60)] * 3, [(9000, 0, 540)] * 6),
        # ...and the old one has none: what it did in that time counts.
        ([(1000, 0, 100)] * 6, [(9000, 0, 2700)] * 3 + [(9000, 0, 45)] * 3),
    ],
)
def test_only_the_new_version_is_given_time_to_warm_up_where_both_are_slow(canary, stable):
    windows = side_by_side(canary, stable)
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert [reading.name for reading in found if reading.fired] == [TriggerName.LATENCY_P99]
    assert is_shared_incident(found, LIMITS, windows, 0.0, windows.now, baseline=BASELINE)


def test_probes_that_fail_now_and_then_fire_by_their_evidence_and_rare_ones_do_not():
    flapping = history(*(number % 3 == 0 for number in range(1, 13)))
    assert flapping.failures < 3
    reading = look(fed([]), TriggerName.HEALTH, health=(flapping,))
    assert reading.fired
    assert reading.value > reading.limit
    assert "fails now and then" in reading.detail
    rare = history(*(number % 40 != 0 for number in range(1, 200)))
    assert not look(fed([]), TriggerName.HEALTH, health=(rare,)).fired
    patient = msgspec.structs.replace(LIMITS, health_failures=20)
    assert not look(fed([]), TriggerName.HEALTH, health=(flapping,), limits=patient).fired


def test_what_flaps_is_for_the_settings_to_say():
    settings = configured(WHOLE + "probes: {tolerated: 0.3, flapping: 0.8, alpha: 0.01}\n")
    limits = Limits.of(settings)
    assert limits.flapping_at == pytest.approx(math.log(100))
    lenient = HealthHistory(pod="new-1")
    for number in range(1, 40):
        lenient = lenient.after(ProbeResult(number % 3 != 0, "answered"), ready=True, rates=rates(settings.probes))
    reading = look(fed([]), TriggerName.HEALTH, health=(lenient,), limits=limits)
    assert not reading.fired, "a third of its probes failing is what these settings tolerate"
    assert look(fed([]), TriggerName.HEALTH, health=(history(*(number % 3 != 0 for number in range(1, 40))),)).fired


@pytest.mark.parametrize("probes", ["{tolerated: 0.4, flapping: 0.4}", "{tolerated: 0}", "{flapping: 1}", "{alpha: 0.5}"])
def test_settings_that_tell_nothing_apart_are_refused(probes):
    with pytest.raises(ConfigurationError, match="probes"):
        configured(f"{WHOLE}probes: {probes}\n")


def test_how_far_back_rates_are_looked_at_is_a_setting():
    rounds = [(1000, 300, 0)] * 2 + [(1000, 0, 0)] * 4
    assert look(fed(rounds), TriggerName.ERROR_RATE).fired
    short = Limits.of(configured(WHOLE + "triggers: {window: 20}\n"))
    reading = look(fed(rounds), TriggerName.ERROR_RATE, limits=short)
    assert (reading.fired, reading.value) == (False, 0.0)
    gone = look(fed(rounds), TriggerName.ERROR_RATE, limits=short, now=90.0)
    assert gone.value is None
    assert "in the last 20 s" in gone.detail


def test_unsteady_counts_of_both_versions_are_still_one_incident():
    """Clusters of failures: 7 % and 4.3 % would be told apart, were each failure by itself."""
    windows = together((600, 42, 0), (5400, 230, 0))
    found = evaluate(LIMITS, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert not is_shared_incident(found, LIMITS, windows, 0.0, windows.now, baseline=BASELINE)
    noisy = msgspec.structs.replace(LIMITS, noise=8.0)
    found = evaluate(noisy, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert is_shared_incident(found, noisy, windows, 0.0, windows.now, baseline=BASELINE)
    assert SHARED_INCIDENT in found[0].detail


@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        ((20, 6, 0), (180, 11, 0)),
        ((200, 34, 0), (1800, 100, 0)),
    ],
)
def test_clusters_of_failures_make_no_bad_version_while_both_are_over_the_limit(canary, stable):
    """Ratios of 5 and 3: surely above two, were each failure by itself."""
    windows = together(canary, stable)
    for noise, shared in ((1.0, False), (5.0, True), (20.0, True)):
        limits = msgspec.structs.replace(LIMITS, noise=noise)
        found = evaluate(limits, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
        assert found[0].fired
        assert is_shared_incident(found, limits, windows, 0.0, windows.now, baseline=BASELINE) is shared


@pytest.mark.parametrize("noise", [1.0, 5.0, 30.0, 200.0, 5000.0])
@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        ((100, 8, 0), (1900, 4, 0)),  # stable as before, and little traffic
        ((100, 8, 0), (1900, 38, 0)),  # stable ten times as bad as before, and a quarter of the new one
        ((10, 4, 0), (190, 2, 0)),
        ((1000, 80, 0), (19_000, 190, 0)),
        ((1000, 600, 0), (19_000, 1200, 0)),  # stable over the limit as well, by far less
    ],
)
def test_noise_hides_no_bad_version_behind_an_incident(canary, stable, noise):
    limits = msgspec.structs.replace(LIMITS, noise=noise)
    windows = together(canary, stable)
    found = evaluate(limits, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert any(reading.fired for reading in found)
    assert not is_shared_incident(found, limits, windows, 0.0, windows.now, baseline=BASELINE)
    assert SHARED_INCIDENT not in found[0].detail


@pytest.mark.parametrize("noise", [1.0, 5.0, 200.0])
def test_noise_hides_no_slow_version_behind_an_incident(noise):
    windows = together((1000, 0, 500), (19_000, 0, 230))
    limits = msgspec.structs.replace(LIMITS, slow_noise=noise)
    found = evaluate(limits, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
    assert any(reading.fired for reading in found)
    assert not is_shared_incident(found, limits, windows, 0.0, windows.now, baseline=BASELINE)


def test_clusters_of_slow_requests_make_no_bad_version_while_both_are_slow():
    """12 % and 5 % of them: surely twice as many, were each slow request by itself."""
    windows = together((1000, 0, 120), (19_000, 0, 950))
    for noise, shared in ((1.0, False), (5.0, True), (20.0, True)):
        limits = msgspec.structs.replace(LIMITS, slow_noise=noise)
        found = evaluate(limits, windows, baseline=BASELINE, exposed_at=0.0, now=windows.now)
        assert [reading.name for reading in found if reading.fired] == [TriggerName.LATENCY_P99]
        assert is_shared_incident(found, limits, windows, 0.0, windows.now, baseline=BASELINE) is shared
        assert any(SHARED_INCIDENT in reading.detail for reading in found) is shared


def test_what_always_fails_as_much_is_no_incident():
    """Stable fails 4 % as it ever did: nothing has happened to it."""
    before = msgspec.structs.replace(BASELINE, error_rate=0.04)
    windows = together((1000, 75, 0), (9000, 360, 0))
    for baseline, shared in ((before, False), (msgspec.structs.replace(BASELINE, error_rate=None), False), (BASELINE, True)):
        noisy = msgspec.structs.replace(LIMITS, noise=60.0)
        found = evaluate(noisy, windows, baseline=baseline, exposed_at=0.0, now=windows.now)
        assert found[0].fired
        assert is_shared_incident(found, noisy, windows, 0.0, windows.now, baseline=baseline) is shared


def test_the_strict_form_is_said_where_it_fires_too():
    before = msgspec.structs.replace(BASELINE, error_rate=0.03)
    reading = look(fed([(100, 15, 0)]), TriggerName.ERROR_RATE, baseline=before)
    assert reading.fired
    assert "strict, since 3.0% failed before the deploy" in reading.detail
