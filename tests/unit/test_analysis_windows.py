"""What each version served, whatever pods come, go, restart or can't be read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analysis import ArmName, PodReading, Unreadable, Windows


def counters(at, requests, errors=0.0, **more):
    return PodReading(at=at, requests=float(requests), errors=float(errors), **more)


def test_both_versions_side_by_side():
    windows = Windows()
    arms = {"new-1": "canary", "old-1": "stable", "old-2": "stable"}
    for at, scale in ((0.0, 0), (10.0, 1)):
        windows.feed(
            at,
            arms,
            {
                "new-1": counters(at, 50 * scale, 5 * scale, memory=30.0, memory_limit=100.0),
                "old-1": counters(at, 1000 * scale, 1 * scale),
                "old-2": counters(at, 900 * scale, 0),
            },
            ready=("new-1", "old-1"),
            restarts={"new-1": 2},
        )
    sample = windows.sample()
    assert sample.at == 10.0
    assert (sample.canary.requests, sample.canary.errors, sample.canary.memory) == (50, 5, 0.3)
    assert (sample.canary.pods, sample.canary.ready, sample.canary.restarts) == (1, 1, 2)
    assert (sample.stable.requests, sample.stable.errors, sample.stable.pods, sample.stable.ready) == (1900, 1, 2, 1)
    assert sample.canary.p99 is None


def test_how_much_of_a_window_was_seen():
    windows = Windows()
    assert windows.covered(ArmName.STABLE, 0.0, 60.0) == 0.0
    for at in (20.0, 30.0, 60.0):
        windows.feed(at, {"a": "stable", "b": "stable"}, {"a": counters(at, at), "b": counters(at, at)})
    assert windows.covered(ArmName.STABLE, 0.0, 60.0) == 40.0
    assert windows.covered(ArmName.STABLE, 25.0, 50.0) == 25.0
    assert windows.covered(ArmName.CANARY, 0.0, 60.0) == 0.0


def test_the_first_look_at_a_pod_counts_nothing():
    windows = Windows()
    windows.feed(0.0, {"new": "canary"}, {"new": counters(0, 10_000, 500)})
    assert windows.served(ArmName.CANARY) == 0
    assert windows.arm(ArmName.CANARY).requests == 0


def test_a_gap_is_bridged_and_its_requests_are_spread_over_it():
    windows = Windows()
    pods = {"new": "canary"}
    windows.feed(0.0, pods, {"new": counters(0, 0)})
    for at in range(10, 100, 10):
        windows.feed(float(at), pods, {"new": Unreadable(float(at), "no answer")})
    assert windows.arm(ArmName.CANARY).requests == 0
    assert windows.read_at(ArmName.CANARY) == 0.0
    windows.feed(100.0, pods, {"new": counters(100, 1000, 10)})
    assert windows.served(ArmName.CANARY) == 1000
    assert windows.arm(ArmName.CANARY, 60.0).requests == pytest.approx(600)
    assert windows.read_at(ArmName.CANARY) == 100.0


def test_a_pod_that_went_keeps_what_it_served_and_one_of_its_name_starts_anew():
    windows = Windows()
    windows.feed(0.0, {"a": "canary", "b": "canary"}, {"a": counters(0, 0), "b": counters(0, 0)})
    windows.feed(10.0, {"a": "canary", "b": "canary"}, {"a": counters(10, 100), "b": counters(10, 100)})
    windows.feed(20.0, {"b": "canary"}, {"b": counters(20, 200)})
    assert windows.served(ArmName.CANARY) == 300
    windows.feed(30.0, {"a": "canary", "b": "canary"}, {"a": counters(30, 5000), "b": counters(30, 200)})
    assert windows.served(ArmName.CANARY) == 300


def test_a_counter_that_fell_in_a_process_that_lives_is_unknown_and_not_counted_from_zero():
    """A label was forgotten, a worker ended: all it stands at now is not what it served since."""
    windows = Windows()
    pods = {"old": "stable"}
    windows.feed(0.0, pods, {"old": counters(0, 1_000_000, 900, started=5.0, cpu_seconds=50.0, cpu_limit=1.0)})
    windows.feed(10.0, pods, {"old": counters(10, 999_990, 890, started=5.0, cpu_seconds=49.0, cpu_limit=1.0)})
    assert windows.served(ArmName.STABLE) == 0
    assert windows.pods(ArmName.STABLE)[0].cpu == ()
    windows.feed(20.0, pods, {"old": counters(20, 1_000_090, 891, started=5.0, cpu_seconds=50.0, cpu_limit=1.0)})
    assert (windows.served(ArmName.STABLE), windows.sample().stable.errors) == (100, 1)
    windows.feed(30.0, pods, {"old": counters(30, 40, 2, started=25.0)})
    assert windows.served(ArmName.STABLE) == 140


def test_errors_that_nobody_can_tell_are_not_zero():
    windows = Windows()
    for at in (0.0, 10.0):
        windows.feed(at, {"new": "canary"}, {"new": PodReading(at=at, requests=at * 10)})
    canary = windows.sample().canary
    assert (canary.requests, canary.errors, canary.error_rate) == (100, None, None)
    assert windows.sample().stable.errors == 0


def test_readings_of_pods_nobody_listed_are_ignored():
    windows = Windows()
    for at in (0.0, 10.0):
        windows.feed(at, {}, {"stray": counters(at, at)})
    assert windows.sample().stable.requests == 0


def test_an_unknown_version_is_an_error():
    with pytest.raises(ValueError, match="blue"):
        Windows().feed(0.0, {"x": "blue"}, {})


@st.composite
def histories(draw):
    """Rounds of up to three pods: each serves, restarts, is unreadable, or is absent."""
    rounds = []
    totals = dict.fromkeys("abc", 0)
    for index in range(draw(st.integers(2, 12))):
        present, readings = {}, {}
        for pod in "abc":
            what = draw(st.sampled_from(["serves", "serves", "serves", "restarts", "silent", "absent"]))
            if what == "absent":
                continue
            present[pod] = "canary"
            totals[pod] = (0 if what == "restarts" else totals[pod]) + draw(st.integers(0, 100))
            at = index * 10.0
            readings[pod] = Unreadable(at, "silent") if what == "silent" else counters(at, totals[pod])
        rounds.append((index * 10.0, present, readings))
    return rounds


@given(histories())
def test_windows_next_to_each_other_add_up_to_all_that_was_served(rounds):
    windows = Windows()
    for at, present, readings in rounds:
        before = windows.served(ArmName.CANARY)
        windows.feed(at, present, readings)
        assert windows.served(ArmName.CANARY) >= before
    end = rounds[-1][0]
    cuts = [0.0, end / 3, end / 2, end]
    parts = sum(windows.count("canary", since, until).requests for since, until in itertools.pairwise(cuts))
    assert parts == pytest.approx(windows.served(ArmName.CANARY))


def test_old_intervals_are_forgotten_but_what_was_served_is_not():
    windows = Windows(keep=100.0)
    for index in range(1000):
        windows.feed(index * 10.0, {"a": "stable"}, {"a": counters(index * 10.0, index * 7)})
    assert windows.served(ArmName.STABLE) == 7 * 999
    assert windows.count("stable", 0.0, windows.now).requests == pytest.approx(7 * 11, abs=7)
