"""The console driven by keys, on pictures pushed by hand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from support.consoles import (
    FLEET,
    HOSTILE,
    NOW,
    TestConsole,
    card,
    entry,
    environment,
    gates,
    picture,
    questioned,
    rollout,
    service,
    until,
    words_on,
)
from support.gallery import PLAN
from textual import events
from textual.widgets import Input

from console.app import ConsoleApp
from console.remembered import read
from console.screens.deploy import DeployScreen
from console.screens.fleet import FleetScreen
from console.screens.help import HelpScreen
from console.screens.journal import JournalScreen
from console.screens.prompt import PromptScreen
from console.screens.restore import RestoreScreen
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from console.view import Picture, Selection
from services.model.errors import Conflict, NeedsAttention, Unavailable
from services.model.fleet import FleetView
from services.model.gates import GateOutcome, GateResult
from services.model.rollout import Arm, Phase, Sample, TriggerName
from widgets.confirm import TypedConfirmation
from widgets.grid import Grid

WIDE = (120, 40)
NARROW = (80, 24)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


@pytest.fixture
def app():
    return TestConsole()


# ---- the fleet


async def test_the_fleet_says_first_what_is_unsafe(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        first, text = words_on(app).splitlines()[0], words_on(app)
        assert first.strip().startswith("✖ dev 1 failed")
        assert "production 1 degraded" in first
        assert "0.11%" in text  # the canary's errors, newest sample
        assert "25%" in text
        assert "01:48" in text  # what comes next, and when


async def test_figures_are_asked_of_the_services_in_view_and_of_no_others():
    names = [f"service-{index:03}" for index in range(300)]
    fleet = FleetView(environments=(environment("production", tuple(service(name) for name in names)),))
    app = TestConsole(picture(fleet=fleet, rollouts=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.new_picture(app.picture)
        assert app.session.looked_at == tuple(names[: len(app.session.looked_at)])
        assert 3 < len(app.session.looked_at) < 24
        await pilot.press("G")
        app.new_picture(app.picture)
        assert app.session.looked_at[-1] == "service-299"
        assert len(app.session.looked_at) < 24
        await pilot.press("enter")
        await pilot.pause()
        app.new_picture(app.picture)
        assert app.session.looked_at == ("service-299",)
        await pilot.press("J")
        await pilot.pause()
        app.new_picture(app.picture)
        assert app.session.looked_at == ()


async def test_a_cluster_that_can_not_be_reached_is_not_asked_for_figures():
    gone = environment("production", (service("accounts"),), reachable=False, age_seconds=60.0, problem="no answer")
    app = TestConsole(picture(fleet=FleetView(environments=(gone,)), rollouts=()))
    async with app.run_test() as pilot:
        await pilot.pause()
        app.new_picture(app.picture)
        assert app.session.looked_at == ()


async def test_enter_on_a_pod_opens_its_log():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.open_service("production", "payment-service")
        await until(pilot, lambda: app.screen.selection().pod)
        pod = app.screen.selection().pod
        await pilot.press("enter")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked[-1][0] == "logs"
        assert pod in app.session.asked[-1][1]
        await pilot.press("q", "tab", "tab", "tab")
        assert app.screen.selection().pod == ""


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Unavailable("10.0.0.1 did not answer in time"), "What accounts would go back to is not known"),
        (NeedsAttention("there is no revision before this one"), "accounts can't be rolled back"),
    ],
)
async def test_what_could_not_be_asked_is_not_told_as_nothing_to_roll_back(failure, words):
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.session.failure = failure
        await pilot.press("R")
        await until(pilot, lambda: words in words_on(app))
        assert app.session.asked == [("preview", "production", "accounts")]


async def test_why_a_figure_is_missing_stands_over_the_services():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "answered 404" not in words_on(app)
        await pilot.press("G")
        await pilot.pause()
        assert "– search-7d9f-x2" in words_on(app)


async def test_a_calm_fleet_says_so():
    calm = FleetView(environments=(environment("production", (service("accounts"),)),))
    app = TestConsole(picture(fleet=calm, rollouts=()))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        assert "nothing unsafe" in words_on(app).splitlines()[0]


async def test_a_live_rollout_has_the_keys_at_the_start(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert app.screen.selection().rollout == "r-1"
        await pilot.press("enter")
        assert isinstance(app.screen, RolloutScreen)


async def test_before_any_cluster_answered_nothing_is_claimed():
    app = TestConsole(Picture())
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        text = words_on(app)
        assert "connecting" in text
        assert "unreachable" not in text
        await pilot.press("R", "d", "p")
        assert app.session.asked == []


async def test_an_unreachable_environment_is_grey_with_its_age_and_reason(app):
    gone = environment("production", (service("accounts"),), reachable=False, age_seconds=95.0, problem="connection refused")
    app.picture = picture(fleet=FleetView(environments=(gone,)))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()
        text = words_on(app)
        assert "unreachable, seen 1m ago: connection refused" in text
        assert "accounts" in text
        app.screen.set_focus(app.screen.query_one("#rollouts"))
        await pilot.press("p")
        await until(pilot, lambda: "can't be reached" in words_on(app))
        assert app.session.asked == []


async def test_the_filter_takes_letters_as_text_and_esc_clears_it(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("tab", "slash", *"PA")
        field = app.screen.query_one("#filter", Input)
        assert field.value == "PA"
        assert app.session.asked == []
        grid = app.screen.query_one("#services", Grid)
        await until(pilot, lambda: grid.shown == ("payment-service",))
        await pilot.press("enter")
        assert app.screen.focused is grid
        await pilot.press("escape")
        await until(pilot, lambda: len(grid.shown) == 4)
        assert isinstance(app.screen, FleetScreen)


async def test_keys_that_come_in_one_burst_are_answered_in_order(app):
    """Also where the screen has had no time to answer the first of them."""
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        for key, character in [("slash", "/"), ("A", "A"), ("P", "P"), ("R", "R")]:
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: app.screen.query_one("#filter", Input).value == "APR")
        assert app.session.asked == []


async def test_keys_behind_the_enter_that_leaves_a_field_are_none_of_that_field_and_no_commands(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        for key in ["slash", *"acc", "enter", "slash", *"PAR"]:
            app.post_message(events.Key(key, "/" if key == "slash" else key if len(key) == 1 else None))
        await until(pilot, lambda: app.pressed == 9 and not app._waiting)
        await pilot.pause()
        assert app.screen.query_one("#services", Grid).filter == "PAR"
        assert app.session.asked == []


async def test_a_burst_of_down_and_rollback_rolls_back_the_row_below():
    cards = (card(rollout("one", service="accounts")), card(rollout("two", service="checkout")))
    app = TestConsole(picture(rollouts=cards))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert app.screen.selection().rollout == "one"
        for key in "jR":
            app.post_message(events.Key(key, key))
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "two")]


# ---- R


async def test_r_stays_with_what_is_selected_while_rows_move_under_the_cursor():
    one, two = card(rollout("one", service="accounts")), card(rollout("two", service="checkout"))
    app = TestConsole(picture(rollouts=(one, two)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert app.screen.selection().rollout == "one"
        orphaned = card(rollout("three", service="search"), watched=False)
        app.new_picture(picture(rollouts=(orphaned, two, one)))
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "one")]


async def test_r_does_nothing_where_the_selected_row_has_gone():
    one, two = card(rollout("one", service="accounts")), card(rollout("two", service="checkout"))
    app = TestConsole(picture(rollouts=(one, two)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.new_picture(picture(rollouts=(two,)))
        await pilot.press("R")
        await pilot.pause()
        assert app.session.asked == []


async def test_a_rollout_to_which_the_selection_went_by_itself_is_not_rolled_back_by_a_key_that_was_on_its_way():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()
        await app.own_clock.advance(60.0)
        app.new_picture(picture(rollouts=(card(rollout()),)))
        await until(pilot, lambda: app.screen.selection().rollout == "r-1")
        await pilot.press("R")
        await until(pilot, lambda: "went to this rollout by itself" in words_on(app))
        assert app.session.asked == []
        await app.own_clock.advance(1.0)
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_the_selection_stays_while_the_terminal_itself_has_no_focus():
    """Another window was looked at, and the pictures went on."""
    shown = picture(rollouts=(card(rollout()), card(rollout("r-2", service="checkout"))))
    app = TestConsole(shown)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#rollouts"))
        first = app.screen.selection().rollout
        await pilot.press("j")
        chosen = app.screen.selection().rollout
        assert chosen != first
        app.post_message(events.AppBlur())
        await pilot.pause()
        app.new_picture(replace(shown, error_limit=0.06))
        await pilot.pause()
        app.post_message(events.AppFocus())
        await until(pilot, lambda: app.screen.query_one("#rollouts").has_focus)
        assert app.screen.selection().rollout == chosen


async def test_a_rollout_that_was_picked_by_hand_is_rolled_back_though_the_fleet_has_just_moved():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await app.own_clock.advance(60.0)
        app.new_picture(picture(rollouts=(card(rollout()), card(rollout("r-2", service="checkout")))))
        await until(pilot, lambda: app.screen.selection().rollout)
        await pilot.press("j")
        chosen = app.screen.selection().rollout
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", chosen)])


async def test_while_clusters_arrive_one_key_rolls_back_what_the_fleet_went_to():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await app.own_clock.advance(2.0)
        app.new_picture(picture(rollouts=(card(rollout()),)))
        await until(pilot, lambda: app.screen.selection().rollout == "r-1")
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_r_on_a_service_is_bound_to_its_name(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#services"))
        await pilot.press("j", "j")
        assert app.screen.selection().service == "payment-service"
        services = FLEET.environments[2].services
        turned = msgspec.structs.replace(FLEET.environments[2], services=services[::-1])
        app.new_picture(picture(fleet=FleetView(environments=(*FLEET.environments[:2], turned))))
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))


async def test_r_elsewhere_shows_first_what_it_would_restore(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#services"))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        assert "image v2.15.0 back to v2.14.1" in words_on(app)
        await pilot.press("enter")
        assert isinstance(app.screen, RestoreScreen)
        await pilot.press("escape")
        assert app.session.asked == [("preview", "production", "accounts")]
        await pilot.press("R")
        await until(pilot, lambda: questioned(app, RestoreScreen))
        await app.own_clock.advance(0.5)
        await until(pilot, lambda: "R rolls back now" in words_on(app))
        await pilot.press("R")
        await until(pilot, lambda: len(app.session.asked) == 3)
        assert app.session.asked[-1] == ("roll_back_service", "production", "accounts")


@pytest.mark.parametrize("key", ["R", "alt+R"])
async def test_a_key_pressed_twice_or_held_confirms_no_rollback(app, key):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#services"))
        await pilot.press(key, key)
        await until(pilot, lambda: questioned(app, RestoreScreen))
        await pilot.pause()
        for _ in range(10):
            await app.own_clock.advance(0.2)
            await pilot.press(key)
        assert isinstance(app.screen, RestoreScreen)
        assert "works when it has rested" in words_on(app)
        assert app.session.asked == [("preview", "production", "accounts")]
        await app.own_clock.advance(0.5)
        await pilot.press(key)
        await until(pilot, lambda: len(app.session.asked) == 2)


@pytest.mark.parametrize("part", ["#top", "#middle", "#body"])
async def test_r_takes_back_what_a_half_made_screen_is_about(part):
    app = TestConsole(picture(rollouts=(card(rollout()),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.open_service("production", "payment-service")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen) and app.screen.entered)
        await app.screen.query_one(part).remove()
        await pilot.press("alt+R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]
        assert app._exception is None


async def test_a_question_that_is_left_before_it_is_drawn_leaves_no_trouble(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        for _ in range(5):
            question = RestoreScreen(app.clock, await app.session.rollbacks.preview("production", "accounts"))
            app.push_screen(question)
            await until(pilot, lambda asked=question: asked.query("VerticalScroll"))
            await question.query("VerticalScroll").remove()  # as it is taken apart
            question.action_confirm()
            question.call_after_refresh(question.action_confirm)
            await pilot.pause()
            question.dismiss(False)
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert app._exception is None


async def test_alt_r_over_the_palette_over_the_question_answers_the_question(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#services"))
        await pilot.press("R")
        await until(pilot, lambda: questioned(app, RestoreScreen))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: not isinstance(app.screen, RestoreScreen))
        await app.own_clock.advance(0.5)
        await pilot.press("alt+R")
        await until(pilot, lambda: len(app.session.asked) == 2)
        assert app.session.asked[-1] == ("roll_back_service", "production", "accounts")


async def test_a_picture_that_comes_while_a_question_is_open_leaves_it_open(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        app.screen.set_focus(app.screen.query_one("#services"))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        app.new_picture(picture(fleet=FleetView(environments=()), rollouts=()))
        await pilot.pause()
        assert isinstance(app.screen, RestoreScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert "accounts" not in words_on(app)
        await pilot.press("R")
        await pilot.pause()
        assert app.session.asked == [("preview", "production", "accounts")]


async def test_what_stays_in_sight_below_the_prompt_is_of_now(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "colon")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert "00:10:00Z" in app.export_screenshot()
        app.new_picture(picture(now=NOW + timedelta(seconds=5)))
        await until(pilot, lambda: "00:10:05Z" in app.export_screenshot())
        assert isinstance(app.screen, PromptScreen)


@pytest.mark.parametrize("key", ["alt+R", "alt+shift+r"])
async def test_alt_r_rolls_back_from_inside_a_text_field(app, key):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await pilot.press(*"production", key)
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]


@pytest.mark.parametrize("opened", ["question_mark", "colon"])
async def test_alt_r_works_over_help_and_palette(app, opened):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", opened)
        await pilot.pause()
        assert not isinstance(app.screen, RolloutScreen)
        await pilot.press("alt+R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]


async def test_r_works_from_help(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]


@pytest.mark.parametrize("screen", ["fleet", "service", "rollout", "journal"])
async def test_r_works_on_every_screen(app, screen):
    keys = {"fleet": (), "service": ("shift+tab", "j", "j", "enter"), "rollout": ("enter",), "journal": ("enter", "J")}[screen]
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        assert app.screen.where == screen
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("roll_back", "r-1")]


# ---- intents


@pytest.mark.parametrize(
    ("key", "phase", "asked"),
    [("p", Phase.RUNNING, "pause"), ("C", Phase.PAUSED, "resume"), ("A", Phase.RUNNING, "abort"), ("A", Phase.PAUSED, "abort")],
)
async def test_intents_go_to_the_selected_rollout(key, phase, asked):
    app = TestConsole(picture(rollouts=(card(rollout(phase=phase)),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [(asked, "r-1")]


async def test_a_rollout_that_nobody_watches_is_resumed_with_one_key():
    app = TestConsole(picture(rollouts=(card(rollout(), watched=False),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert "nobody watches payment-service" in words_on(app).splitlines()[0]
        await pilot.press("enter")
        await until(pilot, lambda: "its triggers are off" in words_on(app))
        assert "T resume" in words_on(app)
        await pilot.press("T")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked == [("take_over", "r-1")]


async def test_an_intent_that_fails_is_told(app):
    app.session.failure = NeedsAttention("pause did not reach the driver", "Nobody answered.", "Resume it.")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: "pause: not done" in words_on(app))


# ---- the rollout


async def test_the_rollout_screen_answers_at_a_glance(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: "TRIGGERS" in words_on(app))
        text = words_on(app)
        for words in ("want  25%", "have  25%", "0.11%", "0.19%", "limit 5%", "cpu 41%/90%", "01:48", "NEXT"):
            assert words in text
        assert "payment-service v2.14.1 → v2.15.0 · production · canary" in text
        assert "about 2 s to v2.14.1" in text


async def test_on_a_narrow_terminal_one_key_brings_every_pane(app):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: "STEPS" in words_on(app))
        text = words_on(app)
        for words in ("ERRORS", "limit 5%", "01:48", "analyse 180 s", "ROLL BACK now", "? help"):
            assert words in text
        assert "memory" not in text
        await pilot.press("v")
        await until(pilot, lambda: "evidence this strong" in words_on(app))
        assert "memory" not in words_on(app)
        await pilot.press("v")
        await until(pilot, lambda: "memory" in words_on(app))
        assert "ERRORS" in words_on(app)
        await pilot.press("v")
        await until(pilot, lambda: "kubectl patch" in words_on(app))


async def test_a_rollout_that_no_cluster_has_shown_yet_says_so(app):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        app.open_rollout("r-new")
        await until(pilot, lambda: "No cluster has shown the rollout r-new yet" in words_on(app))
        app.new_picture(picture(rollouts=(card(rollout("r-new")),)))
        await until(pilot, lambda: "payment-service v2.14.1" in words_on(app))


async def test_a_rollout_that_no_cluster_shows_any_more_announces_nothing(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: "NEXT  0" in words_on(app))
        app.new_picture(picture(rollouts=(), now=NOW + timedelta(minutes=5)))
        gone = "No cluster shows the rollout r-1 any more. All that is below is as it was at 00:10:00Z."
        await until(pilot, lambda: gone in words_on(app))
        assert "NEXT  not known" in words_on(app)
        app.new_picture(picture(rollouts=(card(rollout()),)))
        await until(pilot, lambda: "NEXT  0" in words_on(app) and gone not in words_on(app))


async def test_a_rollout_that_only_restores_reads_as_a_rollback():
    plan = msgspec.structs.replace(PLAN, steps=(), previous_version="v2.6.3", rollback_seconds=0.0)
    back = rollout("r-9", plan=plan, version="v2.7.0", phase=Phase.ROLLING_BACK, rollback_started=1000.0)
    app = TestConsole(picture(rollouts=(card(back),)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert "back to v2.6.3" in words_on(app)
        await pilot.press("enter")
        await until(pilot, lambda: "payment-service roll back to v2.6.3 · production" in words_on(app))
        assert "v2.7.0" not in words_on(app)
        assert "about 0 s" not in words_on(app)


async def test_a_limit_that_is_not_known_is_not_zero():
    triggers = tuple(
        msgspec.structs.replace(reading, limit=0.0) if reading.name is TriggerName.LATENCY_P99 else reading
        for reading in rollout().triggers
    )
    app = TestConsole(picture(rollouts=(card(rollout(triggers=triggers, baseline=None)),)))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        assert "ms of –" in words_on(app)
        await pilot.press("enter")
        await until(pilot, lambda: "limit –" in words_on(app))
        assert " 0ms" not in words_on(app)
        assert "! over" not in words_on(app)


# ---- the deploy


async def fill(pilot):
    """The form filled in, with the focus in its last field."""
    pilot.app.open_deploy(Selection("production", "payment-service"))
    await until(pilot, lambda: isinstance(pilot.app.screen, DeployScreen) and pilot.app.screen.entered)
    for name, value in [("environment", "prod"), ("version", "v2.15.0"), ("strategy", "canary"), ("ticket", "CHG-4821")]:
        pilot.app.screen._field(name).set_value(value)
    pilot.app.screen._field("ticket").focus_input()
    await pilot.press("enter")


async def test_a_deploy_from_the_keyboard_alone(app):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await pilot.press(*"prod", "enter", "enter", *"v2.15.0", "enter", *"canary", "enter", *"CHG-4821", "enter")
        confirmation = app.screen.query_one(TypedConfirmation)
        await until(pilot, lambda: confirmation.has_focus_within)
        text = words_on(app)
        assert "payment-service in production goes v2.14.1 → v2.15.0 by canary in 6 steps" in text
        assert "A rollback is expected to take 2 s" in text
        await pilot.press(*"productio", "enter")
        assert app.session.asked == []
        await pilot.press("n", "enter")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        assert app.session.asked == [("start", "payment-service", "production")]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))  # the rollout is there once


async def test_the_environment_is_never_filled_in_by_itself(app):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        request = app.screen.request()
        assert (request.environment, request.service) == ("", "payment-service")


async def test_an_unmet_gate_blocks_the_confirmation_and_asking_again_lifts_it(app):
    app.session.results = gates(approval=GateOutcome.FAIL)
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        await until(pilot, lambda: "not passed: approval" in words_on(app))
        await pilot.press(*"production", "enter")
        assert app.screen.query_one("TypedConfirmation Input", Input).value == ""
        assert app.session.asked == []
        app.session.results = gates()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "waiting for the name" in words_on(app))
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: app.session.asked == [("start", "payment-service", "production")])


async def test_what_is_typed_before_the_checklist_is_complete_goes_nowhere_and_confirms_nothing(app, monkeypatch):
    complete = asyncio.Event()

    async def slow(draft: object, confirmed: str | None = None) -> AsyncIterator[GateResult]:
        await complete.wait()
        for result in gates():
            yield result

    monkeypatch.setattr(app.session, "checks", slow)
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        confirmation = app.screen.query_one(TypedConfirmation)
        assert confirmation.has_focus_within
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: confirmation.digest)
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: "the checklist is not complete; wait: no key counts yet" in words_on(app))
        assert app.screen._field("ticket").value == "CHG-4821"
        assert app.screen.query_one("TypedConfirmation Input", Input).value == ""
        complete.set()
        await until(pilot, lambda: "waiting for the name" in words_on(app))
        await pilot.press("enter")
        await pilot.pause()
        assert app.session.asked == []
        assert isinstance(app.screen, DeployScreen)
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: app.session.asked == [("start", "payment-service", "production")])


async def test_after_the_ticket_an_incomplete_or_rejected_form_keeps_the_focus_where_it_can_be_mended(app):
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        app.screen._field("version").set_value("")
        app.screen._field("ticket").focus_input()
        await pilot.press("enter")
        assert app.screen._field("ticket").has_focus_within
        app.screen._field("version").set_value("v2.15.0")
        app.session.problems["ticket"] = "is not a ticket key"
        await pilot.press("x", "enter")
        assert app.screen._field("ticket").has_focus_within


@pytest.mark.parametrize("outcome", [GateOutcome.UNKNOWN, GateOutcome.FAIL])
async def test_unknown_never_passes(app, outcome):
    app.session.results = gates(rollback_tested=outcome)
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        await until(pilot, lambda: "not passed: rollback-tested" in words_on(app))


async def test_gates_that_did_not_answer_block_the_confirmation(app):
    app.session.results = gates()[:2]
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        await until(pilot, lambda: "no answer from smoke-tests" in words_on(app))


async def test_another_form_voids_the_confirmation(app):
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        confirmation = app.screen.query_one(TypedConfirmation)
        await until(pilot, lambda: confirmation.has_focus_within)
        app.screen.query_one("TypedConfirmation Input", Input).value = "production"
        app.session.plan = msgspec.structs.replace(PLAN, digest="digest-2")
        app.screen._field("ticket").set_value("CHG-9999")
        await until(pilot, lambda: confirmation.digest == "digest-2")
        assert app.screen.query_one("TypedConfirmation Input", Input).value == ""


async def test_a_start_that_is_refused_is_told_and_can_be_confirmed_again(app):
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await fill(pilot)
        await until(pilot, lambda: app.screen.query_one(TypedConfirmation).has_focus_within)
        app.session.failure = Conflict("The confirmation is void", "It changed.", "Read the new plan.")
        app.screen.query_one("TypedConfirmation Input", Input).value = "production"
        await pilot.press("enter")
        await until(pilot, lambda: "Not started" in words_on(app))
        assert isinstance(app.screen, DeployScreen)


async def test_a_field_that_is_wrong_says_so_while_it_is_typed(app):
    app.session.problems["version"] = "is not a semantic version; accepted: v1.2.3"
    async with app.run_test(size=WIDE) as pilot:
        await fill(pilot)
        await until(pilot, lambda: "is not a semantic version" in words_on(app))


async def test_the_last_hour_tells_of_rollouts_from_other_homes_as_far_as_their_checkpoints_do():
    began = rollout("r-9", service="checkout", operator="sam", created=NOW - timedelta(minutes=20), started=100.0)
    ended = rollout(
        "r-8", service="search", operator="lee", created=NOW - timedelta(minutes=9), phase=Phase.SUCCEEDED, finished=760.0
    )
    old = rollout("r-7", service="accounts", operator="kim", created=NOW - timedelta(hours=3), phase=Phase.SUCCEEDED)
    cards = (card(began, own=False), card(ended, own=False), card(old, own=False), card(rollout()))
    app = TestConsole(picture(rollouts=cards))
    async with app.run_test(size=(160, 40)) as pilot:
        await until(pilot, lambda: "LAST HOUR" in words_on(app))
        lines = words_on(app).split("LAST HOUR")[1].splitlines()
        told = next(line for line in lines if "23:50:00" in line)
        assert "production checkout v2.15.0 deployment.started by sam, not from this home" in told
        told = next(line for line in lines if "00:02:00" in line)
        assert "succeeded" in told
        assert "deployment.completed by lee, not from this home" in told
        assert not any("kim" in line for line in lines), "that was before"
        assert sum("deployment.started" in line for line in lines) == 3, "what the journal has is not told twice"


async def test_a_journal_without_an_entry_of_the_selected_rollout_says_why():
    app = TestConsole(picture(rollouts=(card(rollout("r-9", service="checkout"), own=False),)))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: "only checkout → v2.15.0 in production, a shows all" in words_on(app))
        assert "nothing of it in this home's journal; a shows all that is" in words_on(app)
        await pilot.press("a")
        await until(pilot, lambda: "health_check" in words_on(app))


async def test_a_service_that_is_not_there_says_so(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await pilot.press(*"production", "enter", *"nowhere")
        await until(pilot, lambda: "not in production" in words_on(app))


async def test_esc_leaves_the_field_first_and_the_screen_second(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        assert "esc leave the field" in words_on(app)
        await pilot.press("q", "escape")
        assert isinstance(app.screen, DeployScreen)
        assert not isinstance(app.screen.focused, Input)
        assert app.screen._field("environment").value == "q"
        await pilot.press("escape")
        assert isinstance(app.screen, RolloutScreen)


async def test_the_form_opens_while_connecting_and_goes_on_by_itself():
    app = TestConsole(Picture())
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await fill(pilot)
        app.screen._field("service").set_value("payment-service")
        await until(pilot, lambda: "can't be confirmed: still connecting" in words_on(app))
        assert words_on(app).count("◌ still connecting") == 2
        app.new_picture(picture())
        confirmation = app.screen.query_one(TypedConfirmation)
        await until(pilot, lambda: confirmation.digest and "waiting for the name" in words_on(app))
        assert "runs v2.14.1" in words_on(app)


async def test_a_service_is_not_said_to_be_ok_before_its_environment_is_known(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await until(pilot, lambda: "name the environment first" in words_on(app))
        assert "✔" not in "".join(line for line in words_on(app).splitlines() if "name the environment" in line)
        assert "type it again" not in words_on(app)


# ---- the journal, help, palette


async def test_the_journal_of_a_rollout_says_so_and_one_key_shows_all(app):
    app.picture = picture(entries=(*app.picture.entries, entry(6, "deployment.started", rollout="r-2")))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        grid = app.screen.query_one("#entries", Grid)
        await until(pilot, lambda: grid.shown == ("1", "2", "3", "4", "5"))
        assert "only payment-service → v2.15.0 in production, a shows all" in words_on(app)
        assert "a all entries" in words_on(app)
        await pilot.press("a")
        await until(pilot, lambda: "6" in grid.shown)
        assert "shows all" not in words_on(app)
        assert "a all entries" not in words_on(app)
        await pilot.press("escape")
        assert isinstance(app.screen, FleetScreen)


async def test_the_journal_shows_entries_as_they_are_stored(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        await until(pilot, lambda: "timestamp" in words_on(app))
        await pilot.press("y")
        await until(pilot, lambda: '"seq": 5' in words_on(app))
        await pilot.press("k")
        await until(pilot, lambda: '  "seq": 4' in words_on(app))
        app.new_picture(picture(entries=(*app.picture.entries, entry(6, "rollout.paused"))))
        await pilot.pause()
        assert '"seq": 4' in words_on(app)  # reading is not interrupted


async def test_a_journal_that_is_opened_again_begins_anew(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "slash", *"health", "enter")
        grid = app.screen.query_one("#entries", Grid)
        await until(pilot, lambda: grid.shown == ("5",))
        await pilot.press("escape", "k", "escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.press("ctrl+t")
        await pilot.resize_terminal(80, 24)
        app.new_picture(picture(entries=(*app.picture.entries, entry(6, "rollout.paused"))))
        await pilot.press("J")
        await until(pilot, lambda: app.screen.where == "journal" and grid.selected == "6")
        assert app.screen.focused is grid
        assert "rollout.paused" in words_on(app)
        background = app.screen.query_one("#entries").background_colors[1].hex
        assert background.casefold() == app.current_theme.background


async def test_a_journal_on_the_way_to_a_rollout_stays_what_it_is(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "a", "k", "R")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        await pilot.press("J")
        await until(pilot, lambda: "shows all" in words_on(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        assert "shows all" not in words_on(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))


async def test_help_is_about_the_screen_below_each_time(app):
    async with app.run_test(size=WIDE) as pilot:
        for keys, name in [((), "fleet"), (("enter",), "rollout"), (("J",), "journal")]:
            await pilot.press(*keys, "question_mark")
            await until(pilot, lambda name=name: f"keys of the {name} screen" in words_on(app))
            await pilot.press("escape")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 5), (300, 80)])
async def test_no_terminal_is_too_small_or_too_large(app, size, caplog):
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        for keys in (("slash", "a", "escape"), ("enter",), ("v",), ("v",), ("J", "j", "k"), ("question_mark", "j", "escape")):
            await pilot.press(*keys)
            await pilot.pause()
        app.open_deploy(Selection("production", "payment-service"))
        await pilot.pause()
        await pilot.press("tab", "x", "enter", "escape", "escape")
        app.open_service("production", "payment-service")
        await pilot.pause()
        for other in ((80, 24), (1, 1), size):
            await pilot.resize_terminal(*other)
            await pilot.pause()
        assert app.is_running
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_keys_before_the_first_screen_is_there_are_not_lost_and_harm_nothing(app):
    async with app.run_test(size=WIDE) as pilot:
        for key in ("question_mark", "escape", "J", "escape", "enter", "v", "J", "a", "question_mark", "q", "q"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        assert app.session.asked == []


@pytest.mark.parametrize("wait", [0, 5, 20, 60])
async def test_keys_that_come_while_the_console_is_left_are_dropped(app, wait):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        for key in ("J", "a", "question_mark", "q", "q") * 4:
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        for _ in range(wait):
            await asyncio.sleep(0)


async def test_figures_that_are_not_known_are_drawn_as_such(caplog):
    nothing = Arm(pods=0, ready=0, requests=0.0, errors=0.0, p50=None, p99=None)
    odd = Arm(pods=1, ready=1, requests=float("nan"), errors=float("inf"), p50=float("nan"), p99=float("inf"))
    readings = tuple(
        msgspec.structs.replace(reading, value=value, limit=float("nan"))
        for reading, value in zip(rollout().triggers, (None, float("nan"), float("inf"), -1.0), strict=False)
    )
    shown = (
        card(rollout("a", samples=(Sample(at=1.0, canary=nothing, stable=odd),), triggers=readings, actual_weight=None)),
        card(rollout("b", samples=(), triggers=(), baseline=None, steps=(), next="", next_at=None), watched=None, driver=""),
    )
    views = (environment("production", (service("x", changed=None, version="", ready=0, desired=0),), age_seconds=None),)
    app = TestConsole(picture(rollouts=shown, fleet=FleetView(environments=views), now=None, entries=({"seq": 1},)))
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        for key in ("enter", "escape", "j", "enter", "escape", "J", "escape"):
            await pilot.press(key)
            await pilot.pause()
    assert not caplog.records


async def test_the_palette_shows_exactly_the_actions_of_the_screen(app):
    from console.actions import actions_on
    from console.palette import Actions

    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        provider = Actions(app.screen)
        shown = [hit.text async for hit in provider.discover()]
        keys = [action.shown_key for action in actions_on("fleet") if action.id != "palette"]
        assert [text.rsplit("(", 1)[1].rstrip(")") for text in shown] == keys
        await pilot.press("colon", *"journal", "enter")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))


async def test_the_key_bar_lists_exactly_what_works(app):
    from widgets.keybar import KeyBar

    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        shown = {key.id: key.enabled for key in app.screen.query_one(KeyBar).value.keys}
        situation = app.screen.situation()
        from console.actions import actions_on

        assert shown == {
            action.id: action.guard(situation) is None
            for action in actions_on("rollout")
            if action.group == "Change" or action.guard(situation) is None
        }


# ---- what nobody expected


async def test_hostile_words_are_only_words(app):
    hostile = service(HOSTILE, detail=HOSTILE, version=HOSTILE)
    views = (
        environment("production", (hostile,)),
        environment("dev", (hostile,), reachable=False, age_seconds=3.0, problem=HOSTILE),
    )
    cards = (
        card(rollout(pause_reason=HOSTILE, phase=Phase.PAUSED, next=HOSTILE, left=(HOSTILE,), service=HOSTILE), driver=HOSTILE),
    )
    app.picture = picture(
        fleet=FleetView(environments=views),
        rollouts=cards,
        entries=(entry(1, HOSTILE, outcome=HOSTILE, command=HOSTILE),),
        operator=HOSTILE,
        journal_ok=False,
        journal_detail=HOSTILE,
    )
    app.session.results = tuple(msgspec.structs.replace(result, evidence=HOSTILE, detail=HOSTILE) for result in gates())
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        for keys in (("enter",), ("v",), ("v",), ("question_mark",), ("escape",), ("J",), ("escape",), ("colon",), ("escape",)):
            await pilot.press(*keys)
            await pilot.pause()
            assert "\x1b" not in words_on(app)
        await pilot.press("C")
        await until(pilot, lambda: app.session.asked)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.press("shift+tab")
        await until(pilot, lambda: app.screen.query_one("#services").has_focus)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert "[/foo]" in words_on(app)
        await pilot.press("R")
        await until(pilot, lambda: len(app.session.asked) == 2)
        await pilot.pause()


async def test_a_failing_drawing_is_told_and_the_console_goes_on(app, monkeypatch, caplog):
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()

        def broken(_):
            raise RuntimeError("no such thing")

        monkeypatch.setattr(app.screen, "draw", broken)
        app.new_picture(picture())
        await until(pilot, lambda: "Drawing the fleet screen failed" in words_on(app))
        assert "no such thing" in caplog.text
        monkeypatch.undo()
        await pilot.press("enter")
        assert isinstance(app.screen, RolloutScreen)


async def test_a_failing_action_is_told_and_the_console_goes_on(app, monkeypatch, caplog):
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()
        monkeypatch.setattr(app, "open_help", lambda below: 1 / 0)
        await pilot.press("question_mark")
        await until(pilot, lambda: "help failed unexpectedly" in words_on(app))
        assert "ZeroDivisionError" in caplog.text
        await pilot.press("enter")
        assert isinstance(app.screen, RolloutScreen)


async def test_a_failing_intent_is_logged_and_told(app, caplog):
    app.session.failure = RuntimeError("surprise")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: "surprise" in words_on(app))
        assert "RuntimeError: surprise" in caplog.text


async def test_a_failing_check_blocks_the_confirmation(app, caplog):
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        app.session.failure = RuntimeError("surprise")
        await fill(pilot)
        await until(pilot, lambda: "an unexpected error" in words_on(app))
        assert "surprise" in caplog.text
        assert isinstance(app.screen, DeployScreen)


async def test_a_session_that_ends_leaves_the_picture_and_says_so(app, caplog):
    async def ends():
        raise OSError("gone")

    app.session.run = ends
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await until(pilot, lambda: "cut off: OSError" in words_on(app))
        assert "accounts" in words_on(app)
        assert "gone" in caplog.text
        await pilot.press("p")
        assert app.session.asked == []


async def test_ctrl_q_with_rollouts_says_first_who_watches_them(app, monkeypatch):
    said = []
    monkeypatch.setattr(app, "exit", lambda code, message=None: said.append((code, message)))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q")
        await until(pilot, lambda: "goes on in its driver, process 4711 of this home" in words_on(app))
        assert "quarterdeck watch" in words_on(app)
        await pilot.press("escape")
        await until(pilot, lambda: "ENVIRONMENTS" in words_on(app))
        assert said == []
        await pilot.press("ctrl+q", "ctrl+q")
        await until(pilot, lambda: said)
    assert said[0][0] == 0
    assert "payment-service in production" in said[0][1]


async def test_what_follows_them_names_the_configuration_and_the_home_that_were_given(monkeypatch):
    app = TestConsole(config="/srv/our team/quarterdeck.yaml", home="/srv/state")
    said = []
    monkeypatch.setattr(app, "exit", lambda code, message=None: said.append(message))
    follows = "quarterdeck watch --config '/srv/our team/quarterdeck.yaml' --home /srv/state"
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q")
        await until(pilot, lambda: follows in words_on(app))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: said)
    assert f"`{follows}` follows them" in said[0]


@pytest.mark.parametrize("key", ["enter", "q"])
async def test_one_more_key_leaves(app, monkeypatch, key):
    said = []
    monkeypatch.setattr(app, "exit", lambda code, message=None: said.append(code))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q", key)
        await until(pilot, lambda: said == [0])


async def test_without_rollouts_ctrl_q_leaves_at_once(monkeypatch):
    app = TestConsole(picture(rollouts=()))
    said = []
    monkeypatch.setattr(app, "exit", lambda code, message=None: said.append((code, message)))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q")
        await until(pilot, lambda: said == [(0, None)])


async def test_what_nobody_watches_is_said_before_one_leaves(monkeypatch):
    app = TestConsole(picture(rollouts=(card(rollout(), watched=False),)))
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+q")
        told = ("no driver watches its triggers", "T resumes it")
        await until(pilot, lambda: all(words in words_on(app) for words in told))


async def test_ctrl_c_says_how_to_quit_and_ctrl_z_does_nothing(app):
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await pilot.press("ctrl+z", "ctrl+c")
        await until(pilot, lambda: "ctrl+q quits" in words_on(app))
        assert app.is_running


@pytest.fixture
def all_colours(monkeypatch):
    monkeypatch.setattr(ConsoleApp, "color_system", "truecolor")


async def test_the_theme_can_be_switched_by_key(app, all_colours):
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        seen = [app.theme]
        for _ in range(4):
            await pilot.press("ctrl+t")
            seen.append(app.theme)
        assert seen == ["dark", "light", "contrast", "mono", "dark"]


async def test_the_theme_is_remembered(tmp_path, monkeypatch, all_colours):
    monkeypatch.delenv("QUARTERDECK_THEME", raising=False)
    for asked, worn in ((("colon", *"theme", "space", *"contrast", "enter"), "contrast"), (("ctrl+t",), "mono"), ((), "mono")):
        app = TestConsole()
        app.session.home = tmp_path
        async with app.run_test(size=NARROW) as pilot:
            app.new_picture(picture())
            await until(pilot, lambda app=app: app.remembered == read(tmp_path))
            await pilot.press(*asked)
            await until(pilot, lambda worn=worn: read(tmp_path).theme == worn)
            assert app.theme == worn


async def test_a_resize_keeps_everything_usable(app):
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter")
        for size in ((80, 24), (200, 50), (60, 20), (100, 30)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: "ROLL BACK" in words_on(app))


async def test_a_service_that_is_opened_after_another_shows_nothing_of_it():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.open_service("production", "payment-service")
        await until(pilot, lambda: "2.13.9" in words_on(app))
        first = app.screen
        await pilot.press("tab", "tab", "tab", "j", "j", "q")
        app.open_service("production", "accounts")
        await until(pilot, lambda: "accounts · production" in words_on(app))
        assert app.screen is first
        assert "2.13.9" not in words_on(app)
        assert app.screen.selection() == Selection("production", "accounts")
        await pilot.press("q")
        app.open_service("production", "payment-service")
        await until(pilot, lambda: "2.13.9" in words_on(app))
        assert app.screen.selection().pod, "the first pod offers itself again"


async def test_over_a_service_another_is_opened_and_the_one_below_stays():
    app = TestConsole(picture())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.open_service("production", "payment-service")
        await until(pilot, lambda: app.screen.title_text() == "payment-service · production")
        app.open_service("production", "accounts")
        await until(pilot, lambda: app.screen.title_text() == "accounts · production")
        await pilot.press("q")
        await until(pilot, lambda: app.screen.title_text() == "payment-service · production")


async def test_a_key_that_fails_where_it_is_asked_whether_it_may_act_ends_nothing(monkeypatch, caplog):
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        with monkeypatch.context() as broken:

            def fails(screen, action, parameters):
                raise LookupError("no such part")

            broken.setattr(FleetScreen, "check_action", fails)
            await pilot.press("J")
            await until(pilot, lambda: "A key failed unexpectedly" in words_on(app))
        await pilot.press("j", "J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
    assert "no such part" in caplog.text


async def test_a_palette_that_was_left_takes_no_other_screen_with_it():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        app.action_command_palette()
        await until(pilot, lambda: not isinstance(app.screen, JournalScreen))
        palette = app.screen
        palette.dismiss()
        palette.dismiss()
        await pilot.pause(0.05)
        assert isinstance(app.screen, JournalScreen)


@pytest.mark.parametrize("turns", range(6))
async def test_a_screen_left_while_it_is_being_put_together_is_left_without_a_word(app, caplog, turns):
    """esc may come at any moment: before the first part of the screen is there, between two of them, or after the last."""
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()
        app.push_screen(DeployScreen())
        for _ in range(4**turns):
            await asyncio.sleep(0)
        app.pop_screen()
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.pause(0.2)
        assert "unexpected" not in words_on(app)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_picture_that_comes_while_a_screen_is_put_together_or_fails_it_ends_nothing(app, caplog, monkeypatch):
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.pause()
        app.push_screen(FleetScreen())
        for _ in range(40):
            app.new_picture(app.picture)
            await asyncio.sleep(0)
        await until(pilot, lambda: app.screen.entered)
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []
        looked_at: list[object] = []
        monkeypatch.setattr(app.session, "look_at", looked_at.append)
        with monkeypatch.context() as broken:
            broken.setattr(app.screen, "draw", lambda picture: {}["no drawing"])
            app.new_picture(app.picture)
        assert looked_at == [], "what could not be drawn is not on the screen: nothing of it is asked for"
        app.new_picture(app.picture)
        assert len(looked_at) == 1
        monkeypatch.setattr(app.screen, "services_in_view", lambda picture: {}["surprise"])
        app.new_picture(app.picture)
        await until(pilot, lambda: "surprise" in words_on(app))
        assert "KeyError: 'surprise'" in caplog.text
        assert app.picture.failure == ""
