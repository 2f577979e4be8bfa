"""What a source told, in the windows and before the judge of a rollout."""

from typing import Any

import msgspec
import pytest
from support.configuration import WHOLE, configured
from support.rollouts import rollout

from services.analysis import ArmName, PodReading, Windows
from services.analysis.histogram import Histogram
from services.analysis.judge import ERRORS, LATENCY_P99
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, Reading, Tally
from services.model.rollout import Baseline, SlowEdge
from services.rollout import judging
from services.rollout.arms import Arms
from services.rollout.elsewhere import subject
from services.settings import Settings
from services.settings.schema import ServiceOptions

ORDERS = {"name": "orders", "total": "orders_total", "bad": 'orders_total{result="failed"}', "weight": 0.1, "tolerance": 2.0}
BASELINE = Baseline(seconds=60, requests=1000, error_rate=0.01, p99=0.1, edges={LATENCY_P99.name: SlowEdge(0.1, 10, 1000)})


def settings(**metrics: Any) -> Settings:
    return configured(f"{WHOLE}metrics: {msgspec.json.encode(metrics).decode()}\n")


def tallies(total: float, bad: float, slow: float, orders: tuple[float, float]) -> dict[str, Tally]:
    durations = Histogram((0.1, float("inf")), (total - slow, total))
    return {
        ERRORS_NAME: Tally(total=total, bad=bad),
        LATENCY_NAME: Tally.of(durations),
        "orders": Tally(total=orders[0], bad=orders[1]),
    }


def test_what_a_server_told_is_counted_beside_what_pages_say_of_cpu() -> None:
    windows = Windows(counts_pages=False)
    arm_of = {"new": "canary", "old": "stable"}
    for at, requests in ((0.0, 100.0), (10.0, 9000.0)):
        readings = {
            pod: PodReading(at=at, requests=requests, errors=0.0, cpu_seconds=at / 2, cpu_limit=1.0, memory=1.0, memory_limit=2.0)
            for pod in arm_of
        }
        windows.feed(at, arm_of, readings)
    assert windows.read_at("canary") is None
    told = {ArmName.CANARY: tallies(100, 7, 20, (10, 4)), ArmName.STABLE: tallies(900, 9, 9, (90, 1))}
    windows.add(0.0, 10.0, told, errors=ERRORS_NAME, latency=LATENCY_NAME)
    assert windows.read_at("canary") == 10.0
    assert (windows.served("canary"), windows.served("stable")) == (100, 900)
    sample = windows.sample()
    assert (sample.canary.requests, sample.canary.errors, sample.canary.cpu, sample.canary.memory) == (100, 7, 0.5, 0.5)
    # The pages' own requests are nobody's.
    assert sample.stable.requests == 900


def test_a_ratio_of_ones_own_comes_before_the_judge_with_its_weight() -> None:
    config = settings(ratios=[ORDERS], weights={"errors": 0.6, "latency": 0.3})
    parameters = judging.parameters(config, BASELINE)
    assert {metric.name: metric.weight for metric in parameters.metrics} == pytest.approx(
        {ERRORS.name: 0.6, LATENCY_P99.name: 0.3, "orders": 0.1}
    )
    windows = Windows(counts_pages=False)
    windows.feed(10.0, {}, {})
    told = {ArmName.CANARY: tallies(100, 7, 20, (10, 4)), ArmName.STABLE: tallies(900, 9, 9, (90, 1))}
    windows.add(0.0, 10.0, told, errors=ERRORS_NAME, latency=LATENCY_NAME)
    run = msgspec.structs.replace(rollout(), baseline=BASELINE)
    trial = judging.trial_of(msgspec.structs.replace(run, judgement=None), config)
    look = judging.look(run, judging.counted(windows, 0.0, warm_up=0.0, exposed_at=0.0), trial)
    assert look.counts == {
        ERRORS.name: (100.0, 900.0, 7.0, 9.0),
        LATENCY_P99.name: (100.0, 900.0, 20.0, 9.0),
        "orders": (10.0, 90.0, 4.0, 1.0),
    }


def test_pages_with_a_ratio_are_counted_by_pod_and_through_a_restart() -> None:
    windows = Windows()
    arm_of = {"new": "canary", "old": "stable"}

    def reading(at: float, orders: tuple[float, float] | None, started: float = 1.0) -> PodReading:
        own = {"orders": Tally(total=orders[0], bad=orders[1])} if orders is not None else {}
        return PodReading(at=at, requests=at * 10, errors=0.0, started=started, tallies=own)

    windows.feed(10.0, arm_of, {"new": reading(10.0, (50, 1)), "old": reading(10.0, None)})
    # The new pod restarts; the old one's first order was not on its page before.
    windows.feed(20.0, arm_of, {"new": reading(20.0, (7, 2), started=15.0), "old": reading(20.0, (30, 3))})
    assert {arm: dict(windows.told(arm, 10.0).tallies) for arm in arm_of.values()} == {
        "canary": {"orders": Tally(total=7, bad=2)},
        "stable": {"orders": Tally(total=30, bad=3)},
    }


def test_whom_a_server_is_asked_for() -> None:
    found = subject(rollout(), Arms((), ()), ServiceOptions(router="nginx/front"))
    assert (found.service, found.route, found.there) == ("payment-service", "front", frozenset())
    assert found.apart
    assert found.versions[ArmName.CANARY].workload.endswith("-canary")
    assert subject(rollout(), Arms((), ()), ServiceOptions(router="istio/front")).route == ""


@pytest.mark.parametrize(("bad", "counted"), [(100.0, 100.0), (101.0, 100.0), (102.0, None), (900.0, None)])
def test_errors_that_are_more_than_the_requests_are_not_known(bad: float, counted: float | None) -> None:
    """Two counters are not read at the very same moment: a few too many are all of them. More are of other events."""
    told = {ArmName.CANARY: tallies(100, bad, 20, (10, 4)), ArmName.STABLE: tallies(900, 9, 9, (90, 1))}
    reading = Reading(at=10.0, since=0.0, arms=told)
    windows = Windows(counts_pages=False)
    windows.feed(10.0, {}, {})
    windows.add(0.0, 10.0, told, errors=ERRORS_NAME, latency=LATENCY_NAME)
    assert windows.sample().canary.errors == counted
    assert windows.sample().stable.errors == 9
    interval = reading.interval(ERRORS_NAME)
    assert (interval.s if interval is not None else None) == counted
    why = "" if counted is not None else f"more bad events than events from the new version, {bad:.0f} of 100: are its two "
    assert reading.lacking(ERRORS_NAME).startswith(why)
    assert bool(reading.excess(ERRORS_NAME)) is (counted is None)
