"""What the drawing of a judgement says, and that it fits wherever it is drawn, whatever it is given."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judgements import errors, judgement, regressed, slow

from services.model.rollout import JudgedMetric, Judgement, Unproven
from widgets import glyphs, ink
from widgets.charts import Ratio, draw_course, draw_ratio, gauge
from widgets.evidence.judgement import Judged, draw_judgement, strength

WIDTHS = st.integers(1, 300)
SHARE = st.floats(0, 1e6)
COUNT = st.floats(0, 1e12)


@pytest.fixture(params=["unicode", "ascii"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    glyphs.use(request.param)
    yield request.param
    glyphs.use("unicode")


def said(lines: ink.Lines) -> str:
    """All of it as one text: where a line ends is no matter."""
    return " ".join(" ".join(ink.plain(line) for line in lines).split())


def filled(line: ink.Line) -> int:
    return ink.plain(line).count("█")


# the gauge


@given(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), st.integers(0, 120))
def test_a_gauge_is_as_wide_as_asked(value, width):
    assert ink.cells(gauge(value, width, marks=(25.0, 60.0))) == width


@given(st.floats(0, 100), st.floats(0, 100), st.integers(2, 120))
def test_more_evidence_never_has_a_shorter_bar(one, other, width):
    less, more = sorted((one, other))
    assert filled(gauge(less, width)) <= filled(gauge(more, width))


@given(st.floats(1e-6, 99.999999), st.integers(2, 120))
def test_a_little_shows_and_only_all_of_it_fills_the_bar(value, width):
    assert 1 <= filled(gauge(value, width)) < width
    assert filled(gauge(0.0, width)) == 0
    assert filled(gauge(100.0, width)) == width


def test_an_unknown_value_has_no_bar_at_all():
    assert set(ink.plain(gauge(None, 12))) == {"·"}


# the ratio on its axis


@given(
    st.one_of(st.none(), SHARE),
    SHARE,
    st.one_of(st.none(), SHARE, st.just(math.inf)),
    st.floats(1, 1e4),
    WIDTHS,
)
def test_an_axis_fits_and_always_shows_what_is_tolerated(value, low, high, tolerated, width):
    line = draw_ratio(Ratio(value, low, high, tolerated), width)
    assert ink.cells(line) <= width
    if line:
        assert ink.plain(line).count("●") == (1 if value is not None else 0)
        assert "┃" in ink.plain(line) or "●" in ink.plain(line)


def test_the_interval_lies_where_its_limits_are():
    axis = ink.plain(draw_ratio(Ratio(4.0, 2.0, 8.0, 1.2), 64))
    assert axis.index("┃") < axis.index("━") < axis.index("●") < axis.rindex("━")
    below = ink.plain(draw_ratio(Ratio(0.5, 0.3, 0.8, 1.2), 64))
    assert below.rindex("━") < below.index("│") < below.index("┃")


def test_without_an_upper_limit_the_interval_runs_to_the_end():
    axis = ink.plain(draw_ratio(Ratio(None, 3.0, None, 1.2), 64))
    assert axis.rstrip("10 ").endswith("━")
    assert "●" not in axis


@given(st.floats(0.11, 9.9), st.floats(0.11, 9.9))
def test_the_axis_stays_the_same_while_the_ratio_moves(one, other):
    ends = {ink.plain(draw_ratio(Ratio(value, value / 2, value * 2, 1.2), 64))[::63] for value in (one, other)}
    assert len(ends) == 1


# the course


@given(
    st.lists(st.floats(-5, 50), max_size=90),
    st.one_of(st.none(), st.integers(-90, 90)),
    st.text(max_size=60),
    WIDTHS,
)
def test_a_course_fits_and_keeps_the_newest(values, begin, words, width):
    lines = draw_course(tuple(values), width, 4.6, begin, words)
    assert all(ink.cells(line) <= width for line in lines)
    if values:
        assert ink.cells(lines[0]) == min(width, len(values))


def test_the_pointer_stands_under_the_beginning():
    course, pointer = draw_course((0.0, 0.1, 0.0, 2.0, 4.0, 4.7), 60, 4.605, 3, "errors worse since about 30s")
    assert ink.plain(pointer).index("▲") == 3
    assert ink.plain(course).endswith("▲")  # over the limit
    assert "30s" in ink.plain(pointer)


def test_a_beginning_that_is_no_longer_shown_is_still_named():
    lines = draw_course(tuple(0.1 * each for each in range(80)), 60, 4.605, 3, "worse since about 30s")
    assert "before what is shown" in said(lines)


# the whole


METRIC = st.builds(
    JudgedMetric,
    name=st.text(max_size=40),
    edge=st.one_of(st.none(), st.floats(0, 100)),
    n=COUNT,
    s=COUNT,
    m=COUNT,
    f=COUNT,
    ratio_low=SHARE,
    ratio_high=st.one_of(st.none(), SHARE),
    r=st.floats(1, 100),
    d=st.floats(0, 1),
    noise=st.floats(1, 1e4),
    log_e=st.floats(-100, 1000),
    log_ok=st.floats(-100, 1000),
    onset=st.floats(0, 1e5),
    path=st.lists(st.floats(-10, 100), max_size=60).map(tuple),
    alone_at=st.one_of(st.none(), st.floats(0.1, 100)),
)
JUDGEMENT = st.builds(
    Judgement,
    verdict=st.sampled_from(["healthy", "regressed", "undecided", "no_data", "?"]),
    seconds=st.floats(0, 1e6),
    intervals=st.integers(0, 10_000),
    regression=st.floats(0, 100),
    health=st.floats(0, 100),
    log_e=st.floats(-100, 1e4),
    abort_at=st.floats(0.1, 100),
    highest=st.floats(0, 1e4),
    leading=st.text(max_size=10),
    past=st.booleans(),
    metrics=st.lists(METRIC, max_size=3).map(tuple),
    path=st.lists(st.floats(-10, 100), max_size=60).map(tuple),
    argo_at=st.one_of(st.none(), st.floats(0, 1e5)),
    quiet=st.floats(0, 1e5),
    detail=st.text(max_size=200),
)


@given(JUDGEMENT, st.integers(4, 300), st.booleans())
def test_a_judgement_fits_its_width_whatever_it_says(value, width, over):
    assert all(ink.cells(line) <= width for line in draw_judgement(Judged(value, over=over), width))


def test_every_part_is_said(mode):
    shown = said(draw_judgement(Judged(judgement(), noise=frozenset({"errors"}), before="60s", replay="Replayed: 0 of 10."), 100))
    assert "evidence this strong would appear in at most 1 of 2 deploys" in shown
    assert "19 of 9,000" in shown
    assert "51 of 27,000" in shown
    assert "1.1 × stable (0.61 to 2, 95 % at any time), tolerated 1.2" in shown
    assert "noise 1.8 × Poisson, measured on 60s before the deploy" in shown
    assert "noise 1 × Poisson, assumed at first" in shown
    assert "LATENCY-P99, OVER 66MS" in shown
    assert "would not have aborted so far" in shown
    assert "Replayed: 0 of 10." in shown
    assert "worse since" not in shown


def test_a_regression_says_since_when_how_late_and_what_it_cost():
    lines = draw_judgement(Judged(regressed(argo_at=120.0), over=True), 120)
    shown = said(lines)
    assert "REGRESSED" in ink.plain(lines[0])
    assert "81 requests hit; found 40s later" in shown
    assert "errors worse since about 30s after the first requests" in shown
    assert shown.count("ln E over 1m 10s, by itself an abort at 5.30 ") == 1
    assert shown.count("by itself an abort") == 1, "latency never had evidence worth a line"
    assert "Argo's default rule (success below 95 % in any minute) would have aborted 2m 00s after" in shown


def test_a_regression_from_the_start_is_told_in_numbers_that_can_be_read():
    bad = errors(s=836.0, n=10_084.0, f=97.0, m=191_582.0, ratio_low=101.0, ratio_high=272.4, onset=0.0)
    shown = said(draw_judgement(Judged(regressed(metrics=(bad,)), over=True), 120))
    assert "164 × stable (101 to 272, 95 % at any time)" in shown
    assert "errors worse from its first requests on" in shown
    assert "had not aborted by then" in shown


def test_no_data_is_said_with_its_age():
    shown = said(draw_judgement(Judged(judgement(verdict="no_data", quiet=70.0)), 100))
    assert "NO DATA: no requests to compare reached both versions in the last 1m 10s" in shown


def test_a_comparison_with_the_past_says_so():
    shown = said(draw_judgement(Judged(judgement(past=True)), 100))
    assert "compared with the time before the deploy" in shown
    assert "× before (" in shown


def test_where_the_old_version_has_no_failures_no_ratio_is_made_up():
    bad = errors(f=0.0, s=4.0, ratio_low=0.9, ratio_high=None)
    shown = said(draw_judgement(Judged(judgement(metrics=(bad, slow()))), 100))
    assert "stable has none (at least 0.9, 95 % at any time)" in shown
    assert "at most 1.8 bad ones of the new version are within it" in shown


@given(st.floats(0, 1e4))
def test_the_strength_of_evidence_is_a_number_that_can_be_read(highest):
    assert len(strength(judgement(highest=highest))) < 140


def test_what_was_never_bad_says_so_and_nothing_else_has_room_for_it():
    lines = draw_judgement(Judged(judgement()), 100)
    assert all(ink.plain(line).strip() for line in lines)
    never = errors(name="orders", s=0.0, f=0.0, ratio_high=None)
    shown = draw_judgement(Judged(judgement(metrics=(errors(), slow(s=0.0, f=0.0), never))), 100)
    assert said(shown).count("no bad event ever seen, of either version") == 1
    assert "no bad event" not in said(draw_judgement(Judged(judgement(metrics=(errors(s=0.0), slow()))), 100))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_is_not_proven_is_listed_and_the_verdict_claims_no_more_than_was_compared(width):
    unproven = (
        Unproven(name="latency-p90", edge=0.04, why="it is not looked at in the first 30 s"),
        Unproven(name="[b]pay", why="no data of it from the new version", needed=True),
    )
    lines = draw_judgement(Judged(judgement(verdict="healthy", unproven=unproven)), width)
    assert all(ink.cells(line) <= width for line in lines)
    text = said(lines)
    assert "proven for errors, latency-p99; not for latency-p90, [b]pay" in text
    assert "LATENCY-P90, OVER 40MS no data it is not looked at in the first 30 s; not part of the proof" in text
    assert "[B]PAY no data no data of it from the new version; it is asked for by name, so nothing is proven without it" in text
