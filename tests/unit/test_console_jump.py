"""A few letters find the service that is meant, among thousands, within a key press."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import TestConsole, environment, picture, service, until, words_on

from console.jump import matching, score, targets
from console.screens.fleet import FleetScreen
from console.screens.service import ServiceScreen
from console.view import Selection
from services.model.fleet import FleetView, Health

WIDE = (120, 40)
NAMES = st.text(alphabet="abc-1", min_size=1, max_size=10)
PARTS = ("payment", "checkout", "search", "account", "order", "cart", "invoice", "fraud", "ledger", "user")
MANY = FleetView(
    environments=tuple(
        environment(
            place,
            tuple(service(f"{PARTS[index % 10]}-{PARTS[index // 10 % 10]}-api-{index}", place) for index in range(1000)),
        )
        for place in ("dev", "staging", "canary", "production", "recovery")
    )
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


def fleet(*names: str, place: str = "production") -> FleetView:
    return FleetView(environments=(environment(place, tuple(service(name, place) for name in names)),))


def occurs(letters: str, name: str) -> bool:
    rest = iter(name)
    return all(letter in rest for letter in letters)


@given(NAMES, NAMES)
def test_a_name_matches_exactly_where_its_letters_occur_in_this_order(letters, name):
    assert (score(letters, name) > 0) == occurs(letters, name)


@given(st.text(alphabet="abc1", max_size=4), st.lists(NAMES, unique=True, max_size=10))
def test_what_is_found_is_what_matches_best_first(letters, names):
    found, count = matching(letters, targets(fleet(*names)))
    assert {target.service.name for target in found} == {name for name in names if occurs(letters, name)}
    assert count == len(found)
    ranks = [score(letters, target.service.name) for target in found]
    assert ranks == sorted(ranks, reverse=True)


@given(NAMES)
def test_nothing_beats_the_name_itself(name):
    others = (f"x{name}", f"{name}-2", f"a-{name}")
    found, _ = matching(name, targets(fleet(*others, name)))
    assert found[0].service.name == name


@pytest.mark.parametrize(
    ("letters", "best"),
    [
        ("ps", "payment-service"),
        ("pay", "payment-service"),
        ("serv", "service-mesh"),
        ("check", "checkout"),
        ("mesh", "service-mesh"),
        ("pmt", "payment-service"),
    ],
)
def test_the_beginnings_of_parts_are_meant_first(letters, best):
    found, _ = matching(letters, targets(fleet("apps", "payment-service", "maps", "checkout", "service-mesh", "recheck")))
    assert found[0].service.name == best


def test_words_narrow_by_environment_and_version_and_the_environment_one_is_in_goes_first():
    both = FleetView(
        environments=(environment("dev", (service("search", "dev"),)), environment("production", (service("search"),)))
    )
    assert [target.environment for target in matching("sea", targets(both), here="production")[0]] == ["production", "dev"]
    assert [target.environment for target in matching("sea dev", targets(both), here="production")[0]] == ["dev"]
    assert matching("sea v9", targets(both))[0] == []


async def test_letters_and_enter_go_to_a_service_of_any_environment():
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f", *"chk", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert app.screen.selection() == Selection("staging", "checkout")
        await pilot.press("f", *"chk", "enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert app.screen.selection() == Selection("staging", "checkout")
        await pilot.press("q", "q")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))


async def test_a_cluster_that_has_not_answered_yet_is_named_where_nothing_is_found():
    there = environment("staging", (service("search", "staging"),))
    silent = environment("production", (), reachable=False, age_seconds=None)
    app = TestConsole(picture(fleet=FleetView(environments=(there, silent)), rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f", *"checkout")
        await until(pilot, lambda: "none so far; no answer yet from production" in words_on(app))
        app.new_picture(picture(fleet=FleetView(environments=(there, environment("production", ()))), rollouts=()))
        await until(pilot, lambda: "in this order" in words_on(app) and "no answer" not in words_on(app))


async def test_a_cluster_that_answers_later_is_looked_through_too_and_what_is_selected_stays_so():
    there = environment("production", (service("payment-service", "production"), service("payments-ui", "production")))
    late = environment("staging", (service("payment-service", "staging"),))
    app = TestConsole(picture(fleet=FleetView(environments=(there,)), rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f", *"pay", "down")  # to the longer name
        app.new_picture(picture(fleet=FleetView(environments=(late, there)), rollouts=()))
        await until(pilot, lambda: "3 of 3" in words_on(app))
        assert "staging" in words_on(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert (app.screen.selection().environment, app.screen.selection().service) == ("production", "payment-service")


async def test_nothing_that_matches_yet_is_found_when_it_is_there():
    there = environment("production", (service("payment-service", "production"),))
    late = environment("staging", (service("payment-service", "staging"),))
    app = TestConsole(picture(fleet=FleetView(environments=(there,)), rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f", *"pay", "space", *"st")
        await until(pilot, lambda: "no service has these letters" in words_on(app))
        app.new_picture(picture(fleet=FleetView(environments=(late, there)), rollouts=()))
        await until(pilot, lambda: "1 of 2" in words_on(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert (app.screen.selection().environment, app.screen.selection().service) == ("staging", "payment-service")


async def test_it_shows_where_what_and_how_well_and_esc_leaves_everything_as_it_was():
    ill = environment("dev", (service("search", "dev", version="v9", health=Health.FAILED),))
    app = TestConsole(picture(fleet=FleetView(environments=(ill,)), rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        before = app.screen
        await pilot.press("f", *"zz")
        await until(pilot, lambda: "no service has these letters" in words_on(app))
        await pilot.press("enter", "backspace", "backspace")
        line = next(line for line in words_on(app).splitlines() if "search" in line)
        assert all(word in line for word in ("dev", "v9", "failed"))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is before)
        assert app.session.asked == []


async def test_among_five_thousand_services_the_best_are_offered_and_all_that_match_are_counted():
    app = TestConsole(picture(fleet=MANY, rollouts=()))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f")
        await until(pilot, lambda: "5000 of 5000" in words_on(app))
        await pilot.press(*"payapi9")
        await until(pilot, lambda: f"{count(MANY, 'payapi9')} of 5000" in words_on(app))
        offered = [line.split()[2] for line in words_on(app).splitlines() if "-api-" in line]
        assert offered[0] == "payment-user-api-90", "its beginning is meant first, and of equal ones the shortest name"


def count(fleet: FleetView, letters: str) -> int:
    return sum(occurs(letters, target.service.name) for target in targets(fleet))
