"""What the judge is told before a rollout, what a step may take over from another, and what is foreseen before a deploy."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import WHOLE, configured
from support.rollouts import rollout

from services.analysis import PodReading, Windows
from services.analysis.baseline import measure, slow_edges, splits
from services.analysis.histogram import Histogram
from services.analysis.judge import ERRORS, LATENCY_P90, LATENCY_P99, Interval, Parameters, Verdict
from services.analysis.judge.argo import Argo, measured, unanswered
from services.analysis.trial import Look, Trial, looked, opened
from services.model.rollout import Baseline, Events, Replayed, SlowEdge, StepState
from services.model.steps import Analyse, Plan, SetTraffic
from services.rollout import judging
from services.rollout.outlook import Saturation, measured_before, outlook, replay_words
from services.settings.problems import ConfigurationError

BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, math.inf)
SETTINGS = configured()
BASE = rollout()


def spread(total: float) -> Histogram:
    """90 % within 20 ms, 99 % within 100 ms, one in a thousand slower than 200 ms."""
    return Histogram(BOUNDS, tuple(total * share for share in (0.5, 0.9, 0.97, 0.99, 0.999, 1.0)))


def fed(rounds: int, pods: int = 4, *, requests: float = 1000.0) -> Windows:
    windows = Windows()
    for index in range(rounds + 1):
        at = 10.0 * index
        readings = {
            f"old-{pod}": PodReading(
                at=at, requests=requests * index, errors=index * (pod + 1.0), durations=spread(requests * index)
            )
            for pod in range(pods)
        }
        windows.feed(at, dict.fromkeys(readings, "stable"), readings)
    return windows


def plan_of(*steps: tuple[int, float]) -> Plan:
    made = [
        step
        for weight, seconds in steps
        for step in (
            SetTraffic(name="split", router="istio", route=BASE.plan.stable, weight=weight),
            Analyse(name="analyse", seconds=seconds, min_requests=100),
        )
    ]
    return msgspec.structs.replace(BASE.plan, steps=tuple(made))


# Before -------------------------------------------------------------------------------------------------------------------


def test_slow_is_what_lies_beyond_the_nearest_bounds() -> None:
    edges = slow_edges(spread(10_000.0))
    assert {name: edge.seconds for name, edge in edges.items()} == {LATENCY_P99.name: 0.1, LATENCY_P90.name: 0.02}
    assert edges[LATENCY_P99.name].slow == pytest.approx(100.0)
    assert edges[LATENCY_P90.name].slow == pytest.approx(1000.0)


def test_one_bound_for_both_percentiles_is_one_metric_with_all_of_latencys_weight() -> None:
    coarse = Histogram((1.0, math.inf), (995.0, 1000.0))
    edges = slow_edges(coarse)
    assert list(edges) == [LATENCY_P99.name]
    told = judging.parameters(SETTINGS, Baseline(seconds=60, requests=1000, error_rate=0.0, p99=1.0, edges=edges))
    assert [(metric.name, metric.weight) for metric in told.metrics] == [("errors", 0.5), ("latency-p99", 0.4)]


def test_durations_that_lie_all_beyond_the_last_bound_are_no_metric() -> None:
    assert slow_edges(Histogram((0.1, math.inf), (0.0, 1000.0))) == {}


def test_what_the_judge_is_told_is_configuration() -> None:
    settings = configured(
        WHOLE
        + "judge: {sensitivity: lenient, alpha: 0.05, burst_scrapes: 4, minimum_seconds: 90}\n"
        + "metrics: {interval: 5, warm_up: 60}\n"
    )
    baseline = measure(fed(6), 60.0)
    told = judging.parameters(
        settings, msgspec.structs.replace(baseline, replay=Replayed(rows=60, splits=4, aborted=0, noise={"errors": 1.8}))
    )
    errors, p99, p90 = told.metrics
    assert (errors.r, errors.d, errors.history) == (1.5, 0.001, 1.8)
    assert (p99.skip, p90.skip, p99.weight, p99.history) == (60.0, 60.0, 0.2, None)
    assert (told.interval_s, told.alpha, told.burst_scrapes, told.minimum_s) == (5.0, 0.05, 4, 90.0)


@pytest.mark.parametrize(
    "text", ["judge: {alpha: 0}", "judge: {on_undecided: pass}", "judge: {burst_scrapes: 0}", "triggers: {rare: 1}"]
)
def test_settings_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        configured(WHOLE + text + "\n")


def test_pods_against_each_other() -> None:
    rows = splits(fed(6), 60.0, 0.05, measure(fed(6), 60.0).edges)
    assert len(rows) == 4
    assert {len(split) for split in rows} == {6}
    first = rows[0][0]["errors"]
    assert (first.n, first.m, first.s, first.f) == (1000.0, 3000.0, 1.0, 9.0)
    assert {round(split[0]["latency-p90"].s) for split in rows} == {100}
    half = splits(fed(6), 60.0, 0.5, {})
    assert half[0][0]["errors"].n == 2000.0


def test_one_pod_has_nothing_to_be_compared_with() -> None:
    assert splits(fed(6, pods=1), 60.0, 0.05, {}) == ()


def test_a_short_look_is_no_proof_of_calm_and_a_long_one_is() -> None:
    for rounds, known in ((6, False), (40, True)):
        windows = fed(rounds, requests=100_000.0)
        baseline = judging.calibrated(SETTINGS, BASE, windows, measure(windows, 10.0 * rounds))
        assert baseline.replay is not None
        assert baseline.replay.aborted == 0
        assert bool(baseline.replay.noise) is known
        assert bool(baseline.replay.brief) is not known


def test_a_short_look_at_noise_is_believed_for_what_it_is_worth() -> None:
    """Failures that come in clusters on one pod or another."""
    windows, failed = Windows(), dict.fromkeys(range(4), 0.0)
    for index in range(7):
        at, readings = 10.0 * index, {}
        for pod in range(4):
            failed[pod] += 40.0 if (index + pod) % 4 == 0 else 4.0
            counters = PodReading(at=at, requests=10_000.0 * index, errors=failed[pod], durations=spread(10_000.0 * index))
            readings[f"old-{pod}"] = counters
        windows.feed(at, dict.fromkeys(readings, "stable"), readings)
    measured = measure(windows, 60.0)
    baseline = judging.calibrated(SETTINGS, BASE, windows, measured)
    assert baseline.replay is not None
    assert baseline.replay.noise == {}
    assert baseline.replay.brief["errors"] > 3.0
    errors = judging.parameters(SETTINGS, baseline).metrics[0]
    assert (errors.history, errors.rows) == (baseline.replay.brief["errors"], 6)
    calm = judging.parameters(SETTINGS, measured).metrics[0]
    assert (calm.history, calm.rows) == (None, None)
    assert msgspec.json.decode(msgspec.json.encode(baseline), type=Baseline) == baseline


# A trial ------------------------------------------------------------------------------------------------------------------

GOOD = {"errors": (10_000.0, 90_000.0, 10.0, 90.0)}


def after(trial: Trial, *looks: Look) -> Trial:
    for look in looks:
        trial = looked(trial, look)
    return trial


def test_each_step_has_to_prove_health_for_itself() -> None:
    first = after(opened(Parameters(metrics=(ERRORS,))), *(Look(counts=GOOD, seconds=10, step=1) for _ in range(12)))
    assert first.proven
    assert first.state.verdict is Verdict.HEALTHY
    second = looked(first, Look(counts=GOOD, seconds=10, step=2))
    assert not second.proven
    assert second.state.metrics[0].log_ok < first.parameters.healthy_at
    assert after(second, *(Look(counts=GOOD, seconds=10, step=2) for _ in range(3))).proven
    # What speaks for a regression is never renewed: it has all of the rollout's time.
    assert second.state.metrics[0].relative.used == first.state.metrics[0].relative.used + 1


def test_nothing_is_proven_without_data() -> None:
    trial = opened(Parameters(metrics=(ERRORS,)))
    assert not trial.proven
    proven = after(trial, *(Look(counts=GOOD, seconds=10) for _ in range(12)))
    silent = after(proven, *(Look(counts={}, seconds=10) for _ in range(6)))
    assert silent.state.verdict is Verdict.NO_DATA
    assert not silent.proven


def test_twice_the_errors_of_the_past_are_no_regression_and_beside_the_control_they_are() -> None:
    double = {"errors": (10_000.0, 90_000.0, 195.0, 900.0)}
    for past, verdict in ((True, Verdict.UNDECIDED), (False, Verdict.REGRESSED)):
        end = after(opened(Parameters(metrics=(ERRORS,))), *(Look(counts=double, seconds=10, past=past) for _ in range(40)))
        assert end.state.verdict is verdict


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 50), st.booleans()), max_size=30))
def test_a_trial_survives_its_checkpoint_at_any_look(rounds: list[tuple[int, int, bool]]) -> None:
    kept = plain = opened(Parameters(metrics=(ERRORS,)), {"latency-p99": 0.1})
    for number, (n, s, past) in enumerate(rounds):
        look = Look(counts={"errors": (n, 9.0 * n, min(n, s), 9.0 * min(n, 5))}, seconds=10, step=number // 7, past=past)
        plain = looked(plain, look)
        kept = msgspec.json.decode(msgspec.json.encode(looked(kept, look)), type=Trial)
        assert kept == plain


# Foreseen -----------------------------------------------------------------------------------------------------------------


def told(rate: float, errors: float | None = 0.001) -> Baseline:
    return Baseline(seconds=60, requests=60 * rate, error_rate=errors, p99=0.05)


def test_more_traffic_or_more_time_shows_smaller_faults() -> None:
    first, longer = outlook(plan_of((10, 120), (20, 600)), told(1000.0), SETTINGS)
    assert (first.weight, first.seconds) == (10, 120)
    assert first.rate == pytest.approx(100.0)
    assert first.errors.surely is not None
    assert longer.errors.surely is not None
    assert first.errors.even is not None
    assert 0.001 < first.errors.even < first.errors.surely
    assert longer.errors.surely < first.errors.surely
    # judge, section 9: 0.1 to 0.5 % at 100 a second takes 40 and 60 s, tempered by the noise that is assumed without a history.
    assert first.errors.surely < 0.005


def test_every_metric_that_is_judged_and_was_measured_is_foreseen() -> None:
    settings = configured(
        WHOLE
        + """\
metrics:
  weights: {errors: 0.5, latency: 0.4}
  ratios: [{name: declined, total: payments_total, bad: payments_declined_total, weight: 0.1}]
"""
    )
    edges = {"latency-p99": SlowEdge(0.1, 600.0, 60_000.0), "latency-p90": SlowEdge(0.05, 6000.0, 60_000.0)}
    measured = msgspec.structs.replace(told(5000.0), edges=edges, ratios={"declined": Events(600.0, 12.0)})
    found = outlook(plan_of((10, 120)), measured, settings)[0]
    assert [one.metric for one in found.others] == ["latency-p99", "latency-p90", "declined"]
    slow, slower, declined = found.others
    assert (slow.edge, slow.now, declined.now) == (0.1, pytest.approx(0.01), pytest.approx(0.02))
    assert slow.surely is not None
    assert slow.surely > 1.5 * slow.now, "what is tolerated is not seen"
    assert slower.surely is not None
    assert slower.surely > slower.now
    # ten payments a second in all, one of them the new version's
    assert declined.surely is None or declined.surely > 0.1
    assert f"answers slower than 100 ms from {100 * slow.surely:.3g} % on (now 1 %)" in found.words()
    # its few events make all of it undecided
    assert found.slowest is declined
    assert found.undecided
    assert "proof of its health in declined" in found.words()
    without = outlook(plan_of((10, 120)), msgspec.structs.replace(measured, ratios={}), settings)[0]
    assert not without.undecided


def test_saturation_is_told_with_its_limits_and_without_them_as_not_watched() -> None:
    windows = Windows()
    for index in range(3):
        reading = PodReading(
            at=10.0 * index, requests=1.0, cpu_seconds=4.0 * index, cpu_limit=1.0, memory=30.0, memory_limit=100.0
        )
        free = PodReading(at=10.0 * index, requests=1.0, cpu_seconds=4.0 * index, memory=30.0)
        windows.feed(10.0 * index, {"a": "stable", "free": "canary"}, {"a": reading, "free": free})
    found = Saturation.of(windows.pods("stable"), SETTINGS)
    assert found is not None
    assert (found.cpu, found.memory) == (pytest.approx(0.4), pytest.approx(0.3))
    assert found.words() == "Saturation: CPU 40 % now (limit 90 %), memory 30 % now (limit 90 %), above it for 30 s is seen."
    unlimited = Saturation.of(windows.pods("canary"), SETTINGS)
    assert unlimited is not None
    assert "CPU is not watched, its containers have no limit" in unlimited.words()
    assert "is seen" not in unlimited.words()
    assert Saturation.of((), SETTINGS) is None


def test_little_traffic_is_told_before() -> None:
    low = outlook(plan_of((10, 120)), told(5.0), SETTINGS)[0]
    assert low.undecided
    assert "A good version will end undecided" in low.words()
    high = outlook(plan_of((10, 120)), told(20_000.0), SETTINGS)[0]
    assert not high.undecided
    assert "undecided" not in high.words()


def test_what_is_not_known_is_not_foreseen() -> None:
    assert outlook(plan_of((10, 120)), told(0.0), SETTINGS) == ()
    assert outlook(plan_of((10, 120)), told(100.0, None), SETTINGS) == ()


def test_the_replay_before_the_deploy_is_told() -> None:
    baseline = msgspec.structs.replace(told(100.0), replay=Replayed(rows=6, splits=6, aborted=2))
    assert "2 of 6 groups of its pods would have been aborted. The judge takes the service" in replay_words(baseline)
    assert replay_words(told(100.0)) == ""


def test_the_newest_baseline_of_the_same_service_in_the_same_place() -> None:
    def measured(name: str, day: int, **where: str) -> object:
        made = rollout(name, created=BASE.created.replace(day=day), **where)  # type: ignore[arg-type]
        return msgspec.structs.replace(made, baseline=told(float(day)))

    found = [
        measured("a", 1),
        measured("b", 3),
        measured("c", 5, service="cart"),
        measured("d", 6, namespace="other"),
        rollout("e"),
    ]
    newest = measured_before(found, BASE.release)  # type: ignore[arg-type]
    assert newest is not None
    assert newest.id == "b"
    assert measured_before([rollout("e")], BASE.release) is None


def test_the_past_is_spread_over_the_analysis_and_counted_once() -> None:
    step = Analyse(name="watch", seconds=60, min_requests=0)
    baseline = msgspec.structs.replace(told(100.0), edges={"latency-p99": SlowEdge(0.1, 60.0, 6000.0)})
    steps = (StepState(expected_seconds=60),)
    run = msgspec.structs.replace(BASE, plan=msgspec.structs.replace(BASE.plan, steps=(step,)), steps=steps, baseline=baseline)
    windows = Windows()
    for index in range(2):
        counters = PodReading(at=10.0 * index, requests=1000.0 * index, errors=1.0 * index, durations=spread(1000.0 * index))
        windows.feed(10.0 * index, {"new": "canary"}, {"new": counters})
    trial = judging.trial_of(run, SETTINGS)
    seen = judging.counted(windows, 0.0, warm_up=0.0, exposed_at=0.0)
    look = judging.look(run, seen, trial)
    assert look.past
    assert look.counts["errors"] == pytest.approx((1000.0, 500.0, 1.0, 0.5))
    assert look.counts["latency-p99"] == pytest.approx((1000.0, 500.0, 10.0, 5.0))


@given(st.lists(st.floats(0.5, 200.0), min_size=1, max_size=20), st.floats(0.0, 59.0))
def test_the_rule_beside_the_judge_measures_each_minute_of_silence(parts: list[float], before: float) -> None:
    """However long the looks are that had nothing: five answers running are missing, and it is over."""
    begun = measured(Argo(), Interval(100.0, 900.0, 0.0, 0.0), before) if before else Argo()
    # The minute in which there still was something has an answer.
    ends = 300.0 if not before else 360.0
    run = begun
    for seconds in parts:
        run = unanswered(run, seconds)
    whole = before + sum(parts)
    if abs(whole - ends) > 1e-3:
        assert (run.aborted_at is not None) is (whole > ends)
        assert run.unanswered is (whole > ends)
    if run.aborted_at is not None:
        assert run.aborted_at == pytest.approx(ends)
