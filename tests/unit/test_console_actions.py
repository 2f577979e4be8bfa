"""The registry: what can be done when, and that keys, key bar, help and palette all say the same."""

import msgspec
import pytest
from support.consoles import TestConsole, card, environment, picture, rollout, service, until, words_on
from textual.binding import Binding
from textual.widgets import Input

from console.actions import ACTIONS, BY_ID, Situation, actions_on, label_for, typed
from console.palette import entry_of
from console.prompt import BY_NAME, NAMES
from console.screens.calls import CallsScreen
from console.screens.deploy import DeployScreen
from console.screens.entry import EntryScreen
from console.screens.fleet import FleetScreen
from console.screens.help import help_rows, help_text
from console.screens.journal import JournalScreen
from console.screens.logs import LogsScreen
from console.screens.results import ResultsScreen
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from console.screens.story import StoryScreen
from console.view import Picture, Selection
from services.model.fleet import FleetView
from services.model.rollout import Phase
from widgets.keybar import KeyBar

SCREENS = {
    "fleet": FleetScreen,
    "service": ServiceScreen,
    "deploy": DeployScreen,
    "rollout": RolloutScreen,
    "journal": JournalScreen,
    "calls": CallsScreen,
    "results": ResultsScreen,
    "logs": LogsScreen,
    "entry": EntryScreen,
    "story": StoryScreen,
}
WAYS = {
    "fleet": (),
    "service": ("shift+tab", "j", "j", "enter"),
    "deploy": ("d",),
    "rollout": ("enter",),
    "journal": ("J",),
    "calls": ("at",),
    "results": ("ctrl+l",),
    "logs": ("enter", "l"),
    "entry": ("J", "enter"),
    "story": ("enter", "t"),
}
CHANGES = ("rollback", "pause", "resume", "promote", "abort", "take_over")
SELECTED = Selection("production", "payment-service", "r-1")


def on(shown: Picture, selection: Selection = SELECTED, screen: str = "rollout") -> Situation:
    return Situation(shown, selection, screen)


def with_phase(phase: Phase, **changes: object) -> Picture:
    return picture(rollouts=(card(rollout(phase=phase), **changes),))


def reached(**changes: object) -> Picture:
    return picture(fleet=FleetView(environments=(environment("production", (service("payment-service"),), **changes),)))


SITUATIONS = {
    "running": (on(with_phase(Phase.RUNNING)), {"rollback", "pause", "promote", "abort"}),
    "paused": (on(with_phase(Phase.PAUSED)), {"rollback", "resume", "promote", "abort"}),
    "rolling back": (on(with_phase(Phase.ROLLING_BACK)), {"rollback"}),
    "needs a person": (on(with_phase(Phase.NEEDS_ATTENTION)), {"rollback", "take_over"}),
    "succeeded, in its window": (on(with_phase(Phase.SUCCEEDED, window_left=60.0)), {"rollback"}),
    "succeeded, long ago": (on(with_phase(Phase.SUCCEEDED)), {"rollback"}),
    "rolled back": (on(with_phase(Phase.ROLLED_BACK)), set()),
    "refused": (on(with_phase(Phase.REFUSED)), set()),
    "nobody watches": (on(with_phase(Phase.RUNNING, watched=False)), {"rollback", "take_over"}),
    "paused and nobody watches": (on(with_phase(Phase.PAUSED, watched=False)), {"rollback", "take_over"}),
    "driven by a colleague": (on(with_phase(Phase.RUNNING, own=False)), {"rollback", "take_over"}),
    "driver not known yet": (on(with_phase(Phase.RUNNING, watched=None)), {"rollback", "pause", "promote", "abort"}),
    "read only": (on(picture(read_only=True)), set()),
    "cut off": (on(picture(failure="the session ended")), {"rollback"}),
    "unreachable": (on(reached(reachable=False, age_seconds=40.0, problem="refused")), {"rollback"}),
    "stale": (on(reached(age_seconds=16.0)), {"rollback"}),
    "never reached": (on(reached(reachable=False, age_seconds=None)), set()),
    "no such rollout": (on(picture(), Selection(rollout="r-9")), set()),
    "a service without a rollout": (on(picture(), Selection("production", "accounts")), {"rollback"}),
    "nothing selected": (on(picture(), Selection()), set()),
    "connecting": (on(Picture(), Selection()), set()),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_can_be_done_when(name):
    situation, allowed = SITUATIONS[name]
    assert {id for id in CHANGES if BY_ID[id].guard(situation) is None} == allowed


def test_a_service_that_was_rolled_back_says_where_it_is_and_how_to_go_on():
    plan = msgspec.structs.replace(rollout().plan, previous_version="v2.15.0")
    shown = picture(rollouts=(card(rollout(phase=Phase.ROLLED_BACK, plan=plan)),))
    why = BY_ID["rollback"].guard(on(shown, Selection("production", "payment-service"), "service"))
    assert why == "its last rollback brought it to v2.15.0; another revision: service screen, REVISIONS, R"


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_refusal_says_why(name):
    situation, _ = SITUATIONS[name]
    for action in ACTIONS:
        reason = action.guard(situation)
        assert reason is None or reason.strip()


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (picture(read_only=True), "observer mode"),
        (picture(journal_ok=False, journal_detail="disk full"), "disk full"),
        (picture(failure="OSError"), "OSError"),
    ],
)
def test_a_deploy_is_refused_where_nothing_may_start(shown, why):
    assert why in (BY_ID["deploy"].guard(on(shown)) or "")


def test_a_broken_journal_does_not_stop_a_rollback():
    assert BY_ID["rollback"].guard(on(picture(journal_ok=False, journal_detail="disk full"))) is None


def test_a_service_means_its_live_rollout_even_where_a_newer_one_is_over():
    shown = picture(rollouts=(card(rollout("new", phase=Phase.SUCCEEDED)), card(rollout("live"))))
    assert on(shown, Selection("production", "payment-service")).card.key == "live"


def test_a_refused_rollout_is_not_what_a_service_would_be_rolled_back_from():
    shown = picture(rollouts=(card(rollout("refused", phase=Phase.REFUSED)), card(rollout("done", phase=Phase.SUCCEEDED))))
    assert on(shown, Selection("production", "payment-service")).card.key == "done"


def test_lower_case_letters_never_change_a_cluster_but_for_pause():
    letters = {key for action in ACTIONS if action.changes for key in action.keys if len(key) == 1 and key.islower()}
    assert letters == {"p"}
    assert {action.id for action in ACTIONS if action.changes} == set(CHANGES)


def test_a_key_means_one_thing_everywhere():
    for screen in SCREENS:
        keys = [key for action in actions_on(screen) for key in action.keys]
        assert len(keys) == len(set(keys)), screen
    changing = {key for action in ACTIONS if action.changes for key in action.keys}
    assert not changing & {key for action in ACTIONS if not action.changes for key in action.keys}


def test_ctrl_z_shows_faults_and_never_suspends():
    """In a full-screen program that suspends, keys are lost."""
    assert BY_ID["faults"].keys == ("ctrl+z",)


def test_rollback_comes_first_on_every_screen():
    for screen in SCREENS:
        assert actions_on(screen)[0].id == "rollback"


@pytest.mark.parametrize("screen", SCREENS)
def test_bindings_are_exactly_the_registry(screen):
    bound = {(binding.key, binding.action) for binding in SCREENS[screen].BINDINGS if "act(" in binding.action}
    assert bound == {(key, f"act('{action.id}', '{key}')") for action in actions_on(screen) for key in action.keys}
    others = [binding for binding in SCREENS[screen].BINDINGS if "act(" not in binding.action]
    assert all(isinstance(binding, Binding) and binding.key in dict(SCREENS[screen].field_keys) for binding in others)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_action_has_its_method(screen):
    for action in actions_on(screen):
        assert callable(getattr(SCREENS[screen], f"do_{action.id}"))


@pytest.mark.parametrize("screen", SCREENS)
def test_help_lists_exactly_the_actions_of_the_screen_with_all_their_keys(screen):
    situation = on(picture(), screen=screen)
    rows = help_rows(screen, situation, SCREENS[screen].field_keys)
    told = {row.key.removeprefix("action "): row for row in rows if row.key.startswith("action ")}
    assert set(told) == {action.id for action in actions_on(screen)}
    for action in actions_on(screen):
        (keys, _), (label, _), (text, _), (group, _) = told[action.id].cells
        assert keys == " ".join(action.shown_keys)
        assert label == action.label
        assert group == action.group
        reason = action.guard(situation)
        assert (text == f"not now: {reason}") is (reason is not None)
        whole = str(help_text(screen, situation, told[action.id].key))
        assert action.help in whole
        assert (reason or "enter does it now") in whole


@pytest.mark.parametrize("screen", SCREENS)
def test_help_explains_every_row_whole_and_the_keys_of_a_plan_only_where_there_is_one(screen):
    situation, fields = on(picture(), screen=screen), SCREENS[screen].field_keys
    rows = help_rows(screen, situation, fields)
    for row in rows:
        explained = str(help_text(screen, situation, row.key, fields))
        text = row.cells[2][0]
        assert text.removeprefix("now: ").removeprefix("not now: ") in explained
    assert {key for key, _ in fields} <= {row.cells[0][0] for row in rows}
    assert any("fold" in row.text for row in rows) is (screen == "deploy")


async def test_a_row_of_help_that_is_cut_is_told_whole_below():
    app = TestConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark", "end")
        await until(pilot, lambda: "mouse: a click selects or presses; what changes a cluster" in words_on(app))


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_key_bar_shows_only_keys_that_are_bound_and_every_one_that_changes(screen):
    app = TestConsole()
    async with app.run_test(size=(300, 50)) as pilot:
        await pilot.press(*WAYS[screen])
        await until(pilot, lambda: getattr(app.screen, "where", "") == screen)
        await pilot.pause()
        shown = {key.id: key for key in app.screen.query_one("#keys", KeyBar).value.keys if key.id}
        here = {action.id: action for action in actions_on(screen)}
        assert set(shown) <= set(here)
        in_text = isinstance(app.screen.focused, Input)
        for id, key in shown.items():
            assert key.key == (here[id].text_key if in_text else here[id].shown_key)
            assert key.enabled is (here[id].refusal(app.screen.situation()) is None)
        for action in here.values():
            if action.changes and (not in_text or action.text_key) and (app.screen.situation().card or action.id == "rollback"):
                assert action.id in shown
        live = {binding.key for _, binding, _, _ in app.screen.active_bindings.values() if "act(" in binding.action}
        assert {key for action in here.values() for key in action.keys if not (in_text and typed(key))} == live


@pytest.mark.parametrize("screen", [screen for screen in SCREENS if screen != "fleet"])
async def test_the_smallest_key_bar_shows_a_way_back(screen):
    app = TestConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*WAYS[screen])
        await until(pilot, lambda: getattr(app.screen, "where", "") == screen)
        await until(pilot, lambda: any(" esc " in f" {line} " for line in words_on(app).splitlines()[-2:]))


@pytest.mark.parametrize("screen", SCREENS)
def test_every_action_has_a_name_that_can_be_typed(screen):
    known = {action.id for action in NAMES.values()} | {place.action for place in BY_NAME.values()} | {"prompt", "open"}
    assert {action.id for action in actions_on(screen)} <= known


def test_help_says_why_something_does_not_work_now():
    text = "\n".join(row.text for row in help_rows("rollout", on(picture(read_only=True))))
    assert text.count("not now: observer mode") == 6  # taking over is refused for another reason: it is ours


def test_every_action_works_from_a_text_field_or_a_list_by_keyboard():
    for action in ACTIONS:
        assert action.keys
    in_fields = {action.id for action in ACTIONS if action.text_key is not None}
    assert {"rollback", "back", "palette", "help", "quit", "recheck"} <= in_fields


def test_typed_keys():
    assert all(typed(key) for key in ("R", "p", "slash", "colon", "question_mark", "enter"))
    assert not any(typed(key) for key in ("alt+R", "ctrl+q", "escape", "f1"))


def test_the_rollback_says_how_long_and_to_what():
    assert label_for(BY_ID["rollback"], on(picture())) == "ROLL BACK now (about 2 s to v2.14.1)"
    assert label_for(BY_ID["rollback"], on(picture(), Selection("production", "accounts"))) == "ROLL BACK"


def test_the_palette_tells_reasons():
    title, help = entry_of(BY_ID["pause"], on(with_phase(Phase.PAUSED)))
    assert title == "pause  (p)"
    assert help == "not now: it is paused already"


@pytest.mark.parametrize("screen", SCREENS)
async def test_every_key_of_a_screen_reaches_its_action_and_no_other(screen, monkeypatch):
    done: list[str] = []
    app = TestConsole()
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press(*WAYS[screen])
        await until(pilot, lambda: getattr(app.screen, "where", "") == screen)
        await pilot.pause()
        monkeypatch.setattr(app.screen, "action_act", lambda action, key="": done.append(action))
        app.screen.set_focus(None)
        # those two the application has itself, before any screen
        for action in (each for each in actions_on(screen) if each.id not in ("palette", "quit")):
            for key in action.keys:
                done.clear()
                await pilot.press(key)
                assert done == [action.id], key
