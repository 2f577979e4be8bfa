"""What is typed after ``:`` is understood or told to be no command, and never does more than its key would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import TestConsole, card, environment, picture, rollout, service, until, words_on

from console.actions import ACTIONS, BY_ID, Situation
from console.prompt import Act, Go, History, NotUnderstood, World, completed, name_of, offers, understood
from console.remembered import read
from console.screens.deploy import DeployScreen
from console.screens.fleet import FleetScreen
from console.screens.prompt import PromptScreen
from console.screens.restore import RestoreScreen
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from console.view import Selection
from services.model.fleet import FleetView
from services.model.rollout import Phase
from widgets.grid import Grid

WIDE = (120, 40)
FLEET = FleetView(
    environments=(
        environment("dev", (service("payment-service", "dev"),)),
        environment("production", (service("payment-service"), service("search"))),
    )
)
SHOWN = picture(fleet=FLEET, rollouts=(card(rollout("r-11")), card(rollout("r-12", service="search", phase=Phase.PAUSED))))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


def world(selection: Selection = Selection("production", "payment-service", "r-11"), screen: str = "fleet", **changes) -> World:  # noqa: B008
    import dataclasses

    shown = dataclasses.replace(SHOWN, **changes)
    return World(Situation(shown, selection, screen), lambda text: "production" if text == "prod" else text)


# ---- the words


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("pause", Act("pause")),
        ("take-over", Act("take_over")),
        ("rollback", Act("rollback")),
        ("q", Act("quit")),
        ("quit", Act("quit")),
        ("theme", Act("theme")),
        ("theme light", Go("theme", ("light",))),
        ("fleet", Go("fleet")),
        ("journal", Act("journal")),
        ("calls", Act("calls")),
        ("help", Act("help")),
        ("env prod", Go("env", ("production",))),
        ("service search", Go("service", ("search", "production"))),
        ("service payment-service", Go("service", ("payment-service", "production"))),
        ("service payment-service dev", Go("service", ("payment-service", "dev"))),
        ("logs search", Go("logs", ("search", "production"))),
        ("logs", Act("logs")),
        ("rollout r-12", Go("rollout", ("r-12",))),
        ("deploy", Act("deploy")),
        ("deploy search v2.0.0", Go("deploy", ("search", "v2.0.0", "production"))),
        ("deploy search v2.0.0 prod", Go("deploy", ("search", "v2.0.0", "production"))),
    ],
)
def test_what_is_understood(line, asked):
    assert understood(line, world()) == asked


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rolback", "did you mean rollback?"),
        ("xyzzy", "no command xyzzy"),
        ("service serch", "no service serch; did you mean search?"),
        ("service payment-service staging", "no environment with payment-service staging"),
        ("env produktion", "did you mean production?"),
        ("rollout r-1", "2 rollouts begin with r-1"),
        ("rollout r-9", "no rollout r-9"),
        ("service", "service NAME [ENV]"),
        ("env a b", "env NAME"),
        ("fleet now", "fleet takes no words"),
        ("pause it", "applies to what is selected"),
        ("theme pink", "no theme pink"),
        ("recheck", "does nothing on the fleet screen"),
        ("", "type a command"),
    ],
)
def test_what_is_not_understood_says_what_comes_nearest(line, told):
    with pytest.raises(NotUnderstood) as error:
        understood(line, world())
    assert told in str(error.value)


def test_a_service_that_runs_in_several_places_asks_which():
    with pytest.raises(NotUnderstood, match="runs in dev, production: say in which"):
        understood("service payment-service", world(Selection()))


def test_deploy_asks_the_same_guard_as_its_key():
    with pytest.raises(NotUnderstood, match="observer mode"):
        understood("deploy search v2.0.0", world(read_only=True))


@given(st.text(max_size=40))
def test_any_text_is_understood_or_told_not_to_be(line):
    try:
        asked = understood(line, world())
    except NotUnderstood as error:
        told = str(error)
        assert told
        return
    assert isinstance(asked, Act | Go)
    assert not isinstance(asked, Act) or asked.action in BY_ID


@given(
    st.sampled_from(["", "p", "pa", "ser", "service ", "service pay", "deploy search ", "env ", "theme l", "rollout r", "x y z"])
)
def test_what_is_offered_goes_on_from_what_is_typed_and_is_understood(line):
    found = offers(line, world())
    for offer in found:
        assert line.split(" ")[-1] in offer.line
    further = completed(line, found)
    assert len(further) >= len(line) or not further.startswith(line)


def test_names_that_begin_with_it_come_first():
    assert [offer.line for offer in offers("ro", world())] == ["rollback", "rollout", "promote"]
    assert completed("serv", offers("serv", world())) == "service "
    assert completed("service pay", offers("service pay", world())) == "service payment-service "
    assert completed("ro", offers("ro", world())) == "roll"
    assert completed("roll", offers("roll", world())) == "rollback"


def test_an_offer_that_can_not_be_done_now_says_why():
    offer = next(each for each in offers("resu", world()) if each.line == "resume")
    assert not offer.ready
    assert offer.help == "not now: it is not paused (running)"


def test_every_action_is_offered_on_its_screens_and_on_no_other():
    for screen in ("fleet", "rollout", "journal", "calls"):
        named = {offer.line for offer in offers("", world(screen=screen))}
        for action in ACTIONS:
            if action.id not in ("prompt", "open"):
                assert (name_of(action) in named) == (not action.screens or screen in action.screens or action.id in PLACED), (
                    action.id
                )


PLACED = ("deploy", "logs")
"""Places too: they can be named from everywhere."""


# ---- the history


@given(st.lists(st.text(min_size=1, max_size=3), max_size=12), st.lists(st.sampled_from([-1, 1]), max_size=20))
def test_up_and_down_go_through_what_was_typed_and_back_to_the_draft(lines, moves):
    history = History(most=5)
    for line in lines:
        history.add(line)
    assert len(history.lines) <= 5
    assert len(set(history.lines)) == len(history.lines)
    shown = "draft"
    for by in moves:
        shown = history.move(by, shown)
        assert shown in (*history.lines, "draft")
    for _ in range(20):
        shown = history.move(1, shown)
    assert shown == "draft"


# ---- on the screen


async def test_a_command_goes_where_it_says():
    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("colon", *"serv", "tab", *"sea", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert app.screen.selection() == Selection("production", "search")
        await pilot.press("colon", *"env dev", "enter")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await until(pilot, lambda: app.screen.selection().environment == "dev")
        assert app.screen.focused is app.screen.query_one("#services", Grid)


async def test_deploy_in_words_fills_the_form_and_starts_nothing():
    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("colon", *"deploy search v2.0.0 prod", "enter")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen))
        await pilot.pause()
        request = app.screen.request()
        assert (request.environment, request.service, request.version) == ("production", "search", "v2.0.0")
        assert app.session.asked == []


async def test_what_changes_something_passes_its_guard_and_its_confirmation():
    app = TestConsole(picture(fleet=FLEET, rollouts=()))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("colon", *"pause", "enter")
        await until(pilot, lambda: "no rollout is selected" in words_on(app))
        assert app.session.asked == []
        await pilot.press("colon", *"rollback", "enter")
        await until(pilot, lambda: isinstance(app.screen, RestoreScreen))
        assert app.session.asked == [("preview", "production", "payment-service")]


async def test_a_command_that_is_none_stays_to_be_set_right():
    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("colon", *"rolbck", "enter")
        await until(pilot, lambda: "did you mean rollback?" in words_on(app))
        assert isinstance(app.screen, PromptScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert app.session.asked == []


async def test_keys_typed_in_one_burst_all_land_in_the_prompt():
    from textual import events

    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        for key, character in [("colon", ":"), *((letter, letter) for letter in "rollout"), ("space", " "), ("r", "r")]:
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: isinstance(app.screen, PromptScreen) and app.screen._input.value == "rollout r")
        assert app.session.asked == []


async def test_up_recalls_and_the_history_is_kept_in_the_home(tmp_path):
    app = TestConsole(SHOWN)
    app.session.home = tmp_path
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("colon", *"rollout r-12", "enter")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))
        await until(pilot, lambda: read(tmp_path).commands == ("rollout r-12",))
        await pilot.press("colon", "up")
        await until(pilot, lambda: app.screen._input.value == "rollout r-12")


async def test_right_moves_within_the_line_and_completes_at_its_end():
    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("colon", *"serv", "left", "left", "right")
        assert app.screen._input.value == "serv"
        await pilot.press("right", "right")
        await until(pilot, lambda: app.screen._input.value == "service ")


async def test_alt_r_rolls_back_over_the_prompt():
    app = TestConsole(SHOWN)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "colon", *"fl", "alt+R")
        await until(pilot, lambda: app.session.asked)
        assert app.session.asked[0][0] == "roll_back"
