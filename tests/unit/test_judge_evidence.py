"""What the judge promises, whatever the counts: its bounds under the null, and what must make no difference."""

import ast
import math
import random
from pathlib import Path

import msgspec
import pytest
from bench.judge_vectors import expectation
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analysis.judge import (
    ERRORS,
    Interval,
    Metric,
    Null,
    Parameters,
    State,
    Verdict,
    begin,
    calibrate,
    combine,
    observe,
    plan,
    ratio_limits,
    share_limits,
    visible,
)
from services.analysis.judge.dispersion import Dispersion, noise, predicted, updated
from services.analysis.judge.evidence import (
    AT_ONCE,
    HEALTH_GRID,
    REGRESSION_GRID,
    START_MASS,
    Mixture,
    Onsets,
    advance,
    log_e,
)
from services.analysis.judge.flapping import Probes, probed

ONE = Parameters(metrics=(ERRORS,))
LATER = Onsets(START_MASS, 360)

arms = st.integers(1, 10_000)
rates = st.floats(0.0, 0.6)


@st.composite
def intervals(draw, most=5_000):
    n, m = draw(st.integers(1, most)), draw(st.integers(1, most))
    return Interval(n, m, draw(st.integers(0, n)), draw(st.integers(0, m)))


nulls = st.one_of(
    st.builds(Null, st.floats(1.0, 3.0), st.just(0.0)), st.builds(Null, st.just(1.0), st.floats(0.0, 0.1))
)  # fmt: skip


# --- the bound under the null


@settings(max_examples=60)
@given(
    st.sampled_from((*REGRESSION_GRID, 1.01, 500.0)), nulls, st.integers(1, 12), st.integers(1, 25), rates,
    st.floats(0.0, 1.0), st.floats(0.05, 1.0),
)  # fmt: skip
def test_evidence_of_a_regression_is_never_above_1_on_average_under_the_null(R, null, n, m, control, part, w) -> None:
    """At the limit of the tolerance and anywhere below it, tempered or not."""
    canary = min(1.0, part * (null.r * control + null.d))
    assert expectation(R, null, w, (n, m), (canary, control)) <= 1.0 + 1e-9


@settings(max_examples=60)
@given(
    st.sampled_from(HEALTH_GRID), nulls, st.integers(1, 12), st.integers(1, 25), rates, st.floats(0.0, 1.0), st.floats(0.05, 1.0)
)
def test_evidence_of_health_is_never_above_1_on_average_for_an_unacceptable_canary(R, null, n, m, control, part, w) -> None:
    least = null.r * control + null.d
    if least <= 1.0:
        canary = least + part * (1.0 - least)
        assert expectation(R, null, w, (n, m), (canary, control)) <= 1.0 + 1e-9


@pytest.mark.parametrize("cap", [math.inf, 1.77, 0.3])
@pytest.mark.parametrize(("canary", "control", "null"), [(0.24, 0.2, Null(1.2, 0.0)), (0.35, 0.25, Null(1.0, 0.1))])
def test_the_whole_process_is_never_above_1_on_average_at_any_time(cap, canary, control, null) -> None:
    """Every path of three intervals of two small binomials, enumerated, with onsets, cap and changing shares."""
    shapes = [(3, 4), (2, 5), (4, 2)]
    reached = {Mixture(): 1.0}
    for n, m in shapes:
        following: dict[Mixture, float] = {}
        for mixture, chance in reached.items():
            for s in range(n + 1):
                for f in range(m + 1):
                    after = advance(mixture, REGRESSION_GRID, null, Onsets(0.5, 2), Interval(n, m, s, f), cap=cap)
                    here = chance * binomial(n, s, canary) * binomial(m, f, control)
                    following[after] = following.get(after, 0.0) + here
        reached = following
        assert math.isclose(math.fsum(reached.values()), 1.0, rel_tol=1e-9)
        assert math.fsum(chance * math.exp(mixture.log_e) for mixture, chance in reached.items()) <= 1.0 + 1e-9


def test_a_canary_at_the_limit_of_the_tolerance_is_all_but_never_aborted() -> None:
    """Ville's inequality, tried: 200 runs of an hour at exactly 1.2 times the control, α = 10 % to make it bite."""
    parameters = Parameters(metrics=(ERRORS,), alpha=0.1)
    draws = random.Random(7)
    aborted = 0
    for _ in range(200):
        state = begin(parameters)
        for _ in range(60):
            s = sum(draws.random() < 0.12 for _ in range(60))
            f = sum(draws.random() < 0.10 for _ in range(60))
            state = observe(parameters, state, {"errors": Interval(60, 60, s, f)})
        aborted += state.verdict is Verdict.REGRESSED
    assert aborted <= 20


# --- what must make no difference


@given(intervals(), nulls, st.sampled_from(REGRESSION_GRID + HEALTH_GRID), st.integers(2, 9))
def test_splitting_an_interval_at_the_same_shares_changes_nothing(whole, null, R, pieces) -> None:
    part = Interval(whole.n / pieces, whole.m / pieces, whole.s / pieces, whole.f / pieces)
    assert math.isclose(log_e(R, null, part) * pieces, log_e(R, null, whole), rel_tol=1e-9, abs_tol=1e-7)


@given(intervals(), st.floats(1.0, 3.0), st.sampled_from(REGRESSION_GRID), st.floats(0.01, 100.0))
def test_traffic_of_both_arms_alike_says_nothing(interval, r, R, factor) -> None:
    """The relative null looks at whose the bad events are; how many requests there were cancels."""
    busier = Interval(interval.n * factor, interval.m * factor, interval.s, interval.f)
    assert math.isclose(log_e(R, Null(r, 0.0), busier), log_e(R, Null(r, 0.0), interval), rel_tol=1e-9, abs_tol=1e-7)


@given(st.lists(intervals(), min_size=2, max_size=8), st.randoms(use_true_random=False), nulls)
def test_the_order_of_intervals_says_nothing_to_a_claim_about_the_whole_time(rows, shuffler, null) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    ends = []
    for order in (rows, shuffled):
        mixture = Mixture()
        for row in order:
            mixture = advance(mixture, HEALTH_GRID, null, AT_ONCE, row, w=0.5)
        ends.append(mixture.log_e)
    assert math.isclose(*ends, rel_tol=1e-9, abs_tol=1e-6)


@given(st.lists(intervals(), min_size=1, max_size=12))
def test_looking_and_storing_between_intervals_changes_nothing(rows) -> None:
    """A state is a value: looked at, sent through JSON and back at every scrape, or left alone."""
    left, stored = begin(ONE), begin(ONE)
    for row in rows:
        left = observe(ONE, left, {"errors": row})
        stored = observe(ONE, msgspec.json.decode(msgspec.json.encode(stored), type=State), {"errors": row})
        assert stored.p_value == left.p_value
        assert stored.metrics[0].ratio_limits == left.metrics[0].ratio_limits
    assert stored == left


@given(st.lists(intervals(), min_size=1, max_size=12), st.integers(0, 12))
def test_an_interval_without_requests_on_an_arm_is_no_evidence(rows, at) -> None:
    empty = [Interval(0, 100, 0, 3), Interval(100, 0, 5, 0), Interval(0, 0, 0, 0)]
    plain, gappy = begin(ONE), begin(ONE)
    for row in rows:
        plain = observe(ONE, plain, {"errors": row})
    for row in [*rows[:at], *empty, *rows[at:]]:
        gappy = observe(ONE, gappy, {"errors": row})
    assert (gappy.log_e, gappy.metrics[0].log_ok) == (plain.log_e, plain.metrics[0].log_ok)


# --- caps, latches and bounds


@given(st.lists(intervals(), min_size=1, max_size=15), st.floats(0.05, 3.0))
def test_no_scrape_proves_more_than_the_cap(rows, cap) -> None:
    for grid, onsets in ((REGRESSION_GRID, LATER), (HEALTH_GRID, AT_ONCE)):
        mixture = Mixture()
        for row in rows:
            after = advance(mixture, grid, Null(1.2, 0.0), onsets, row, cap=cap)
            assert after.log_e <= mixture.log_e + cap + 1e-12
            mixture = after


def test_two_scrapes_of_failures_alone_never_abort_and_three_do() -> None:
    state = begin(ONE)
    for number, verdict in ((1, Verdict.UNDECIDED), (2, Verdict.UNDECIDED), (3, Verdict.REGRESSED)):
        state = observe(ONE, state, {"errors": Interval(50_000, 450_000, 25_000, 400)})
        assert (number, state.verdict) == (number, verdict)
    assert (state.since, state.since_s) == (3, 30.0)


def test_an_abort_stands() -> None:
    state = begin(ONE)
    for _ in range(3):
        state = observe(ONE, state, {"errors": Interval(1000, 9000, 200, 90)})
    for _ in range(200):
        state = observe(ONE, state, {"errors": Interval(1000, 9000, 0, 90)})
    assert state.verdict is Verdict.REGRESSED
    assert state.log_e < ONE.abort_at


def test_a_fault_after_healthy_minutes_is_found_and_its_onset_told() -> None:
    state = begin(ONE)
    for _ in range(60):
        state = observe(ONE, state, {"errors": Interval(50_000, 450_000, 500, 4500)})
    assert state.verdict is Verdict.HEALTHY
    for _ in range(5):
        state = observe(ONE, state, {"errors": Interval(50_000, 450_000, 1000, 4500)})
    assert state.verdict is Verdict.REGRESSED
    assert state.metrics[0].onset == 60


@given(st.lists(intervals(), min_size=1, max_size=30), st.one_of(st.none(), st.floats(1.0, 50.0)))
def test_dispersion_is_at_least_1_known_beforehand_and_finite(rows, history) -> None:
    past = Dispersion()
    for row in rows:
        d = predicted(past, noise(history), row.n)
        assert 1.0 <= d < math.inf
        past = updated(past, row, d)


@given(st.lists(intervals(), min_size=1, max_size=30), st.floats(1.0, 50.0), st.integers(3, 29))
def test_a_look_too_short_to_be_a_history_only_raises_what_is_assumed(rows, measured, seen) -> None:
    """…and the more the longer it was."""
    past = Dispersion()
    for row in rows:
        assumed, raised, more = (
            predicted(past, noise(*told), row.n) for told in ((None,), (measured, seen), (measured, seen + 1))
        )
        assert assumed <= raised <= more * (1 + 1e-12)
        past = updated(past, row, assumed)


def test_noise_that_was_seen_before_tempers_the_first_interval_already() -> None:
    first = Interval(10_000, 190_000, 14, 95)
    alone = observe(ONE, begin(ONE), {"errors": first}).metrics[0]
    warned = msgspec.structs.replace(ONE, metrics=(msgspec.structs.replace(ONE.metrics[0], history=5.5, rows=6),))
    told = observe(warned, begin(warned), {"errors": first}).metrics[0]
    assert (1.5, pytest.approx((10 * 1.5 + 6 * 5.5) / 16)) == (alone.D, told.D)
    assert abs(told.log_ok) < abs(alone.log_ok)


def test_a_constant_regression_is_not_taken_for_noise() -> None:
    """The ratio doubles once and stays: after it has been learned, D falls back."""
    past, seen = Dispersion(), []
    for _ in range(400):
        d = predicted(past, noise(1.0), 1000)
        seen.append(d)
        past = updated(past, Interval(1000, 9000, 20, 90), d)
    assert seen[-1] < 1.2


def test_a_history_that_would_have_been_aborted_widens_the_noise_until_it_is_not() -> None:
    """Half of the running version's pods fail three times as often: no regression, since nothing was deployed."""
    calm = [{"errors": Interval(1000, 9000, 10, 90)}] * 90
    uneven = [{"errors": Interval(1000, 9000, 10 if number < 40 else 30, 90)} for number in range(90)]
    found = calibrate(ONE, [calm])
    assert (found.splits, found.aborted, found.widened) == (1, 0, 0)
    assert found.parameters.metrics[0].history == 1.0
    found = calibrate(ONE, [uneven, calm])
    assert (found.splits, found.aborted) == (2, 1)
    assert found.widened > 0
    assert found.parameters.metrics[0].history > 1.5
    again = begin(found.parameters)
    for row in uneven:
        again = observe(found.parameters, again, row)
    assert again.verdict is not Verdict.REGRESSED


def test_a_history_that_tells_nothing_is_none() -> None:
    found = calibrate(ONE, [[{"errors": Interval(1000, 9000, 0, 0)}] * 90])
    assert found.parameters.metrics[0].history is None


def test_evidence_is_a_bounded_thing() -> None:
    state = begin(ONE)
    sizes = set()
    for number in range(3 * 360):
        state = observe(ONE, state, {"errors": Interval(1000, 9000, 10 + number % 3, 90)})
        if number > 400:
            sizes.add(len(state.metrics[0].relative.log_wealth))
    assert sizes == {len(REGRESSION_GRID)}
    assert math.isfinite(state.log_e)
    assert math.isfinite(state.metrics[0].log_ok)


# --- metrics together


@given(st.lists(st.tuples(st.floats(0.01, 0.3), st.floats(-700, 700)), min_size=1, max_size=3))
def test_together_is_the_weighted_mean_and_never_worse_than_bonferroni(parts) -> None:
    together = combine(parts)
    best = max(math.log(weight) + value for weight, value in parts)
    assert together >= best - 1e-12
    assert together <= max(0.0, *(value for _, value in parts)) + 1e-12
    if all(abs(value) < 30 for _, value in parts):
        plain = sum(weight * math.exp(value) for weight, value in parts) + 1.0 - sum(weight for weight, _ in parts)
        assert math.isclose(together, math.log(plain), rel_tol=1e-9, abs_tol=1e-9)


def test_a_metric_without_data_leaves_its_weight_idle() -> None:
    both = Parameters()
    alone, missing = begin(ONE), begin(both)
    for _ in range(10):
        row = {"errors": Interval(1000, 9000, 14, 90)}
        alone, missing = observe(ONE, alone, row), observe(both, missing, row)
    assert math.isclose(alone.log_e, missing.log_e, rel_tol=1e-12)
    assert missing.metrics[1].has_data is False


def test_latency_is_not_looked_at_in_its_warm_up_and_health_waits_for_it() -> None:
    parameters = Parameters()
    state = begin(parameters)
    for number in range(1, 13):
        slow = 500 if number <= 3 else 100
        counts = {"errors": Interval(10_000, 90_000, 10, 90), "latency": Interval(10_000, 90_000, slow, 900)}
        state = observe(parameters, state, counts)
        assert state.metrics[1].has_data is (number > 3)
        assert state.verdict is (Verdict.HEALTHY if number >= 9 else Verdict.UNDECIDED)
    assert state.since_s == 90.0


def test_no_traffic_is_no_data_and_never_healthy() -> None:
    state = begin(ONE)
    state = observe(ONE, state, {"errors": Interval(0, 900, 0, 1)})
    assert state.verdict is Verdict.NO_DATA
    for _ in range(12):
        state = observe(ONE, state, {"errors": Interval(10_000, 90_000, 10, 90)})
    assert state.verdict is Verdict.HEALTHY
    for number in range(1, 7):
        state = observe(ONE, state, {} if number % 2 else {"errors": Interval(0, 90_000, 0, 90)})
        assert state.verdict is (Verdict.NO_DATA if number == 6 else Verdict.HEALTHY)
    state = observe(ONE, state, {"errors": Interval(10_000, 90_000, 10, 90)})
    assert state.verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    "counts",
    [(10, 10, 11, 0), (10, 10, 0, 11), (-1, 10, 0, 0), (math.nan, 1, 0, 0), (math.inf, 1, 0, 0), (1, 1, math.nan, 0)],
)
def test_counts_that_cannot_be_are_refused(counts) -> None:
    with pytest.raises(ValueError, match="errors: these counts can't be"):
        observe(ONE, begin(ONE), {"errors": Interval(*counts)})


def test_a_metric_that_is_not_configured_is_refused() -> None:
    with pytest.raises(ValueError, match="no such metric: eror"):
        observe(ONE, begin(ONE), {"eror": Interval(1, 1, 0, 0)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0}, {"alpha": math.nan}, {"beta": 1.0}, {"interval_s": 0.0}, {"interval_s": math.inf}, {"burst_scrapes": 0},
        {"onset_s": math.inf}, {"metrics": ()}, {"metrics": (ERRORS, ERRORS)},
        {"metrics": (ERRORS, Metric(name="other", r=1.2, d=0.0, weight=0.6))},
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"."):
        Parameters(**wrong)
    with pytest.raises(ValueError, match=r"."):
        msgspec.structs.replace(Parameters(), **wrong)


# --- limits, sizes, probes


@given(st.floats(0.0, 2_000.0), st.floats(0.0, 2_000.0), st.floats(0.001, 0.5))
def test_limits_enclose_the_share_and_widen_with_confidence(s, f, alpha) -> None:
    low, high = share_limits(s, f, alpha)
    assert 0.0 <= low <= high <= 1.0
    if s + f > 0:
        assert low <= s / (s + f) <= high
    wider = share_limits(s, f, alpha / 2)
    assert wider[0] <= low
    assert high <= wider[1]


def test_a_confidence_sequence_covers_at_all_times() -> None:
    """200 runs looked at after each of 150 events: the true share leaves the limits in at most 5 % of them, ever."""
    draws, missed = random.Random(3), 0
    for _ in range(200):
        s = 0
        for events in range(1, 151):
            s += draws.random() < 0.1
            low, high = share_limits(s, events - s)
            if not low <= 0.1 <= high:
                missed += 1
                break
    assert missed <= 10


def test_limits_of_nothing_are_everything() -> None:
    assert ratio_limits(0.0, 0.0, 0.0, 0.0) == (0.0, math.inf)
    assert ratio_limits(3.0, 0.0, 10.0, 90.0)[1] == math.inf


@given(st.floats(0.5, 5_000.0), st.floats(0.01, 0.5), st.floats(0.0, 0.05), st.floats(1.0, 5.0))
def test_a_plan_is_quicker_with_more_traffic_and_for_a_larger_fault(rps, share, p0, D) -> None:
    worse = plan(rps, share, p0, min(1.0, p0 * 4 + 0.02), D)
    assert worse is not None
    assert 30.0 <= worse[0] <= worse[1]
    more = plan(rps * 10, share, p0, min(1.0, p0 * 4 + 0.02), D)
    assert more is not None
    assert more[1] <= worse[1]
    assert plan(rps, share, p0, p0, D) is None


def test_what_can_be_seen_is_what_the_plan_says() -> None:
    seen = visible(5.0, 0.1, 0.01, 300.0)
    assert seen is not None
    assert plan(5.0, 0.1, 0.01, seen)[1] <= 300.0 < (plan(5.0, 0.1, 0.01, seen * 0.97) or (0.0, math.inf))[1]
    assert visible(5.0, 0.1, 0.01, 300.0, surely=False) < seen
    assert visible(0.0, 0.1, 0.01, 300.0) is None
    assert visible(5.0, 0.1, 0.01, 20.0) is None


def test_a_flapping_endpoint_is_found_where_three_in_a_row_never_come() -> None:
    state = Probes()
    for number in range(1, 61):
        state = probed(state, ok=number % 3 != 0)
        if state.unhealthy:
            break
    assert state.unhealthy
    assert state.consecutive_failures < 3
    state = Probes()
    for number in range(1, 2000):
        state = probed(state, ok=number % 50 != 0)
        assert not state.unhealthy


def test_the_judge_is_arithmetic_only() -> None:
    """No I/O and no clock can come in through an import."""
    allowed = {"math", "enum", "types", "typing", "collections.abc", "msgspec"}
    modules = sorted((Path(__file__).parents[2] / "services/analysis/judge").glob("*.py"))
    assert modules
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert [name for name in names if name not in allowed and not name.startswith("services.analysis.judge")] == [], path


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def test_limits_are_about_the_ratio_that_there_is_though_the_share_was_raised_in_noise():
    """Both versions are slow in 8 % of their requests throughout; over all requests the limits would be far below 1."""
    parameters = Parameters(metrics=(msgspec.structs.replace(ERRORS, weight=1.0),))
    state = begin(parameters)
    for turn in range(60):
        share, swing = (0.05, 0.0) if turn < 30 else (0.5, 0.07 if turn % 2 else -0.07)
        n, m = 200_000 * share, 200_000 * (1 - share)
        state = observe(parameters, state, {"errors": Interval(n, m, (0.08 + swing / 4) * n, (0.08 - swing / 4) * m)})
    (evidence,) = state.metrics
    low, high = evidence.weighed_limits
    assert low < evidence.canary_rate / evidence.control_rate < high
    assert not evidence.ratio_limits[0] < 1.0 < evidence.ratio_limits[1]
