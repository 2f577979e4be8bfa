"""The first-run tour: only on a sandbox, once, in nobody's way; and the log of what was told in toasts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import TestConsole, card, picture, rollout, until, words_on

from console.actions import ACTIONS
from console.remembered import Remembered, read, write
from console.results import Results
from console.screens.results import ResultsScreen
from console.screens.rollout import RolloutScreen
from console.tour import STEPS, Sight, Tour
from console.view import Picture
from services.model.errors import Unavailable
from services.model.rollout import Phase

WIDE = (120, 40)
CALM = picture(rollouts=())


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


def test_the_tour_goes_on_when_a_step_is_done_and_never_back():
    tour = Tour()
    assert tour.place == (1, len(STEPS))
    assert not tour.look(Sight("fleet", CALM))
    assert tour.look(Sight("deploy", CALM))
    assert not tour.look(Sight("fleet", CALM))
    assert tour.place[0] == 2
    going = picture(rollouts=(card(rollout()),))
    assert tour.look(Sight("rollout", going))
    assert tour.step is not None
    assert tour.step.keys == "R"
    back = picture(rollouts=(card(rollout(phase=Phase.ROLLING_BACK)),))
    assert tour.look(Sight("rollout", back))
    assert tour.look(Sight("calls", back))
    assert tour.look(Sight("journal", back))
    assert tour.step is None


def test_the_tour_points_at_keys_that_there_are():
    known = {key for action in ACTIONS for key in action.shown_keys}
    assert {step.keys for step in STEPS} <= known


def beginning(home, *, sandboxed=True) -> TestConsole:
    app = TestConsole(Picture())
    app.session.home = home
    app.session.sandboxed = sandboxed
    return app


async def test_an_observer_is_not_told_to_deploy(tmp_path):
    app = beginning(tmp_path)
    app.session.read_only = True
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        app.new_picture(replace(CALM, read_only=True))
        await until(pilot, lambda: app.remembered is not None and "SERVICES" in words_on(app))
        await pilot.pause(0.2)
        assert "tour 1/6" not in words_on(app)
        await pilot.press("colon", *"tour", "enter")
        await until(pilot, lambda: "the tour deploys and rolls back" in words_on(app))
        assert "tour 1/6" not in words_on(app)
    assert not read(tmp_path).tour_seen, "it is there for whoever may do it"


async def test_the_tour_is_shown_on_a_first_run_on_the_sandbox_and_esc_ends_it_for_good(tmp_path):
    app = beginning(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        app.new_picture(CALM)
        await until(pilot, lambda: "tour 1/6" in words_on(app))
        await pilot.press("slash", *"a", "escape")  # what esc has to leave or clear goes before
        await until(pilot, lambda: "tour 1/6" in words_on(app))
        await pilot.press("J")
        await until(pilot, lambda: app.screen.where == "journal" and "tour 1/6" in words_on(app))
        await pilot.press("escape")  # goes back, as ever
        await until(pilot, lambda: app.screen.where == "fleet" and "tour 1/6" in words_on(app))
        await pilot.press("escape")
        await until(pilot, lambda: "tour" not in words_on(app))
        await until(pilot, lambda: read(tmp_path).tour_seen)
    again = beginning(tmp_path)
    async with again.run_test(size=WIDE) as pilot:
        again.new_picture(CALM)
        await _settled(pilot, again)
        assert "tour" not in words_on(again)


@pytest.mark.parametrize(("sandboxed", "seen"), [(False, False), (True, True)])
async def test_the_tour_is_never_shown_on_a_real_cluster_nor_twice(tmp_path, sandboxed, seen):
    write(tmp_path, Remembered(tour_seen=seen))
    app = beginning(tmp_path, sandboxed=sandboxed)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        app.new_picture(CALM)
        await _settled(pilot, app)
        assert "tour" not in words_on(app)
        await pilot.press("colon", *"tour", "enter")
        await until(pilot, lambda: ("tour 1/6" if sandboxed else "the tour is for a sandbox") in words_on(app))


async def test_the_tour_follows_what_the_person_does(tmp_path):
    app = beginning(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        app.new_picture(CALM)
        await until(pilot, lambda: "tour 1/6" in words_on(app))
        await pilot.press("d")
        await until(pilot, lambda: "tour 2/6" in words_on(app))
        await pilot.press("ctrl+j", "escape")
        app.new_picture(picture())
        await pilot.press("q")
        app.open_rollout("r-1")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "tour 4/6  R" in words_on(app))
        assert app.session.asked == []


async def _settled(pilot, app):
    await app.workers.wait_for_complete([worker for worker in app.workers if worker.group == "remember"])
    await pilot.pause()


# ---- results


@given(st.lists(st.sampled_from(["information", "warning", "error", "see"]), max_size=40))
def test_the_log_is_bounded_and_counts_the_errors_that_nobody_saw(told):
    log = Results(most=5)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    unseen = 0
    for index, severity in enumerate(told):
        if severity == "see":
            log.see()
            unseen = 0
            continue
        log.add(at + timedelta(seconds=index), "t", f"text {index}", severity)
        unseen += severity == "error"
        assert len(log.results) <= 5
        assert log.results == tuple(sorted(log.results, key=lambda result: result.number))
        assert log.unseen_errors == min(unseen, 5)


def test_an_error_that_nobody_saw_outlives_what_is_told_after_it():
    log = Results(most=3)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    log.add(at, "rollback", "not done", "error")
    for index in range(20):
        log.add(at, "note", str(index), "information")
    assert log.results[0].title == "rollback"
    log.see()
    log.add(at, "note", "last", "information")
    assert log.results[0].title == "note"


async def test_an_error_is_counted_at_the_top_until_it_was_seen_in_full():
    app = TestConsole(picture())
    app.session.failure = Unavailable("the driver does not answer", "x" * 450 + " the end", "Look at it.")
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: "1 error: ctrl+l" in words_on(app))
        await pilot.press("ctrl+l")
        await until(pilot, lambda: isinstance(app.screen, ResultsScreen))
        await until(pilot, lambda: "the end" in words_on(app))
        text = words_on(app)
        assert "pause: not done" in text
        assert "the driver does not answer" in text
        app.screen.show(app.picture)
        assert "ctrl+l" not in words_on(app).splitlines()[0]
        await pilot.press("slash", *"!driver", "enter")
        await until(pilot, lambda: "0 of 1" in words_on(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen.where == "fleet")


async def test_hostile_words_in_results_are_inert():
    app = TestConsole(replace(picture()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: app.results.results)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: isinstance(app.screen, ResultsScreen))
        await pilot.pause()
        assert "[bold red]x[/]" in words_on(app)
        assert "\x1b" not in words_on(app)
        assert app.is_running
    await asyncio.sleep(0)
