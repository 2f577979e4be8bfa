"""What the drawn widgets say, and that they repaint only for something new."""

import dataclasses
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from support.consoles import until
from support.gallery import CHART, GATES, KEYS, PLAN, PODS, READINGS, ROLLOUT, Gallery, fill_rollout, rollout_scene, step
from textual.app import App, ComposeResult
from textual.geometry import Region

from services.model.gates import GateName
from services.model.rollout import Phase, StepOutcome, TriggerName, TriggerReading
from widgets import glyphs, ink
from widgets.charts import Chart, Series, SeriesChart, spark
from widgets.charts.scale import round_up, top_of
from widgets.charts.series import draw_chart
from widgets.diff import PlanDiff, draw_plan
from widgets.evidence.checklist import draw_checklist
from widgets.keybar import Key, KeyBar, arrange_keys, draw_keys
from widgets.logview import LogEntry, LogView
from widgets.note import Note
from widgets.pods import draw_pods
from widgets.statusbar import Part, draw_status
from widgets.stepper import Stepper, draw_steps
from widgets.toast import toast
from widgets.traffic import Traffic, draw_traffic
from widgets.triggers import draw_trigger


def said(lines: ink.Lines) -> str:
    return "\n".join(ink.plain(line) for line in lines)


# steps


def test_the_step_under_way_shows_seconds_gone_and_left():
    shown = said(draw_steps(ROLLOUT, 1002.0, 80)).splitlines()
    assert "✔ 25 %" in shown[2]
    assert "done  0.4s" in shown[2]
    assert "▶ analyse 180 s" in shown[3]
    assert "running  1m 12s / 3m 00s  01:48" in shown[3]
    assert shown[4].startswith("· promote stable")


def test_a_paused_step_does_not_count_on():
    paused = msgspec.structs.replace(ROLLOUT, phase=Phase.PAUSED, next_at=None)
    assert said(draw_steps(paused, 1002.0, 80)) == said(draw_steps(paused, 5000.0, 80))
    assert "paused  1m 10s" in said(draw_steps(paused, 5000.0, 80))


def test_a_step_that_takes_too_long_says_so():
    assert "over time" in said(draw_steps(ROLLOUT, 5000.0, 80))


@pytest.mark.parametrize(
    ("phase", "now", "words"),
    [
        (Phase.ROLLING_BACK, 1003.2, "rolling back  3.2s of 300s"),
        (Phase.ROLLED_BACK, 1020.0, "rolled back, service restored in 14s"),
        (Phase.NEEDS_ATTENTION, 1020.0, "a person is needed"),
    ],
)
def test_a_rollback_is_measured_against_its_budget(phase, now, words):
    rollout = msgspec.structs.replace(ROLLOUT, phase=phase, rollback_started=1000.0, finished=1014.0)
    assert words in said(draw_steps(rollout, now, 80))


def test_where_there_is_no_room_the_current_step_stays_in_sight():
    many = msgspec.structs.replace(
        ROLLOUT,
        plan=msgspec.structs.replace(PLAN, steps=tuple(PLAN.steps[index % 6] for index in range(40))),
        step=20,
        steps=tuple(step(StepOutcome.RUNNING if index == 20 else StepOutcome.PENDING) for index in range(40)),
    )
    shown = said(draw_steps(many, 1002.0, 60, 9)).splitlines()
    assert len(shown) == 9
    assert any(line.startswith("▶") for line in shown)
    hidden = [int("".join(filter(str.isdigit, line))) for line in (shown[0], shown[-1])]
    assert sum(hidden) + 7 == 40


# traffic, trends, charts


def test_desired_and_actual_weight_stand_side_by_side():
    assert "want  25%  have  25%" in ink.plain(draw_traffic(Traffic(25, 25), 80))
    assert "differs" in ink.plain(draw_traffic(Traffic(25, 10), 80))
    unknown = ink.plain(draw_traffic(Traffic(25, None), 80))
    assert "have    ?" in unknown
    assert "█" not in unknown


@given(st.one_of(st.none(), st.integers(-5, 120)), st.one_of(st.none(), st.integers(0, 100)), st.integers(1, 220))
def test_a_traffic_bar_fits_and_a_small_share_is_never_invisible(want, have, width):
    line = ink.fit(draw_traffic(Traffic(want, have), width), width)
    assert ink.cells(line) <= width
    if have is not None and 0 < have < 100 and width >= 60:
        assert "█" in ink.plain(line)
        assert "░" in ink.plain(line)


VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e9), st.just(float("nan"))), max_size=80)


@given(VALUES, st.integers(0, 60), st.one_of(st.none(), st.floats(0, 1e6)))
def test_a_trend_is_as_wide_as_asked(values, width, limit):
    line = spark(values, width, limit)
    assert ink.cells(line) == width
    over = [value for value in values[-width:] if value is not None and limit is not None and value > limit] if width else []
    assert ink.plain(line).count("▲") == len(over)


def test_a_trend_shows_holes_as_holes_and_keeps_the_newest():
    assert ink.plain(spark((9, 0.0, None, 1.0), 3)) == "▁·█"
    assert ink.plain(spark((1.0,), 3)) == "  █"
    assert ink.plain(spark((), 3)) == "   "


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.one_of(st.none(), st.floats(0, 1e6), st.just(float("nan")))), max_size=40),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.integers(1, 150),
    st.integers(1, 20),
)
def test_a_chart_fits_its_room_whatever_it_is_given(points, limit, width, height):
    chart = Chart("errors", (Series("canary", tuple(sorted(points, key=lambda point: point[0]))),), limit=limit)
    lines = draw_chart(chart, width, height)
    assert len(lines) <= max(1, height)
    assert all(ink.cells(line) <= max(width, 1) for line in lines)


def test_a_chart_names_its_lines_and_the_limit():
    shown = said(draw_chart(CHART, 100, 9))
    assert "canary 54ms" in shown
    assert "stable 42ms" in shown
    assert "limit 66ms" in shown
    assert "5m ago" in shown
    assert "┄" in shown


def test_where_something_began_a_line_stands():
    rising = Chart("LN E", (Series("regression", ((0.0, 0.0), (50.0, 0.0), (100.0, 4.7))),), "nats", 4.605, mark=50.0)
    rows = said(draw_chart(rising, 69, 8)).splitlines()
    assert "limit 4.6" in rows[0]
    assert rows[2][9:].index("│") == 30  # in the middle of sixty cells
    outside = dataclasses.replace(rising, mark=500.0)
    assert "│" not in said(draw_chart(outside, 69, 8)).splitlines()[2][9:]


def test_a_hole_in_the_measurements_is_not_drawn_over():
    flat = tuple((float(at), None if 40 <= at < 60 else 1.0) for at in range(100))
    row = max(said(draw_chart(Chart("x", (Series("canary", flat),), unit=""), 59, 6)).splitlines()[1:-1], key=len)
    plot = row[9:]
    assert " " * 8 in plot.strip()


def test_a_limit_far_above_does_not_press_the_lines_flat():
    assert top_of([0.002], 0.05) == 0.002
    assert top_of([0.03], 0.05) == pytest.approx(0.06)
    assert "(above)" in said(draw_chart(Chart("errors", (Series("canary", ((0.0, 0.002), (1.0, 0.002))),), limit=0.05), 100, 8))


@given(st.floats(1e-12, 1e12))
def test_axes_end_at_or_above_the_highest_value(value):
    assert value * 0.9999 <= round_up(value) <= value * 1.6


# triggers, pods, gates


def test_each_trigger_says_its_state_in_a_word():
    words = [ink.plain(draw_trigger(reading, 100)) for reading in READINGS]
    assert [line.split()[1] for line in words] == ["ok", "over", "FIRED", "ok", "unknown"]
    assert "0.21%" in words[0]
    assert "limit 5%" in words[0]
    assert "█" not in words[4]
    assert "no limit on the container" in words[4]


@given(
    st.one_of(st.none(), st.floats(0, 1e9)),
    st.floats(0, 1e9),
    st.sampled_from(["share", "s", "failures", "%"]),
    st.integers(1, 220),
)
def test_a_trigger_fits_whatever_it_reads(value, limit, unit, width):
    reading = TriggerReading(name=TriggerName.PROGRESS_DEADLINE, value=value, limit=limit, unit=unit)
    assert ink.cells(draw_trigger(reading, width)) <= width


def test_a_deadline_is_a_wait_not_a_latency():
    reading = TriggerReading(name=TriggerName.PROGRESS_DEADLINE, value=0.0, limit=600, unit="s")
    assert ink.plain(draw_trigger(reading, 100)).split()[3:] == ["0.0s", "░░░░░░░░░░", "limit", "10m", "00s"]


@pytest.mark.parametrize(
    ("value", "shown"), [(-1.2, "0"), (0.0, "0"), (49.9, "50"), (99.99, "99"), (100.0, "100"), (float("-inf"), "?")]
)
def test_the_judge_is_read_as_its_gauge_is(value, shown):
    reading = TriggerReading(name=TriggerName.JUDGE, value=value, limit=100.0, unit="of 100", fired=value >= 100.0)
    line = ink.plain(draw_trigger(reading, 100))
    assert line.split("judge")[1].split()[0] == shown
    assert line.endswith("limit 100")
    assert "nats" not in line
    narrow = ink.plain(draw_trigger(reading, 40))
    assert f"{shown} / 100" in narrow or shown == "?" in narrow


def test_a_value_that_is_no_number_is_unknown_not_ok():
    reading = TriggerReading(name=TriggerName.CPU, value=float("nan"), limit=0.9, unit="share")
    assert "unknown" in ink.plain(draw_trigger(reading, 100))


def test_pods_are_counted_by_version_and_trouble_is_never_left_out():
    shown = said(draw_pods(PODS, 100)).splitlines()
    assert "v2.15.0 canary ●✖○  1/3 ready, 1 failed, 1 waiting  restarts 4" in shown[0]
    assert "6/6 ready" in shown[1]
    many = [*PODS, *(msgspec.structs.replace(PODS[0], name=f"p{index}") for index in range(500))]
    first = said(draw_pods(many, 80)).splitlines()[0]
    assert "✖" in first
    assert "+" in first
    assert "501/503 ready" in first


def test_the_checklist_lists_every_gate_and_what_to_do():
    shown = said(draw_checklist(GATES, {GateName.GRADUAL_ROLLOUT}, 80))
    for name in GateName:
        assert name.value in shown
    assert "◌ gradual-rollout asking" in shown
    assert "· environment     not yet" in shown
    assert "→ Ask one more of the designated approvers" in shown
    assert "2 of 6" in shown


# plan


def test_a_plan_shows_old_and_new_and_the_command_in_full():
    shown = said(draw_plan(PLAN, (), 60).lines)
    assert "spec.http[0].route[0].weight  90 → 75" in shown
    assert "- registry.example/payment-service:v2.14.1" in shown
    assert "undo: restore the values it replaced" in shown
    assert PLAN.steps[4].command.replace(" ", "") in "".join(shown.split())
    assert all(ink.cells(line) <= 60 for line in draw_plan(PLAN, (), 60).lines)


class Plans(App[None]):
    def compose(self) -> ComposeResult:
        yield PlanDiff()


async def test_steps_of_a_plan_fold_and_another_plan_unfolds_them():
    app = Plans()
    async with app.run_test(size=(100, 20)) as pilot:
        view = app.query_one(PlanDiff)
        view.show(PLAN)
        view.focus()
        await pilot.press("j", "j", "space")
        assert view.folded == {2}
        assert "weight" not in said(tuple(view.lines))
        await pilot.press("z")
        assert len(view.folded) == len(PLAN.steps)
        view.show(msgspec.structs.replace(PLAN, digest="another"))
        assert view.folded == frozenset()
        await pilot.press("G")
        assert view.step == len(PLAN.steps) - 1


# keys and status


def test_keys_that_do_not_work_stay_visible_with_their_reason():
    shown = said(draw_keys(KEYS, 140, 1))
    assert "(P promote step: the analysis is not over)" in shown
    assert "R roll back" in said(draw_keys(KEYS, 40, 1))
    assert "journal" not in said(draw_keys(KEYS, 80, 1))
    assert "journal" in said(draw_keys(KEYS, 80, 2))


@given(
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=12), st.integers(0, 3)), max_size=12),
    st.integers(1, 120),
    st.integers(1, 2),
)
def test_keys_go_by_priority_and_stay_in_order(specs, width, lines):
    keys = [Key(key, label, priority=priority) for key, label, priority in specs]
    placed = arrange_keys(keys, width, lines)
    kept = [key for line in placed for key in line]
    assert len(placed) <= lines
    assert all(key in keys for key in kept)


class Bars(App[None]):
    clicked: str = ""

    def compose(self) -> ComposeResult:
        yield KeyBar(KEYS)

    def on_key_bar_clicked(self, event: KeyBar.Clicked) -> None:
        self.clicked += event.key.key


async def test_a_click_on_a_key_that_works_is_told():
    app = Bars()
    async with app.run_test(size=(140, 5)) as pilot:
        await pilot.click(KeyBar, offset=(3, 0))
        await pilot.click(KeyBar, offset=(37, 0))
        await pilot.click(KeyBar, offset=(50, 0))  # promote: disabled
        assert app.clicked == "Rp"


def test_the_status_line_leaves_out_the_least_important_first():
    left = [Part("quarterdeck")]
    right = [Part("journal ok"), Part("ship 1.2s", priority=2), Part("jane", priority=1)]
    assert ink.plain(draw_status(left, right, 60)).endswith("journal ok · ship 1.2s · jane")
    assert ink.plain(draw_status(left, right, 36)).endswith("journal ok · jane")
    assert ink.plain(draw_status(left, right, 26)).endswith("  journal ok")


# the log


class Logs(App[None]):
    def compose(self) -> ComposeResult:
        yield LogView(capacity=50)


async def test_the_log_is_bounded_and_follows_unless_one_reads():
    app = Logs()
    async with app.run_test(size=(60, 10)) as pilot:
        log = app.query_one(LogView)
        log.replace(LogEntry("t", f"call {number}", "200", 6.0) for number in range(120))
        await pilot.pause()
        assert len(log.lines) == 50
        assert "call 119" in log.render_line(9).text
        log.focus()
        await pilot.press("g")
        await until(pilot, lambda: log.scroll_offset.y == 0)
        log.replace(LogEntry("t", f"call {number}", "200", 6.0) for number in range(121))
        await pilot.pause()
        assert log.scroll_offset.y == 0
        log.replace(())
        assert log.render_line(0).text.strip() == "no calls yet"


# repaint


class Steps(App[None]):
    def compose(self) -> ComposeResult:
        yield Stepper()
        yield Note("a")


async def test_nothing_is_repainted_for_equal_values_or_equal_lines():
    app = Steps()
    async with app.run_test(size=(100, 20)) as pilot:
        stepper = app.query_one(Stepper)
        stepper.show(ROLLOUT, 1002.0)
        await pilot.pause()
        painted: list[Region] = []
        stepper.refresh = lambda *parts, **_: painted.extend(parts or [stepper.size.region])
        stepper.show(msgspec.structs.replace(ROLLOUT), 1002.0)
        stepper.show(ROLLOUT, 1002.2)
        assert painted == []
        stepper.show(ROLLOUT, 1003.2)
        assert [(part.y, part.height) for part in painted] == [(3, 1)]  # the step under way, and no other


async def test_a_taller_value_gets_a_taller_widget():
    app = Steps()
    async with app.run_test(size=(100, 20)) as pilot:
        note = app.query_one(Note)
        note.show("one", "two [/foo]", "three\x1b[2J")
        await pilot.pause()
        assert note.size.height == 3
        assert [note.render_line(y).text.strip() for y in range(3)] == ["one", "two [/foo]", "three␛[2J"]


async def test_a_hostile_notice_is_shown_as_it_is():
    app = Steps()
    async with app.run_test(notifications=True) as pilot:
        toast(app.query_one(Note), "[/foo] failed\x1b[31m\nsecond line", title="[/bar]", severity="error")
        await pilot.pause()
        assert "[/foo] failed␛[31m" in app.screen.query("Toast").first().render().plain


@pytest.mark.parametrize("mode", ["unicode", "ascii"])
async def test_a_redraw_of_chart_and_steps_is_cheap(mode):
    samples = tuple((float(at), 0.04 + 0.01 * (at % 7)) for at in range(600))
    app = Gallery(rollout_scene, fill_rollout)
    glyphs.use(mode)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            chart, stepper = app.query_one(SeriesChart), app.query_one(Stepper)
            spent: list[float] = []
            for turn in range(25):
                begun = time.process_time()
                chart.show(Chart("P99", (Series("canary", samples), Series("stable", samples)), unit="s", now=600.0 + turn))
                stepper.show(ROLLOUT, 1000.0 + turn)
                for widget in (chart, stepper):
                    for y in range(widget.size.height):
                        widget.render_line(y)
                spent.append(time.process_time() - begun)
            # the usual redraw of both takes about 3 ms; the bound leaves room for a busy machine
            assert sorted(spent)[12] < 0.015
    finally:
        glyphs.use("unicode")


@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3))
def test_words_can_be_read_on_any_background(color, ground):
    style = ink.legible(Style(color=f"rgb{color}".replace(" ", ""), bgcolor=f"rgb{ground}".replace(" ", ""), bold=True))
    assert style.bold
    assert ink.contrast(style.color.triplet, style.bgcolor.triplet) >= ink.LEGIBLE
